"""The steps of one resource: recorded, created, changed, destroyed, recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_alchemy import clock, records
from pytest_alchemy.deferred import Call, Owned
from pytest_alchemy.driver import BlockingDriver, Driver
from pytest_alchemy.entry import CREATED, CREATING, DESTROYED, FAILED, Entry
from pytest_alchemy.errors import (
    JournalWriteError,
    LeaseLostError,
    MayStillAppearError,
    OtherWorldError,
    ResourceDefinitionError,
)
from pytest_alchemy.hooks import hook_of
from pytest_alchemy.kinds import Kind
from pytest_alchemy.late import running_loop
from pytest_alchemy.loops import turns
from pytest_alchemy.resource import Resource
from pytest_alchemy.retry import advise, is_taken
from pytest_alchemy.secret import without_secrets
from pytest_alchemy.tracebacks import are_noise
from pytest_alchemy.values import Env, variables

if TYPE_CHECKING:
    import asyncio
    from concurrent import futures

__tracebackhide__ = are_noise

# A create that ends like this got no answer: the provider may still finish it.
_NO_ANSWER = (TimeoutError, ConnectionError)


async def destroy(owned: Owned, driver: Driver, deadline: float | None = None) -> None:
    """
    Destroy what *owned* stands for; quiet if it is gone already, or its provider answers 404 or 410.

    Args:
        owned: A resource's entry or a deferred call.
        driver: How hooks are called.
        deadline: Moment of `clock.monotonic` at which a coroutine hook is cut off.

    Raises:
        LeaseLostError: Its stage is not this process's any more; nothing was called.
        MayStillAppearError: It is gone, but what makes or changes it was left behind in an event loop that has only
            stopped: there it goes on one day. The record is kept.
        Exception: What the hook raised; the record is kept.
    """
    scope = owned.scope
    stage = scope.root
    if (others := owned.begin()) is not None:
        await turn(owned, others, driver, deadline)
    try:
        if owned.status is DESTROYED:
            return
        if stage.records_attempts:
            _note(owned, records.Destroying(owned.seq))
        if isinstance(owned, Entry):
            existed, owned.in_doubt = owned.status is CREATED, True
            comes_back = owned.recorded and owned.may_go_on and _is_being_made(owned)
            await unmake(owned, driver, deadline)
            if comes_back:
                why = "what makes it was left behind in an event loop that has stopped"
                raise MayStillAppearError(owned.title, _latest(owned), why)
            stage.counts.destroyed += existed
        else:
            await _call(owned, driver, deadline)
        at = 0.0 if stage.program.diary is None else clock.now()
        _note(owned, records.Destroyed(owned.seq, at))
        owned.let_go()  # first: what it needs waits for that, and an interrupt may come in between
        owned.status = DESTROYED
        scope.forget(owned)
        if isinstance(owned, Entry):
            # It refers back to its entry: together they would wait for the next search for garbage.
            del owned.resource
    finally:
        owned.busy = False
        owned.end()


async def exists(entry: Entry, driver: Driver) -> bool:
    """Tell whether what *entry* stands for exists; what `read` finds out is in its resource then."""
    read = hook_of(entry, entry.resource, entry.kind.hooks["read"])
    found, entry.loop = await driver.call(read)
    return bool(found)


async def clear(entry: Entry, driver: Driver) -> None:
    """Destroy by name alone what may or may not exist, without any record of it."""
    await driver.call(hook_of(entry, entry.resource, entry.kind.hooks["destroy"]))


def note_failure(owned: Owned, error: BaseException, attempts: int) -> None:
    """Record that *owned* could not be destroyed and is still there."""
    _note(owned, records.DestroyFailed(owned.seq, summary(error), attempts))


def summary(error: BaseException) -> str:
    """Return type and text of *error* on one line, without secrets: ``ConnectError: no route to host``."""
    try:
        text = " ".join(without_secrets(str(error)).split())
        text = text.encode(errors="backslashreplace").decode()  # a name that is no UTF-8, say
    except Exception as broken:
        text = f"(its text cannot be had: {type(broken).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _world_of(kind: Kind, resource: Resource) -> str:
    world: object = resource.world()
    if not isinstance(world, str):
        raise ResourceDefinitionError(
            kind.cls.__qualname__,
            f"world() returned {world!r}, not text",
            "Write it as a plain method that returns which server or account the thing lives in.",
        )
    return world


def record_intent(entry: Entry) -> None:
    """Record that *entry* is about to be created; if that cannot be, nothing has happened."""
    stage = entry.scope.root
    try:
        if entry.props:
            for value in variables(entry.props):
                Env(value).value  # noqa: B018  # raises if it is not set: nothing is tried without it
        if "world" in entry.kind.hooks:
            entry.world = _world_of(entry.kind, entry.resource)
        if stage.outlives_process(entry.world):
            if entry.kind.gives_secrets:
                stage.sealer.check()
            stage.record_kind(entry.kind)
            stage.record(entry.intent())
            entry.recorded = True
    except BaseException:
        entry.status = DESTROYED
        entry.scope.forget(entry)
        entry.resource._alchemy.owner = None
        raise


async def turn(
    owned: Owned,
    others: futures.Future[None] | None,
    driver: Driver,
    deadline: float | None = None,
) -> None:
    """Wait until nobody else works on *owned*; `Turns.end` gives the turn back."""
    while others is not None:
        await driver.wait(others, deadline)
        others = owned.begin()


def take_over(resource: Resource, existing: Entry) -> None:
    """Give *resource* the name, scope and outputs of what exists."""
    resource._alchemy.owner = existing
    for name in existing.kind.outputs:
        if name in existing.resource.__dict__:
            resource.__dict__[name] = existing.resource.__dict__[name]


async def make(entry: Entry, driver: Driver, *, in_doubt: bool = False) -> None:
    """
    Create what *entry* stands for, whose intent is recorded.

    Args:
        entry: What it is.
        driver: How its hooks are called.
        in_doubt: Whether an earlier create of it got no answer: what has its name may well be ours.
    """
    try:
        create = hook_of(entry, entry.resource, entry.kind.hooks["create"])
        _, entry.loop = await driver.call(create)
        outputs: dict[str, Any] = {}
        if entry.kind.outputs:
            entry.kind.check_outputs(entry.resource)
            outputs = entry.outputs()
    except BaseException as error:
        if entry.parent is not None:
            entry.parent.failed_inside = True  # what its own create raises may be this error
        entry.settled = isinstance(error, Exception) and not isinstance(error, _NO_ANSWER)
        entry.loop = running_loop()
        if isinstance(error, Exception | SystemExit):
            # Not to the reason of a skip: pytest tells that once for all tests which have the same.
            error.add_note(
                f"while creating {entry.title}, named {entry.name}, declared at {entry.where}"
            )
        if not in_doubt and _is_somebody_elses(entry, error):
            error.add_note(f"{entry.name} exists already and is not ours: it is not recorded")
            disown(entry)
        else:
            entry.status = FAILED
            _note(entry, records.CreateFailed(entry.seq, summary(error), entry.settled))
        if (diary := entry.scope.root.program.diary) is not None:
            diary.failed(entry, summary(error))
        raise
    made(entry, outputs)


def _is_somebody_elses(entry: Entry, error: BaseException) -> bool:
    """
    Tell whether *error* says that what has the name of *entry* is not ours: whoever destroys by that name would hit it.

    In a test's stage nobody else has such names, and a kind with ``read`` was looked for before it was created.
    """
    if (
        entry.scope.root.run is not None
        or "read" in entry.kind.hooks
        or not is_taken(error, entry.name)
    ):
        return False
    if entry.failed_inside:  # it may have been a child's name that was taken
        return False
    inside = entry.opened_scope()  # what its create made is the way to the rest of it
    return inside is None or not inside.subtree()


def disown(entry: Entry) -> None:
    """
    Own *entry* no longer: what exists is not ours.

    Raises:
        JournalWriteError: That could not be recorded.
    """
    try:
        entry.scope.root.record(records.Destroyed(entry.seq))
    finally:
        entry.status = DESTROYED
        entry.let_go()
        entry.scope.forget(entry)


def made(entry: Entry, outputs: dict[str, Any], props: dict[str, Any] | None = None) -> None:
    """Record that *entry* exists; with *props* that these are its properties, and not those of its intent."""
    stage = entry.scope.root
    entry.status = CREATED
    stage.counts.created += 1
    if entry.recorded:
        sealed = entry.sealed(outputs) if outputs else outputs
        stage.record(records.Created(entry.seq, sealed, props, at=clock.now()))
    if (diary := stage.program.diary) is not None:
        diary.created(entry)


async def update(
    entry: Entry, resource: Resource, driver: Driver, goes_on: Callable[[], bool] = lambda: False
) -> Resource:
    """
    Change what exists as *entry* to what *resource* declares, and let *resource* stand for it from then on.

    Args:
        entry: What exists.
        resource: What it is to be.
        driver: How its hooks are called.
        goes_on: Tells, once it is changed, whether that is not over yet (`records.Created.goes_on`).
    """
    entry.scope.refuse_if_closed(f"the change of {entry.title}")
    entry.half_changed = True
    stage, props = entry.scope.root, Entry.props_of(resource)
    # An object whose own properties were changed is not what was last applied any more.
    previous = entry.resource if resource is not entry.resource else entry.revived()
    take_over(resource, entry)
    before, after = entry.needs, Entry.needs_of(resource)
    entry.needs = tuple(dict.fromkeys((*before, *after)))  # both, should it fail half-way
    entry.hold()
    if entry.recorded:
        stage.record(records.Updating(entry.seq, entry.sealed(props), entry.numbers_needed()))
    change = entry.kind.hooks["update"]
    hook = hook_of(entry, resource, lambda changed: change(changed, previous))
    _, loop = await driver.call(hook, loop=entry.loop)
    entry.kind.check_outputs(resource)
    entry.let_go()
    entry.resource, entry.props, entry.needs = resource, props, after
    entry.loop = loop or entry.loop
    entry.hold()
    if entry.recorded:
        outputs, applied = entry.sealed(entry.outputs()), entry.sealed(props)
        needs = entry.numbers_needed()
        line = records.Created(entry.seq, outputs, applied, clock.now(), needs, goes_on())
        stage.record(line)
    entry.half_changed = False
    return resource


async def _call(call: Call, driver: Driver, deadline: float | None) -> None:
    function, args, kwargs = call.function, call.args, call.kwargs
    try:
        hook = functools.partial(function, *args, **kwargs)
        await driver.call(hook, deadline=deadline, function=function)
    except Exception as error:
        if not advise(error, now=clock.now()).gone:
            raise


async def unmake(entry: Entry, driver: Driver, deadline: float | None = None) -> None:
    """Call what destroys *entry*, if it may exist; no record is written."""
    resource, loop = entry.resource, entry.loop
    if entry.status is CREATING:  # its create was left behind with a loop that has stopped
        entry.settled = False
        entry.status = CREATING if entry.may_go_on else FAILED
    if loop is not None and not _can_wait_for(loop, driver):
        resource, loop = entry.revived(), None
    check_world(entry, resource)
    try:
        if entry.status is not CREATED and "read" in entry.kind.hooks:
            read = hook_of(entry, resource, entry.kind.hooks["read"])
            exists, _ = await driver.call(read, loop=loop, deadline=deadline)
            if not exists:
                _check_settled(entry)
                return
        function = entry.kind.hooks["destroy"]
        hook = hook_of(entry, resource, function)
        await driver.call(hook, loop=loop, deadline=deadline, function=function)
    except Exception as error:
        if not advise(error, now=clock.now()).gone:
            raise


def check_world(entry: Entry, resource: Resource) -> None:
    """
    Make sure that *resource* would act where *entry* was made.

    Raises:
        OtherWorldError: The account, server or endpoint at hand is another one; nothing was called.
        ProfileDeniedError: It has a profile of its own, which may not touch its stage; nothing was called.
    """
    if entry.profile:
        entry.scope.root.check_profile(entry.profile, entry.title)
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
    until = _latest(entry)
    if not entry.settled and entry.recorded and clock.now() < until:
        raise MayStillAppearError(entry.title, until)


def _latest(entry: Entry) -> float:
    """Return until when *entry* may appear after its create got no answer, in seconds since the epoch."""
    return entry.at + entry.kind.create_timeout


def _is_being_made(entry: Entry) -> bool:
    """Tell whether a create or an update of *entry* has not ended; of others nothing comes into the world again."""
    return entry.status is CREATING or entry.half_changed


def _can_wait_for(loop: asyncio.AbstractEventLoop, driver: Driver) -> bool:
    """Tell whether coroutines can still run where they ran before."""
    if not turns(loop):
        return False
    return not (isinstance(driver, BlockingDriver) and running_loop() is loop)


def _note(owned: Owned, line: records.Record) -> None:
    """Record what happened, if it can be; cleaning up goes on with a full disk."""
    if owned.recorded:
        try:
            owned.scope.root.record(line)
        except JournalWriteError as error:
            # The intent is on record: whoever reads the journal tries again and finds it gone.
            if isinstance(error, LeaseLostError) and isinstance(line, records.Destroying):
                raise  # but what another process may own by now is not destroyed
