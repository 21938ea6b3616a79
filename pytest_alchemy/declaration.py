"""Declaring a resource in a scope: it is made there, or what was declared before is given back, or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_alchemy.driver import Driver
from pytest_alchemy.entry import CREATED, DESTROYED, FAILED, Entry
from pytest_alchemy.errors import (
    ChangedWithinRunError,
    DeclaredInItselfError,
    NotAResourceError,
    OwnedElsewhereError,
    ResourceDefinitionError,
)
from pytest_alchemy.hooks import hook_of, runs_in_hook_of
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.lifecycle import make, record_intent, take_over, turn, update
from pytest_alchemy.resource import Resource
from pytest_alchemy.tracebacks import are_noise
from pytest_alchemy.values import same, shown_as

if TYPE_CHECKING:
    from pytest_alchemy.scope import Scope

__tracebackhide__ = are_noise


async def declare(scope: Scope, resource: Resource, driver: Driver) -> Resource:
    """
    Make *resource* in *scope*, or give back the instance that was declared there before.

    The intent is recorded before the provider is called, so that nothing exists which no record names.

    Raises:
        NotAResourceError: *resource* is something else, a class for example.
        ScopeClosedError: The scope is closing or closed; nothing was made.
        ChangedWithinRunError: The id is declared already with other properties, and the kind cannot update.
        JournalWriteError: The intent could not be recorded; nothing was made.
    """
    admit(scope, resource)
    kind = kind_of(type(resource))
    key = kind.name, resource.id
    while True:
        existing = scope.owned.get(key)
        if isinstance(existing, Entry):
            first = await _again(existing, resource, driver)
            if first is not None:
                return first
        elif entry := _take_in(scope, kind, resource):
            break
    try:
        resource._alchemy.owner = entry  # here: an interrupt may come at the very entry of a call
        record_intent(entry)
        entry.hold()
        await make(entry, driver)
    finally:
        entry.busy = False
        entry.end()
    return resource


def admit(scope: Scope, resource: Resource) -> None:
    """
    Make sure that *resource* is one that *scope* may own.

    Raises:
        NotAResourceError: It is something else, a class for example.
        ResourceDefinitionError: Its class replaces the constructor.
        OwnedElsewhereError: Another scope owns it.
    """
    if not isinstance(resource, Resource):
        raise NotAResourceError(scope.title, shown_as(resource))
    binding = resource._alchemy
    if binding is None:
        raise ResourceDefinitionError(
            type(resource).__qualname__,
            "its __init__ does not call that of Resource",
            "Declare properties as annotated fields instead, or call super().__init__(id, ...).",
        )
    binding.fresh = False
    if binding.owner is not None:
        _refuse_elsewhere(scope, resource)


def refuse_in_itself(existing: Entry, resource: Resource) -> None:
    """
    Make sure that *resource* may wait for *existing*, which somebody works on.

    Raises:
        DeclaredInItselfError: A hook of it would wait for its own end.
    """
    if runs_in_hook_of(existing):
        raise DeclaredInItselfError(existing.title, existing.where, resource._alchemy.where)


def check_profile_stays(existing: Entry, resource: Resource) -> None:
    """
    Make sure that *resource*, declared again, asks for no other credentials than before.

    Raises:
        ChangedWithinRunError: It does.
    """
    if Entry.profile_of(existing.scope, resource) != existing.profile:
        place = resource._alchemy.where
        raise ChangedWithinRunError(existing.title, ["profile"], existing.where, place)


def _refuse_elsewhere(scope: Scope, resource: Resource) -> None:
    owner = resource._alchemy.owner
    if isinstance(owner, Entry) and owner.scope is not scope and owner.status is not DESTROYED:
        raise OwnedElsewhereError(owner.title, owner.scope.title, scope.title)


def _take_in(scope: Scope, kind: Kind, resource: Resource) -> Entry | None:
    """Make *scope* own *resource* from now on; None if it owns one of this kind and id meanwhile."""
    stage = scope.root
    stage.know(kind)
    entry = Entry(scope, kind, resource, stage.next_number())
    try:
        return entry if scope.take_in(entry, resource) else None
    except BaseException:  # an interrupt may come when it is owned already
        entry.status = DESTROYED
        scope.forget(entry)
        entry.end()
        raise


async def _again(existing: Entry, resource: Resource, driver: Driver) -> Resource | None:
    """Declare a kind and id that the scope knows; None if it has to be created after all."""
    if (others := existing.begin()) is not None:
        refuse_in_itself(existing, resource)
        await turn(existing, others, driver)
    try:
        if existing.status is CREATED and await _is_there(existing, driver):
            return await _same(existing, resource, driver)
    finally:
        existing.busy = False
        existing.end()
    # A create or a destroy of it failed, or children of it are left: what there is of it goes first.
    await existing.scope.unmake(existing, driver)
    existing.scope.forget(existing)
    return None


async def _is_there(existing: Entry, driver: Driver) -> bool:
    """Tell whether *existing* is there, which a failed destroy may have destroyed; where nobody can look, it is."""
    if existing.in_doubt and "read" in existing.kind.hooks:
        read = hook_of(existing, existing.resource, existing.kind.hooks["read"])
        there, _ = await driver.call(read, loop=existing.loop)
        if not there:
            existing.status = FAILED
            return False
        existing.in_doubt = False
    return True


async def _same(existing: Entry, resource: Resource, driver: Driver) -> Resource:
    """Return the instance that exists, changed if *resource* differs from it."""
    changed = _changed(existing, resource)
    check_profile_stays(existing, resource)
    if (changed or existing.half_changed) and "update" in existing.kind.hooks:
        return await update(existing, resource, driver)
    if changed:
        raise ChangedWithinRunError(
            existing.title, changed, existing.where, resource._alchemy.where
        )
    take_over(resource, existing)
    return existing.resource


def _changed(existing: Entry, resource: Resource) -> list[str]:
    """Return the properties in which *resource* differs from what exists."""
    declared = Entry.props_of(resource)
    return [name for name, value in declared.items() if not same(existing.props.get(name), value)]
