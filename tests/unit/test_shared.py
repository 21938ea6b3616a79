"""A scope that several processes share, with several of them played by one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import Resource, clock
from pytest_alchemy.errors import DeclaredInItselfError, NotAResourceError
from pytest_alchemy.settings import Settings
from pytest_alchemy.shared import SharedScope
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.board import Board
from pytest_alchemy.state.locks import is_held
from pytest_alchemy.state.memory import MemoryJournal
from tests.unit.support.world import AsyncThing, World

PATIENCE = 10.0


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """What the processes know of each other."""
    return Board(tmp_path / ".alchemy", "shop", "test-run")


@pytest.mark.parametrize("thing", [AsyncThing, "orders", None])
def test_what_is_no_resource_is_refused_as_in_every_scope(board: Board, thing: Any) -> None:
    with pytest.raises(NotAResourceError):
        _scope(board).create(thing)


def _scope(board: Board) -> SharedScope:
    stage = Stage(Settings("shop", "test"), "test-run", None, Program(), MemoryJournal)
    scope = SharedScope(stage)
    scope.board = board
    return scope


def test_whoever_no_longer_waits_for_its_turn_does_not_keep_it(
    board: Board, world: World, tmp_path: Path
) -> None:
    turn = board.turn((), "asyncthing-orders")
    turn.__enter__()
    [lock] = tmp_path.glob(".alchemy/shop/test-run/.turn-*")

    async def test() -> asyncio.Task[AsyncThing]:
        task = asyncio.create_task(_scope(board).acreate(AsyncThing("orders")))
        await asyncio.wait([task], timeout=0.1)  # by then it waits, or it begins to in vain
        task.cancel()
        await asyncio.wait([task])
        return task

    task = asyncio.run(test())
    turn.__exit__(None, None, None)

    assert task.cancelled()
    _is_free_in_the_end(lock)
    with board.turn((), "asyncthing-orders"):
        assert world.ids == []


def _is_free_in_the_end(lock: Path) -> None:
    """Wait until nobody waits for *lock* any more."""
    give_up = clock.monotonic() + PATIENCE
    while lock.exists() or is_held(lock):
        assert clock.monotonic() < give_up, "somebody keeps it"
        clock.pause(0.01)


class Selfish(Resource):
    """Wants to exist already when it is created."""

    def create(self) -> None:
        outer = self.scope.parent
        assert outer is not None
        outer.create(Selfish(self.id))

    def destroy(self) -> None: ...


def test_a_turn_is_given_back_where_the_system_gives_no_more_threads(
    board: Board, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("pytest_alchemy.driver.start_daemon", refuse)

    asyncio.run(_scope(board).acreate(AsyncThing("orders")))

    assert world.ids == ["orders"]
    assert list(tmp_path.glob(".alchemy/shop/test-run/.turn-*")) == []


def test_what_would_wait_for_its_own_create_is_told_so(board: Board) -> None:
    with pytest.raises(DeclaredInItselfError):
        _scope(board).create(Selfish("bird"))
