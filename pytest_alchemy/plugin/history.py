"""When each thing was made and unmade, for a run that is asked for a report or for durations."""

from __future__ import annotations

from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.deferred import Owned
from pytest_alchemy.entry import Entry
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.facts import Fact


class History:
    """
    Notes moments and failed attempts, and writes what was destroyed into *book*; any thread may call it.

    Args:
        book: All that is known of the run.
    """

    def __init__(self, book: FactBook) -> None:
        self._book = book
        self._ready: dict[Owned, float] = {}
        self._ending: dict[Owned, float] = {}
        self._errors: dict[Owned, list[str]] = {}

    def created(self, entry: Entry) -> None:
        self._ready[entry] = clock.now()

    def destroying(self, owned: Owned) -> None:
        self._ending.setdefault(owned, clock.now())

    def failed(self, owned: Owned, error: str) -> None:
        self._errors.setdefault(owned, []).append(error)

    def destroyed(self, owned: Owned) -> None:
        if owned in self._ending:
            self._book.add(Fact(what="destroyed", **owned.facts(), **self.of(owned)))

    def of(self, owned: Owned) -> dict[str, Any]:
        """Return what a fact says of the past of *owned*, which ends now."""
        return {
            "ready": self._ready.pop(owned, 0.0),
            "ending": self._ending.pop(owned, 0.0),
            "ended": clock.now(),
            "errors": tuple(self._errors.pop(owned, ())),
        }
