"""What a run that uses scopes does around each of its tests, and at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pytest_alchemy.ambient import current
from pytest_alchemy.tracebacks import are_noise

from .asynctests import TEST_SCOPE, companions
from .reporting import Reporter
from .session import FAILED, Session
from .signals import end_on_sigterm

__tracebackhide__ = are_noise


def register(session: Session) -> None:
    """Add to the run of *session* the hooks that a run with scopes needs."""
    config, plugins = session.config, session.config.pluginmanager
    plugins.register(companions(config), "alchemy_companions")
    plugins.register(Hooks(session), "alchemy_hooks")
    plugins.register(Impatience(session), "alchemy_impatience")
    if not hasattr(config, "workerinput"):
        reporter = Reporter(config, session.options, session.book, session.run.id, session.finish)
        plugins.register(reporter, "alchemy_reporter")
        session.clean_up_after_others()
    config.add_cleanup(session.finish)
    if not session.options.no_sigterm:
        end_on_sigterm(config)


class Hooks:
    """What has to happen around each test of a run that uses scopes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._announced = not hasattr(session.config, "workerinput")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Start each test without a current scope, whatever the one before left."""
        current.set(None)
        self._session.program.test = nodeid

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Let a body be cancelled, if it is async, and find its fake account; undo what it did to the current scope."""
        test = item.stash.get(TEST_SCOPE, None)
        undo: Callable[[], None] | None = test.guard() if test else None
        # A fixture that came after `fake_cloudflare` may have put its own in the way. Not imported, none is open.
        if (door := sys.modules.get("pytest_alchemy.cloudflare.fake.respx_door")) is not None:
            door.go_first()
        before = current.get()
        try:
            return (yield)
        finally:
            current.set(before)
            if undo:
                undo()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note which test failed, and send what happened along with the report of the teardown."""
        report = yield
        if report.when == "setup":
            item.stash[FAILED] = report.failed
            if not self._announced:  # the controller gets ready as well
                self._announced = True
                report.alchemy = self._session.drain()  # type: ignore[attr-defined]  # as below
        elif report.when == "call":
            item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
        elif hasattr(self._session.config, "workerinput") and (facts := self._session.drain()):
            report.alchemy = facts  # type: ignore[attr-defined]  # plain data crosses to the controller
        return report

    def pytest_keyboard_interrupt(self) -> None:
        """Hurry: Ctrl-C, a signal, or `pytest.exit` ends the run."""
        self._session.interrupted()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """End everything; a worker sends what is still untold."""
        if hasattr(self._session.config, "workeroutput"):
            self._session.finish()
            self._session.config.workeroutput["alchemy"] = self._session.last_words()


class Impatience:
    """A second Ctrl-C, while the first one is being dealt with."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Leave to the watchdog what is left when it comes."""
        try:
            return (yield)
        except KeyboardInterrupt:
            self._session.give_up()
            raise
