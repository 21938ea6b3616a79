"""
All that one run has to tell: numbers, and the facts behind them.

An xdist controller imports it in every run, also where no scope is used. So facts are imported with the first one.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pytest_alchemy.report.fates import LEAKS, WHATS, LeaksMode, Told

if TYPE_CHECKING:
    from pytest_alchemy.report.facts import Fact

MOST: Final = 10_000
"""How many problems a book holds one by one, and how much that was destroyed; the rest is only counted."""

_Identity = tuple[str | float, ...]
_COUNTS: Final = ("created", "destroyed", "scopes")


class FactBook:
    """
    All that is known of one run, or of one worker's part of it; any thread may write into it.

    What was reaped is not counted as destroyed: created is destroyed, reaped, kept and leaked together, less what
    other runs had left.

    Args:
        title: What the counts are about, ``my-app/test-k3f9x2ab``; empty if there is no good name for it.

    Attributes:
        created: How many resources were created.
        destroyed: How many of them their own process destroyed.
        scopes: How many scopes were used.
        retries: How often a destroy was tried again, by what the attempt before had met: ``429``, ``RuntimeError``.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.created = 0
        self.destroyed = 0
        self.scopes = 0
        self.retries: Counter[str] = Counter()
        self._facts: dict[_Identity, Fact] = {}
        self._gone: dict[_Identity, Fact] = {}
        self._quickest: list[tuple[float, _Identity]] = []
        self._unlisted: Counter[str] = Counter()
        self._unsent: dict[_Identity, Fact] = {}
        self._sent: dict[str, int] = dict.fromkeys(_COUNTS, 0)
        self._sent_more: dict[str, Counter[str]] = {"retries": Counter(), "unlisted": Counter()}
        self._lock = threading.Lock()

    @property
    def facts(self) -> list[Fact]:
        """Every fact that is told one by one, in order of arrival; of very many only the first."""
        with self._lock:
            return list(self._facts.values())

    @property
    def gone(self) -> list[Fact]:
        """What was destroyed as it should be, where anybody noted it; of very many what took longest."""
        with self._lock:
            return list(self._gone.values())

    @property
    def leaks(self) -> list[Fact]:
        """The facts about what is still there although its scope is over."""
        return [fact for fact in self.facts if fact.is_leak]

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to tell, because no scope was used and nothing was found."""
        return not (self.scopes or self.created or self.destroyed or self._facts)

    def add(self, fact: Fact) -> None:
        """Take note of *fact*; of a thing that is known already, as `resolve` says."""
        identity = fact.identity
        with self._lock:
            if fact.what == "destroyed":
                self._add_gone(identity, fact)
                return
            known = self._facts.get(identity)
            if known is None and len(self._facts) >= MOST:
                self._unlisted[fact.what] += 1
                return
            if known is not None:
                from pytest_alchemy.report.facts import resolve

                fact = resolve(known, fact)
            self._facts[identity] = self._unsent[identity] = fact

    def count(
        self,
        *,
        created: int = 0,
        destroyed: int = 0,
        scopes: int = 0,
        retries: Mapping[str, int] | None = None,
    ) -> None:
        """Add to the counts."""
        with self._lock:
            self.created += created
            self.destroyed += destroyed
            self.scopes += scopes
            if retries:
                self.retries.update(retries)

    def counts(self) -> dict[str, int]:
        """Return how much was created and destroyed, in how many scopes."""
        return {name: getattr(self, name) for name in _COUNTS}

    def tally(self) -> dict[Told, int]:
        """Return how many facts of each sort there are, the worst first, zeros included."""
        found = Counter(fact.what for fact in self.facts)
        return {what: found[what] + self._unlisted[what] for what in WHATS}

    def fails_run(self, leaks_mode: LeaksMode) -> bool:
        """Whether a run that is green otherwise has to end with exit code 1."""
        return leaks_mode == "fail" and any(self.tally()[what] for what in WHATS if what in LEAKS)

    def drain(self) -> dict[str, Any]:
        """
        Return what is new since the last call, as plain data for `merge` in another process.

        Returns:
            An empty dict if nothing is new.
        """
        with self._lock:
            counts = self.counts()
            news: dict[str, Any] = {
                name: number - self._sent[name]
                for name, number in counts.items()
                if number != self._sent[name]
            }
            for name, numbers in (("retries", self.retries), ("unlisted", self._unlisted)):
                if more := numbers - self._sent_more[name]:
                    news[name] = dict(more)
                    self._sent_more[name] = Counter(numbers)
            if self._unsent:
                news["facts"] = [fact.as_dict() for fact in self._unsent.values()]
            self._sent = counts
            self._unsent = {}
        return news

    def merge(self, data: Mapping[str, Any]) -> None:
        """Add what another book's `drain` returned; each piece once."""
        self.count(
            **{name: data[name] for name in _COUNTS if name in data}, retries=data.get("retries")
        )
        with self._lock:
            self._unlisted.update(data.get("unlisted", {}))
        if "facts" in data:
            from pytest_alchemy.report.facts import Fact

            self.add_all(Fact.from_dict(fact) for fact in data["facts"])

    def add_all(self, facts: Iterable[Fact]) -> None:
        """Take note of all of *facts*."""
        for fact in facts:
            self.add(fact)

    def _add_gone(self, identity: _Identity, fact: Fact) -> None:
        if identity not in self._gone:
            mark = (fact.creating + fact.destroying, identity)
            if len(self._gone) < MOST:
                heapq.heappush(self._quickest, mark)
            else:
                _, quickest = heapq.heappushpop(self._quickest, mark)
                if quickest == identity:
                    return
                del self._gone[quickest]
                self._unsent.pop(quickest, None)
        self._gone[identity] = self._unsent[identity] = fact
