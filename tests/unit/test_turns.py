"""One step at a time."""

from __future__ import annotations

import asyncio
import threading
from concurrent import futures

import pytest

from pytest_alchemy.turns import Turns

PATIENCE = 10.0


def test_the_first_one_has_the_turn_and_the_others_wait_until_it_is_given_back() -> None:
    turns = Turns()

    assert turns.begin() is None
    first, second = turns.begin(), turns.begin()
    assert first is not None
    assert first is second
    assert not first.done()

    turns.end()

    assert first.done()
    assert turns.begin() is None


def test_what_is_made_busy_is_waited_for() -> None:
    turns = Turns(busy=True)

    assert turns.begin() is not None


def test_of_many_threads_one_has_the_turn() -> None:
    turns, start, won = Turns(), threading.Barrier(8), []

    def compete() -> None:
        start.wait(PATIENCE)
        if turns.begin() is None:
            won.append(threading.current_thread())

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(won) == 1


def test_whoever_begins_to_wait_just_as_the_turn_is_given_back_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns(busy=True)

    class Future(futures.Future[None]):
        """Is made while the other thread, which sees nobody wait yet, gives the turn back."""

        def __init__(self) -> None:
            super().__init__()
            turns.end()

    monkeypatch.setattr(futures, "Future", Future)
    monkeypatch.setattr("pytest_alchemy.turns.futures", futures)

    assert turns.begin() is None


def test_a_turn_that_was_left_behind_with_its_loop_is_taken_over() -> None:
    turns = Turns()

    async def leave() -> None:
        assert turns.begin() is None

    asyncio.run(leave())

    assert turns.begin() is None


def test_a_turn_in_a_running_loop_is_waited_for() -> None:
    async def test() -> None:
        turns = Turns()
        assert turns.begin() is None
        assert await asyncio.to_thread(turns.begin) is not None

    asyncio.run(test())
