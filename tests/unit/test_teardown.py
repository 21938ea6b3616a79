"""Destroying many things: in order, at once, and whatever fails."""

from __future__ import annotations

import asyncio
import gc
import pickle
import re
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from pytest_alchemy import Resource, output
from pytest_alchemy.driver import BLOCKING, AsyncDriver, run_blocking, start_daemon
from pytest_alchemy.errors import BlockedError, DestroyError
from pytest_alchemy.outcome import Outcome
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import STRATEGIES, Settings, Strategy
from pytest_alchemy.teardown import Teardown
from tests.unit.support.scopes import Hand, new_scope, new_stage
from tests.unit.support.world import AsyncThing, Broken, Thing, World
from tests.unit.support.world import world as here

PATIENCE = 10.0


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    found: Strategy = request.param
    return found


def destroyed(world: World) -> list[str]:
    return [call.removeprefix("destroy ") for call in world.done if call.startswith("destroy ")]


# Order


def test_one_after_the_other_the_newest_goes_first(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    for id in ("a", "b", "c"):
        hand.create(scope, kind(id))

    hand.destroy(scope, "sequential")

    assert destroyed(world) == ["c", "b", "a"]


def test_nothing_goes_before_what_needs_it(
    hand: Hand, kind: type[Thing], scope: Scope, world: World, strategy: Strategy
) -> None:
    db = hand.create(scope, kind("db"))
    api = hand.create(scope, kind("api", uses=[db]))
    hand.create(scope, kind("site", uses=[api, db]))

    hand.destroy(scope, strategy)

    assert destroyed(world) == ["site", "api", "db"]


def test_a_teardown_that_is_over_leaves_nothing_to_the_garbage_collector(scope: Scope) -> None:
    scope.create(Thing("a"))
    teardown = Teardown(scope.to_destroy(), BLOCKING, None)
    watched = weakref.ref(teardown)
    gc.disable()
    try:
        run_blocking(teardown.run("sequential"))
        del teardown

        assert watched() is None
    finally:
        gc.enable()


class Bound(Thing):
    """Depends on things that stand deep inside a property."""

    bindings: dict[str, list[Thing | None]] = {}  # noqa: RUF012  # every object gets a copy


def test_a_resource_anywhere_inside_a_property_is_a_dependency(
    hand: Hand, scope: Scope, world: World, strategy: Strategy
) -> None:
    first = hand.create(scope, Thing("first"))
    nested = scope.run("nested")
    hand.create(nested, Bound("user", bindings={"DB": [None, first]}))

    hand.destroy(scope, strategy)

    assert destroyed(world) == ["user", "first"]


class Parent(Resource):
    """Makes a child that depends on its parent: a circle."""

    child: Child = output()

    def create(self) -> None:
        here().act("create", self)
        self.child = self.scope.create(Child("child", parent=self))

    def destroy(self) -> None:
        here().act("destroy", self)


class Child(Thing):
    parent: Parent


def test_a_circle_of_parent_and_child_is_destroyed_the_newest_first(
    hand: Hand, scope: Scope, world: World, strategy: Strategy
) -> None:
    hand.create(scope, Parent("parent"))

    hand.destroy(scope, strategy)

    assert destroyed(world) == ["child", "parent"]


# At once


class Meets(Resource):
    """Is gone only when all of its kind are being destroyed."""

    barrier: ClassVar[threading.Barrier]

    def create(self) -> None: ...

    def destroy(self) -> None:
        type(self).barrier.wait(PATIENCE)
        here().act("destroy", self)


class AsyncMeets(Resource):
    """The same with coroutine hooks."""

    waiting: ClassVar[list[str]] = []
    all_here: ClassVar[asyncio.Event]

    async def create(self) -> None: ...

    async def destroy(self) -> None:
        self.waiting.append(self.id)
        if len(self.waiting) == 4:
            type(self).all_here.set()
        await asyncio.wait_for(type(self).all_here.wait(), PATIENCE)
        here().act("destroy", self)


def test_in_parallel_plain_hooks_really_overlap(hand: Hand, scope: Scope, world: World) -> None:
    Meets.barrier = threading.Barrier(4)
    for number in range(4):
        hand.create(scope, Meets(f"m{number}"))

    hand.destroy(scope, "parallel")

    assert sorted(destroyed(world)) == ["m0", "m1", "m2", "m3"]
    assert threading.current_thread() not in world.threads.values()


def test_in_parallel_coroutine_hooks_really_overlap(hand: Hand, scope: Scope, world: World) -> None:
    AsyncMeets.waiting.clear()
    AsyncMeets.all_here = asyncio.Event()
    for number in range(4):
        hand.create(scope, AsyncMeets(f"m{number}"))

    hand.destroy(scope, "parallel")

    assert sorted(destroyed(world)) == ["m0", "m1", "m2", "m3"]


def test_in_a_coroutine_they_are_destroyed_in_its_own_thread(scope: Scope, world: World) -> None:
    async def test() -> None:
        for id in ("a", "b"):
            await scope.acreate(AsyncThing(id))
        await scope.adestroy("parallel")

    asyncio.run(test())

    assert set(world.threads.values()) == {threading.current_thread()}


class Homebound(Thing, parallel=False):
    """Its hooks work in the thread of the caller only."""


def test_what_does_not_want_threads_stays_in_the_callers(
    hand: Hand, scope: Scope, world: World, strategy: Strategy
) -> None:
    hand.create(scope, Homebound("home"))
    hand.create(scope, Thing("out"))

    hand.destroy(scope, strategy)

    assert world.threads["destroy home"] is threading.current_thread()
    assert (world.threads["destroy out"] is threading.current_thread()) == (
        strategy == "sequential"
    )


def test_many_more_things_than_may_go_at_once_are_all_destroyed(
    hand: Hand, kind: type[Thing], scope: Scope, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.AT_ONCE", 3)
    for number in range(20):
        hand.create(scope, kind(str(number)))

    hand.destroy(scope, "parallel")

    assert world.ids == []


def test_the_strategy_comes_from_the_call_or_the_scope_or_the_settings(world: World) -> None:
    parallel = new_stage(settings=Settings("shop", "test", destroy="parallel"))
    by_settings, by_scope = new_scope(parallel), new_scope(parallel, destroy_strategy="sequential")

    assert by_settings.destroy_strategy == "parallel"
    assert by_scope.destroy_strategy == "sequential"
    assert by_settings.run("inner").destroy_strategy == "parallel"
    assert by_scope.run("inner").destroy_strategy == "sequential"
    assert by_scope.run("other", destroy_strategy="parallel").destroy_strategy == "parallel"
    by_settings.create(Thing("a"))
    by_settings.destroy("sequential")
    assert world.threads["destroy a"] is threading.current_thread()
    by_scope.create(Thing("b"))
    by_scope.destroy()
    assert world.threads["destroy b"] is threading.current_thread()


# Failures


def test_everything_that_can_be_destroyed_is_and_the_rest_is_one_group(
    hand: Hand, kind: type[Thing], scope: Scope, world: World, strategy: Strategy
) -> None:
    db = hand.create(scope, kind("db"))
    api = hand.create(scope, kind("api", uses=[db]))
    for id in ("one", "two"):
        hand.create(scope, kind(id, uses=[api]))
    hand.create(scope, kind("free"))
    world.broken["destroy one"] = Broken("busy")

    with pytest.raises(ExceptionGroup) as caught:
        hand.destroy(scope, strategy)

    name = kind.__name__
    assert caught.value.message == f"3 of 5 resources of {scope.title} could not be destroyed"
    assert [str(error) for error in caught.value.exceptions] == [
        f"{name} 'one' could not be destroyed: Broken: busy",
        f"{name} 'api' could not be destroyed: still needed by {name} 'one'",
        f"{name} 'db' could not be destroyed: still needed by {name} 'api'",
    ]
    first, *blocked = caught.value.exceptions
    assert type(first) is DestroyError
    assert first.__cause__ is world.broken["destroy one"]
    assert all(type(error) is BlockedError for error in blocked)
    assert world.ids == ["api", "db", "one"]


def test_a_second_destroy_destroys_what_the_first_could_not(
    hand: Hand, kind: type[Thing], scope: Scope, world: World, strategy: Strategy
) -> None:
    db = hand.create(scope, kind("db"))
    hand.create(scope, kind("api", uses=[db]))
    world.broken["destroy api"] = Broken("busy")
    with pytest.raises(ExceptionGroup):
        hand.destroy(scope, strategy)
    world.broken.clear()

    hand.destroy(scope, strategy)

    assert world.ids == []
    hand.destroy(scope, strategy)
    assert destroyed(world) == ["api", "api", "db"]


def test_a_child_that_could_not_be_destroyed_is_not_lost_with_its_parent(
    hand: Hand, scope: Scope, world: World, strategy: Strategy
) -> None:
    class Nest(Thing, kind="nest"):
        def create(self) -> None:
            super().create()
            self.scope.create(Thing("egg"))

    with pytest.warns(UserWarning, match="defined inside a function"):
        hand.create(scope, Nest("n"))
    world.broken["destroy egg"] = Broken("stuck")
    with pytest.raises(ExceptionGroup, match=r"1 of 2 resources of .* could not be destroyed"):
        hand.destroy(scope, strategy)
    assert [owned.title for owned in scope.subtree()] == ["Thing 'egg'"]
    assert world.ids == ["egg"]
    world.broken.clear()

    hand.destroy(scope, strategy)

    assert world.ids == []
    assert not scope.owned


def test_what_is_needed_outside_of_the_scope_is_not_destroyed(
    hand: Hand, kind: type[Thing], scope: Scope, world: World, strategy: Strategy
) -> None:
    db = hand.create(scope, kind("db"))
    wider = new_scope(scope.root)
    hand.create(wider, kind("user", uses=[db]))
    hand.create(wider, kind("another", uses=[db]))

    with pytest.raises(ExceptionGroup) as caught:
        hand.destroy(scope, strategy)

    (error,) = caught.value.exceptions
    assert isinstance(error, BlockedError)
    assert error.blockers == (f"{kind.__name__} 'user'", f"{kind.__name__} 'another'")
    hand.destroy(wider, strategy)
    hand.destroy(scope, strategy)
    assert world.ids == []


def test_errors_of_a_teardown_survive_the_way_from_a_worker() -> None:
    for error in (DestroyError("Thing 'a'", "busy"), BlockedError("Thing 'a'", ["Thing 'b'"])):
        again = pickle.loads(pickle.dumps(error))

        assert (type(again), str(again)) == (type(error), str(error))


class Verdict(BaseException):
    """What test runners raise to end a test, so that no `except Exception` takes it for an error."""


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (SystemExit(1), "SystemExit: 1"),
        (Verdict("no server"), "Verdict: no server"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
def test_what_a_hook_raises_is_its_failure_alone_and_not_tried_again_if_it_is_no_exception(
    hand: Hand,
    kind: type[Thing],
    scope: Scope,
    world: World,
    strategy: Strategy,
    raised: BaseException,
    reason: str,
) -> None:
    for id in ("a", "b", "c"):
        hand.create(scope, kind(id))
    world.broken["destroy b"] = raised

    with pytest.raises(ExceptionGroup) as caught:
        hand.destroy(scope, strategy)

    assert [str(error) for error in caught.value.exceptions] == [
        f"{kind.__name__} 'b' could not be destroyed: {reason}"
    ]
    assert world.ids == ["b"]
    assert world.done.count("destroy b") == 1


def test_a_teardown_whose_task_is_cancelled_ends(scope: Scope, world: World) -> None:
    async def test() -> None:
        await scope.acreate(Thing("a"))
        await scope.acreate(Hangs("hangs"))
        task = asyncio.create_task(scope.adestroy("sequential"))
        await asyncio.sleep(0)  # it hangs now

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(test())

    assert world.ids == ["a", "hangs"]


def test_an_interrupt_is_raised_and_what_is_left_can_still_be_destroyed(
    hand: Hand, scope: Scope, world: World
) -> None:
    for id in ("a", "b", "c"):
        hand.create(scope, Thing(id))
    world.broken["destroy b"] = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        hand.destroy(scope, "sequential")

    assert world.ids == ["a", "b"]
    world.broken.clear()
    hand.destroy(scope)
    assert world.ids == []


# Time


class Hangs(Resource):
    """Never answers."""

    async def create(self) -> None:
        here().act("create", self)

    async def destroy(self) -> None:
        await asyncio.Event().wait()


def test_a_coroutine_that_hangs_is_cut_off_and_the_others_get_their_turn(
    hand: Hand, scope: Scope, world: World
) -> None:
    hand.create(scope, AsyncThing("a"))
    hand.create(scope, Hangs("h"))

    outcome = hand.close(scope, timeout=0.6)

    [failure] = outcome.failures
    assert failure.owned.title == "Hangs 'h'"
    assert re.fullmatch(
        r"TimeoutError: it took too long and was cut off after 0\.\d+ s \(teardown_timeout 0\.6 s\)",
        failure.reason,
    )
    assert destroyed(world) == ["a"]
    assert world.ids == ["h"]


def test_without_any_time_nothing_is_called_and_everything_is_reported(
    hand: Hand, scope: Scope, world: World
) -> None:
    hand.create(scope, AsyncThing("a"))

    outcome = hand.close(scope, timeout=0.0)

    assert [failure.reason for failure in outcome.failures] == [
        "TimeoutError: the time for the teardown was over (teardown_timeout 0 s)"
    ]
    assert destroyed(world) == []


def test_in_parallel_a_coroutine_that_hangs_stops_nothing_else(hand: Hand, world: World) -> None:
    scope = new_scope(destroy_strategy="parallel")
    hand.create(scope, AsyncThing("a"))
    hand.create(scope, Hangs("h"))

    outcome = hand.close(scope, timeout=0.3)

    assert [failure.owned.title for failure in outcome.failures] == ["Hangs 'h'"]
    assert outcome.destroyed == 1
    assert destroyed(world) == ["a"]


class Stubborn(Hangs):
    """Does not let itself be cut off, the first time."""

    async def destroy(self) -> None:
        with suppress(asyncio.CancelledError):
            await super().destroy()
        await super().destroy()


def test_in_parallel_tasks_what_swallows_its_cancellation_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.GRACE", 0.05)
    scope = new_scope(destroy_strategy="parallel")

    async def test() -> Outcome:
        await scope.acreate(AsyncThing("a"))
        await scope.acreate(Stubborn("s"))
        return await asyncio.wait_for(scope.close(AsyncDriver(), timeout=0.1), PATIENCE)

    outcome = asyncio.run(test())

    [failure] = outcome.failures
    assert failure.reason == "TimeoutError: it hung and was left behind (teardown_timeout 0.1 s)"
    assert outcome.destroyed == 1
    assert world.ids == ["s"]


def start_two() -> Callable[[Callable[[], None]], None]:
    """Return what starts a thread as `start_daemon` does, on a system that gives two of them."""
    left = iter(range(2))

    def start(run: Callable[[], None]) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start_daemon(run)

    return start


def test_where_there_are_no_more_threads_the_rest_goes_in_this_one(
    scope: Scope, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.start_daemon", start_two())
    for number in range(6):
        scope.create(Thing(f"n{number}"))

    scope.destroy("parallel")

    assert world.ids == []
    assert len(destroyed(world)) == 6


def test_an_interrupted_start_of_a_thread_leaves_nothing_to_be_warned_of(
    monkeypatch: pytest.MonkeyPatch, scope: Scope, recwarn: pytest.WarningsRecorder
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    scope.create(Thing("it"))

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr("pytest_alchemy.teardown.start_daemon", interrupted)
        scope.destroy("parallel")
    gc.collect()

    # At the end of a process a warning may wait for ever for what an import in another thread holds.
    assert recwarn.list == []


def test_where_there_are_no_more_threads_the_rest_goes_in_that_of_the_loop(
    scope: Scope, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.driver.start_daemon", start_two())

    async def test() -> None:
        for number in range(6):
            await scope.acreate(Thing(f"n{number}"))
        await scope.adestroy("parallel")

    asyncio.run(test())

    assert world.ids == []
    assert len(destroyed(world)) == 6


def test_a_teardown_with_time_enough_says_what_it_did(
    hand: Hand, kind: type[Thing], scope: Scope
) -> None:
    for id in ("a", "b"):
        hand.create(scope, kind(id))

    outcome = hand.close(scope, timeout=PATIENCE)

    assert (outcome.destroyed, outcome.failures) == (2, [])
    outcome.raise_failures(scope.title)


def test_closing_an_empty_scope_is_quiet(hand: Hand, scope: Scope) -> None:
    for _ in range(2):
        outcome: Any = hand.close(scope)
        assert (outcome.destroyed, outcome.failures) == (0, [])
