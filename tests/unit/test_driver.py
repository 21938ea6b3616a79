"""Calling hooks from blocking code and from coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from pytest_alchemy import clock
from pytest_alchemy.driver import (
    AsyncDriver,
    BlockingDriver,
    DaemonThreads,
    in_async_hook,
    refuse_in_coroutine,
    run_blocking,
)
from pytest_alchemy.errors import BlockingCallError, NoEventLoopError
from pytest_alchemy.loops import background_loop
from tests.unit.support.hooks import blocking

PATIENCE = 10.0

mark = contextvars.ContextVar("mark", default="none")


def save(number: int = 1) -> int:
    """Block, as `Scope.create` does."""
    refuse_in_coroutine("save", "asave")
    return number


# A blocking call directly inside a coroutine


def test_a_blocking_call_in_a_coroutine_is_refused_and_names_its_twin() -> None:
    async def test() -> int:
        return save()

    with pytest.raises(BlockingCallError) as caught:
        asyncio.run(test())

    assert str(caught.value) == (
        "save() blocks and was called inside a coroutine, where it would stop the event loop.\n"
        "Use its twin: await asave(...)"
    )


def test_a_coroutine_that_does_not_run_on_asyncio_is_told_what_to_do() -> None:
    made: list[str] = []
    steps = AsyncDriver().call(lambda: made.append("made"))

    with pytest.raises(NoEventLoopError) as caught:
        steps.send(None)  # as trio does

    assert made == []
    assert str(caught.value) == (
        "Resources can be awaited on asyncio only, and this coroutine runs on something else (trio, say).\n"
        "Make it in plain code: in a fixture that is no coroutine, with scope.create(...)"
    )


async def in_a_list() -> object:
    return [save(number) for number in range(2)]


async def in_a_set() -> object:
    return {save(number) for number in range(2)}


async def in_a_dict() -> object:
    return {number: save(number) for number in range(2)}


async def in_a_generator() -> object:
    return list(save(number) for number in range(2))  # noqa: C400  # a generator is what is tested


async def in_two_levels() -> object:
    return [[save(number) for number in range(2)] for _ in range(2)]


async def numbers() -> AsyncIterator[int]:
    yield save()


async def in_an_async_generator() -> object:
    return [number async for number in numbers()]


async def in_a_lambda_called_here() -> object:
    return (lambda: save())()


@pytest.mark.parametrize(
    "coroutine",
    [in_a_list, in_a_set, in_a_dict, in_a_generator, in_two_levels, in_an_async_generator],
)
def test_a_blocking_call_inside_an_expression_of_a_coroutine_is_refused(
    coroutine: Callable[[], object],
) -> None:
    with pytest.raises(BlockingCallError):
        asyncio.run(coroutine())  # type: ignore[arg-type]  # it is a coroutine


def test_a_plain_function_may_block_although_a_coroutine_calls_it() -> None:
    def plain() -> list[int]:
        return [save(number) for number in range(2)]

    async def test() -> tuple[object, object, object]:
        return plain(), await asyncio.to_thread(save, 3), await in_a_lambda_called_here()

    assert asyncio.run(test()) == ([0, 1], 3, 1)


def test_a_plain_generator_may_block() -> None:
    def saved() -> Iterator[int]:
        yield save()

    async def test() -> list[int]:
        return list(saved())

    assert asyncio.run(test()) == [1]


def test_code_of_a_module_may_block() -> None:
    exec("save()", {"save": save})


# Steps without an event loop


def test_steps_run_to_their_end_without_a_loop() -> None:
    async def steps() -> str:
        result, loop = await BlockingDriver().call(lambda: "made")
        assert loop is None
        return str(result)

    assert run_blocking(steps()) == "made"


def test_an_error_in_steps_reaches_the_caller() -> None:
    async def steps() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_blocking(steps())


def test_steps_that_need_a_loop_are_an_error_and_no_hang() -> None:
    async def steps() -> None:
        await asyncio.sleep(0)

    with pytest.raises(
        RuntimeError, match=r"^the engine waited for an event loop in blocking code$"
    ):
        run_blocking(steps())


# The blocking driver


def test_a_plain_hook_runs_in_the_callers_thread() -> None:
    assert blocking(threading.current_thread) is threading.current_thread()


def test_a_coroutine_hook_of_blocking_code_runs_on_the_background_loop() -> None:
    async def hook() -> tuple[object, object]:
        return asyncio.get_running_loop(), threading.current_thread()

    loop, thread = blocking(hook)

    assert loop is background_loop()
    assert thread is not threading.current_thread()


def test_a_coroutine_hook_sees_the_context_of_the_caller() -> None:
    async def hook() -> str:
        return mark.get()

    def call() -> object:
        mark.set("caller's")
        return blocking(hook)

    assert contextvars.copy_context().run(call) == "caller's"


def test_a_coroutine_that_takes_too_long_is_cut_off_and_cancelled() -> None:
    cancelled = threading.Event()

    async def hook() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    blocking(lambda: asyncio.sleep(0))  # so that there is a loop, and it begins in time
    with pytest.raises(TimeoutError):
        blocking(hook, timeout=0.2)

    assert cancelled.wait(PATIENCE)


def test_a_timeout_of_the_hook_itself_is_an_error_like_others() -> None:
    async def hook() -> None:
        raise TimeoutError("the server's")

    with pytest.raises(TimeoutError, match="the server's"):
        blocking(hook, timeout=PATIENCE)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_even_an_exit_inside_a_coroutine_reaches_the_caller_and_ends_no_loop(
    error: BaseException,
) -> None:
    async def leave() -> None:
        raise error

    async def stay() -> str:
        return "alive"

    loop = background_loop()

    with pytest.raises(type(error)):
        blocking(leave)

    assert blocking(stay) == "alive"
    assert background_loop() is loop


# The asyncio driver


def test_hooks_of_a_coroutine_run_in_its_own_loop_and_thread() -> None:
    async def hook() -> object:
        return asyncio.get_running_loop(), threading.current_thread()

    async def test() -> None:
        here = asyncio.get_running_loop()
        call = AsyncDriver().call
        assert await call(hook) == ((here, threading.current_thread()), here)
        assert await call(threading.current_thread) == (threading.current_thread(), None)

    asyncio.run(test())


def test_with_threads_plain_hooks_run_there_and_coroutines_in_the_loop() -> None:
    async def hook() -> object:
        return threading.current_thread()

    def plain() -> object:
        return threading.current_thread(), mark.get()

    async def test() -> None:
        mark.set("task's")
        call = AsyncDriver(DaemonThreads()).call
        (thread, seen), _ = await call(plain)
        coroutine_thread, _ = await call(hook)
        assert thread is not threading.current_thread()
        assert seen == "task's"
        assert coroutine_thread is threading.current_thread()

    asyncio.run(test())


def test_a_coroutine_that_takes_too_long_in_a_loop_is_cancelled() -> None:
    ended: list[str] = []

    async def hook() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def test() -> None:
        with pytest.raises(TimeoutError):
            await AsyncDriver().call(hook, deadline=clock.monotonic() + 0.02)

    asyncio.run(test())

    assert ended == ["cancelled"]


def test_a_coroutine_goes_to_another_loop_if_it_belongs_there() -> None:
    async def hook() -> object:
        return asyncio.get_running_loop()

    async def test() -> tuple[object, object]:
        return await AsyncDriver().call(hook, loop=background_loop())

    assert asyncio.run(test()) == (background_loop(), background_loop())


def test_a_coroutine_that_takes_too_long_in_another_loop_is_cancelled_there() -> None:
    cancelled = threading.Event()

    async def hook() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def test() -> None:
        with pytest.raises(TimeoutError):
            await AsyncDriver().call(
                hook, loop=background_loop(), deadline=clock.monotonic() + 0.02
            )

    asyncio.run(test())

    assert cancelled.wait(PATIENCE)


def test_what_was_cut_off_in_another_loop_is_over_before_the_next_begins_there() -> None:
    done: list[str] = []

    async def first() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            done.append("first is over")

    async def second() -> None:
        done.append("second begins")

    async def test() -> None:
        loop = background_loop()
        await AsyncDriver().call(lambda: asyncio.sleep(0), loop=loop)  # so that it begins in time
        with pytest.raises(TimeoutError):
            await AsyncDriver().call(first, loop=loop, deadline=clock.monotonic() + 0.2)
        await AsyncDriver().call(second, loop=loop)

    asyncio.run(test())

    assert done == ["first is over", "second begins"]


def test_an_exit_in_another_loop_reaches_the_caller_and_does_not_end_that_loop() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def test() -> None:
        with pytest.raises(SystemExit):
            await AsyncDriver().call(
                leave, loop=background_loop(), deadline=clock.monotonic() + PATIENCE
            )

    loop = background_loop()

    asyncio.run(test())

    assert background_loop() is loop
    assert blocking(lambda: asyncio.sleep(0, "alive")) == "alive"


def test_a_hook_knows_whether_its_awaitable_will_be_awaited_in_the_callers_loop() -> None:
    async def test() -> tuple[object, object]:
        threaded = await AsyncDriver(DaemonThreads()).call(in_async_hook)
        return await AsyncDriver().call(in_async_hook), threaded

    assert asyncio.run(test()) == ((True, None), (False, None))
    assert blocking(in_async_hook) is False
    assert in_async_hook() is False


def test_one_waiter_that_is_cancelled_does_not_cancel_what_the_others_wait_for() -> None:
    future: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def test() -> None:
        first = asyncio.create_task(AsyncDriver().wait(future))
        second = asyncio.create_task(AsyncDriver().wait(future))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        future.set_result(None)
        await asyncio.wait_for(second, PATIENCE)

    asyncio.run(test())


def test_waiting_ends_when_its_time_is_over() -> None:
    never: concurrent.futures.Future[None] = concurrent.futures.Future()

    with pytest.raises(TimeoutError):
        run_blocking(BlockingDriver().wait(never, 0.01))
    with pytest.raises(TimeoutError):
        asyncio.run(AsyncDriver().wait(never, 0.01))

    assert not never.cancelled()


def test_however_many_wait_for_other_processes_the_next_call_goes_on() -> None:
    gate = threading.Event()

    async def test() -> None:
        waiting = [asyncio.create_task(AsyncDriver().aside(gate.wait)) for _ in range(64)]
        try:
            await asyncio.wait_for(AsyncDriver().aside(gate.set), PATIENCE)
        finally:
            gate.set()
        assert all(await asyncio.gather(*waiting))

    asyncio.run(test())


def test_what_nobody_waits_for_any_more_is_undone_when_it_is_over() -> None:
    gate, undone = threading.Event(), queue.SimpleQueue[bool]()

    async def test() -> None:
        task = asyncio.create_task(AsyncDriver().aside(gate.wait, undone.put))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert undone.empty()

    asyncio.run(test())
    gate.set()

    assert undone.get(timeout=PATIENCE)
