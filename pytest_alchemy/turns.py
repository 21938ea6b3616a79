"""One step at a time: whoever wants the same thing meanwhile waits for its turn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_alchemy.late import Late, running_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from concurrent import futures
else:
    futures = Late("concurrent.futures")

# One for all: it is held for a few instructions only.
_lock = threading.Lock()


class Turns:
    """
    Something that one step at a time works on: it is created, or changed, or destroyed.

    Attributes:
        busy: Whether one does. A step may set this to False itself before it calls `end`: an interrupt may come at
            the very entry of a call, and what is busy then would be so for ever.
    """

    __slots__ = ("_left_in", "_loop", "_waiting", "busy")

    def __init__(self, *, busy: bool = False) -> None:
        self.busy = busy
        self._loop = running_loop() if busy else None
        self._left_in: AbstractEventLoop | None = None
        self._waiting: futures.Future[None] | None = None

    def begin(self) -> futures.Future[None] | None:
        """
        Take the turn.

        A step whose event loop has stopped may not end any more, so its turn is taken from it (see `may_go_on`).

        Returns:
            None if the turn is yours; else what is done once somebody else's is over: then try again.
        """
        taken = False
        try:
            with _lock:
                if self.busy and (self._loop is None or self._loop.is_running()):
                    if self._waiting is None:
                        self._waiting = futures.Future()
                    if self.busy:  # still, now that whoever ends it sees that somebody waits
                        return self._waiting
                if self.busy:
                    self._left_in = self._loop
                self._loop = running_loop()
                self.busy = taken = True
                return None
        except BaseException:  # an interrupt may come when the lock is given back
            if taken:
                self.busy = False
            raise

    @property
    def may_go_on(self) -> bool:
        """Whether a step that a turn was taken from goes on when its event loop does, which is not closed."""
        return self._left_in is not None and not self._left_in.is_closed()

    def end(self) -> None:
        """Give the turn back, and wake whoever waits for it."""
        self.busy = False
        # Looked at last, as whoever waits looks last whether it is busy.
        if self._waiting is not None:
            with _lock:
                waiting, self._waiting = self._waiting, None
            if waiting is not None:
                waiting.set_result(None)
