"""One test's scope from set-up to teardown: in its loop if it is async, and destroyed once, whatever breaks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_alchemy import clock
from pytest_alchemy.ambient import current
from pytest_alchemy.driver import AsyncDriver, BlockingDriver, run_blocking
from pytest_alchemy.errors import AlchemyError
from pytest_alchemy.outcome import Failure, Outcome
from pytest_alchemy.retry import advise
from pytest_alchemy.teardown import Teardown
from pytest_alchemy.tracebacks import are_noise

from .asynctests import ANYIO, TEST_SCOPE, body_of, companion_of, guarded, is_coroutine_test

if TYPE_CHECKING:
    from pytest_alchemy.deferred import Owned
    from pytest_alchemy.scope import Scope
    from pytest_alchemy.settings import Strategy

    from .session import Session

__tracebackhide__ = are_noise

BODY_GRACE = 2.0
"""How long a cancelled test body may take to end before its resources are destroyed under it, in seconds."""


class TestScope:
    """The scope of one test, and everything that may end it."""

    __test__ = False

    def __init__(self, session: Session, request: pytest.FixtureRequest) -> None:
        self.session, self.request = session, request
        self.item: pytest.Item = request.node
        self.companion = companion_of(self.item)
        self._refuse_inside_body()
        self.scope: Scope = session.test_scope(self.item)
        self._outer = current.get()
        # Cancels the body of an async test while that runs.
        self._cancel: Callable[[], None] | None = None
        # What could not be destroyed in the test's loop, and may be without it.
        self._in_loop: dict[Owned, Failure] = {}

    def enter(self) -> Scope:
        """Open the scope around the test."""
        self.make_current()
        # unittest runs the coroutines of a test case in a context that it copied when the case was made.
        own_context = getattr(getattr(self.item, "instance", None), "_asyncioTestContext", None)
        if own_context is not None:
            own_context.run(self.make_current)
        if self.companion is not None:
            self.item.stash[TEST_SCOPE] = self
            # Registered before the companion, so run after it: destroys what a broken loop left.
            self.item.addfinalizer(self.net)
            self.request.getfixturevalue(self.companion)
        return self.scope

    def leave(self) -> None:
        """Close the scope to everything new, and destroy what it owns unless the companion does."""
        self.make_outer_current()
        if self.companion is None:
            self.net()
            return
        self.scope.start_closing()
        if self._cancel is not None:
            self._cancel()

    def make_current(self) -> None:
        """Make the scope the current one in this context."""
        current.set(self.scope)

    def make_outer_current(self) -> None:
        """Make the scope around it the current one again; the context may be another one than before."""
        current.set(self._outer)

    def guard(self) -> Callable[[], None] | None:
        """Make the body of an async test cancellable; return what undoes that."""
        place = body_of(self.item)
        body = getattr(*place, None)
        if not inspect.iscoroutinefunction(body):
            return None
        setattr(*place, guarded(body, self._body_runs, anyio=self.companion == ANYIO))
        return lambda: setattr(*place, body)

    async def aclose(self) -> None:
        """Destroy everything in the running loop."""
        if self.session.is_over(self.scope) or self.session.keeps(self.scope, self.item):
            return
        await self._wait_for_body()
        outcome = await self.scope.close(AsyncDriver(), **self.session.closing(self.scope))
        if any(_may_be_the_loops(failure) for failure in outcome.failures):
            self._in_loop = {failure.owned: failure for failure in outcome.failures}
            return  # `net` tries again
        self._report(outcome)

    def net(self) -> None:
        """Destroy what nothing else did, without the test's loop; quiet if there is nothing."""
        if self.companion is not None:
            del self.item.stash[TEST_SCOPE]  # which lives as long as the run
        if self.scope.close_if_empty():
            self.session.scope_over(self.scope, Outcome())
            return
        if self.session.is_over(self.scope) or self.session.keeps(self.scope, self.item):
            return
        closing = self.session.closing(self.scope)
        if self._in_loop:
            outcome = run_blocking(self._try_again(**closing))
        else:
            outcome = run_blocking(self.scope.close(BlockingDriver(), **closing))
        self._report(outcome)

    async def _try_again(self, timeout: float | None, strategy: Strategy | None = None) -> Outcome:
        """Destroy what could not be destroyed in the test's loop, with one more try for what failed there."""
        tried = {owned: failure for owned, failure in self._in_loop.items() if failure.error}
        attempts = {owned: failure.attempts for owned, failure in tried.items()}
        teardown = Teardown(self.scope.to_destroy(), BlockingDriver(), timeout, attempts)
        outcome = await teardown.run(strategy or self.scope.destroy_strategy)
        for failure in outcome.failures:
            if failure.error and (earlier := tried.get(failure.owned)):
                failure.attempts += earlier.attempts
                failure.errors = (*earlier.errors, *failure.errors)
        return outcome

    def _report(self, outcome: Outcome) -> None:
        self.session.scope_over(self.scope, outcome)
        raise_verdict(outcome)

    def _body_runs(self, cancel: Callable[[], None] | None) -> None:
        self._cancel = cancel

    async def _wait_for_body(self) -> None:
        """Give a body that was cancelled the time to end."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + BODY_GRACE
        while self._cancel is not None and loop.time() < give_up:  # noqa: ASYNC110 # see below
            # The body may end in another loop, whose events this one cannot await.
            await asyncio.sleep(0.01)

    def _refuse_inside_body(self) -> None:
        """
        Refuse to be asked for by a test that runs already.

        Raises:
            pytest.UsageError: It does, and it is async: its loop could not close the scope.
        """
        if asyncio._get_running_loop() is not None and is_coroutine_test(self.item):
            raise pytest.UsageError(
                f"{self.item.nodeid} asked for alchemy_scope with request.getfixturevalue() inside a coroutine.\n"
                "Ask for it as an argument of the test: async def test_x(alchemy_scope)"
            )


def _may_be_the_loops(failure: Failure) -> bool:
    """
    Tell whether *failure* may have no other reason than the loop that ran: a plain hook may start one of its own.

    Where no loop ran it could make the thing, in a fixture that is not async, say.
    """
    error = failure.error
    return (
        isinstance(error, Exception)
        and not isinstance(error, AlchemyError | TimeoutError)
        and getattr(failure.owned, "loop", None) is None
        and not advise(error, now=clock.now()).answered
    )


def raise_verdict(outcome: Outcome) -> None:
    """
    Raise the first failure in *outcome* by which a test is to fail as well, now that the rest is destroyed.

    A timeout of pytest-timeout cuts off a hook that hangs with one, and is the test's.
    """
    for failure in outcome.failures:
        if isinstance(failure.error, pytest.fail.Exception):
            raise failure.error
