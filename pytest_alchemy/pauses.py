"""Who has to wait for a provider, and until when: one refusal for too many calls holds for every caller."""

from __future__ import annotations

import threading

from pytest_alchemy import clock


class Pauses:
    """The pauses that the tasks and threads of this process share."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def left(self, provider: str) -> float:
        """Return how long *provider* is not to be called, in seconds; 0 if it may be called now."""
        until = self._until.get(provider)
        return 0.0 if until is None else max(0.0, until - clock.monotonic())

    def extend(self, provider: str, seconds: float) -> None:
        """Let nobody call *provider* for *seconds* from now; a longer pause that runs already stays."""
        until = clock.monotonic() + seconds
        with self._lock:
            self._until[provider] = max(until, self._until.get(provider, 0.0))
