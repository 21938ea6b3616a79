"""Running coroutines on loops of other threads, and waiting for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_alchemy import clock, loops
from pytest_alchemy.driver import AsyncDriver, BlockingDriver, run_blocking
from pytest_alchemy.errors import LoopStoppedError
from pytest_alchemy.loops import background_loop
from tests.unit.support.hooks import blocking

PATIENCE = 10.0


def test_blocking_code_under_a_coroutine_of_the_background_loop_does_not_wait_for_itself() -> None:
    async def inner() -> threading.Thread:
        return threading.current_thread()

    async def outer() -> list[object]:
        return [threading.current_thread(), *(blocking(inner) for _ in range(3))]

    first, *others = blocking(outer, PATIENCE)

    assert first not in others
    assert len(set(others)) == 1


def test_a_coroutine_goes_to_the_loop_it_belongs_to_while_that_runs() -> None:
    async def where() -> object:
        return asyncio.get_running_loop()

    async def test() -> tuple[object, tuple[object, object]]:
        here = asyncio.get_running_loop()
        steps = BlockingDriver().call(where, loop=here)
        return here, await asyncio.to_thread(run_blocking, steps)

    here, (found, loop) = asyncio.run(test())

    assert found is loop is here


@pytest.fixture
def stopping() -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that runs in a thread, and stops without running what it is given next."""
    loop, is_given, runs = asyncio.new_event_loop(), threading.Event(), threading.Event()

    def stop() -> None:
        runs.set()
        assert is_given.wait(PATIENCE)
        loop.stop()

    give = loop.call_soon_threadsafe

    def give_in_vain(*args: Any, **more: Any) -> asyncio.Handle:
        handle = give(*args, **more)
        is_given.set()
        return handle

    loop.call_soon(stop)
    loop.call_soon_threadsafe = give_in_vain  # type: ignore[method-assign, assignment]  # to know when
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert runs.wait(PATIENCE)
    yield loop
    thread.join(PATIENCE)
    loop.close()


@pytest.mark.parametrize("limit", [None, PATIENCE])
@pytest.mark.parametrize("style", ["blocking", "asyncio"])
def test_a_loop_that_stops_meanwhile_is_told_and_not_waited_for(
    stopping: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    style: str,
    limit: float | None,
) -> None:
    monkeypatch.setattr(loops, "PROMPT", 0.01)
    deadline = limit and clock.monotonic() + limit

    async def hook() -> None: ...

    def call() -> None:
        if style == "blocking":
            run_blocking(BlockingDriver().call(hook, loop=stopping, deadline=deadline))
        else:
            asyncio.run(AsyncDriver().call(hook, loop=stopping, deadline=deadline))

    with pytest.raises(LoopStoppedError) as caught:
        call()

    assert str(caught.value) == (
        "The event loop that it lives in, another task's or thread's, stopped before this was done.\n"
        "Let that loop run for as long as what was made in it is used, or try again: then it runs elsewhere."
    )


def test_a_loop_that_has_stopped_is_not_waited_for() -> None:
    async def where() -> object:
        return asyncio.get_running_loop()

    over = asyncio.new_event_loop()
    over.close()

    found, loop = run_blocking(BlockingDriver().call(where, loop=over))

    assert found is loop is background_loop()


def test_a_coroutine_that_does_not_let_go_of_its_loop_keeps_no_other_from_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loops, "PROMPT", 0.02)
    gate, begun = threading.Event(), threading.Event()

    async def hold() -> bool:
        begun.set()
        return gate.wait(PATIENCE)

    first = background_loop()
    holder = threading.Thread(target=blocking, args=(hold,))
    holder.start()
    assert begun.wait(PATIENCE)

    try:
        result, loop = run_blocking(BlockingDriver().call(lambda: asyncio.sleep(0, "goes on")))
        assert not gate.is_set()
    finally:
        gate.set()
        holder.join()

    assert result == "goes on"
    assert loop is background_loop()
    assert loop is not first
    assert not loops.turns(first)  # whatever lives in it is found by its record


def test_a_coroutine_that_takes_long_but_lets_go_keeps_its_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, asked, submit = threading.Event(), threading.Event(), loops._submit

    def submit_and_see_it_begin(awaitable: Any, loop: Any) -> Any:
        future, withdraw = submit(awaitable, loop)
        assert begun.wait(PATIENCE)

        def ask() -> object:
            asked.set()
            return withdraw()

        return future, ask

    async def last() -> str:
        begun.set()
        assert await asyncio.to_thread(asked.wait, PATIENCE)  # until it was to be taken back
        return "done"

    monkeypatch.setattr(loops, "PROMPT", 0.02)
    monkeypatch.setattr(loops, "_submit", submit_and_see_it_begin)
    loop = background_loop()

    assert run_blocking(BlockingDriver().call(last)) == ("done", loop)


def test_a_thread_that_has_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_background", loops._Background())
    first = background_loop()
    thread = loops._background._thread
    assert thread is not None
    first.call_soon_threadsafe(first.stop)
    thread.join(PATIENCE)

    second = background_loop()

    assert second is not first
    assert blocking(lambda: asyncio.sleep(0, "alive")) == "alive"
    first.close()
    thread = loops._background._thread
    assert thread is not None
    second.call_soon_threadsafe(second.stop)
    thread.join(PATIENCE)
    second.close()
