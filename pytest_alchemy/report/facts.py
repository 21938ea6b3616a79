"""What a run has to tell about its scopes: how much was made, and what did not simply go away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final, Self

import msgspec

from pytest_alchemy.report.fates import LEAKS, What
from pytest_alchemy.report.texts import plain

# Of two facts about one thing the one further right is told: a later process knows better than the one that failed
# first, and what is gone is no leak any more, whichever of the two arrives first.
_FINALITY: Final[tuple[What, ...]] = (
    "destroyed",
    "untracked",
    "kept",
    "unfinished",
    "leaked",
    "unrecoverable",
    "elsewhere",
    "reaped",
)
_NUMBERS: Final = frozenset(("at", "ready", "ending", "ended", "seconds"))
_FREE_TEXTS: Final = frozenset(("reason", "hint", "world"))
_MOST_ERRORS: Final = 10


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    r"""
    What became of one thing.

    Texts are made fit for any encoding when a fact is made, cut in their middle if they are endless, and stripped of
    passwords where they hold errors, arguments or addresses.

    Attributes:
        what: ``leaked``: it could not be destroyed; ``unrecoverable``: nobody knows any more how to;
            ``elsewhere``: it lives in another world than the one at hand, so nothing was called;
            ``unfinished``: the run was cut short, and the watchdog destroys it after the run's end; or an earlier
            run left it, and it could not be destroyed now either;
            ``reaped``: another process destroyed it; ``untracked``: made around the scopes, and removed;
            ``kept``: still there because that was asked for; ``destroyed``: gone, as it should be.
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
        at: When its create began, in seconds since the epoch; 0 if nobody knows, like all moments.
        ready: When its create was over.
        ending: When its destroy began.
        ended: When its destroy was over, or given up.
        seconds: How long the reaping took; 0 if nobody knows.
        errors: What every failed attempt to create or destroy it said, oldest first; of many the last ones.
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
    ready: float = 0.0
    ending: float = 0.0
    ended: float = 0.0
    seconds: float = 0.0
    errors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value != default:
                msgspec.structs.force_setattr(self, name, self._fit(name, value))

    def _fit(self, name: str, value: Any) -> float | str | tuple[str, ...]:
        if name in _NUMBERS:
            return float(value)
        if name == "errors":
            return tuple(plain(error, is_free=True) for error in value[-_MOST_ERRORS:])
        is_free = name in _FREE_TEXTS or (self.kind == "deferred" and name in ("id", "name"))
        return plain(value, is_free=is_free)

    @property
    def is_leak(self) -> bool:
        """Whether it is still there although its scope is over and nobody asked to keep it."""
        return self.what in LEAKS

    @property
    def identity(self) -> tuple[str | float, ...]:
        """
        What two facts about one and the same thing have in common.

        A physical name is given once in a stage. A deferred call has none, what is untracked may come back with every
        test, and what was destroyed may be made again, so that those are told apart by place and moment as well.
        """
        same = (self.app, self.stage, self.kind, self.id, self.name)
        if self.what in ("untracked", "destroyed") or self.kind == "deferred":
            # A state file has seen the moment to the microsecond.
            return (*same, self.scope, self.test, self.where, round(self.at, 6))
        return same

    @property
    def creating(self) -> float:
        """How long its create took, in seconds; 0 if nobody knows."""
        return max(0.0, self.ready - self.at) if self.ready and self.at else 0.0

    @property
    def destroying(self) -> float:
        """How long its destroy took, with all waiting and trying again, in seconds; 0 if nobody knows."""
        return max(0.0, self.ended - self.ending) if self.ended and self.ending else 0.0

    def place(self, rootdir: PurePath) -> tuple[str, int | None]:
        """Return the file that made it, relative to *rootdir* if it lies below, and the line if anybody knows it."""
        file, _, line = self.where.rpartition(":")
        if not (file and line.isdecimal()):
            return below(rootdir, self.where), None
        return below(rootdir, file), int(line)

    def as_dict(self) -> dict[str, Any]:
        """Return what is known of it as plain data, as ``from_dict`` takes it, here or in another process."""
        values = {name: getattr(self, name) for name in _DEFAULTS}
        return {name: value for name, value in values.items() if value != _DEFAULTS[name]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the fact that ``as_dict`` wrote down."""
        return cls(**data)

    def changed(self, **changes: Any) -> Self:
        """Return it with *changes*, which are made fit like everything in it."""
        # msgspec before 0.21 replaces a field without asking `__post_init__`.
        return self.from_dict({**self.as_dict(), **changes})


# What each field is if nobody says so; NODEFAULT for those that have to be said.
_DEFAULTS: Final[dict[str, Any]] = {
    **dict.fromkeys(Fact.__struct_fields__, msgspec.NODEFAULT),
    **dict(zip(reversed(Fact.__struct_fields__), reversed(Fact.__struct_defaults__), strict=False)),
}


def below(rootdir: PurePath, path: str) -> str:
    """Return *path* relative to *rootdir*, with slashes, if it lies below it; else as it is."""
    try:
        return PurePath(path).relative_to(rootdir).as_posix()
    except ValueError:
        return path


def resolve(first: Fact, second: Fact) -> Fact:
    """
    Return what is to be told of one thing that was reported twice.

    The more final fact is told, and between equals the later one: destroyed, untracked, kept, unfinished, leaked,
    unrecoverable, elsewhere, reaped. So a leak that somebody could reap in the end is not a leak, whichever report
    arrives first. Who made the thing, where and when is taken from the other fact if the one that is told does not
    know it; why it is still there, if both say the same became of it.

    Args:
        first: What was known so far.
        second: What arrived now, of the same identity.
    """
    told, other = second, first
    if _FINALITY.index(first.what) > _FINALITY.index(second.what):
        told, other = first, second
    same = told.what == other.what
    return told.changed(
        reason=told.reason or (other.reason if same else ""),
        hint=told.hint or (other.hint if same else ""),
        profile=told.profile or other.profile,
        world=told.world or other.world,
        worker=told.worker or other.worker,
        test=told.test or other.test,
        where=told.where or other.where,
        at=told.at or other.at,
        ready=told.ready or other.ready,
        ending=told.ending or other.ending,
        errors=told.errors or other.errors,
    )
