"""Ctrl-C, and SIGTERM, which ends a run as that does: CI sends it to cancel a job, and Python would just die of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, NoReturn

import pytest

from pytest_alchemy import forks

EXIT_CODE = 143
"""Exit code of a run that SIGTERM ended: 128 and the signal's number, as shells have it."""


def notice_interrupts(config: pytest.Config, note: Callable[[], object]) -> None:
    """
    Call *note* at every SIGINT until the end of the run, wherever that lands; what it does otherwise stays the same.

    A KeyboardInterrupt that comes while pytest deals with another one may be seen by no hook at all.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        return

    def handle(number: int, frame: FrameType | None) -> Any:
        note()
        return before(number, frame)

    def restore() -> None:
        if signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    config.add_cleanup(restore)


def end_on_sigterm(config: pytest.Config, wanted: Callable[[], bool] = lambda: True) -> None:
    """
    Handle SIGTERM until the end of the run; not if anybody else does, nor outside the main thread.

    In an xdist worker it raises KeyboardInterrupt, because a worker that exits with a code of its own is an internal
    error to its controller.

    Args:
        config: The run's configuration.
        wanted: Asked when the signal comes; if it says False the process dies as it would have without us.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    process, is_worker = forks.process, hasattr(config, "workerinput")

    def end(number: int, frame: FrameType | None) -> None:
        # A forked child of a test is not ours to end.
        if forks.process is not process or not wanted():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        if reminder.is_heard:  # sent to a process and to its group, say
            return
        if is_worker:
            raise KeyboardInterrupt
        reminder.is_due = True
        _exit()

    def restore() -> None:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    reminder = _Reminder(restore)
    config.pluginmanager.register(reminder)
    signal.signal(signal.SIGTERM, end)


class _Reminder:
    """
    Ends the run after a test that took the exit for a failure of its own: unlike Ctrl-C it is an `Exception`.

    Args:
        restore: Gives the signal back.
    """

    is_due = False
    is_heard = False
    """Whether pytest deals with it right now: then another one would end that half-way, with a traceback."""

    def __init__(self, restore: Callable[[], object]) -> None:
        self._restore = restore

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_keyboard_interrupt(self) -> Generator[None]:
        """The exit got through."""
        self.is_due = False
        self.is_heard = True
        try:
            return (yield)
        finally:
            self.is_heard = False

    def pytest_runtest_logfinish(self) -> None:
        """The exit did not get through."""
        if self.is_due:
            _exit()

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """The run is over. From now on pytest would let the exit through to Python, with a traceback and code 1."""
        self._restore()


def _exit() -> NoReturn:
    pytest.exit("SIGTERM", returncode=EXIT_CODE)
