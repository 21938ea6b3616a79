"""Ctrl-C wherever Python may raise it in our code: all that exists is destroyed, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import TypeVar

import pytest

import pytest_alchemy
from pytest_alchemy import retry, timelimit
from pytest_alchemy.driver import BlockingDriver, DaemonThreads, in_async_hook, run_blocking
from pytest_alchemy.scope import Scope, current
from tests.unit.support.scopes import new_scope
from tests.unit.support.world import (
    AsyncGroup,
    AsyncThing,
    ChangingThing,
    Group,
    Thing,
    new_world,
)

OURS = str(Path(pytest_alchemy.__file__).parent)
PATIENCE = 30.0
Place = tuple[CodeType, int]
P = TypeVar("P")


class Interrupt:
    """
    Raises KeyboardInterrupt where Python looks for signals: at the entry of a function of ours, or after it called C.

    Args:
        tried: Where one was raised before; it adds the place of its own.

    Attributes:
        place: Where it was raised; empty if everywhere one was before.
    """

    def __init__(self, tried: set[Place]) -> None:
        self._tried = tried
        self.place = ""

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "c_return") or not frame.f_code.co_filename.startswith(OURS):
            return
        here = frame.f_code, frame.f_lasti
        if not self.place and here not in self._tried and not _is_swallowed(frame):
            self._tried.add(here)
            self.place = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
            raise KeyboardInterrupt

    @contextmanager
    def armed(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)


def _is_swallowed(frame: FrameType | None) -> bool:
    """Tell whether Python tells errors there on standard error, and goes on."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def make_and_destroy(scope: Scope) -> None:
    first = scope.create(Thing("first"))
    scope.create(Thing("second", uses=[first]))
    scope.destroy("sequential")


def make_and_destroy_in_threads(scope: Scope) -> None:
    first = scope.create(Thing("first"))
    scope.create(Thing("second", uses=[first]))
    scope.destroy("parallel")


def declare_again(scope: Scope) -> None:
    scope.create(Thing("same"))
    scope.create(Thing("same"))
    scope.create(ChangingThing("changed"))
    scope.create(ChangingThing("changed", size=2))


def remove_a_group(scope: Scope) -> None:
    scope.remove(scope.create(Group("group")))


async def make_and_destroy_in_a_loop(scope: Scope) -> None:
    first = await scope.acreate(AsyncThing("first"))
    await scope.acreate(AsyncThing("second", uses=[first]))
    await scope.adestroy("sequential")


async def make_and_destroy_in_tasks(scope: Scope) -> None:
    same = (scope.acreate(AsyncThing("first")) for _ in range(2))
    first, _ = await asyncio.gather(*same)
    await scope.acreate(AsyncThing("second", uses=[first]))
    await scope.adestroy("parallel")


async def remove_a_group_in_a_loop(scope: Scope) -> None:
    await scope.aremove(await scope.acreate(AsyncGroup("group")))


Program = Callable[[Scope], object]


def run(program: Program, scope: Scope, interrupt: Interrupt) -> None:
    """Run *program* until the interrupt; a loop ends with it."""
    if asyncio.iscoroutinefunction(program):
        with asyncio.Runner() as runner, interrupt.armed():
            runner.run(program(scope))
    else:
        with interrupt.armed():
            program(scope)


def surroundings() -> tuple[object, ...]:
    """Return what a hook finds, or a teardown sets, and is to be as it was afterwards."""
    return current(), in_async_hook(), retry.patient.get()


def attempt(program: Program, tried: set[Place]) -> str:
    """Interrupt *program* where that was not tried yet, end its scope, and return where it was: empty if nowhere."""
    world, scope, interrupt = new_world(), new_scope(), Interrupt(tried)

    with suppress(KeyboardInterrupt):
        run(program, scope, interrupt)
    outcome = run_blocking(scope.close(BlockingDriver(), timeout=5.0))

    assert [failure.reason for failure in outcome.failures] == [], interrupt.place
    assert world.ids == [], interrupt.place
    assert surroundings() == (None, False, False), interrupt.place
    return interrupt.place


def everywhere(attempt: Callable[[P, set[Place]], str], program: P) -> set[Place]:
    """Let *attempt* interrupt *program* at one place after the other, and return them all."""
    gc.collect()  # what others left would be freed at some moment of ours
    tried: set[Place] = set()
    # A thread for each: Python 3.11 counts the depth of its stack wrong after some of these errors.
    while DaemonThreads().submit(attempt, program, tried).result(PATIENCE):
        pass
    gc.collect()  # and what is left here, at some moment of others
    for each in gc.get_objects():  # Python 3.12 keeps some that never began, and would warn then
        if inspect.iscoroutine(each) and inspect.getcoroutinestate(each) == inspect.CORO_CREATED:
            each.close()
    return tried


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest_alchemy.errors.ResourceNeverCreatedWarning")
@pytest.mark.parametrize(
    "program",
    [
        make_and_destroy,
        make_and_destroy_in_threads,
        declare_again,
        remove_a_group,
        make_and_destroy_in_a_loop,
        make_and_destroy_in_tasks,
        remove_a_group_in_a_loop,
    ],
)
def test_whatever_step_is_interrupted_everything_is_destroyed_and_at_once(
    program: Program,
) -> None:
    assert len(everywhere(attempt, program)) > 100


class InterruptOfAlarm(Interrupt):
    """The same in the code alone that sets a timer, which only the main thread may."""

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename == timelimit.__file__:
            super().__call__(frame, event, argument)


def test_the_timer_is_given_back_whatever_step_is_interrupted() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)  # pytest-timeout uses it as well
    handler = signal.getsignal(signal.SIGALRM)
    tried: set[Place] = set()
    interrupt = None
    while interrupt is None or interrupt.place:
        new_world()
        interrupt = InterruptOfAlarm(tried)
        with suppress(KeyboardInterrupt):
            run(make_and_destroy, new_scope(), interrupt)

        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0), interrupt.place
        assert signal.getsignal(signal.SIGALRM) is handler, interrupt.place
    assert len(tried) > 5
