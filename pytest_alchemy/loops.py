"""
Event loops of other threads: the one of this process for blocking code, and what is run on one and waited for.

A coroutine hook that is met in blocking code runs on the background loop; what lives in a loop is destroyed there.
"""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from threading import Thread  # a test may replace that of the module
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_alchemy import clock
from pytest_alchemy.errors import LoopStoppedError
from pytest_alchemy.late import Late
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    import asyncio
    from concurrent import futures

    Loop = asyncio.AbstractEventLoop
else:
    asyncio = Late("asyncio")
    futures = Late("concurrent.futures")
    Loop = Any

__tracebackhide__ = are_noise

T = TypeVar("T")

PROMPT = 0.5
"""How long a background loop takes to begin a coroutine, in seconds; one that takes longer is blocked by another."""


def background_loop() -> Loop:
    """Return the loop on which coroutines of blocking code run: one per process, started when first needed."""
    return _background.loop()


def turns(loop: Loop) -> bool:
    """Tell whether coroutines can still be run on *loop*."""
    return loop.is_running() and loop not in _blocked


_ours: set[Loop] = set()  # every background loop there ever was
_blocked: set[Loop] = set()  # those that were found blocked; they are not used again


class _Background:
    """A loop in a daemon thread; a forked child gets its own, and what blocks it gets it for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Loop | None = None
        self._thread: Thread | None = None
        self._next: _Background | None = None

    def loop(self) -> Loop:
        with self._lock:
            if (
                self._loop is None
                or self._loop in _blocked
                or self._thread is None
                or not self._thread.is_alive()
            ):
                self._loop = asyncio.new_event_loop()
                _ours.add(self._loop)
                self._thread = Thread(
                    target=self._loop.run_forever, name="alchemy-loop", daemon=True
                )
                self._thread.start()
            if threading.current_thread() is not self._thread:
                return self._loop
            # Blocking code called by a coroutine on this loop: waiting for the same loop would never end.
            if self._next is None:
                self._next = _Background()
        return self._next.loop()


_background = _Background()


def wait_on(awaitable: Awaitable[T], loop: Loop, deadline: float | None) -> tuple[T, Loop]:
    """
    Run *awaitable* on *loop* and wait for its end; it is cancelled at the *deadline*, or by Ctrl-C here.

    Returns:
        What it returned, and the loop it ran on: another one if a coroutine that does not let go blocks this one.
    """
    while True:
        future, withdraw = _submit(awaitable, loop)
        try:
            if loop not in _ours:
                return _outcome_on(loop, future, deadline), loop
            wait = left(deadline)
            if wait is not None and wait <= PROMPT:
                return future.result(wait), loop
            try:
                return future.result(PROMPT), loop
            except TimeoutError:
                if future.done() or not withdraw():
                    return future.result(left(deadline)), loop
        finally:
            future.cancel()
        _blocked.add(loop)
        loop = background_loop()


async def result_on(loop: Loop, awaitable: Awaitable[T], deadline: float | None) -> T:
    """
    Run *awaitable* on *loop*, another thread's, and wait for its end; it is cancelled at the *deadline*.

    Raises:
        LoopStoppedError: The loop stopped before.
    """
    future, _ = _submit(awaitable, loop)
    elsewhere = asyncio.wrap_future(future)
    stopped = asyncio.create_task(_stop_of(loop))
    try:
        async with asyncio.timeout(left(deadline)):
            await asyncio.wait((elsewhere, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise LoopStoppedError
        return await elsewhere
    finally:
        stopped.cancel()
        future.cancel()  # at once: what is given to that loop next is to begin after this
        elsewhere.cancel()


def left(deadline: float | None) -> float | None:
    """Return how many seconds are left until *deadline*, 0 if none; None if there is no limit."""
    return None if deadline is None else max(0.0, deadline - clock.monotonic())


def _outcome_on(loop: Loop, future: futures.Future[T], deadline: float | None) -> T:
    """Wait for *future*, which runs on somebody else's *loop*, for as long as that runs."""
    while True:
        wait = left(deadline)
        try:
            return future.result(PROMPT if wait is None else min(PROMPT, wait))
        except TimeoutError:
            if future.done():
                return future.result()
            if wait is not None and wait <= PROMPT:
                raise
        if not loop.is_running() and not future.done():
            raise LoopStoppedError


async def _stop_of(loop: Loop) -> None:
    """Wait until *loop*, another thread's, has stopped."""
    while loop.is_running():  # nobody tells when it does
        await asyncio.sleep(PROMPT)


def _submit(awaitable: Awaitable[T], loop: Loop) -> tuple[futures.Future[T], Callable[[], object]]:
    """
    Run *awaitable* on *loop*, in a copy of this thread's context.

    Unlike `asyncio.run_coroutine_threadsafe`, an exit raised in it goes to whoever waits, and does not end the loop.

    Returns:
        What becomes of it, and what takes it back, and tells whether it could: if it had not begun. Cancelling the
        first cancels it.
    """
    future: futures.Future[T] = futures.Future()
    task: list[asyncio.Task[None]] = []
    chances = iter((True,))  # for whoever comes first: the loop, or who takes it back

    def start() -> None:
        if next(chances, False):
            task.append(loop.create_task(_fill(future, awaitable)))

    def cut_off(_: object) -> None:
        if future.cancelled() and next(chances, False):  # it has not begun, and will not
            if inspect.iscoroutine(awaitable):
                awaitable.close()
        elif future.cancelled() and not loop.is_closed():
            loop.call_soon_threadsafe(lambda: [each.cancel() for each in task])

    loop.call_soon_threadsafe(start, context=contextvars.copy_context())
    future.add_done_callback(cut_off)
    return future, lambda: next(chances, False)


async def _fill(future: futures.Future[T], awaitable: Awaitable[T]) -> None:
    """Give *future* what becomes of *awaitable*, unless it was cancelled."""
    try:
        result = await awaitable
    except BaseException as error:
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
    else:
        if future.set_running_or_notify_cancel():
            future.set_result(result)
