"""Telling a forked child from the process that made it, without asking the system each time."""

from __future__ import annotations

import os
from collections.abc import Callable

process_id: Callable[[], int] = os.getpid
"""Return the number of this process; a test may replace `os.getpid`."""

process = object()
"""Stands for this process; it is another one in a forked child."""


def _become_another() -> None:
    global process
    process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_become_another)
