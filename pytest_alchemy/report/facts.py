"""What a run has to tell about its scopes: how much was made, and what did not simply go away."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import PurePath
from typing import Any, Final, Literal, Self, get_args

What = Literal["leaked", "unrecoverable", "unfinished", "reaped", "untracked", "kept"]
LeaksMode = Literal["fail", "warn", "off"]

WHATS: Final[tuple[What, ...]] = get_args(What)
"""In the order in which a report tells them: the worst first."""

LEAKS: Final[frozenset[What]] = frozenset(("leaked", "unrecoverable"))
"""What is still there although its scope is over and nobody asked to keep it."""

# Of two facts about one thing the one further right is told: a later process knows better than the one that failed
# first, and what is gone is no leak any more, whichever of the two arrives first.
_FINALITY: Final[tuple[What, ...]] = (
    "untracked",
    "kept",
    "unfinished",
    "leaked",
    "unrecoverable",
    "reaped",
)
_NUMBERS: Final = ("at", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    r"""
    One thing that did not simply go away at the end of its scope.

    Texts are made fit for any encoding when a fact is made: half a surrogate pair becomes ``\udcff``.

    Attributes:
        what: ``leaked``: it could not be destroyed; ``unrecoverable``: nobody knows any more how to;
            ``unfinished``: the run was cut short, and the watchdog destroys it after the run's end;
            ``reaped``: another process destroyed it; ``untracked``: made around the scopes, and removed;
            ``kept``: still there because that was asked for.
        kind: What messages call it (``D1Database``), or ``deferred``.
        id: The id its author gave; of a deferred call the call (``delete_bucket('uploads')``).
        name: Its physical name.
        scope: Title of the scope that owned it (``my-app/test-gw0-k3f9x2ab/tests/test_a.py::test_b``).
        stage: Full name of the stage.
        app: Name of the application.
        profile: Name of the credentials it was made with.
        world: Where it lives.
        worker: xdist worker id of whoever made it, ``main`` without workers.
        test: Node id of the test that ran when it was made.
        where: ``file:line`` of the code that made it, the file absolute.
        reason: Why it is still there, or how it was reaped.
        hint: What to do about it.
        at: When it was made, in seconds since the epoch; 0 if nobody knows.
        seconds: How long the reaping took; 0 if nobody knows.
    """

    what: What
    kind: str
    id: str
    name: str
    scope: str
    stage: str
    app: str
    profile: str = ""
    world: str = ""
    worker: str = ""
    test: str = ""
    where: str = ""
    reason: str = ""
    hint: str = ""
    at: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            plain = float(value) if field.name in _NUMBERS else _text(value)
            object.__setattr__(self, field.name, plain)

    @property
    def is_leak(self) -> bool:
        """Whether it is still there although its scope is over and nobody asked to keep it."""
        return self.what in LEAKS

    @property
    def identity(self) -> tuple[str | float, ...]:
        """
        What two facts about one and the same thing have in common.

        A physical name is given once in a stage. A deferred call has none, and what is untracked may come back
        with every test, so that those are told apart by place and moment as well.
        """
        same = (self.app, self.stage, self.kind, self.id, self.name)
        if self.what == "untracked" or self.kind == "deferred":
            # A state file has seen the moment to the microsecond.
            return (*same, self.scope, self.test, self.where, round(self.at, 6))
        return same

    def place(self, rootdir: PurePath) -> tuple[str, int | None]:
        """Return the file that made it, relative to *rootdir* if it lies below, and the line if anybody knows it."""
        file, _, line = self.where.rpartition(":")
        if not (file and line.isdecimal()):
            return below(rootdir, self.where), None
        return below(rootdir, file), int(line)

    def as_dict(self) -> dict[str, Any]:
        """Return it as texts and numbers, as ``from_dict`` takes it, here or in another process."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the fact that ``as_dict`` wrote down."""
        return cls(**data)


def below(rootdir: PurePath, path: str) -> str:
    """Return *path* relative to *rootdir*, with slashes, if it lies below it; else as it is."""
    try:
        return PurePath(path).relative_to(rootdir).as_posix()
    except ValueError:
        return path


def resolve(first: Fact, second: Fact) -> Fact:
    """
    Return what is to be told of one thing that was reported twice.

    The more final fact is told, and between equals the later one: untracked, kept, unfinished, leaked,
    unrecoverable, reaped. So a leak that somebody could reap in the end is not a leak, whichever report arrives
    first. Who made the thing, where and when is taken from the other fact if the one that is told does not know it;
    why it is still there, if both say the same became of it.

    Args:
        first: What was known so far.
        second: What arrived now, of the same identity.
    """
    told, other = second, first
    if _FINALITY.index(first.what) > _FINALITY.index(second.what):
        told, other = first, second
    same = told.what == other.what
    return replace(
        told,
        reason=told.reason or (other.reason if same else ""),
        hint=told.hint or (other.hint if same else ""),
        profile=told.profile or other.profile,
        world=told.world or other.world,
        worker=told.worker or other.worker,
        test=told.test or other.test,
        where=told.where or other.where,
        at=told.at or other.at,
    )


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
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.created = 0
        self.destroyed = 0
        self.scopes = 0
        self._facts: dict[tuple[str | float, ...], Fact] = {}
        self._unsent: dict[tuple[str | float, ...], Fact] = {}
        self._sent = {"created": 0, "destroyed": 0, "scopes": 0}
        self._lock = threading.Lock()

    @property
    def facts(self) -> list[Fact]:
        """Every fact once, in order of arrival."""
        with self._lock:
            return list(self._facts.values())

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
        with self._lock:
            known = self._facts.get(fact.identity)
            told = fact if known is None else resolve(known, fact)
            self._facts[fact.identity] = self._unsent[fact.identity] = told

    def count(self, *, created: int = 0, destroyed: int = 0, scopes: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            self.created += created
            self.destroyed += destroyed
            self.scopes += scopes

    def tally(self) -> dict[What, int]:
        """Return how many facts of each sort there are, the worst first, zeros included."""
        numbers = dict.fromkeys(WHATS, 0)
        for fact in self.facts:
            numbers[fact.what] += 1
        return numbers

    def fails_run(self, leaks_mode: LeaksMode) -> bool:
        """Whether a run that is green otherwise has to end with exit code 1."""
        return leaks_mode == "fail" and bool(self.leaks)

    def drain(self) -> dict[str, Any]:
        """
        Return what is new since the last call, as plain data for `merge` in another process.

        Returns:
            An empty dict if nothing is new.
        """
        with self._lock:
            counts = {name: getattr(self, name) for name in self._sent}
            news: dict[str, Any] = {
                name: number - self._sent[name]
                for name, number in counts.items()
                if number != self._sent[name]
            }
            if self._unsent:
                news["facts"] = [fact.as_dict() for fact in self._unsent.values()]
            self._sent = counts
            self._unsent = {}
        return news

    def merge(self, data: Mapping[str, Any]) -> None:
        """Add what another book's `drain` returned; each piece once."""
        numbers = {name: number for name, number in data.items() if name != "facts"}
        self.count(**numbers)
        for fact in data.get("facts", ()):
            self.add(Fact.from_dict(fact))


def _text(value: object) -> str:
    # Also makes a plain text of a subclass, which execnet would refuse to send.
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
