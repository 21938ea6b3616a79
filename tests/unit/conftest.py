"""What the unit tests of the scope system ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pytest_alchemy.scope import Scope
from tests.unit.support.scopes import AsyncHand, BlockingHand, Hand, new_scope
from tests.unit.support.world import AsyncThing, Slow, Thing, World, new_world


@pytest.fixture
def world() -> World:
    """Return a world in which nothing exists."""
    return new_world()


@pytest.fixture(params=["blocking", "asyncio"])
def hand(request: pytest.FixtureRequest) -> Iterator[Hand]:
    """Return what creates and destroys: through the blocking methods, then through their twins."""
    if request.param == "blocking":
        yield BlockingHand()
    else:
        with asyncio.Runner() as runner:
            yield AsyncHand(runner)


@pytest.fixture(params=[Thing, AsyncThing], ids=["plain", "async"])
def kind(request: pytest.FixtureRequest) -> type[Thing]:
    """Return a resource class with plain hooks, then its twin with coroutine hooks."""
    found: type[Thing] = request.param
    return found


@pytest.fixture
def scope(world: World) -> Scope:
    """Return an open scope in a world in which nothing exists."""
    return new_scope()


@pytest.fixture
def slow() -> type[Slow]:
    """Return a resource class whose create goes on when it is let go."""
    Slow.begun, Slow.go_on = asyncio.Event(), asyncio.Event()
    return Slow
