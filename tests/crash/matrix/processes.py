"""The processes of an inner run, found by a variable in their environment."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = "MATRIX_RUN"
"""Variable that every process of an inner run has, with the run's marker."""

THING = "MATRIX_THING"
"""Variable of a process that is a resource, with its name."""

SERVER = "MATRIX_SERVER"
"""Variable of a process that stands for a server at work."""


@dataclass(frozen=True, slots=True)
class Process:
    """
    A process that runs.

    Attributes:
        pid: Its id.
        session: Id of the session that it belongs to.
        environment: What it was started with.
    """

    pid: int
    session: int
    environment: dict[str, str]


def processes(marker: str) -> Iterator[Process]:
    """Yield the processes of the run with *marker*; dead ones that nobody waited for do not count."""
    wanted = f"{RUN}={marker}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            pairs = (folder / "environ").read_bytes().split(b"\0")
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if wanted in pairs and state not in "ZX":
                texts = (pair.decode(errors="replace").partition("=") for pair in pairs)
                environment = {name: value for name, _, value in texts}
                yield Process(int(folder.name), int(session), environment)


def wait_for_end(pids: Iterable[int], until: float) -> bool:
    """Wait until all of *pids* have ended; False if it is later than *until* on the monotonic clock."""
    poll, open_ones = select.poll(), set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            poll.register(fd, select.POLLIN)
            open_ones.add(fd)
    try:
        while open_ones and (left := until - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                poll.unregister(fd)
                os.close(fd)
                open_ones.remove(fd)
        return not open_ones
    finally:
        for fd in open_ones:
            os.close(fd)


def kill_all(marker: str) -> None:
    """Kill every process of the run with *marker*."""
    for process in processes(marker):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
