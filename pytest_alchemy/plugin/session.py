"""What one process of a test run knows of its scopes: the stages it owns, and what became of everything in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_alchemy import records
from pytest_alchemy.ambient import current
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.names import Run, new_run
from pytest_alchemy.report.facts import Fact, FactBook
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.shared import SharedScope
from pytest_alchemy.state.board import Board
from pytest_alchemy.state.folders import ACCOUNT, Root
from pytest_alchemy.state.stagefiles import StageFiles
from pytest_alchemy.teardown import Outcome

from .asynctests import TEST_SCOPE, companions
from .marker import settings_for
from .options import Options
from .reporting import Reporter

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake import FakeCloudflare, InventoryItem

LIFETIME = 24 * 3600.0
"""How long anything of a run may still be wanted, in seconds: what is kept is kept for that long."""

FAILED = pytest.StashKey[bool]()
Node = pytest.Item | pytest.Collector


class Session:
    """
    The scopes of this process: of a whole run, or of one xdist worker.

    Args:
        config: The run's configuration.
        options: What was chosen for it.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config, self.options = config, options
        given: dict[str, Any] | None = getattr(config, "workerinput", {}).get("alchemy")
        self.worker: str = getattr(config, "workerinput", {}).get("workerid", "main")
        self.run = Run(given["run"], given["expires"]) if given else new_run(LIFETIME)
        self.program = Program()
        self.book = FactBook()
        self._stages: dict[tuple[Any, ...], tuple[Stage, StageFiles]] = {}
        self._open: dict[Scope, None] = {}
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._counted = (0, 0)
        self._kept: set[Stage] = set()
        self._finished = False
        self._shares_account = False
        self._account: str | None = None

    def register(self) -> None:
        """Add the hooks that a run with scopes needs to the run."""
        plugins = self.config.pluginmanager
        plugins.register(companions(self.config), "alchemy_companions")
        plugins.register(Hooks(self), "alchemy_hooks")
        if not hasattr(self.config, "workerinput"):
            reporter = Reporter(self.config, self.options, self.book, self.run.id, self.finish)
            plugins.register(reporter, "alchemy_reporter")
        self.config.add_cleanup(self.finish)

    def settings(self, node: Node | None) -> Settings:
        """Return what was chosen for the scopes of *node*; None stands for the run."""
        settings = settings_for(node, self.options)
        return self._shared_account(settings) if self._shares_account else settings

    def test_scope(self, item: pytest.Item) -> Scope:
        """Return a new scope for *item*; a test that runs again gets another one."""
        self.program.test = item.nodeid
        return self._scope(self.settings(item), item.nodeid)

    def wide_scope(self, node: Node | None) -> Iterator[Scope]:
        """Yield the scope of a class or module, or (None) of the stage, and destroy it afterwards."""
        scope = self._scope(self.settings(node), node.nodeid if node else "")
        try:
            yield scope
        finally:
            self._close(scope)

    def app_scope(self) -> Iterator[Scope]:
        """Yield the scope of the whole run; under xdist the controller destroys it after the last worker."""
        settings = self.settings(None)
        if self.worker == "main":
            scope = self._scope(settings, "", worker="run")
            try:
                yield scope
            finally:
                self._close(scope)
        else:
            stage = self._stage(self._shared_account(settings), "run")
            shared = SharedScope(stage)
            shared.board = Board(self.options.root, settings.app, stage.name)
            self.book.count(scopes=1)
            yield shared
            shared.start_closing()

    @contextmanager
    def fake_cloudflare(self, item: pytest.Item) -> Iterator[FakeCloudflare]:
        """Open the fake account of *item* to every httpx client; what those leave behind is told and removed."""
        from pytest_alchemy.cloudflare.fake import FakeCloudflare, InventoryItem

        settings = self.settings(item)
        with FakeCloudflare.opened(settings) as fake:
            yield fake
            for left in fake.untracked():
                fake.discard(left)
                self.book.add(_untracked(left, settings, item.nodeid, self.worker))

    def is_over(self, scope: Scope) -> bool:
        """Tell whether *scope* has ended, whatever became of what it owned."""
        return scope not in self._open

    def scope_over(self, scope: Scope, outcome: Outcome) -> None:
        """Note how the teardown of *scope* ended."""
        self._open.pop(scope, None)
        for failure in outcome.failures:
            self.book.add(self._fact("leaked", failure.owned.facts(), failure.reason))

    def keeps(self, scope: Scope, item: pytest.Item) -> bool:
        """Keep what *scope* owns if that was asked for, and tell whether it was."""
        wanted = scope.settings.keep
        if scope not in self._open or wanted == "never" or (wanted == "failed" and not item.stash.get(FAILED, False)):
            return False
        things = list(scope.subtree())
        scope.start_closing()
        self._open.pop(scope)
        if things:
            self._kept.add(scope.root)
            if any(thing.recorded for thing in things):
                scope.root.record(records.Kept(scope.place, self.run.expires))
        for thing in things:
            lost = "" if thing.recorded else "It is in memory and ends with this process: --alchemy-fake-account FILE"
            self.book.add(self._fact("kept", thing.facts(), f"keep={wanted!r}", hint=lost))
        return True

    def drain(self) -> dict[str, Any]:
        """Return what happened since the last call as plain data, for the controller."""
        self._count()
        return self.book.drain()

    def share_account(self) -> None:
        """From now on all workers of the run use one fake account, so that `alchemy_app` is the same for all."""
        self._shares_account = self.worker != "main"

    def finish(self) -> None:
        """Destroy what is left at the end of the process and give up its stages; only the first call does anything."""
        if self._finished:
            return
        self._finished = True
        for scope in reversed(list(self._open)):
            self._close(scope)
        self._count()
        leaked = {fact.stage for fact in self.book.leaks}
        for stage, files in self._stages.values():
            files.end(clean=stage not in self._kept and stage.name not in leaked)

    def _scope(self, settings: Settings, name: str, worker: str | None = None) -> Scope:
        stage = self._stage(settings, worker or self.worker)
        self._attempts[stage.name, name] += 1
        attempt = self._attempts[stage.name, name]
        # A colon cannot stand in the name of a nested scope, so these never meet.
        place = (f":{name}",) if name else ()
        if attempt > 1:
            place = (*place, f":{attempt}")
        scope = Scope(stage, name=name, place=place, settings=settings)
        self._open[scope] = None
        self.book.count(scopes=1)
        return scope

    def _stage(self, settings: Settings, worker: str) -> Stage:
        key = (settings.app, settings.stage, settings.profile, settings.live, worker)
        if key not in self._stages:
            shared = worker == "run" and self.worker != "main"
            files = StageFiles(self.options.root, self.worker, shared=shared)
            name = f"{settings.stage}-{worker}-{self.run.id}"
            plain = replace(settings, keep="never", teardown_timeout=None)
            stage = Stage(plain, name, self.run, self.program, files.open, self.worker)
            self._stages[key] = (stage, files)
        return self._stages[key][0]

    def _shared_account(self, settings: Settings) -> Settings:
        """Return *settings* with the fake account of the whole run, unless another one was chosen."""
        if settings.live or settings.fake_account:
            return settings
        if self._account is None:
            root = Root(self.options.root)
            app, stage = self.options.app, f"{self.options.stage}-run-{self.run.id}"
            folder = root.make_stage(app, stage) / ACCOUNT
            folder.mkdir(mode=0o700, exist_ok=True)
            self._account = str(folder / "account.sqlite")
        return replace(settings, fake_account=self._account)

    def _close(self, scope: Scope) -> None:
        if not self.is_over(scope):
            timeout = scope.settings.teardown_timeout
            self.scope_over(scope, run_blocking(scope.close(BlockingDriver(), timeout=timeout)))

    def _count(self) -> None:
        totals = [stage.counts for stage, _ in self._stages.values()]
        created = sum(counts.created for counts in totals)
        destroyed = sum(counts.destroyed for counts in totals)
        self.book.count(created=created - self._counted[0], destroyed=destroyed - self._counted[1])
        self._counted = (created, destroyed)

    def _fact(self, what: Any, facts: dict[str, Any], reason: str, hint: str = "") -> Fact:
        return Fact(what=what, reason=reason, hint=hint, **facts)


def _untracked(left: InventoryItem, settings: Settings, test: str, worker: str) -> Fact:
    return Fact(
        what="untracked",
        kind=left.kind,
        id=left.id,
        name=left.name,
        scope="the fake Cloudflare account",
        stage=settings.stage,
        app=settings.app,
        worker=worker,
        test=test,
        reason="made by the code under test, not through a scope; removed after the test",
        at=left.created,
    )


class Hooks:
    """What has to happen around each test of a run that uses scopes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Start each test without a current scope, whatever the one before left."""
        current.set(None)
        self._session.program.test = nodeid

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Make the body of an async test cancellable."""
        test = item.stash.get(TEST_SCOPE, None)
        undo: Callable[[], None] | None = test.guard() if test else None
        try:
            return (yield)
        finally:
            if undo:
                undo()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note which test failed, and send what happened along with the report of the teardown."""
        report = yield
        if report.when == "setup":
            item.stash[FAILED] = report.failed
        elif report.when == "call":
            item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
        elif hasattr(self._session.config, "workerinput"):
            if facts := self._session.drain():
                report.alchemy = facts  # type: ignore[attr-defined]  # plain data crosses to the controller
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """End everything; a worker sends what is still untold."""
        if hasattr(self._session.config, "workeroutput"):
            self._session.finish()
            self._session.config.workeroutput["alchemy"] = self._session.drain()
