"""What providers list by names of ours: what a lost machine left, found and destroyed without any state."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from pytest_alchemy import clock, physicalnames
from pytest_alchemy.ambient import current
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.entry import Entry, Status
from pytest_alchemy.errors import CannotBeListedError, NothingOutlivesError
from pytest_alchemy.kinds import Kind
from pytest_alchemy.lifecycle import exists, summary
from pytest_alchemy.records import Intent, StageOpened
from pytest_alchemy.recovery.found import living_runs
from pytest_alchemy.recovery.outcome import Outcome
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.teardown import Teardown

RECENT: Final = 5.0
"""How old the listing may be by which something is destroyed whose kind cannot be read by name, in seconds."""

_CLOCK_SET = physicalnames.FIRST_MOMENT
_SHORT = 24


@dataclass(frozen=True, slots=True)
class FoundName:
    """
    One thing of ours that a provider listed.

    Attributes:
        kind: Its kind.
        name: Its physical name.
        run: Id of the run that made it, empty in a lasting stage.
        expires: Until when it may be wanted, in seconds since the epoch; 0.0 in a lasting stage.
        world: Where it lives.
        why_not: Why it is left alone, in words that follow its name; empty if it is to be destroyed.
    """

    kind: Kind
    name: str
    run: str
    expires: float
    world: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Which names are to be destroyed.

    Attributes:
        app: Name of the application; others' names are nobody's business here.
        older_than: How long a thing's time has to be over, in seconds.
        recorded: Names that stages under the root record, each with its stage, which knows more than the name.
    """

    app: str
    older_than: float = 0.0
    recorded: Mapping[str, str] | None = None

    def judge(self, kind: Kind, name: str, world: str, living: Collection[str]) -> FoundName | None:
        """
        Return what *name* tells and whether the thing is to be destroyed; None if it is not provably ours.

        Args:
            kind: The kind that listed it.
            name: Any text.
            world: Where it lives.
            living: Ids of the runs that are not over.
        """
        said = physicalnames.parse(name)
        if said is None or not physicalnames.is_app(said, self.app):
            return None
        if len(name) == _SHORT and not kind.name_rule.is_short:  # less proof than its names hold
            return None
        why_not = self._why_not(said, name, living)
        return FoundName(kind, name, said.run or "", said.expires or 0.0, world, why_not)

    def _why_not(self, said: physicalnames.Identity, name: str, living: Collection[str]) -> str:
        if said.run is None or said.expires is None:
            return "it outlives its programs"
        if said.run in living:
            return "its run goes on"
        if self.recorded and name in self.recorded:
            return f"stage {self.recorded[name]} records it"
        if said.expires <= _CLOCK_SET:
            return "the clock of its run was wrong"
        if said.expires + self.older_than > clock.now():
            return "it may still be wanted"
        return ""


class Provider:
    """
    Lists and destroys what lives in one account, by name alone.

    Args:
        settings: Which application and account.
        root: The folder ``.alchemy``: what runs under it make is left alone.
        rule: Which names are to be destroyed.
    """

    def __init__(self, settings: Settings, root: Path, rule: Rule) -> None:
        self._root, self._rule = root, rule
        self._driver = BlockingDriver()
        # Nothing is recorded: a sweep that is killed leaves no more than it found.
        self._scope = Scope(Stage(settings, "sweep", None, Program(), _refuse))
        self._listed: dict[Kind, tuple[float, frozenset[str]]] = {}

    def find(self, kind: Kind) -> tuple[list[FoundName], int]:
        """
        Return the names of *kind* that are ours, in their order, and how many others there are.

        Raises:
            CannotBeListedError: The kind has no ``list`` or no ``destroy``, or lists what is no name.
            NothingOutlivesError: The account is in this process's own memory.
            Exception: What the kind's ``list`` raised.
        """
        _check(kind)
        world = self._world(kind)
        if world.startswith("memory:"):
            raise NothingOutlivesError(kind.title)
        listed, living = self._list(kind), living_runs(self._root)
        judged = (self._rule.judge(kind, name, world, living) for name in sorted(listed))
        found = [name for name in judged if name is not None]
        return found, len(listed) - len(found)

    def destroy(self, found: Iterable[FoundName]) -> Iterator[Outcome]:
        """
        Destroy what was found, and say what became of each.

        Right before that each is looked for again, and judged again. What cannot be destroyed gets another turn
        for as long as others go, because names do not tell what needs what.
        """
        self._listed.clear()
        left = [name for name in found if not name.why_not]
        while left:
            failed = []
            for name in left:
                outcome = self._destroy(name)
                if outcome.what == "left":
                    failed.append((name, outcome))
                else:
                    yield outcome
            if len(failed) == len(left):
                yield from (outcome for _, outcome in failed)
                return
            left = [name for name, _ in failed]

    def _destroy(self, found: FoundName) -> Outcome:
        judged = self._rule.judge(found.kind, found.name, found.world, living_runs(self._root))
        if judged is None or judged.why_not:
            return _outcome("spared", found, judged.why_not if judged else "it is not ours")
        entry = self._entry(found.kind, found.name, found.world)
        try:
            if not self._is_there(entry):
                return _outcome("gone", found)
        except Exception as error:  # a user's `read` or `list`: the others still get their turn
            return _outcome("left", found, _missing(entry, error) or summary(error))
        entry.status = Status.CREATED
        outcome = run_blocking(Teardown([entry], self._driver, None).run("sequential"))
        for failure in outcome.failures:
            return _outcome("left", found, _missing(entry, failure.error) or failure.reason)
        return _outcome("destroyed", found)

    def _is_there(self, entry: Entry) -> bool:
        if "read" in entry.kind.hooks:
            return run_blocking(exists(entry, self._driver))
        when, listed = self._listed.get(entry.kind, (0.0, frozenset()))
        if not when or clock.monotonic() - when > RECENT:
            listed = self._list(entry.kind)
            self._listed[entry.kind] = clock.monotonic(), listed
        return entry.name in listed

    def _list(self, kind: Kind) -> frozenset[str]:
        before = current.set(self._scope)
        try:
            said, _ = run_blocking(self._driver.call(kind.cls.list))
            listed = frozenset(said)
        finally:
            current.reset(before)
        if isinstance(said, str) or not all(isinstance(name, str) for name in listed):
            raise CannotBeListedError(
                kind.title, "its list() returned something that is no list of names"
            )
        return listed

    def _world(self, kind: Kind) -> str:
        entry = self._entry(kind, "", "")
        return str(entry.resource.world()) if "world" in kind.hooks else ""

    def _entry(self, kind: Kind, name: str, world: str) -> Entry:
        """Return the entry of a thing of which nothing but the name is known."""
        known = Intent(1, (), kind.name, name, name, world, {}, at=clock.now())
        resource = kind.unknown(name)
        entry = Entry.recalled(self._scope, kind, resource, known, created=False, settled=True)
        entry.recorded = False
        return entry


def _refuse(_: StageOpened) -> NoReturn:
    raise RuntimeError("a sweep by name records nothing")


def _check(kind: Kind) -> None:
    missing = [hook for hook in ("list", "destroy") if hook not in kind.hooks]
    if missing:
        raise CannotBeListedError(kind.title, f"it has no {' and no '.join(missing)}")
    if not inspect.ismethod(kind.cls.list):
        raise CannotBeListedError(kind.title, "its list is no classmethod")


def _missing(entry: Entry, error: BaseException | None) -> str:
    """Return that a hook asked for a property or an output that a name does not tell, empty if that is not it."""
    if isinstance(error, AttributeError) and error.obj is entry.resource:
        known: Mapping[str, Any] = {**entry.kind.fields(), **entry.kind.outputs}
        if error.name in known:
            return f"its hook needs {error.name!r}, which its name does not tell"
    return ""


def _outcome(what: Any, found: FoundName, reason: str = "") -> Outcome:
    return Outcome(what, found.kind.title, found.name, found.name, found.world, reason)
