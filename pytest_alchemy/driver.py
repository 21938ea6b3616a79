"""
The two ways to drive the engine: blocking and asyncio.

The engine's steps are coroutine functions that await nothing but their driver. In blocking code `run_blocking` steps
them itself, without an event loop; in asynchronous code the caller's loop does. A coroutine hook that is met in
blocking code runs on one background loop of this process.
"""

from __future__ import annotations

import contextvars
import inspect
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import Thread  # a test may replace that of the module
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_alchemy import clock
from pytest_alchemy.errors import BlockingCallError, NoEventLoopError
from pytest_alchemy.late import Late, running_loop
from pytest_alchemy.loops import Loop, background_loop, left, result_on, turns, wait_on
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    import asyncio
    from concurrent import futures
else:
    asyncio = Late("asyncio")
    futures = Late("concurrent.futures")

__tracebackhide__ = are_noise

T = TypeVar("T")
Hook = Callable[[], Any]

_async_hook = contextvars.ContextVar("alchemy_async_hook", default=False)

# Frames of these names stand inside the function that wrote them (comprehensions had frames of their own until 3.12).
_INLINE = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


def in_async_hook() -> bool:
    """Whether the hook that is being called now may return an awaitable to be awaited in its caller's loop."""
    return _async_hook.get()


def refuse_in_coroutine(method: str, twin: str) -> None:
    """
    Refuse a blocking call made directly inside a coroutine; first line of every blocking method.

    A plain function may block, even where some library left a loop running in the thread.

    Raises:
        BlockingCallError: The caller of the calling method is a coroutine.
    """
    frame = sys._getframe(2)
    while frame.f_code.co_name in _INLINE and frame.f_back is not None:
        frame = frame.f_back
    if frame.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise BlockingCallError(method, twin)


def run_blocking(steps: Coroutine[Any, Any, T]) -> T:
    """Run *steps*, which await nothing but a `BlockingDriver`, to their end in this thread."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the coroutine returned
    steps.close()
    raise RuntimeError("the engine waited for an event loop in blocking code")


class Driver(Protocol):
    """How hooks are called and waited for."""

    async def call(
        self,
        hook: Hook,
        *,
        loop: Loop | None = None,
        deadline: float | None = None,
        function: Callable[..., Any] | None = None,
    ) -> tuple[Any, Loop | None]:
        """
        Call *hook*, wait for its end, and return what it returned.

        Args:
            hook: Plain or coroutine function without arguments.
            loop: Loop that a coroutine has to run on; None for the driver's own.
            deadline: Moment of `clock.monotonic` at which a coroutine is cut off. A plain hook cannot be.
            function: What *hook* calls in the end; if it is a coroutine function, no thread is needed to call it.

        Returns:
            The result, and the loop that a coroutine ran on (None for a plain hook).

        Raises:
            TimeoutError: The time is over; the coroutine was cancelled.
        """

    async def wait(self, future: futures.Future[None], deadline: float | None = None) -> None:
        """
        Wait until *future* is done.

        Raises:
            TimeoutError: It is not done at the *deadline*, a moment of `clock.monotonic`.
        """

    async def aside(
        self, blocking: Callable[[], T], undo: Callable[[T], object] | None = None
    ) -> T:
        """
        Call *blocking*, which waits for other processes, without keeping an event loop waiting.

        Args:
            blocking: What to call.
            undo: Given what it returned, if by then nobody waits for it any more.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds*."""


class BlockingDriver:
    """Calls hooks in the caller's thread; coroutines run on *loop* or on the background loop."""

    async def call(
        self,
        hook: Hook,
        *,
        loop: Loop | None = None,
        deadline: float | None = None,
        function: Callable[..., Any] | None = None,
    ) -> tuple[Any, Loop | None]:
        result = call_hook(hook, may_await=False)
        if result is None or not is_awaitable(result):
            return result, None
        if loop is None or not turns(loop):
            loop = background_loop()
        return wait_on(result, loop, deadline)

    async def wait(self, future: futures.Future[None], deadline: float | None = None) -> None:
        future.result(left(deadline))

    async def aside(
        self, blocking: Callable[[], T], undo: Callable[[T], object] | None = None
    ) -> T:
        return blocking()

    async def sleep(self, seconds: float) -> None:
        clock.pause(seconds)


class AsyncDriver:
    """
    Calls hooks in the running loop.

    Args:
        threads: Where plain hooks run, so that several can run at once; None for the loop's own thread.
    """

    def __init__(self, threads: DaemonThreads | None = None) -> None:
        self.threads = threads

    async def call(
        self,
        hook: Hook,
        *,
        loop: Loop | None = None,
        deadline: float | None = None,
        function: Callable[..., Any] | None = None,
    ) -> tuple[Any, Loop | None]:
        here = running_loop()
        if here is None:
            raise NoEventLoopError
        if loop is not None and loop is not here and turns(loop):
            return await result_on(loop, _awaited(hook), deadline), loop
        thread: futures.Future[Any] | None = None
        if self.threads is not None and not inspect.iscoroutinefunction(function):
            run = contextvars.copy_context().run
            with suppress(RuntimeError):  # the system gives no more threads
                thread = self.threads.submit(run, call_hook, hook, False)
        if thread is not None:
            result = await asyncio.wait_for(asyncio.wrap_future(thread), left(deadline))
        else:
            result = call_hook(hook, may_await=True)
        if result is None or not is_awaitable(result):
            return result, None
        if deadline is None:
            return await result, here
        async with asyncio.timeout(left(deadline)):  # unlike `wait_for` it makes no task
            return await result, here

    async def wait(self, future: futures.Future[None], deadline: float | None = None) -> None:
        # Shielded: others wait for the same future, and one of them that is cancelled must not cancel it.
        shielded = asyncio.shield(asyncio.wrap_future(future))
        await asyncio.wait_for(shielded, left(deadline))

    async def aside(
        self, blocking: Callable[[], T], undo: Callable[[T], object] | None = None
    ) -> T:
        # Not in the loop's pool: if all its threads wait for other processes, nothing lets those go on.
        try:
            future = DaemonThreads().submit(contextvars.copy_context().run, blocking)
        except RuntimeError:
            return blocking()  # the system gives no more threads, and a turn is to be given back
        try:
            return await asyncio.wrap_future(future)
        except BaseException:  # cancelled, or interrupted
            if undo is not None:
                future.add_done_callback(lambda done: done.exception() or undo(done.result()))
            raise

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


BLOCKING = BlockingDriver()
ASYNC = AsyncDriver()


class DaemonThreads:
    """A thread for each call; one that hangs is left behind, and keeps nobody waiting at the end of the process."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Call *function* in a thread of its own."""
        future: futures.Future[T] = futures.Future()
        future.set_running_or_notify_cancel()  # whoever stops waiting for it does not call it off

        def run() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:  # whoever waits gets it
                future.set_exception(error)

        start_daemon(run)
        return future


def start_daemon(run: Callable[[], None]) -> None:
    """Call *run* in a thread that keeps nobody waiting at the end of the process."""
    Thread(target=run, name="alchemy-destroy", daemon=True).start()


def call_hook(hook: Hook, may_await: bool) -> Any:
    """Call *hook*, which may return an awaitable for its caller's loop if *may_await*."""
    before = _async_hook.get()
    if before is may_await:
        return hook()
    try:
        _async_hook.set(may_await)
        return hook()
    finally:
        _async_hook.set(before)


def is_awaitable(result: Any) -> bool:
    """Tell whether *result* can be awaited; at once if it is what most coroutine hooks return."""
    return type(result) is CoroutineType or inspect.isawaitable(result)


async def _awaited(hook: Hook) -> Any:
    result = call_hook(hook, may_await=True)
    return await result if is_awaitable(result) else result
