"""A scope whose things earlier programs recorded: rebuilt when they are needed, destroyed when nobody wants them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any

from pytest_alchemy import clock, plan
from pytest_alchemy.callers import stack_level
from pytest_alchemy.deferred import Call, Owned
from pytest_alchemy.driver import ASYNC, BLOCKING, Driver, refuse_in_coroutine, run_blocking
from pytest_alchemy.entry import CREATED, DESTROYED, Entry
from pytest_alchemy.errors import (
    AlchemyError,
    DestroyError,
    NothingDeclaredWarning,
    OtherWorldError,
    ProfileMovedError,
    UnknownScopeError,
)
from pytest_alchemy.lifecycle import check_world, summary
from pytest_alchemy.loading import load_function
from pytest_alchemy.outcome import Outcome
from pytest_alchemy.plan import Step
from pytest_alchemy.programs.recorded import LastingEntry, Recorded, own_part
from pytest_alchemy.records import Created, Deferred, Live, ProfileChanged
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import OWN_PART, Scope
from pytest_alchemy.settings import Strategy
from pytest_alchemy.teardown import Teardown


class RecordedScope(Scope):
    """
    A scope of which earlier programs recorded something.

    Attributes:
        recorded: What they recorded in the whole stage.
    """

    recorded: Recorded
    _lost: list[DestroyError] = []  # noqa: RUF012 # never changed in place

    @cached_property
    def top(self) -> RecordedScope:
        """The application's scope."""
        scope = self
        while isinstance(scope.parent, RecordedScope):
            scope = scope.parent
        return scope

    def child(self, name: str, **more: Any) -> Scope:
        """Return a new scope inside this one, of the same sort."""
        child = RecordedScope(self.root, parent=self, name=name, **more)
        child.recorded = self.recorded
        return child

    def finalize(self) -> None:
        """
        Destroy what is recorded in this scope and no longer declared; an application's scope is closed by it.

        Raises:
            ExceptionGroup: One `DestroyError` for each thing that could not be destroyed; its record is kept.
        """
        refuse_in_coroutine("finalize", "afinalize")
        run_blocking(self.collect(BLOCKING))

    async def afinalize(self) -> None:
        """Destroy what is no longer declared; asyncio twin of `finalize`."""
        await self.collect(ASYNC)

    def finalize_nested(self, name: str) -> None:
        """
        Destroy what is recorded in the nested scope *name* and no longer declared: all of it, if it was not opened.

        Raises:
            UnknownScopeError: There is none of that name.
            ExceptionGroup: As `finalize`.
        """
        refuse_in_coroutine("finalize_nested", "afinalize_nested")
        run_blocking(self._nested(name).collect(BLOCKING))

    async def afinalize_nested(self, name: str) -> None:
        """Destroy what is no longer declared in a nested scope; asyncio twin of `finalize_nested`."""
        await self._nested(name).collect(ASYNC)

    def _nested(self, name: str) -> RecordedScope:
        known = sorted({*self.children, *self.recorded.scopes_in(self.place)})
        if name not in known:
            raise UnknownScopeError(self.title, name, known)
        return self.scope_at((*self.place, name))

    # The tree of what is recorded.

    def scope_at(self, place: tuple[str, ...]) -> RecordedScope:
        """Return the scope at *place*, which is this one's or inside it."""
        scope: RecordedScope = self
        for part in place[len(self.place) :]:
            scope = scope._inner(part)
        return scope

    def _inner(self, part: str) -> RecordedScope:
        inside: Scope | None = None
        if OWN_PART.fullmatch(part):
            owner = self.owner_of(part) or self._recall_owner(part)
            inside = owner.own_scope() if owner else None
        if inside is None:
            with self.root.lock:
                inside = self.children.get(part)
                if inside is None:
                    place = (*self.place, part)
                    inside = self.children[part] = self.child(part, place=place, owner=self.owner)
        assert isinstance(inside, RecordedScope)
        return inside

    def _recall_owner(self, part: str) -> Entry | None:
        """Return the entry whose own scope is at *part*; None if it is gone, or its class cannot be imported."""
        kind, _, id = part.rpartition(":")[0].partition("-")
        for live in self.recorded.generations(self.place, kind, id):
            if own_part(kind, id, live.entry.generation) == part:  # type: ignore[union-attr]  # resources only
                # A user's module may fail, for one: whoever needs the owner itself tells why.
                with suppress(Exception):
                    owner = self.recall(live)
                    assert isinstance(owner, Entry)
                    return owner
        return None

    def recall(self, live: Live) -> Owned:
        """
        Return the entry of what *live* records in this scope.

        Raises:
            KindNotLoadedError: Its class or function cannot be imported.
        """
        said = live.entry
        if isinstance(said, Deferred):
            call = self.owned.get(said.seq) or Call.recalled(self, load_function(said), said)
            return self.owned.setdefault(said.seq, call)
        kind = self.recorded.kind(said.kind)
        entry = LastingEntry.of(self, kind, kind.stranger(said.id), live)
        try:
            entry.replaced = self.recorded.newest(self.place, said.kind, said.id) is not live
            with self.root.lock:
                for known in (self.owned.get((said.kind, said.id)), self.owned.get(said.seq)):
                    if known is not None and known.seq == said.seq:
                        return known
                self.owned[entry.key] = entry
            kind.fill(entry.resource, kind.fields(), live.props, self.top.resolve)
            kind.fill(entry.resource, kind.outputs, live.outputs or {}, self.top.resolve)
        finally:
            entry.end()
        return entry

    def resolve(self, reference: dict[str, Any]) -> Resource:
        """
        Return the resource that a record refers to.

        Raises:
            LookupError: It is not there any more.
        """
        if (reference["app"], reference["stage"]) == (self.app, self.stage):
            scope = self.scope_at(tuple(reference["path"]))
            kind, _, id = reference["key"].partition("-")
            newest = scope.owned.get((kind, id))
            if (
                isinstance(newest, Entry)
                and newest.name == reference["name"]
                and newest.status is not DESTROYED
            ):
                return newest.resource
            for live in self.recorded.generations(scope.place, kind, id):
                if live.entry.name == reference["name"]:  # type: ignore[union-attr]  # resources only
                    recalled = scope.recall(live)
                    assert isinstance(recalled, Entry)
                    return recalled.resource
        raise LookupError(reference["key"])

    def recall_inside(self, entry: Entry) -> None:
        """Recall everything that *entry* made inside itself."""
        place = (*entry.scope.place, entry.own_part)
        if self.recorded.has_inside(place):
            self._recall_all([live.entry.seq for live in self.recorded.inside(place)])

    def change_profile(self, entry: Entry, resource: Resource) -> None:
        """
        Use *entry* and what it made inside itself with the profile that *resource* asks for from now on.

        Raises:
            ProfileMovedError: One of them lives in another account.
        """
        self.recall_inside(entry)
        inside, before, used = entry.opened_scope(), entry.profile, entry.credentials
        own = (thing for thing in (inside.subtree() if inside else ()) if isinstance(thing, Entry))
        moved = {entry: resource} | {each: each.resource for each in own if each.profile == before}
        after = Entry.profile_of(self, resource)
        try:
            for each in moved:
                each.profile = after
            for each, acting in moved.items():
                check_world(each, acting)
        except BaseException as error:
            now, place = entry.credentials, resource._alchemy.where
            for each in moved:
                each.profile = before
            if isinstance(error, OtherWorldError):
                world, here = error.world, error.here
                raise ProfileMovedError(error.resource, used, now, world, here, place) from None
            raise
        if self.recorded.wishes.may_act:
            for each in reversed(moved):  # itself last: what was cut off is done again
                self.root.record(ProfileChanged(each.seq, after))

    def recall_needs(self, entry: Entry) -> tuple[Entry, ...]:
        """Return what *entry* needs as far as earlier programs recorded it."""
        needed = self.recorded.needs.get(entry.seq, ())
        things, _ = self._recall_all(number for number in needed if number in self.recorded.lives)
        return tuple(thing for thing in things if isinstance(thing, Entry))

    def _recall_all(self, numbers: Iterable[int]) -> tuple[list[Owned], list[DestroyError]]:
        """Recall what has these *numbers*, with what needs what; and say what could not be."""
        top, lost = self.top, []
        things: list[Owned] = []
        for number in sorted(numbers):
            live = self.recorded.lives[number]
            try:
                things.append(top.scope_at(live.entry.path).recall(live))
            except Exception as error:  # a user's module, for one: the others still get their turn
                lost.append(_lost(live, error))
        if not things:
            return things, lost
        entries = {owned.seq: owned for owned in top.subtree() if isinstance(owned, Entry)}
        for thing in things:
            if isinstance(thing, Entry) and not thing.needs:
                needed = self.recorded.needs.get(thing.seq, ())
                thing.needs = tuple(entries[number] for number in needed if number in entries)
                thing.hold()
        return things, lost

    def _recall_free(self, candidates: dict[int, Live]) -> tuple[list[Owned], list[DestroyError]]:
        """Recall those of *candidates* that nothing else needs; what cannot be loaded needs what it needs, too."""
        lost: list[DestroyError] = []
        while True:
            # A copy: others declare meanwhile.
            free = plan.undeclared(candidates, dict(self.recorded.needs))
            things, missing = self._recall_all(free)
            lost += missing
            for number in free - {thing.seq for thing in things}:
                candidates = _left_alone(candidates, candidates[number])
            if not missing:
                return things, lost

    # What goes.

    def to_destroy(self) -> list[Owned]:
        """Return everything under this scope, in order of creation; also what only records tell of."""
        inside = {live.entry.seq: live for live in self.recorded.inside(self.place)}
        needs = dict(self.recorded.needs)  # others declare meanwhile
        outside = [n for n, its in needs.items() if not inside.keys().isdisjoint(its)]
        self._recall_all(number for number in outside if number in self.recorded.lives)
        things, self._lost = self._recall_free(inside)
        recalled = {thing.seq for thing in things}
        return [
            thing
            for thing in super().to_destroy()
            if thing.seq in recalled or thing.seq not in inside
        ]

    async def close(
        self, driver: Driver, strategy: Strategy | None = None, timeout: float | None = None
    ) -> Outcome:
        """
        Destroy everything under this scope and say what became of it; errors are in the outcome.

        In the read phase and in a plan it is closed, and nothing is called.
        """
        if not self.recorded.wishes.may_act:
            self.start_closing()
            return Outcome()
        outcome = await super().close(driver, strategy, timeout)
        outcome.lost += self._lost
        return outcome

    def forget(self, owned: Owned) -> None:
        """Own *owned* no longer: it is gone."""
        super().forget(owned)
        self.recorded.forget(owned.seq)

    async def unmake(self, entry: Entry, driver: Driver) -> None:
        """Destroy one resource and its children now, as in every scope; not in the read phase, nor in a plan."""
        if self.recorded.wishes.may_act:
            self.recall_inside(entry)
            await super().unmake(entry, driver)

    async def collect(self, driver: Driver) -> None:
        """
        Destroy what is recorded here and no longer declared.

        Raises:
            ExceptionGroup: One `DestroyError` for each thing that is still there.
        """
        if self.recorded.wishes.phase != "up" or not self._may_collect():
            return
        candidates = self.recorded.undeclared(self.place)
        if not candidates:
            return
        things, lost = self._recall_free(candidates)
        if self.recorded.wishes.plan_only:
            for thing in reversed(things):
                self.recorded.note(Step.DESTROY, thing)
                self.recorded.told.add(thing.seq)  # a wider scope's finalization meets it again
            return
        outcome = await Teardown(things, driver, None).run(self.destroy_strategy)
        left = {failure.owned for failure in outcome.failures}
        for thing in reversed(things):
            if thing not in left:
                self.recorded.note(Step.DESTROY, thing)
        self._end_updates()
        outcome.lost += lost
        outcome.raise_failures(self.title)

    def _end_updates(self) -> None:
        """Record that an update is over where all is gone that was declared no longer in it."""
        for waiting in list(self.recorded.unfinished):
            entry, undeclared = waiting
            if undeclared.isdisjoint(self.recorded.lives) and entry.status is CREATED:
                self.recorded.unfinished.remove(waiting)
                outputs = entry.sealed(entry.outputs())
                self.root.record(Created(entry.seq, outputs, at=clock.now()))

    def _may_collect(self) -> bool:
        """Tell whether the program declared anything: if not, it hardly means that nothing is to be there."""
        if self.recorded.declared or self.recorded.wishes.force:
            return True
        if self.parent is None and self.recorded.lives:
            warnings.warn(
                f"The program declared nothing in {self.title}, so nothing of what is recorded there was destroyed.\n"
                "Run it with --force if nothing is to be left, or destroy the stage: "
                f"alchemy destroy --stage {self.stage}",
                NothingDeclaredWarning,
                stacklevel=stack_level(),
            )
        return False


def _left_alone(candidates: dict[int, Live], lost: Live) -> dict[int, Live]:
    """Return *candidates* without *lost* and what it made inside itself."""
    said = lost.entry
    if isinstance(said, Deferred):
        return {number: live for number, live in candidates.items() if live is not lost}
    place = (*said.path, own_part(said.kind, said.id, said.generation))
    return {
        number: live
        for number, live in candidates.items()
        if live is not lost and live.entry.path[: len(place)] != place
    }


def _lost(live: Live, error: Exception) -> DestroyError:
    said = live.entry
    title = (
        f"deferred {said.function}" if isinstance(said, Deferred) else f"{said.kind} {said.id!r}"
    )
    reason = str(error) if isinstance(error, AlchemyError) else summary(error)
    lost = DestroyError(title, reason)
    lost.__cause__ = error
    return lost
