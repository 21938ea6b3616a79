"""The steps of one resource: recorded, created, changed, destroyed, recorded."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pytest_alchemy import clock, records
from pytest_alchemy.ambient import current
from pytest_alchemy.driver import BlockingDriver, Driver
from pytest_alchemy.entry import Call, Entry, Owned, Status
from pytest_alchemy.errors import (
    ChangedWithinRunError,
    JournalWriteError,
    MayStillAppearError,
    NotAResourceError,
    OtherWorldError,
    OwnedElsewhereError,
    ResourceDefinitionError,
)
from pytest_alchemy.resource import Kind, Resource, describe, kind_of
from pytest_alchemy.retry import advise

if TYPE_CHECKING:
    from pytest_alchemy.scope import Scope

# A create that ends like this got no answer: the provider may still finish it.
_NO_ANSWER = (TimeoutError, ConnectionError)


async def create(scope: Scope, resource: Resource, driver: Driver) -> Resource:
    """
    Make *resource* in *scope*, or give back the instance that was declared there before.

    The intent is recorded before the provider is called, so that nothing exists which no record names.

    Raises:
        NotAResourceError: *resource* is something else, a class for example.
        ScopeClosedError: The scope is closing or closed; nothing was made.
        ChangedWithinRunError: The id is declared already with other properties, and the kind cannot update.
        JournalWriteError: The intent could not be recorded; nothing was made.
    """
    if not isinstance(resource, Resource):
        raise NotAResourceError(scope.title, repr(resource))
    resource._alchemy.fresh = False
    _refuse_elsewhere(scope, resource)
    key = kind_of(type(resource)).name, resource.id
    while True:
        existing = scope.owned.get(key)
        if isinstance(existing, Entry):
            first = await _again(existing, resource, driver)
            if first is not None:
                return first
        elif entry := _take_in(scope, resource):
            break
    try:
        _record_intent(entry)
        entry.hold()
        await _create(entry, driver)
    finally:
        entry.end()
    return resource


async def destroy(owned: Owned, driver: Driver, timeout: float | None = None) -> None:
    """
    Destroy what *owned* stands for; quiet if it is gone already, or its provider answers 404 or 410.

    Args:
        owned: A resource's entry or a deferred call.
        driver: How hooks are called.
        timeout: Longest time that a coroutine hook gets, in seconds.

    Raises:
        Exception: What the hook raised; the record is kept.
    """
    deadline = None if timeout is None else clock.monotonic() + timeout
    await _turn(owned, driver, deadline)
    try:
        if owned.status is not Status.DESTROYED:
            await _destroy_recorded(owned, driver, deadline)
    finally:
        owned.end()


async def exists(entry: Entry, driver: Driver) -> bool:
    """Tell whether what *entry* stands for exists; what `read` finds out is in its resource then."""
    found, entry.loop = await driver.call(_hook(entry, entry.resource, "read"))
    return bool(found)


async def clear(entry: Entry, driver: Driver) -> None:
    """Destroy by name alone what may or may not exist, without any record of it."""
    await driver.call(_hook(entry, entry.resource, "destroy"))


async def take_on(scope: Scope, resource: Resource, leftover: Entry) -> Resource:
    """Own in *scope* what exists already as *leftover*, as if *resource* had just been created."""
    entry = _take_in(scope, resource)
    if entry is None:
        raise RuntimeError(f"{leftover.title} has been created meanwhile")
    try:
        _record_intent(entry)
        entry.hold()
        for name in entry.kind.outputs:
            if name in leftover.resource.__dict__:
                resource.__dict__[name] = leftover.resource.__dict__[name]
        _created(entry, entry.outputs())
    finally:
        entry.end()
    return resource


def note_failure(owned: Owned, error: BaseException, attempts: int) -> None:
    """Record that *owned* could not be destroyed and is still there."""
    _note(owned, records.DestroyFailed(owned.seq, summary(error), attempts))


def summary(error: BaseException) -> str:
    """Return type and text of *error* on one line: ``ConnectError: no route to host``."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _refuse_elsewhere(scope: Scope, resource: Resource) -> None:
    owner = resource._alchemy.owner
    if (
        isinstance(owner, Entry)
        and owner.scope is not scope
        and owner.status is not Status.DESTROYED
    ):
        raise OwnedElsewhereError(owner.title, owner.scope.title, scope.title)


def _take_in(scope: Scope, resource: Resource) -> Entry | None:
    """Make *scope* own *resource* from now on; None if it owns one of this kind and id meanwhile."""
    stage, kind, wanted = scope.root, kind_of(type(resource)), describe(resource)
    scope.refuse_if_closed(wanted)
    stage.know(kind)
    entry = Entry(scope, kind, resource, stage.next_number())
    return entry if scope.take_in(entry, wanted) else None


def _world_of(kind: Kind, resource: Resource) -> str:
    world: object = resource.world()
    if not isinstance(world, str):
        raise ResourceDefinitionError(
            kind.cls.__qualname__,
            f"world() returned {world!r}, not text",
            "Write it as a plain method that returns which server or account the thing lives in.",
        )
    return world


def _record_intent(entry: Entry) -> None:
    """Record that *entry* is about to be created; if that cannot be, nothing has happened."""
    stage = entry.scope.root
    binding = entry.resource._alchemy
    binding.owner = entry
    try:
        if "world" in entry.kind.hooks:
            entry.world = _world_of(entry.kind, entry.resource)
        if stage.outlives_process(entry.world):
            stage.record_kind(entry.kind)
            stage.record(entry.intent())
            entry.recorded = True
    except BaseException:
        entry.status = Status.DESTROYED
        entry.scope.forget(entry)
        binding.owner = None
        raise


async def _turn(owned: Owned, driver: Driver, deadline: float | None = None) -> None:
    """Wait until nobody else works on *owned*; `Turns.end` gives the turn back."""
    while (others := owned.begin()) is not None:
        await driver.wait(others, _left(deadline))


def _left(deadline: float | None) -> float | None:
    """
    Return how many seconds are left.

    Raises:
        TimeoutError: None.
    """
    if deadline is None:
        return None
    left = deadline - clock.monotonic()
    if left <= 0:
        raise TimeoutError("its time was over")
    return left


async def _again(existing: Entry, resource: Resource, driver: Driver) -> Resource | None:
    """Declare a kind and id that the scope knows; None if it has to be created after all."""
    await _turn(existing, driver)
    try:
        if existing.status is Status.CREATED:
            return await _same(existing, resource, driver)
    finally:
        existing.end()
    # A create of it failed, or children of it are left: what there is of it goes first.
    await existing.scope.unmake(existing, driver)
    return None


async def _same(existing: Entry, resource: Resource, driver: Driver) -> Resource:
    """Return the instance that exists, changed if *resource* differs from it."""
    changed = _changed(existing, resource)
    if changed and "update" in existing.kind.hooks:
        return await _update(existing, resource, driver)
    if changed:
        raise ChangedWithinRunError(
            existing.title, changed, existing.where, resource._alchemy.where
        )
    _take_over(resource, existing)
    return existing.resource


def _changed(existing: Entry, resource: Resource) -> list[str]:
    """Return the properties in which *resource* differs from what exists."""
    declared = Entry.props_of(resource)
    return [name for name, value in declared.items() if existing.props.get(name) != value]


def _take_over(resource: Resource, existing: Entry) -> None:
    """Give *resource* the name, scope and outputs of what exists."""
    resource._alchemy.owner = existing
    for name in existing.kind.outputs:
        if name in existing.resource.__dict__:
            resource.__dict__[name] = existing.resource.__dict__[name]


def _enter(scope: Scope, resource: Resource) -> Entry:
    """Give *resource* its place in *scope* and record that it is about to exist."""
    stage, kind = scope.root, kind_of(type(resource))
    stage.know(kind)
    entry = Entry(scope, kind, resource, stage.next_number())
    resource._alchemy.owner = entry
    try:
        if "world" in kind.hooks:
            entry.world = resource.world()
        entry.recorded = stage.outlives_process(entry.world)
        if entry.recorded:
            stage.record_kind(kind)
            stage.record(entry.intent())
    except BaseException:
        resource._alchemy.owner = None
        raise
    scope.owned[kind.name, resource.id] = entry
    entry.hold()
    return entry


async def _create(entry: Entry, driver: Driver) -> None:
    try:
        _, entry.loop = await driver.call(_hook(entry, entry.resource, "create"))
        entry.kind.check_outputs(entry.resource)
        outputs = entry.outputs()
    except BaseException as error:
        entry.settled = isinstance(error, Exception) and not isinstance(error, _NO_ANSWER)
        entry.loop = asyncio._get_running_loop()
        error.add_note(
            f"while creating {entry.title}, named {entry.name}, declared at {entry.where}"
        )
        entry.status = Status.FAILED
        _note(entry, records.CreateFailed(entry.seq, summary(error), entry.settled))
        raise
    _created(entry, outputs)


def _created(entry: Entry, outputs: dict[str, Any]) -> None:
    stage = entry.scope.root
    entry.status = Status.CREATED
    stage.counts.created += 1
    if entry.recorded:
        stage.record(records.Created(entry.seq, outputs, at=clock.now()))


async def _update(entry: Entry, resource: Resource, driver: Driver) -> Resource:
    entry.scope.refuse_if_closed(f"the change of {entry.title}")
    stage, props = entry.scope.root, Entry.props_of(resource)
    # An object whose own properties were changed is not what was last applied any more.
    previous = entry.resource if resource is not entry.resource else entry.revived()
    _take_over(resource, entry)
    before, after = entry.needs, Entry.needs_of(resource)
    entry.needs = tuple(dict.fromkeys((*before, *after)))  # both, should it fail half-way
    entry.hold()
    if entry.recorded:
        stage.record(records.Updating(entry.seq, props))
    _, loop = await driver.call(_hook(entry, resource, "update", previous), loop=entry.loop)
    entry.kind.check_outputs(resource)
    entry.let_go()
    entry.resource, entry.props, entry.needs = resource, props, after
    entry.loop = loop or entry.loop
    entry.hold()
    if entry.recorded:
        stage.record(records.Created(entry.seq, entry.outputs(), props, at=clock.now()))
    return resource


async def _destroy_recorded(owned: Owned, driver: Driver, deadline: float | None) -> None:
    if owned.scope.root.run is None:
        # What is ephemeral is to be destroyed anyway: no need to say so.
        _note(owned, records.Destroying(owned.seq))
    try:
        if isinstance(owned, Call):
            function, args, kwargs = owned.function, owned.args, owned.kwargs
            await driver.call(lambda: function(*args, **kwargs), timeout=_left(deadline))
        else:
            await _destroy(owned, driver, deadline)
    except Exception as error:
        if not advise(error, now=clock.now()).gone:
            raise
    _note(owned, records.Destroyed(owned.seq))
    owned.status = Status.DESTROYED
    owned.let_go()
    owned.scope.forget(owned)
    if isinstance(owned, Entry):
        owned.scope.root.counts.destroyed += 1


async def _destroy(entry: Entry, driver: Driver, deadline: float | None) -> None:
    resource, loop = entry.resource, entry.loop
    if entry.status is Status.CREATING:  # its create was left behind with a loop that has stopped
        entry.status, entry.settled = Status.FAILED, False
    if loop is not None and not _can_wait_for(loop, driver):
        resource, loop = entry.revived(), None
    check_world(entry, resource)
    if entry.status is Status.FAILED and "read" in entry.kind.hooks:
        read = _hook(entry, resource, "read")
        exists, _ = await driver.call(read, loop=loop, timeout=_left(deadline))
        if not exists:
            _check_settled(entry)
            return
    await driver.call(_hook(entry, resource, "destroy"), loop=loop, timeout=_left(deadline))


def check_world(entry: Entry, resource: Resource) -> None:
    """
    Make sure that *resource* would act where *entry* was made.

    Raises:
        OtherWorldError: The account, server or endpoint at hand is another one; nothing was called.
    """
    if "world" in entry.kind.hooks:
        here = resource.world()
        if here != entry.world:
            raise OtherWorldError(entry.title, entry.world, here)


def _check_settled(entry: Entry) -> None:
    """
    Make sure that what does not exist will not appear any more.

    Raises:
        MayStillAppearError: Its create got no answer, and its time is not over.
    """
    until = entry.at + entry.kind.create_timeout
    if not entry.settled and entry.recorded and clock.now() < until:
        raise MayStillAppearError(entry.title, until)


def _can_wait_for(loop: asyncio.AbstractEventLoop, driver: Driver) -> bool:
    """Tell whether coroutines can still run where they ran before."""
    if not loop.is_running():
        return False
    return not (isinstance(driver, BlockingDriver) and asyncio._get_running_loop() is loop)


def _hook(entry: Entry, resource: Resource, name: str, *args: Any) -> Callable[[], Any]:
    """Return the call of a hook, with the resource's own scope as the current one while it runs."""
    function, binding = entry.kind.hooks[name], resource._alchemy

    def run() -> Any:
        before = current.get()
        current.set(entry)
        binding.hooks_open += 1
        try:
            result = function(resource, *args)
        finally:
            current.set(before)
            binding.hooks_open -= 1
        return finish(result) if inspect.isawaitable(result) else result

    async def finish(result: Awaitable[Any]) -> Any:
        before = current.get()
        current.set(entry)
        binding.hooks_open += 1
        try:
            return await result
        finally:
            current.set(before)
            binding.hooks_open -= 1

    return run


def _note(owned: Owned, line: records.Record) -> None:
    """Record what happened, if it can be; cleaning up goes on with a full disk."""
    if owned.recorded:
        # The intent is on record, so whoever reads the journal tries again and finds it gone.
        with contextlib.suppress(JournalWriteError):
            owned.scope.root.record(line)
