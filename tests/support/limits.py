"""What a process is short of: called in a child before its program starts."""

from __future__ import annotations

import ctypes
import resource


def obey_permissions() -> None:
    """Let the superuser obey permissions, as everybody else does."""
    dac_override, dac_read_search, drop = 1, 2, 24
    for capability in (dac_override, dac_read_search):
        ctypes.CDLL(None).prctl(drop, capability, 0, 0, 0)


def limit_files(size: int) -> None:
    """Let no file grow beyond *size* bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
