"""Destroying many things: everything that can be, in order, and what became of the rest."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from pytest_alchemy import clock
from pytest_alchemy.driver import AsyncDriver, BlockingDriver, Driver, run_blocking
from pytest_alchemy.entry import Owned
from pytest_alchemy.errors import BlockedError, DestroyError
from pytest_alchemy.lifecycle import destroy, summary
from pytest_alchemy.order import DestroyOrder
from pytest_alchemy.settings import Strategy

AT_ONCE = 64
"""How many things are destroyed at the same time, at most."""


@dataclass(slots=True)
class Failure:
    """Something that is still there: its destroy failed, or (*blockers*) it is needed by what is still there."""

    owned: Owned
    error: BaseException | None
    blockers: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        if self.error is None:
            return f"still needed by {', '.join(self.blockers)}"
        return summary(self.error)

    def as_error(self) -> DestroyError:
        if self.error is None:
            return BlockedError(self.owned.title, self.blockers)
        error = DestroyError(self.owned.title, self.reason)
        error.__cause__ = self.error
        return error


@dataclass(slots=True)
class Outcome:
    """What became of a teardown."""

    destroyed: int = 0
    failures: list[Failure] = field(default_factory=list)

    def raise_failures(self, what: str) -> None:
        """
        Raise what failed.

        Raises:
            ExceptionGroup: One `DestroyError` for each thing that is still there.
        """
        if self.failures:
            total = self.destroyed + len(self.failures)
            raise ExceptionGroup(
                f"{len(self.failures)} of {total} resources of {what} could not be destroyed",
                [failure.as_error() for failure in self.failures],
            )


class Teardown:
    """
    One pass over things to destroy.

    Args:
        things: Everything to destroy, in order of creation.
        driver: How hooks are called.
        timeout: Longest time for all of it, in seconds; None for no limit.
    """

    def __init__(self, things: Sequence[Owned], driver: Driver, timeout: float | None) -> None:
        self._order = DestroyOrder(things)
        self._among = set(things)
        self._driver = driver
        self._deadline = None if timeout is None else clock.monotonic() + timeout
        self._timeout = timeout
        self._outcome = Outcome()

    async def run(self, strategy: Strategy) -> Outcome:
        """Destroy everything that can be destroyed; errors are in the outcome, interrupts are raised."""
        if strategy == "sequential":
            while thing := self._order.take():
                self._done(thing, await self._one(thing, self._driver))
        elif isinstance(self._driver, BlockingDriver):
            self._in_threads()
        else:
            await self._in_tasks()
        return self._outcome

    async def _one(self, thing: Owned, driver: Driver) -> Failure | None:
        if blockers := self._blockers(thing):
            return Failure(thing, None, blockers)
        left = None if self._deadline is None else self._deadline - clock.monotonic()
        if left is not None and left <= 0:
            return Failure(
                thing, TimeoutError(f"the teardown timeout of {self._timeout} s was over")
            )
        try:
            await destroy(thing, driver, left)
        except Exception as error:
            return Failure(thing, error)
        return None

    def _blockers(self, thing: Owned) -> tuple[str, ...]:
        inside = [blocker.title for blocker in self._order.blockers(thing)]
        # A copy: other threads may take themselves out meanwhile.
        others = sorted(thing.needed_by or (), key=attrgetter("seq"))
        outside = [other.title for other in others if other not in self._among]
        return tuple(inside + outside)

    def _done(self, thing: Owned, failure: Failure | None) -> None:
        self._order.done(thing, gone=failure is None)
        if failure is None:
            self._outcome.destroyed += 1
        else:
            self._outcome.failures.append(failure)

    def _in_threads(self) -> None:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE, "alchemy-destroy") as pool:
            running: dict[concurrent.futures.Future[Failure | None], Owned] = {}
            while self._order:
                while len(running) < AT_ONCE and (
                    thing := self._order.take(something_runs=bool(running))
                ):
                    if thing.parallel:
                        context = contextvars.copy_context()
                        steps = self._one(thing, self._driver)
                        running[pool.submit(context.run, run_blocking, steps)] = thing
                    else:
                        self._done(thing, run_blocking(self._one(thing, self._driver)))
                ended = concurrent.futures.wait(running, return_when="FIRST_COMPLETED").done
                for future in ended:
                    self._done(running.pop(future), future.result())

    async def _in_tasks(self) -> None:
        inline = self._driver
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE, "alchemy-destroy") as pool:
            threaded = AsyncDriver(pool)
            running: dict[asyncio.Task[Failure | None], Owned] = {}
            try:
                while self._order:
                    while len(running) < AT_ONCE and (
                        thing := self._order.take(something_runs=bool(running))
                    ):
                        driver = threaded if thing.parallel else inline
                        running[asyncio.create_task(self._one(thing, driver))] = thing
                    ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        self._done(running.pop(task), task.result())
            finally:
                for task in running:
                    task.cancel()
