"""Cutting off what hangs in the main thread: plain hooks block it, and nothing but a signal reaches them there."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` is made of has no stubs
import signal
import threading
from collections.abc import Callable, Collection
from types import CodeType, FrameType, TracebackType
from typing import Any, Self

from pytest_alchemy import clock

_TICK = 0.25
"""How often a limit is looked at, in seconds: what takes less time than this costs nothing."""

# The functions of `signal` without its enums, which take ten times as long as everything else here.
_handle: Callable[[int, Any], Any] = _signal.signal
_handler: Callable[[int], Any] = _signal.getsignal


class Alarm:
    """
    Raises TimeoutError in the main thread when the limit that was set last is over.

    Does nothing in other threads, on systems without interval timers, and while somebody else (pytest-timeout) uses
    the timer: then that one cuts off what hangs.

    Args:
        within: Code of functions: it rings only while one of them runs, so that an event loop that waits for
            something else is left alone. Empty for everywhere.
        tick: Called with the alarm in the main thread now and then, whatever that is doing.

    Attributes:
        until: The limit, a moment of `clock.monotonic`; None for no limit.
    """

    def __init__(
        self,
        within: Collection[CodeType] = (),
        tick: Callable[[Alarm], object] = lambda alarm: None,
    ) -> None:
        self._within, self._tick = within, tick
        self.until: float | None = None
        self._before: Any = None
        self._armed = False

    def __enter__(self) -> Self:
        self.arm()
        return self

    def arm(self) -> None:
        """Use the timer from now on, if nobody else does; quiet if it is in use by this alarm."""
        if (
            not self._armed
            and hasattr(signal, "setitimer")
            and threading.current_thread() is threading.main_thread()
            and signal.getitimer(signal.ITIMER_REAL)[0] == 0
        ):
            self._before, self._armed = _handler(signal.SIGALRM), True
            try:
                _handle(signal.SIGALRM, self._ring)
                signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
            except BaseException:  # an interrupt may come after each of them
                self.disarm()
                raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.until = None
        self.disarm()

    def disarm(self) -> None:
        """Give the timer back; quiet if that is done. An interrupt may come here, too: then call it again."""
        if self._armed:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
            finally:
                _handle(signal.SIGALRM, self._before)
                self._armed = False

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self._tick(self)
        if self.until is not None and clock.monotonic() > self.until and self._is_within(frame):
            self.until = None
            raise TimeoutError("it took too long and was cut off")

    def _is_within(self, frame: FrameType | None) -> bool:
        if not self._within:
            return True
        while frame is not None and frame.f_code not in self._within:
            frame = frame.f_back
        return frame is not None
