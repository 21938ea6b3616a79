"""Declaring a resource in a stage that outlives its programs: what is to be done with it, held against its record."""

from __future__ import annotations

from typing import Any

from pytest_alchemy import clock, lifecycle, plan
from pytest_alchemy.binding import describe
from pytest_alchemy.declaration import admit, check_profile_stays, refuse_in_itself
from pytest_alchemy.driver import Driver
from pytest_alchemy.entry import CREATED, DESTROYED, Entry
from pytest_alchemy.errors import ChangedWithinRunError, NotRecordedError
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.plan import Step
from pytest_alchemy.programs import steps
from pytest_alchemy.programs.recorded import LastingEntry
from pytest_alchemy.programs.recordedscope import RecordedScope
from pytest_alchemy.records import Created, Live
from pytest_alchemy.resource import Resource
from pytest_alchemy.stage import kind_seen
from pytest_alchemy.values import says

_KEEP = Step.KEEP  # each look at a member of an enum takes as long as three calls of functions


async def declare(scope: RecordedScope, resource: Resource, driver: Driver) -> Resource:
    """
    Bring *resource* to be in *scope* as it is declared: it is created, kept, updated in place, or replaced.

    In the read phase it is given back as it is recorded; in a plan nothing is called that changes anything.

    Raises:
        NotAResourceError, ResourceDefinitionError, OwnedElsewhereError: As `admit`.
        ScopeClosedError: The scope is closing or closed.
        NotRecordedError: In the read phase, nothing is recorded of it.
        AlreadyExistsError: It exists, is not ours, and is not to be taken over.
        ChangedWithinRunError: This program declared it already with other properties, and the kind cannot update.
        Exception: What a hook of it raised.
    """
    admit(scope, resource)
    kind = kind_of(type(resource))
    if profile := resource._alchemy.profile:
        scope.root.check_profile(profile, describe(resource))
    if scope.root.know(kind):
        _renew(scope, kind)
    if scope.recorded.wishes.phase == "read":
        return _read(scope, kind, resource)
    made: Resource | None = None
    while made is None:
        known: Any = scope.owned.get((kind.name, resource.id))
        if known is not None:
            made = await _declare_known(scope, known, resource, driver)
        elif (live := scope.recorded.newest(scope.place, kind.name, resource.id)) is None:
            made = await steps.create(scope, kind, resource, driver, None)
        elif _is_unchanged(scope, kind, live, resource):
            made = _again(scope, kind, live, resource)
        else:
            made = await _declare_known(scope, _recall(scope, live, resource), resource, driver)
    if scope.recorded.listener is not None and not scope.recorded.wishes.plan_only:
        _done(scope, made)
    return made


def _renew(scope: RecordedScope, kind: Kind) -> None:
    """Record where the class of *kind* is now, if it is not where it was when something was made of it."""
    seen = scope.recorded.kinds.get(kind.name)
    if seen and kind.importable and seen != kind_seen(kind) and scope.recorded.wishes.may_act:
        scope.root.record_kind(kind)


def _done(scope: RecordedScope, made: Resource) -> None:
    entry = scope.owned.get((kind_of(type(made)).name, made.id))
    if entry is not None:
        scope.recorded.done(entry)


def _read(scope: RecordedScope, kind: Kind, resource: Resource) -> Resource:
    """Return *resource* as it is recorded; nothing is called."""
    live = scope.recorded.newest(scope.place, kind.name, resource.id, created=True)
    if live is None:
        raise NotRecordedError(describe(resource), scope.title)
    entry = LastingEntry.of(scope, kind, resource, live)
    try:
        scope.owned.setdefault(entry.key, entry)
        entry.profile = Entry.profile_of(scope, resource)
        kind.fill(resource, kind.fields(), live.props, scope.top.resolve)
        kind.fill(resource, kind.outputs, live.outputs or {}, scope.top.resolve)
    finally:
        entry.end()
    return resource


def _is_unchanged(scope: RecordedScope, kind: Kind, live: Live, resource: Resource) -> bool:
    """Tell whether *resource* is what *live* records, so that nothing is to be done with it."""
    return (
        live.created
        and live.updating is None
        and not live.adopting
        and not live.in_doubt
        and not scope.recorded.wishes.force
        and live.entry.seq not in scope.owned  # else it was replaced, and its successor is gone
        and _records(kind, live.props, resource)
    )


def _again(scope: RecordedScope, kind: Kind, live: Live, resource: Resource) -> Resource | None:
    """Let *resource* stand for what *live* records of it; None if it has to be tried again: others came first."""
    entry: LastingEntry | None = None
    try:
        with scope.root.lock:  # a finalization that has begun takes it for undeclared
            scope.refuse_if_closed(resource)
            entry = LastingEntry.of(scope, kind, resource, live)
            if entry.seq in scope.owned or scope.owned.setdefault(entry.key, entry) is not entry:
                return None
            scope.recorded.declared.add(entry.seq)
        entry.where = resource._alchemy.where
        kind.fill(resource, kind.outputs, live.outputs or {}, scope.top.resolve)
        steps.spare_inside(scope, entry)  # also if the account at hand is another one
        _check_account(scope, entry, resource)
        scope.recorded.note(_KEEP, entry)
        steps.relink(scope, entry)
    finally:
        if entry is not None:
            entry.busy = False
            entry.end()
    return resource


def _recall(scope: RecordedScope, live: Live, resource: Resource) -> Any:
    """Return the entry of what earlier programs recorded, which is not what *resource* declares."""
    scope.refuse_if_closed(resource)
    return scope.recall(live)


async def _declare_known(
    scope: RecordedScope, entry: LastingEntry, resource: Resource, driver: Driver
) -> Resource | None:
    """Declare what is known already; None if it has to be tried again: it has changed meanwhile."""
    if (others := entry.begin()) is not None:
        refuse_in_itself(entry, resource)
        await lifecycle.turn(entry, others, driver)
    try:
        if scope.owned.get(entry.key) is not entry:
            return None
        if entry.status is DESTROYED:  # children of it are left
            await steps.clear_inside(scope, entry, driver)
            scope.forget(entry)
            return None
        # What cannot be recorded is told before it stands for anything.
        names = _changed(entry.kind, entry.props, resource)
        first = _claim(scope, entry, resource)
        exists = entry.status is CREATED and await _is_still_there(scope, entry, driver)
        step = _decided(scope, entry, names, exists=exists, first=first)
        if scope.recorded.wishes.plan_only or step is Step.KEEP:
            return steps.keep(scope, entry, resource, first=first)
        if step is Step.REMAKE and not (first and steps.has_to_stay(scope, entry)):
            return await steps.remake(scope, entry, resource, driver)
        if step is Step.UPDATE and await steps.update(scope, entry, resource, driver, first=first):
            return resource
        if not first:
            place = resource._alchemy.where
            raise ChangedWithinRunError(entry.title, names, entry.where, place)
    finally:
        entry.busy = False
        entry.end()
    return await steps.create(scope, entry.kind, resource, driver, entry)


def _claim(scope: RecordedScope, entry: LastingEntry, resource: Resource) -> bool:
    """
    Let *resource* stand for *entry*, and tell whether it is the first in this program that does.

    Raises:
        ScopeClosedError: It would be, and the scope is closing or closed.
        ChangedWithinRunError: It is not, and asks for another profile than the first.
        OtherWorldError, ProfileMovedError: The account at hand is another one; nothing was called.
    """
    with scope.root.lock:  # a finalization that has begun takes it for undeclared
        first = entry.seq not in scope.recorded.declared
        if first:
            scope.refuse_if_closed(resource)
        scope.recorded.declared.add(entry.seq)
    resource._alchemy.owner = entry
    if not first:
        check_profile_stays(entry, resource)
        if entry.recorded:  # what is only planned has no world yet
            lifecycle.check_world(entry, resource)
    else:
        try:
            _check_account(scope, entry, resource)
        except BaseException:
            steps.spare_inside(scope, entry)  # it stays as it is, with all that it is made of
            raise
    return first


def _check_account(scope: RecordedScope, entry: LastingEntry, resource: Resource) -> None:
    if Entry.profile_of(scope, resource) != entry.profile:
        scope.change_profile(entry, resource)
    else:
        lifecycle.check_world(entry, resource)


async def _is_still_there(scope: RecordedScope, entry: LastingEntry, driver: Driver) -> bool:
    """Tell whether *entry* exists, although somebody may have begun to destroy it; if it does, that is recorded."""
    live = scope.recorded.lives.get(entry.seq)
    if live is None or not live.in_doubt:
        return True
    if "read" not in entry.kind.hooks or scope.recorded.wishes.plan_only:
        return not live.destroying  # else it said why it could not be destroyed
    if not await lifecycle.exists(entry, driver):
        return False
    scope.root.record(Created(entry.seq, entry.sealed(entry.outputs()), at=clock.now()))
    live.trust()
    return True


def _decided(
    scope: RecordedScope, entry: LastingEntry, names: list[str], *, exists: bool, first: bool
) -> Step:
    step = plan.decide(
        exists=exists,
        differs=bool(names),
        half_changed=entry.half_changed,
        can_update="update" in entry.kind.hooks,
        force=first and scope.recorded.wishes.force,
    )
    if first:
        scope.recorded.note(step, entry, names)
    return step


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
