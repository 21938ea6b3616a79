"""Destroying many things: everything that can be, in order."""

from __future__ import annotations

import contextvars
import queue
from collections.abc import Coroutine, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_alchemy import clock, retry
from pytest_alchemy.deferred import Owned
from pytest_alchemy.driver import (
    AsyncDriver,
    BlockingDriver,
    DaemonThreads,
    Driver,
    run_blocking,
    start_daemon,
)
from pytest_alchemy.entry import DESTROYED, FAILED
from pytest_alchemy.errors import (
    CryptographyMissingError,
    LeaseLostError,
    MayStillAppearError,
    NoPasswordError,
    OtherWorldError,
    ProfileDeniedError,
    SecretUnreadableError,
    WrongPasswordError,
)
from pytest_alchemy.hooks import HOOK_CODE
from pytest_alchemy.late import Late, running_loop
from pytest_alchemy.lifecycle import destroy, note_failure, summary
from pytest_alchemy.order import DestroyOrder
from pytest_alchemy.outcome import Failure, Outcome
from pytest_alchemy.retry import advise, backoff, status_of
from pytest_alchemy.settings import Strategy
from pytest_alchemy.timelimit import Alarm
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = Late("asyncio")

__tracebackhide__ = are_noise

AT_ONCE = 64
"""How many things are destroyed at the same time, at most."""

PATIENCE = 60.0
"""How long a teardown without a time limit waits and tries while nothing is destroyed, in seconds."""

HOOK_LIMIT = 30.0
"""How long one destroy may take, in seconds; less if the teardown has less time left."""

GRACE = 0.5
"""How much later a thread that cannot be cut off is left behind, in seconds."""

TELL_AFTER = 5.0
"""How long a teardown may take before it tells how far it is, in seconds; then again after twice that, and so on."""

LOOK = 1.0
"""How often threads are looked at that may hang, in seconds."""

TRIES = 3
"""How often a destroy is tried that fails without an answer that would make patience worth it."""

FIRST_WAIT = 0.05
"""How long to wait before the second of them, in seconds."""

# What trying again cannot help, besides what is no `Exception`.
_FINAL = (
    CryptographyMissingError,
    LeaseLostError,
    MayStillAppearError,
    NoPasswordError,
    OtherWorldError,
    ProfileDeniedError,
    SecretUnreadableError,
    TimeoutError,
    WrongPasswordError,
)


class Teardown:
    """
    One pass over things to destroy.

    Each is tried again where that may help: after 429 and 5xx as the provider asks, with one pause for everybody who
    calls it, and a few times after any other error. Nothing waits beyond the time of the whole pass, and a hook that
    hangs is cut off early enough to leave time for the others.

    Args:
        things: Everything to destroy, in order of creation.
        driver: How hooks are called.
        timeout: Longest time for all of it, in seconds; None to go on for as long as something is destroyed every
            `PATIENCE` seconds.
        tried: How often an earlier pass tried what; each of them gets one more try at least.
    """

    def __init__(
        self,
        things: Sequence[Owned],
        driver: Driver,
        timeout: float | None,
        tried: Mapping[Owned, int] = MappingProxyType({}),
    ) -> None:
        self._order = DestroyOrder(things)
        self._things = things
        self._driver = driver
        self._timeout = timeout
        self._tried = tried
        self._started = clock.monotonic()
        self._deadline = self._started + (PATIENCE if timeout is None else timeout)
        self._tell_at = self._started + TELL_AFTER
        self._here_now: Owned | None = None
        self._running: dict[Any, Owned] = {}
        # Where there are tasks: which one was running when somebody looked last, and since when.
        self._turn: tuple[Any, float] | None = None
        self._hangs_from: dict[Owned, float] = {}
        self._outcome = Outcome()

    async def run(self, strategy: Strategy) -> Outcome:
        """Destroy everything that can be destroyed; errors are in the outcome, interrupts are raised."""
        before, alarm = retry.patient.get(), Alarm(HOOK_CODE, self._aim)
        try:
            retry.patient.set(True)
            with alarm:
                if strategy == "sequential":
                    while thing := self._order.take():
                        self._done(thing, await self._here(thing, alarm))
                elif isinstance(self._driver, BlockingDriver):
                    self._in_threads(alarm)
                else:
                    await self._in_tasks()
        finally:
            try:
                alarm.disarm()
            finally:
                retry.patient.set(before)
        return self._outcome

    def _here(self, thing: Owned, alarm: Alarm) -> Coroutine[Any, Any, Failure | None]:
        """Destroy *thing* in this thread."""
        self._here_now = thing
        # Nobody waits for what is left by the last one.
        share = 1.0 if self._order.left <= 1 else 0.5
        return self._one(thing, self._driver, share=share, alarm=alarm)

    @property
    def _share(self) -> float:
        """Part of the time that one of several may take: half of it if others wait for a place, or for its end."""
        others_wait = self._order.left > AT_ONCE or self._order.keeps_waiting
        return 0.5 if others_wait and self._order.left > 1 else 1.0

    async def _one(
        self, thing: Owned, driver: Driver, *, share: float = 1.0, alarm: Alarm | None = None
    ) -> Failure | None:
        """
        Destroy *thing*, and try again where that may help.

        Args:
            thing: What to destroy.
            driver: How its hooks are called.
            share: Part of the time that is left which one attempt may take: if it hangs, the others get the rest.
            alarm: What cuts off a plain hook that hangs in this thread.
        """
        if (thing.needed_by or self._outcome.failures) and (blockers := self._blockers(thing)):
            return Failure(thing, None, blockers)
        stage = thing.scope.root
        errors: list[str] = []
        pauses, diary = stage.pauses, stage.program.diary
        if diary is not None:
            diary.destroying(thing)
        attempt = 0
        while True:
            attempt += 1
            error: BaseException | None = None
            if (paused := pauses.left(thing.provider())) > 0:
                error = await self._wait(paused, driver)
            if error is None:
                error = await self._attempt(thing, driver, share, alarm)
            if error is None:
                if diary is not None:
                    diary.destroyed(thing)
                return None
            errors.append(summary(error))
            if diary is not None:
                diary.failed(thing, errors[-1])
            wait = self._wait_before_retry(thing, error, attempt)
            late = None if wait is None else await self._wait(wait, driver)
            if wait is None or late is not None:
                note_failure(thing, error, attempt)
                return Failure(
                    thing, error, attempts=attempt, late=str(late or ""), errors=tuple(errors)
                )
            stage.counts.retried[str(status_of(error) or type(error).__name__)] += 1

    async def _attempt(
        self, thing: Owned, driver: Driver, share: float, alarm: Alarm | None
    ) -> BaseException | None:
        now = clock.monotonic()
        left = self._deadline - now
        if left <= 0:
            return TimeoutError(f"the time for the teardown was over{self._limit()}")
        limit = min(HOOK_LIMIT, left * share)
        until = now + limit
        try:
            try:
                if alarm is None:
                    self._hangs_from[thing] = until + GRACE
                else:
                    alarm.until = until
                await destroy(thing, driver, until)
            finally:
                if alarm is not None:
                    alarm.until = None  # or it would ring while we wait for the next attempt
        except BaseException as error:
            if _ends_teardown(error):
                raise
            if alarm is not None:
                alarm.arm()  # what cut it off may have been somebody else's, and was the last one
            if thing.status is DESTROYED:  # the alarm may have rung when the hook was over already
                return None
            took = clock.monotonic() - now
            if not isinstance(error, TimeoutError) or took < limit:
                return error
            return TimeoutError(
                f"it took too long and was cut off after {limit:.2g} s{self._limit()}"
            )
        finally:
            if alarm is None:
                self._hangs_from.pop(thing, None)
        return None

    def _wait_before_retry(self, thing: Owned, error: BaseException, attempt: int) -> float | None:
        """Return how long to wait before trying again, in seconds; None if that does not help."""
        if isinstance(error, _FINAL) or not isinstance(error, Exception):
            return None
        advice = advise(error, now=clock.now())
        # A server that was not there for the create either may be down for good, and for every test.
        down = thing.status is FAILED and isinstance(error, ConnectionRefusedError)
        patient = advice.answered and not down
        tries = attempt + self._tried.get(thing, 0)
        if not advice.again or (tries >= TRIES and not patient):
            return None
        wait = advice.wait
        if wait is None:
            wait = backoff(attempt) if patient else backoff(attempt, base=FIRST_WAIT)
        if advice.throttled:
            thing.scope.root.pauses.extend(thing.provider(), wait)
        return wait

    async def _wait(self, seconds: float, driver: Driver) -> Exception | None:
        """Wait, unless that would take longer than there is time."""
        left = self._deadline - clock.monotonic()
        if seconds >= left:
            left = max(0.0, left)
            return TimeoutError(
                f"it has to wait for {seconds:g} s, and {left:.1f} s are left{self._limit()}"
            )
        if seconds > 0:
            self._look()
            await driver.sleep(seconds)
        return None

    def _limit(self) -> str:
        return "" if self._timeout is None else f" (teardown_timeout {self._timeout:g} s)"

    def _blockers(self, thing: Owned) -> tuple[str, ...]:
        inside = [blocker.title for blocker in self._order.blockers(thing)]
        # A copy: other threads may take themselves out meanwhile.
        others = sorted(thing.needed_by or (), key=attrgetter("seq"))
        outside = [other.title for other in others if other not in self._order]
        return tuple(inside + outside)

    def _done(self, thing: Owned, failure: Failure | None) -> None:
        self._here_now = None
        self._order.done(thing, gone=failure is None)
        now = clock.monotonic()
        if failure is None:
            self._outcome.destroyed += 1
            if self._timeout is None:
                self._deadline = now + PATIENCE
        else:
            self._outcome.failures.append(failure)
        if now >= self._tell_at:
            self._look()

    def _look(self) -> None:
        """Tell how far it is, if it has been going on for long."""
        now = clock.monotonic()
        if now < self._tell_at:
            return
        took = now - self._started
        self._tell_at = now + took
        scope, everything = self._things[0].scope, len(self._things)
        if (progress := scope.root.program.progress) is not None:
            progress(scope.title, self._outcome.destroyed, everything, took, self._awaited())

    def _awaited(self) -> str:
        """Return what is being destroyed now, in a few words."""
        awaited = [thing for thing in (*self._running.values(), self._here_now) if thing]
        more = f" and {len(awaited) - 1} more" if len(awaited) > 1 else ""
        return awaited[0].title + more if awaited else ""

    def _in_threads(self, alarm: Alarm) -> None:
        ended: queue.SimpleQueue[tuple[Owned, Failure | BaseException | None]] = queue.SimpleQueue()
        running = self._running
        while self._order.left:
            while len(running) < AT_ONCE and (
                thing := self._order.take(something_runs=bool(running))
            ):
                if thing.parallel and self._start(thing, ended):
                    running[thing] = thing
                else:
                    self._done(thing, run_blocking(self._here(thing, alarm)))
            if not running:
                continue
            try:
                thing, end = ended.get(timeout=self._until_hung())
            except queue.Empty:
                self._look()
                self._leave_behind(running, clock.monotonic())
                continue
            if running.pop(thing, None) is None:  # it was left behind
                continue
            if isinstance(end, BaseException):
                raise end
            self._done(thing, end)

    def _start(
        self,
        thing: Owned,
        ended: queue.SimpleQueue[tuple[Owned, Failure | BaseException | None]],
    ) -> bool:
        """Destroy *thing* in a thread of its own, if there is one to be had; what becomes of it is put into *ended*."""
        context, share = contextvars.copy_context(), self._share

        def run() -> None:
            try:
                steps = self._one(thing, self._driver, share=share)
                ended.put((thing, context.run(run_blocking, steps)))
            except BaseException as error:  # whoever waits gets it
                ended.put((thing, error))

        try:
            start_daemon(run)
        except RuntimeError:  # the system gives no more threads
            return False
        return True

    def _until_hung(self) -> float:
        """Return how long to wait before looking for what hangs, in seconds."""
        moments = [self._deadline + GRACE, *list(self._hangs_from.values())]
        return max(0.0, min(LOOK, min(moments) - clock.monotonic()))

    def _leave_behind(self, running: dict[Any, Owned], now: float) -> None:
        """Wait no longer for what hung at *now*, and for its threads and tasks; all of it if the time was over."""
        over = now > self._deadline + GRACE
        for key, thing in list(running.items()):
            if over or now > self._hangs_from.get(thing, now):
                error = TimeoutError(f"it hung and was left behind{self._limit()}")
                note_failure(thing, error, 1)
                del running[key]
                self._hangs_from.pop(thing, None)  # or the others would be looked at all the time
                self._done(thing, Failure(thing, error))

    def _aim(self, alarm: Alarm) -> None:
        """Tell how far it is; where there are tasks, let *alarm* ring for one that keeps the loop from turning."""
        self._look()
        if self._turn is None:
            return
        loop = running_loop()
        task = asyncio.current_task(loop) if loop else None
        if task is not self._turn[0]:
            self._turn = task, clock.monotonic()
        since = self._turn[1]
        share = 1.0 if self._order.left <= 1 else 0.5  # as of what has the thread for itself
        limit = min(HOOK_LIMIT, (self._deadline - since) * share)
        alarm.until = since + limit if task in self._running else None

    async def _in_tasks(self) -> None:
        threaded = AsyncDriver(DaemonThreads())
        running: dict[asyncio.Task[Failure | None], Owned] = self._running
        self._turn = None, 0.0
        try:
            while self._order.left:
                while len(running) < AT_ONCE and (
                    thing := self._order.take(something_runs=bool(running))
                ):
                    driver = threaded if thing.parallel else self._driver
                    steps = self._one(thing, driver, share=self._share)
                    running[asyncio.create_task(steps)] = thing
                # As of now: a loop that was blocked meanwhile has yet to tell them that their time is over.
                now, patience = clock.monotonic(), self._until_hung()
                ended, _ = await asyncio.wait(
                    running, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                if not ended:
                    self._leave_behind(running, now)
                for task in ended:
                    self._done(running.pop(task), task.result())
        finally:
            self._turn = None
            for task in running:
                task.cancel()


def _ends_teardown(error: BaseException) -> bool:
    """
    Tell whether *error* is meant for the teardown as a whole: Ctrl-C, or the cancellation of its task.

    Anything else is the failure of the one hook that it came from: an exit, the verdict of a test runner, a timeout
    of somebody else's, or a task that the hook itself has cancelled and then waited for.
    """
    if isinstance(error, Exception):
        return False
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task() if running_loop() else None
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)
