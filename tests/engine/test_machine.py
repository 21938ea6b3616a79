"""Programs and crashes against a model of the world: nothing exists that no record names, and in the end nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pytest_alchemy import clock
from pytest_alchemy.driver import AsyncDriver
from pytest_alchemy.entry import Entry, Status
from pytest_alchemy.errors import BlockedError, ChangedWithinRunError, DestroyError
from pytest_alchemy.resource import Resource
from pytest_alchemy.settings import Strategy

from .programs import (
    KINDS,
    Crash,
    Process,
    Refused,
    copied,
    here,
    new_world,
    reap,
    recorded,
    unmake_by_name,
)

STRATEGIES: tuple[Strategy, ...] = ("sequential", "parallel")
PLANS = (
    "",
    "",
    "",
    "fail before",
    "fail after",
    "lose before",
    "lose after",
    "crash before",
    "crash after",
)
EXPECTED = (Refused, ConnectionError, ChangedWithinRunError, BlockedError)


def _no_wait(seconds: float) -> None:
    """Wait for nothing: nobody else works meanwhile."""


async def _no_sleep(driver: AsyncDriver, seconds: float) -> None:
    """Wait for nothing: nobody else works meanwhile."""


class Programs(RuleBasedStateMachine):
    """Runs one program after the other; each ends by itself or crashes, and what it left is recovered."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="alchemy-machine-"))
        self.world = new_world()
        self.world.dying = self.take_down
        self.dead: list[Path] = []
        self.process: Process | None = None
        self.count = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(clock, "pause", _no_wait)
        self.patch.setattr(AsyncDriver, "sleep", _no_sleep)

    @initialize(asynchronous=st.booleans())
    def start(self, asynchronous: bool) -> None:
        self.process = Process(self.folder / "state", asynchronous=asynchronous)

    @precondition(lambda self: self.process is None)
    @rule(asynchronous=st.booleans())
    def start_again(self, asynchronous: bool) -> None:
        self.start(asynchronous)

    @precondition(lambda self: self.process is not None)
    @rule(
        kind=st.sampled_from(KINDS),
        id=st.sampled_from("abcd"),
        size=st.sampled_from([1, 1, 1, 2]),
        place=st.integers(0, 3),
        uses=st.lists(st.integers(0, 20), max_size=3),
        plan=st.sampled_from(PLANS),
        child_plan=st.sampled_from(PLANS),
    )
    def create(
        self,
        kind: type[Any],
        id: str,
        size: int,
        place: int,
        uses: list[int],
        plan: str,
        child_plan: str,
    ) -> None:
        process = self.process
        assert process is not None
        scope = process.scopes[place % len(process.scopes)]
        existing = [thing for thing in process.made if exists(thing)]
        needs = [existing[number % len(existing)] for number in uses] if existing else []
        thing = kind(id, size=size, uses=list(dict.fromkeys(needs)))
        self.world.plan = {id: plan, f"{id}-second": child_plan}

        made = self.attempt(lambda: process.hand.create(scope, thing))

        thing._alchemy.fresh = False
        if made is not None:
            assert made.name in self.world.alive
            process.made.append(made)

    @precondition(lambda self: self.process is not None and self.process.made)
    @rule(number=st.integers(0, 20))
    def remove(self, number: int) -> None:
        process = self.process
        assert process is not None
        thing = process.made[number % len(process.made)]
        owner = thing._alchemy.owner
        if not isinstance(owner, Entry) or owner.scope.owned.get(owner.key) is not owner:
            return

        def remove() -> bool:
            process.hand.remove(owner.scope, thing)
            return True

        if self.attempt(remove):
            assert thing.name not in self.world.alive

    @precondition(lambda self: self.process is not None)
    @rule(place=st.integers(0, 3), name=st.sampled_from(["one", "two"]))
    def nest(self, place: int, name: str) -> None:
        assert self.process is not None
        scopes = self.process.scopes
        inner = scopes[place % len(scopes)].run(name)
        if inner not in scopes:
            scopes.append(inner)

    @precondition(lambda self: self.process is not None)
    @rule(place=st.integers(0, 3), dies=st.sampled_from([False, False, False, True]))
    def make_by_hand(self, place: int, dies: bool) -> None:
        assert self.process is not None
        scope = self.process.scopes[place % len(self.process.scopes)]
        self.count += 1
        name = scope.physical_name(f"hand{self.count}")

        def make() -> None:
            scope.defer(unmake_by_name, name)
            self.world.alive.add(name)
            if dies:
                self.world.die()

        self.attempt(make)

    @precondition(lambda self: self.world.alive)
    @rule(number=st.integers(0, 20), times=st.integers(1, 5))
    def become_stubborn(self, number: int, times: int) -> None:
        """Let the next calls of a destroy hook fail."""
        names = sorted(self.world.alive)
        self.world.stubborn[names[number % len(names)]] = times

    @precondition(lambda self: self.process is not None)
    @rule(strategy=st.sampled_from(STRATEGIES), number=st.integers(0, 8))
    def end(self, strategy: Strategy, number: int) -> None:
        process = self.process
        assert process is not None
        names = sorted(self.world.alive & process.names)
        if strategy == "sequential" and number < len(names):
            self.world.plan = {names[number]: "crash at destroy"}

        outcome = self.attempt(lambda: process.close(strategy))

        if outcome is None:
            return
        told = {failure.owned.name for failure in outcome.failures}
        told |= {
            name for failure in outcome.failures for name in getattr(failure.owned, "args", ())
        }
        left = self.world.alive & process.names
        assert left <= told, "something is left that nobody was told of"
        assert process.names <= told
        process.end(clean=not outcome.failures)
        if outcome.failures:
            assert process.files.folder is not None
            self.dead.append(process.files.folder)
        self.process = None

    @precondition(lambda self: self.process is not None)
    @rule()
    def crash(self) -> None:
        self.attempt(self.world.die)

    @precondition(lambda self: self.dead)
    @rule(number=st.integers(0, 5))
    def recover(self, number: int) -> None:
        folder = self.dead.pop(number % len(self.dead))
        mine = recorded(folder)

        findings = reap(folder)

        told = {finding.facts["name"] for finding in findings if finding.what != "reaped"}
        left = mine & self.world.alive
        assert left <= {name for each in told for name in mine if name in each}
        if folder.exists():
            assert told
            self.dead.append(folder)
        else:
            assert not left

    @invariant()
    def everything_that_exists_is_named_by_a_record(self) -> None:
        named = set().union(*map(recorded, self.dead), self.process.names if self.process else ())
        assert self.world.alive <= named

    @invariant()
    def nothing_was_unmade_that_something_else_used(self) -> None:
        assert self.world.missed == set()

    def attempt(self, act: Callable[[], Any]) -> Any:
        """Return what *act* returns; None if it failed as it may, or the process died over it."""
        made = None
        try:
            made = act()
        except (Crash, *EXPECTED):
            pass
        except ExceptionGroup as group:
            _, others = group.split(DestroyError)
            if others is not None:
                raise others from None
        if (
            self.world.dead
        ):  # also if it went on: a teardown takes a crash for a destroy that failed
            self.bury()
            return None
        return made

    def take_down(self) -> None:
        """Copy what is on the disk in this moment."""
        assert self.process is not None
        if self.process.files.folder is not None:
            self.count += 1
            self.dead.append(copied(self.process.files.folder, self.folder / f"dead{self.count}"))

    def bury(self) -> None:
        assert self.process is not None
        self.process.stop()
        if self.process.files.folder is not None:
            shutil.rmtree(self.process.files.folder)
        self.process = None
        self.world.dead = False
        self.world.plan.clear()

    def teardown(self) -> None:
        try:
            self.world.stubborn.clear()
            self.world.plan.clear()
            if self.process is not None:
                self.attempt(self.world.die)
            for folder in self.dead:
                reap(folder)
                assert not folder.exists()
            assert self.world.alive == set()
            assert self.world.missed == set()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder)


def exists(thing: Resource) -> bool:
    owner = thing._alchemy.owner
    return (
        isinstance(owner, Entry) and owner.status is Status.CREATED and thing.name in here().alive
    )


Programs.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestPrograms = Programs.TestCase
