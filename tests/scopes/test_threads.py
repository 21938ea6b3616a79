"""Several threads declare in one application at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.entry import Entry
from pytest_alchemy.scope import Scope

from .things import Thing, World

THREADS = 4


@pytest.fixture(autouse=True)
def busy() -> Iterator[None]:
    """Let threads take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[], object]) -> list[object]:
    """Return what *work* returns in each of several threads that begin at one moment."""
    start = threading.Barrier(THREADS)

    def begin() -> object:
        start.wait()
        return work()

    with ThreadPoolExecutor(THREADS, "thread") as pool:
        return [each.result() for each in [pool.submit(begin) for _ in range(THREADS)]]


def test_threads_that_open_one_nested_scope_get_the_same(world: World) -> None:
    with alchemy.test("test") as scope:
        for number in range(300):
            found = at_once(partial(scope.run, f"s{number}"))
            assert len(set(map(id, found))) == 1


def test_blocks_of_several_threads_end_while_others_declare(world: World) -> None:
    def program(app: Scope) -> None:
        for block in range(10):
            with app.run(f"{threading.current_thread().name}-{block}") as scope:
                for thing in range(10):
                    scope.create(Thing(f"{thing}"))

    for _ in range(2):
        with alchemy("my-app", stage="prod") as app:
            at_once(partial(program, app))

    assert len(world.alive) == THREADS * 100
    assert len(world.took()) == THREADS * 100


def test_threads_that_make_things_inside_a_resource_share_its_scope(world: World) -> None:
    with alchemy.test("test") as scope:
        for number in range(300):
            entry = scope.create(Thing(f"{number}"))._alchemy.owner
            assert isinstance(entry, Entry)
            found = at_once(entry.own_scope)
            assert len(set(map(id, found))) == 1
