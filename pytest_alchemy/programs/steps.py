"""The steps of a plan, carried out on one resource of a stage that outlives its programs."""

from __future__ import annotations

from functools import partial

from pytest_alchemy import clock, lifecycle
from pytest_alchemy.driver import Driver
from pytest_alchemy.entry import CREATED, DESTROYED, Entry
from pytest_alchemy.errors import AlreadyExistsError, MustReplaceError
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.plan import Step
from pytest_alchemy.programs.recorded import LastingEntry, own_part
from pytest_alchemy.programs.recordedscope import RecordedScope
from pytest_alchemy.records import Created
from pytest_alchemy.resource import Resource
from pytest_alchemy.teardown import Teardown


def keep(scope: RecordedScope, entry: LastingEntry, resource: Resource, *, first: bool) -> Resource:
    """Leave what exists as it is; return what stands for it: *resource*, if it is the *first* in this program."""
    lifecycle.take_over(resource, entry)
    if not first:
        return entry.resource
    entry.resource, entry.where = resource, resource._alchemy.where
    spare_inside(scope, entry)
    relink(scope, entry)
    return resource


async def update(
    scope: RecordedScope, entry: LastingEntry, resource: Resource, driver: Driver, *, first: bool
) -> bool:
    """Change what exists; False if it has to be replaced instead."""
    if entry.adopting:  # which properties it has nobody knows
        previous = entry.kind.stranger(resource.id)
        lifecycle.take_over(previous, entry)
        entry.resource = previous
    spare_inside(scope, entry)
    if first:
        entry.needs = scope.recall_needs(entry)
    after = _numbers(Entry.needs_of(resource))
    scope.recorded.needs[entry.seq] = (*scope.recorded.needs.get(entry.seq, ()), *after)
    try:
        goes_on = partial(_has_parts_to_end, scope, entry, resource)
        await lifecycle.update(entry, resource, driver, goes_on)
    except MustReplaceError:
        if entry.adopting:  # it is not what is wanted, so it is not ours
            lifecycle.disown(entry)
        elif first:
            scope.recorded.note_replacement(entry)
            return False
        raise
    entry.adopting = False
    entry.where = resource._alchemy.where
    scope.recorded.needs[entry.seq] = entry.numbers_needed()
    return True


def _has_parts_to_end(scope: RecordedScope, entry: LastingEntry, resource: Resource) -> bool:
    """
    Tell whether the update of *entry* to *resource* declares something no longer inside it: it is over with that.

    A program that ends before leaves it to the next one, which would keep what has not changed as it is.
    """
    inside, declared = entry.opened_scope(), scope.recorded.declared
    if inside is None or not any(thing.seq in declared for thing in inside.subtree()):
        return False
    scope.recorded.spared.discard(inside.place)  # it says itself what is to be inside it
    for kept in Entry.given_by(resource):  # or it would give what is not there
        # What was declared has said itself what is to be inside it.
        if kept.scope.root is scope.root and kept.seq not in declared:
            declared.add(kept.seq)
            scope.recorded.spared.add((*kept.scope.place, kept.own_part))
    depth = len(inside.place)
    undeclared = set(scope.recorded.undeclared(inside.place, spared_from=depth))
    if undeclared:
        scope.recorded.unfinished.append((entry, undeclared))
    return bool(undeclared)


async def remake(
    scope: RecordedScope, entry: LastingEntry, resource: Resource, driver: Driver
) -> Resource:
    """Create again, under the same record and name, what may exist in part."""
    older = scope.recorded.older(entry)
    scope.recorded.shield(older)  # for as long as what replaces it does not exist
    same = entry.props == Entry.props_of(resource)  # so it makes inside itself what it made before
    await clear_inside(scope, entry, driver, made_again=same)
    in_doubt = not entry.settled
    entry.settled = True  # what may still appear is made again under the name of its record
    await lifecycle.unmake(entry, driver)
    _forget_outputs(resource)
    entry.become(resource)
    lifecycle.record_intent(entry)
    if live := scope.recorded.lives.get(entry.seq):
        live.trust()
    _linked(scope, entry)
    await lifecycle.make(entry, driver, in_doubt=in_doubt)
    scope.recorded.unshield(older)
    return resource


async def clear_inside(
    scope: RecordedScope, entry: LastingEntry, driver: Driver, *, made_again: bool = False
) -> None:
    """Destroy what is left inside of *entry*; if that is *made_again*, what may still appear in it is as well."""
    scope.recall_inside(entry)
    inside = entry.opened_scope()
    if inside is not None:
        things = sorted(inside.subtree(), key=lambda thing: thing.seq)
        outcome = await Teardown(things, driver, None).run(scope.destroy_strategy)
        if not made_again or not outcome.may_only_appear:
            outcome.raise_failures(entry.title)


async def create(
    scope: RecordedScope, kind: Kind, resource: Resource, driver: Driver, old: LastingEntry | None
) -> Resource | None:
    """Create what is not there; instead of *old*, which goes when the program is finalized."""
    entry = _begun(scope, kind, resource, old)
    if entry is None:
        return None
    try:
        try:
            if scope.recorded.wishes.may_act:  # its predecessor is gone, and left what it had made
                await clear_inside(scope, entry, driver)
            there = await _look(scope, entry, driver)
            if old is None:
                scope.recorded.note(Step.ADOPT if there else Step.CREATE, entry)
            scope.recorded.declared.add(entry.seq)
            if scope.recorded.wishes.plan_only:
                entry.status = CREATED
                return resource
            lifecycle.record_intent(entry)
        except BaseException:
            _give_up(scope, entry, old)
            raise
        _linked(scope, entry)
        await (_adopt(scope, entry, driver) if there else lifecycle.make(entry, driver))
    finally:
        entry.busy = False
        entry.end()
    if old is not None:
        scope.recorded.told.add(old.seq)
        scope.recorded.unshield([scope.recorded.lives[old.seq]])
    return resource


def _begun(
    scope: RecordedScope, kind: Kind, resource: Resource, old: LastingEntry | None
) -> LastingEntry | None:
    """Return a new entry in the place of *old*, None if another one has taken it meanwhile."""
    before = scope.recorded.newest(scope.place, kind.name, resource.id)
    generation = old.generation if old else before.entry.generation if before else 0  # type: ignore[union-attr]  # intents only
    generation += 1
    # What its predecessor made inside itself may have to stay until those have changed that still need it.
    while _parts_are_needed(scope, kind, resource.id, generation):
        generation += 1
    _forget_outputs(resource)
    entry = LastingEntry.new(scope, kind, resource, generation)
    with scope.root.lock:
        scope.refuse_if_closed(resource)
        if old is not None:
            if scope.owned.get(old.key) is not old:
                return None
            del scope.owned[old.key]
            old.replaced = True
            scope.owned[old.key] = old
            scope.recorded.shield([scope.recorded.lives[old.seq]])
        return entry if scope.owned.setdefault(entry.key, entry) is entry else None


def has_to_stay(scope: RecordedScope, entry: LastingEntry) -> bool:
    """Tell whether something else still needs what *entry* made inside itself, so that it cannot be made again."""
    return _parts_are_needed(scope, entry.kind, entry.id, entry.generation)


def _parts_are_needed(scope: RecordedScope, kind: Kind, id: str, generation: int) -> bool:
    part = own_part(kind.name, id, generation)
    return scope.recorded.is_needed_outside((*scope.place, part))


def _give_up(scope: RecordedScope, entry: LastingEntry, old: LastingEntry | None) -> None:
    """Undo `_begun`: nothing was made."""
    with scope.root.lock:
        entry.status = DESTROYED
        scope.forget(entry)
        scope.recorded.declared.discard(entry.seq)
        if old is not None:
            del scope.owned[old.key]
            old.replaced = False
            scope.owned[old.key] = old


async def _look(scope: RecordedScope, entry: LastingEntry, driver: Driver) -> bool:
    """
    Tell whether what is to be created exists already and is to be taken over.

    Before its intent is recorded: what was never ours cannot look like ours after a create that was refused.

    Raises:
        AlreadyExistsError: It exists, and is not to be taken over.
        InvalidPropertyError: What was read of it cannot be recorded.
    """
    entry.resource._alchemy.owner = entry
    if scope.recorded.wishes.plan_only or "read" not in entry.kind.hooks:
        return False
    if not await lifecycle.exists(entry, driver):
        return False
    if not scope.recorded.wishes.adopt:
        raise AlreadyExistsError(entry.title, entry.name, scope.title)
    entry.kind.check_outputs(entry.resource)
    entry.adopting = entry.half_changed = True
    return True


async def _adopt(scope: RecordedScope, entry: LastingEntry, driver: Driver) -> None:
    """Make what exists fit, which is ours since its intent was recorded."""
    if "update" in entry.kind.hooks:
        entry.status = CREATED
        await update(scope, entry, entry.resource, driver, first=False)
    else:
        lifecycle.made(entry, entry.outputs())
        entry.adopting = entry.half_changed = False


def relink(scope: RecordedScope, entry: LastingEntry) -> None:
    """Note what an unchanged resource needs; it may be another thing of the same name."""
    entry.needs = Entry.needs_of(entry.resource) if entry.kind.fields() else ()
    entry.hold()
    numbers = entry.numbers_needed()
    if numbers != scope.recorded.needs.get(entry.seq, ()):
        if not scope.recorded.wishes.plan_only:
            scope.root.record(
                Created(entry.seq, entry.sealed(entry.outputs()), None, clock.now(), numbers)
            )
        scope.recorded.needs[entry.seq] = numbers


def spare_inside(scope: RecordedScope, entry: LastingEntry) -> None:
    """Destroy nothing of what *entry* made inside itself for being undeclared."""
    if entry.opened_scope() is None and scope.recorded.is_flat(scope.place):
        return
    place = (*scope.place, entry.own_part)
    if scope.recorded.has_inside(place) or entry.opened_scope() is not None:
        scope.recorded.spared.add(place)


def _linked(scope: RecordedScope, entry: LastingEntry) -> None:
    entry.hold()
    scope.recorded.needs[entry.seq] = entry.numbers_needed()


def _numbers(entries: tuple[Entry, ...]) -> tuple[int, ...]:
    return tuple(entry.seq for entry in entries)


def _forget_outputs(resource: Resource) -> None:
    for name in kind_of(type(resource)).outputs:
        resource.__dict__.pop(name, None)
