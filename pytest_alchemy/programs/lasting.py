"""Scopes of a stage that outlives its programs: what is declared is compared with what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self

from pytest_alchemy import clock, lifecycle, plan
from pytest_alchemy.binding import describe
from pytest_alchemy.callers import where
from pytest_alchemy.driver import ASYNC, BLOCKING, Driver, refuse_in_coroutine, run_blocking
from pytest_alchemy.entry import CREATED, DESTROYED, Call, Entry
from pytest_alchemy.errors import (
    AlreadyExistsError,
    BlockEndedError,
    ChangedWithinRunError,
    MustReplaceError,
    NotInOtherProcessError,
    NotRecordedError,
)
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.plan import Step
from pytest_alchemy.programs.recorded import LastingEntry
from pytest_alchemy.programs.recordedscope import RecordedScope
from pytest_alchemy.records import Created, Live
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope, check_call
from pytest_alchemy.settings import Phase
from pytest_alchemy.stage import kind_seen
from pytest_alchemy.teardown import Teardown
from pytest_alchemy.values import says

P = ParamSpec("P")

_KEEP = Step.KEEP  # each look at a member of an enum takes as long as three calls of functions


class LastingScope(RecordedScope):
    """
    A scope of a stage that outlives its programs.

    What it is asked to create is compared with what earlier programs recorded: it is created, kept, updated in
    place, or replaced. What is recorded and no longer declared is destroyed when the scope is finalized: a nested
    one at the end of its block, the application's by `finalize`. A block that has ended is not opened again: what the
    second one declares, the end of the first one would have destroyed.
    """

    _blocks = 0
    """How many blocks of it are open: several tasks or threads may have one each."""

    @property
    def phase(self) -> Phase:
        """What its program was run for."""
        return self.recorded.wishes.phase

    @property
    def is_planned(self) -> bool:
        """Whether nothing is made in it, but only said to be: in a plan."""
        return self.recorded.wishes.plan_only

    @property
    def resources(self) -> list[Resource]:
        """The resources that exist in this scope itself, in order of creation; not what another has replaced."""
        existing = {entry.key: (entry, resource) for entry, resource in self.existing()}
        return [
            resource
            for entry, resource in existing.values()
            if existing.get((entry.kind.name, entry.id), (entry,))[0] is entry
        ]

    def child(self, name: str, **more: Any) -> Scope:
        """Return a new scope inside this one, of the same sort."""
        child = LastingScope(self.root, parent=self, name=name, **more)
        child.recorded = self.recorded
        return child

    def defer(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Call *function* once this is no longer declared, or the stage is destroyed.

        Raises:
            NotInOtherProcessError: It is no module-level function with JSON-able arguments.
            ScopeClosedError: The scope is closing or closed.
            TypeError: *function* cannot be called like that.
        """
        check_call(function, args, kwargs)
        call = Call(self, function, args, kwargs, where())
        self.refuse_if_closed(call.title)
        if not call.importable:
            raise NotInOtherProcessError(call.title, self.title)
        if self.phase != "up":
            return
        if known := self.recorded.calls(call):
            self.recorded.declared.update(live.entry.seq for live in known)
            return
        self.recorded.declared.add(call.seq)
        if not self.recorded.wishes.plan_only:
            self.root.record(call.line())
            call.recorded = True
            self.take_in(call, call.title)

    def __enter__(self) -> Self:
        refuse_in_coroutine("with", "async with")
        self._open_block()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        run_blocking(self.leave(error, BLOCKING))

    async def __aenter__(self) -> Self:
        self._open_block()
        return super().__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        Scope.__exit__(self, kind, error, trace)
        await self.leave(error, ASYNC)

    async def leave(self, error: BaseException | None, driver: Driver) -> None:
        """End the block of this scope: its program may have died half-way, or declared all that it wants."""
        with self.root.lock:
            self._blocks -= 1
            is_last = not self._blocks
        if error is not None:
            self.recorded.spared.add(self.place)
        elif is_last:
            # The resource around it may be changed in this very program, and open it again.
            if self.owner is None and self.phase == "up":
                self.start_closing()
            await self.collect(driver)

    def _open_block(self) -> None:
        with self.root.lock:
            if self.is_closing and self.parent is not None and not self.parent.is_closing:
                raise BlockEndedError(self.title)
            self._blocks += 1

    # The steps of one declaration.

    async def _make(self, resource: Resource, driver: Driver) -> Resource:
        lifecycle.admit(self, resource)
        kind = kind_of(type(resource))
        if profile := resource._alchemy.profile:
            self.root.check_profile(profile, describe(resource))
        if self.root.know(kind):
            self._renew(kind)
        if self.recorded.wishes.phase == "read":
            return self._read(kind, resource)
        made: Resource | None = None
        while made is None:
            known: Any = self.owned.get((kind.name, resource.id))
            if known is not None:
                made = await self._declare(known, resource, driver)
            elif (live := self.recorded.newest(self.place, kind.name, resource.id)) is None:
                made = await self._new(kind, resource, driver, None)
            elif self._is_unchanged(kind, live, resource):
                made = self._again(kind, live, resource)
            else:
                made = await self._declare(self._recall(live, resource), resource, driver)
        if self.recorded.listener is not None and not self.recorded.wishes.plan_only:
            self._done(made)
        return made

    def _renew(self, kind: Kind) -> None:
        """Record where the class of *kind* is now, if it is not where it was when something was made of it."""
        seen = self.recorded.kinds.get(kind.name)
        if seen and kind.importable and seen != kind_seen(kind) and self.recorded.wishes.may_act:
            self.root.record_kind(kind)

    def _done(self, made: Resource) -> None:
        entry = self.owned.get((kind_of(type(made)).name, made.id))
        if entry is not None:
            self.recorded.done(entry)

    def _read(self, kind: Kind, resource: Resource) -> Resource:
        """Return *resource* as it is recorded; nothing is called."""
        live = self.recorded.newest(self.place, kind.name, resource.id, created=True)
        if live is None:
            raise NotRecordedError(describe(resource), self.title)
        entry = LastingEntry.of(self, kind, resource, live)
        try:
            self.owned.setdefault(entry.key, entry)
            entry.profile = Entry.profile_of(self, resource)
            kind.fill(resource, kind.fields(), live.props, self.top.resolve)
            kind.fill(resource, kind.outputs, live.outputs or {}, self.top.resolve)
        finally:
            entry.end()
        return resource

    def _is_unchanged(self, kind: Kind, live: Live, resource: Resource) -> bool:
        """Tell whether *resource* is what *live* records, so that nothing is to be done with it."""
        return (
            live.created
            and live.updating is None
            and not live.adopting
            and not live.in_doubt
            and not self.recorded.wishes.force
            and live.entry.seq not in self.owned  # else it was replaced, and its successor is gone
            and _records(kind, live.props, resource)
        )

    def _again(self, kind: Kind, live: Live, resource: Resource) -> Resource | None:
        """Let *resource* stand for what *live* records of it; None if it has to be tried again: others came first."""
        entry: LastingEntry | None = None
        try:
            with self.root.lock:  # a finalization that has begun takes it for undeclared
                self.refuse_if_closed(resource)
                entry = LastingEntry.of(self, kind, resource, live)
                if entry.seq in self.owned or self.owned.setdefault(entry.key, entry) is not entry:
                    return None
                self.recorded.declared.add(entry.seq)
            entry.where = resource._alchemy.where
            kind.fill(resource, kind.outputs, live.outputs or {}, self.top.resolve)
            self._spare_inside(entry)  # also if the account at hand is another one
            self._check_account(entry, resource)
            self.recorded.note(_KEEP, entry)
            self._relink(entry)
        finally:
            if entry is not None:
                entry.busy = False
                entry.end()
        return resource

    def _recall(self, live: Live, resource: Resource) -> Any:
        """Return the entry of what earlier programs recorded, which is not what *resource* declares."""
        self.refuse_if_closed(resource)
        return self.recall(live)

    async def _declare(
        self, entry: LastingEntry, resource: Resource, driver: Driver
    ) -> Resource | None:
        """Declare what is known already; None if it has to be tried again: it has changed meanwhile."""
        if (others := entry.begin()) is not None:
            lifecycle.refuse_in_itself(entry, resource)
            await lifecycle.turn(entry, others, driver)
        try:
            if self.owned.get(entry.key) is not entry:
                return None
            if entry.status is DESTROYED:  # children of it are left
                await self._clear_inside(entry, driver)
                self.forget(entry)
                return None
            # What cannot be recorded is told before it stands for anything.
            names = _changed(entry.kind, entry.props, resource)
            first = self._claim(entry, resource)
            exists = entry.status is CREATED and await self._is_still_there(entry, driver)
            step = self._step(entry, names, exists=exists, first=first)
            if self.recorded.wishes.plan_only or step is Step.KEEP:
                return self._keep(entry, resource, first=first)
            if step is Step.REMAKE:
                return await self._remake(entry, resource, driver)
            if step is Step.UPDATE and await self._update(entry, resource, driver, first=first):
                return resource
            if not first:
                place = resource._alchemy.where
                raise ChangedWithinRunError(entry.title, names, entry.where, place)
        finally:
            entry.busy = False
            entry.end()
        return await self._new(entry.kind, resource, driver, entry)

    def _claim(self, entry: LastingEntry, resource: Resource) -> bool:
        """
        Let *resource* stand for *entry*, and tell whether it is the first in this program that does.

        Raises:
            ScopeClosedError: It would be, and the scope is closing or closed.
            ChangedWithinRunError: It is not, and asks for another profile than the first.
            OtherWorldError, ProfileMovedError: The account at hand is another one; nothing was called.
        """
        with self.root.lock:  # a finalization that has begun takes it for undeclared
            first = entry.seq not in self.recorded.declared
            if first:
                self.refuse_if_closed(resource)
            self.recorded.declared.add(entry.seq)
        resource._alchemy.owner = entry
        if not first:
            lifecycle.check_profile_stays(entry, resource)
            if entry.recorded:  # what is only planned has no world yet
                lifecycle.check_world(entry, resource)
        else:
            try:
                self._check_account(entry, resource)
            except BaseException:
                self._spare_inside(entry)  # it stays as it is, with all that it is made of
                raise
        return first

    def _check_account(self, entry: LastingEntry, resource: Resource) -> None:
        if Entry.profile_of(self, resource) != entry.profile:
            self.change_profile(entry, resource)
        else:
            lifecycle.check_world(entry, resource)

    async def _is_still_there(self, entry: LastingEntry, driver: Driver) -> bool:
        """Tell whether *entry* exists, although somebody may have begun to destroy it; if it does, that is recorded."""
        live = self.recorded.lives.get(entry.seq)
        if live is None or not live.in_doubt:
            return True
        if "read" not in entry.kind.hooks or self.recorded.wishes.plan_only:
            return not live.destroying  # else it said why it could not be destroyed
        if not await lifecycle.exists(entry, driver):
            return False
        self.root.record(Created(entry.seq, entry.sealed(entry.outputs()), at=clock.now()))
        live.trust()
        return True

    def _step(self, entry: LastingEntry, names: list[str], *, exists: bool, first: bool) -> Step:
        step = plan.decide(
            exists=exists,
            differs=bool(names),
            half_changed=entry.half_changed,
            can_update="update" in entry.kind.hooks,
            force=first and self.recorded.wishes.force,
        )
        if first:
            self.recorded.note(step, entry, names)
        return step

    def _keep(self, entry: LastingEntry, resource: Resource, *, first: bool) -> Resource:
        lifecycle.take_over(resource, entry)
        if not first:
            return entry.resource
        entry.resource, entry.where = resource, resource._alchemy.where
        self._spare_inside(entry)
        self._relink(entry)
        return resource

    async def _update(
        self, entry: LastingEntry, resource: Resource, driver: Driver, *, first: bool
    ) -> bool:
        """Change what exists; False if it has to be replaced instead."""
        if entry.adopting:  # which properties it has nobody knows
            previous = entry.kind.stranger(resource.id)
            lifecycle.take_over(previous, entry)
            entry.resource = previous
        entry.half_changed = True
        self._spare_inside(entry)
        if first:
            entry.needs = self.recall_needs(entry)
        after = _numbers(Entry.needs_of(resource))
        self.recorded.needs[entry.seq] = (*self.recorded.needs.get(entry.seq, ()), *after)
        try:
            goes_on = partial(self._has_parts_to_end, entry, resource)
            await lifecycle.update(entry, resource, driver, goes_on)
        except MustReplaceError:
            if entry.adopting:  # it is not what is wanted, so it is not ours
                lifecycle.disown(entry)
            elif first:
                self.recorded.note_replacement(entry)
                return False
            raise
        entry.adopting = entry.half_changed = False
        entry.where = resource._alchemy.where
        self.recorded.needs[entry.seq] = entry.numbers_needed()
        return True

    def _has_parts_to_end(self, entry: LastingEntry, resource: Resource) -> bool:
        """
        Tell whether the update of *entry* to *resource* declares something no longer inside it: it is over with that.

        A program that ends before leaves it to the next one, which would keep what has not changed as it is.
        """
        inside, declared = entry.opened_scope(), self.recorded.declared
        if inside is None or not any(thing.seq in declared for thing in inside.subtree()):
            return False
        self.recorded.spared.discard(inside.place)  # it says itself what is to be inside it
        for kept in Entry.given_by(resource):  # or it would give what is not there
            if kept.scope.root is self.root:
                declared.add(kept.seq)
                self.recorded.spared.add((*kept.scope.place, kept.own_part))
        undeclared = set(self.recorded.undeclared(inside.place))
        if undeclared:
            self.recorded.unfinished.append((entry, undeclared))
        return bool(undeclared)

    async def _remake(self, entry: LastingEntry, resource: Resource, driver: Driver) -> Resource:
        """Create again, under the same record and name, what may exist in part."""
        older = self.recorded.older(entry)
        self.recorded.shield(older)  # for as long as what replaces it does not exist
        await self._clear_inside(entry, driver)
        in_doubt = not entry.settled
        entry.settled = True  # what may still appear is made again under the name of its record
        await lifecycle.unmake(entry, driver)
        _forget_outputs(resource)
        entry.become(resource)
        lifecycle.record_intent(entry)
        if live := self.recorded.lives.get(entry.seq):
            live.trust()
        self._linked(entry)
        await lifecycle.make(entry, driver, in_doubt=in_doubt)
        self.recorded.unshield(older)
        return resource

    async def _clear_inside(self, entry: LastingEntry, driver: Driver) -> None:
        """Destroy what is left inside of *entry*."""
        self.recall_inside(entry)
        inside = entry.opened_scope()
        if inside is not None:
            things = sorted(inside.subtree(), key=lambda thing: thing.seq)
            outcome = await Teardown(things, driver, None).run(self.destroy_strategy)
            outcome.raise_failures(entry.title)

    async def _new(
        self, kind: Kind, resource: Resource, driver: Driver, old: LastingEntry | None
    ) -> Resource | None:
        """Create what is not there; instead of *old*, which goes when the program is finalized."""
        entry = self._begun(kind, resource, old)
        if entry is None:
            return None
        try:
            try:
                there = await self._look(entry, driver)
                if old is None:
                    self.recorded.note(Step.ADOPT if there else Step.CREATE, entry)
                self.recorded.declared.add(entry.seq)
                if self.recorded.wishes.plan_only:
                    entry.status = CREATED
                    return resource
                lifecycle.record_intent(entry)
            except BaseException:
                self._give_up(entry, old)
                raise
            self._linked(entry)
            await (self._adopt(entry, driver) if there else lifecycle.make(entry, driver))
        finally:
            entry.busy = False
            entry.end()
        if old is not None:
            self.recorded.told.add(old.seq)
            self.recorded.unshield([self.recorded.lives[old.seq]])
        return resource

    def _begun(
        self, kind: Kind, resource: Resource, old: LastingEntry | None
    ) -> LastingEntry | None:
        """Return a new entry in the place of *old*, None if another one has taken it meanwhile."""
        before = self.recorded.newest(self.place, kind.name, resource.id)
        generation = old.generation if old else before.entry.generation if before else 0  # type: ignore[union-attr]  # intents only
        _forget_outputs(resource)
        entry = LastingEntry.new(self, kind, resource, generation + 1)
        with self.root.lock:
            self.refuse_if_closed(resource)
            if old is not None:
                if self.owned.get(old.key) is not old:
                    return None
                del self.owned[old.key]
                old.replaced = True
                self.owned[old.key] = old
                self.recorded.shield([self.recorded.lives[old.seq]])
            return entry if self.owned.setdefault(entry.key, entry) is entry else None

    def _give_up(self, entry: LastingEntry, old: LastingEntry | None) -> None:
        """Undo `_begun`: nothing was made."""
        with self.root.lock:
            entry.status = DESTROYED
            self.forget(entry)
            self.recorded.declared.discard(entry.seq)
            if old is not None:
                del self.owned[old.key]
                old.replaced = False
                self.owned[old.key] = old

    async def _look(self, entry: LastingEntry, driver: Driver) -> bool:
        """
        Tell whether what is to be created exists already and is to be taken over.

        Before its intent is recorded: what was never ours cannot look like ours after a create that was refused.

        Raises:
            AlreadyExistsError: It exists, and is not to be taken over.
            InvalidPropertyError: What was read of it cannot be recorded.
        """
        entry.resource._alchemy.owner = entry
        if self.recorded.wishes.plan_only or "read" not in entry.kind.hooks:
            return False
        if not await lifecycle.exists(entry, driver):
            return False
        if not self.recorded.wishes.adopt:
            raise AlreadyExistsError(entry.title, entry.name, self.title)
        entry.kind.check_outputs(entry.resource)
        entry.adopting = entry.half_changed = True
        return True

    async def _adopt(self, entry: LastingEntry, driver: Driver) -> None:
        """Make what exists fit, which is ours since its intent was recorded."""
        if "update" in entry.kind.hooks:
            entry.status = CREATED
            await self._update(entry, entry.resource, driver, first=False)
        else:
            lifecycle.made(entry, entry.outputs())
            entry.adopting = entry.half_changed = False

    # What is needed by what.

    def _linked(self, entry: LastingEntry) -> None:
        entry.hold()
        self.recorded.needs[entry.seq] = entry.numbers_needed()

    def _relink(self, entry: LastingEntry) -> None:
        """Note what an unchanged resource needs; it may be another thing of the same name."""
        entry.needs = Entry.needs_of(entry.resource) if entry.kind.fields() else ()
        entry.hold()
        numbers = entry.numbers_needed()
        if numbers != self.recorded.needs.get(entry.seq, ()):
            if not self.recorded.wishes.plan_only:
                self.root.record(
                    Created(entry.seq, entry.sealed(entry.outputs()), None, clock.now(), numbers)
                )
            self.recorded.needs[entry.seq] = numbers

    def _spare_inside(self, entry: LastingEntry) -> None:
        """Destroy nothing of what *entry* made inside itself for being undeclared."""
        if entry.opened_scope() is None and self.recorded.is_flat(self.place):
            return
        place = (*self.place, entry.own_part)
        if self.recorded.has_inside(place) or entry.opened_scope() is not None:
            self.recorded.spared.add(place)


def _records(kind: Kind, recorded: dict[str, Any], resource: Resource) -> bool:
    """Tell whether *recorded* tells of each property, and that it is as *resource* has it."""
    values = resource.__dict__
    try:
        for name in kind.fields():
            if name not in recorded or not says(recorded[name], values[name]):
                return False
    except TypeError:  # whoever looks closer says which property it is
        return False
    return True


def _changed(kind: Kind, recorded: dict[str, Any], resource: Resource) -> list[str]:
    """Return the properties in which *resource* differs from what was last applied."""
    return plan.changed(recorded, Entry.props_of(resource), kind.plain_default)


def _numbers(entries: tuple[Entry, ...]) -> tuple[int, ...]:
    return tuple(entry.seq for entry in entries)


def _forget_outputs(resource: Resource) -> None:
    for name in kind_of(type(resource)).outputs:
        resource.__dict__.pop(name, None)
