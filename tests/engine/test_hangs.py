"""Destroys that hang: cut off in their time, starving nobody, keeping no process alive."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from typing import Any

import pytest

from pytest_alchemy import Resource, clock
from pytest_alchemy.settings import Strategy
from tests.unit.state.samples import REPOSITORY
from tests.unit.support.scopes import Hand, new_scope
from tests.unit.support.world import AsyncThing, Thing, World
from tests.unit.support.world import world as here

# A limit by signals would take the timer that cuts off what hangs in the main thread.
pytestmark = pytest.mark.timeout(60, method="thread")

STRATEGIES: tuple[Strategy, ...] = ("sequential", "parallel")


class Stuck(Resource):
    """Its destroy does not return before the test is over."""

    over = threading.Event()

    def create(self) -> None:
        here().act("create", self)

    def destroy(self) -> None:
        type(self).over.wait()


class AsyncStuck(Resource):
    """The same with coroutine hooks."""

    async def create(self) -> None:
        here().act("create", self)

    async def destroy(self) -> None:
        await asyncio.Event().wait()


class HomeStuck(Stuck, kind="homestuck", parallel=False):
    """Its hooks stay in the thread of the caller."""


class LoopStuck(AsyncStuck, kind="loopstuck"):
    """Its destroy is a coroutine that does not let go of its loop."""

    async def destroy(self) -> None:
        Stuck.over.wait()


@pytest.fixture(
    params=[Stuck, AsyncStuck, HomeStuck, LoopStuck], ids=["plain", "async", "at-home", "loop"]
)
def stuck(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("pytest_alchemy.loops.PROMPT", 0.02)
    monkeypatch.setattr("pytest_alchemy.teardown.GRACE", 0.05)
    monkeypatch.setattr("pytest_alchemy.timelimit._TICK", 0.02)
    over = threading.Event()
    monkeypatch.setattr(Stuck, "over", over)
    yield request.param
    over.set()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_hangs_is_cut_off_and_the_others_are_destroyed(
    hand: Hand, world: World, stuck: type[Resource], strategy: Strategy
) -> None:
    scope = new_scope(destroy_strategy=strategy)
    for number in range(3):
        hand.create(scope, Thing(f"before{number}"))
    hand.create(scope, stuck("stuck"))
    for number in range(3):
        hand.create(scope, AsyncThing(f"after{number}"))
    start = clock.monotonic()

    outcome = hand.close(scope, timeout=0.4)

    assert clock.monotonic() - start < 1.5
    [failure] = outcome.failures
    assert failure.owned.title == f"{stuck.__name__} 'stuck'"
    assert failure.reason.startswith("TimeoutError")
    assert outcome.destroyed == 6
    assert world.ids == ["stuck"]


class SlowToGo(AsyncStuck, kind="slowtogo"):
    """Hangs, and takes its time when it is cut off."""

    async def destroy(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.2)


def test_a_loop_that_waits_for_what_was_cut_off_is_not_broken(
    hand: Hand, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.timelimit._TICK", 0.02)
    scope = new_scope()
    hand.create(scope, AsyncThing("other"))
    hand.create(scope, SlowToGo("slow"))

    outcome = hand.close(scope, timeout=0.6)

    assert [failure.owned.title for failure in outcome.failures] == ["SlowToGo 'slow'"]
    assert world.ids == ["slow"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_hangs_can_be_destroyed_later(
    hand: Hand, world: World, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.GRACE", 0.05)
    scope = new_scope(destroy_strategy=strategy)
    hand.create(scope, AsyncStuck("stuck"))
    hand.close(scope, timeout=0.2)
    monkeypatch.setitem(AsyncStuck.__alchemy_kind__.hooks, "destroy", AsyncThing.destroy)

    outcome = hand.close(scope, timeout=10.0)

    assert outcome.failures == []
    assert world.ids == []


@pytest.mark.parametrize("number", [3])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_many_that_hang_starve_nobody(
    hand: Hand,
    world: World,
    stuck: type[Resource],
    strategy: Strategy,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.AT_ONCE", 2)
    scope = new_scope(destroy_strategy=strategy)
    hand.create(scope, Thing("last"))
    for place in range(number):
        hand.create(scope, stuck(f"stuck{place}"))

    outcome = hand.close(scope, timeout=2.0)

    assert outcome.destroyed == 1
    assert len(outcome.failures) == number
    assert "last" not in world.ids


PROGRAM = """
import asyncio, sys, threading
from pytest_alchemy import Resource
from pytest_alchemy.driver import AsyncDriver, BlockingDriver, run_blocking
from tests.unit.support.scopes import new_scope

class Stuck(Resource):
    def create(self): ...
    def destroy(self): threading.Event().wait()

class AsyncStuck(Resource):
    async def create(self): ...
    async def destroy(self): await asyncio.Event().wait()

strategy, style = sys.argv[1:]
scope = new_scope(destroy_strategy=strategy)

async def main():
    await scope.acreate(Stuck("plain"))
    await scope.acreate(AsyncStuck("async"))
    return await scope.close(AsyncDriver(), timeout=0.6)

if style == "async":
    outcome = asyncio.run(main())
else:
    scope.create(Stuck("plain"))
    scope.create(AsyncStuck("async"))
    outcome = run_blocking(scope.close(BlockingDriver(), timeout=0.6))
print(sorted(failure.owned.id for failure in outcome.failures))
"""


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_hangs_keeps_no_process_alive(strategy: Strategy, style: str) -> None:
    command = [sys.executable, "-c", PROGRAM, strategy, style]

    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=True
    )

    assert done.stdout == "['async', 'plain']\n"
