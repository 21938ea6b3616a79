"""What one process of a test run knows of its scopes: the stages it owns, and what became of everything in them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_alchemy import clock, forks, records
from pytest_alchemy.ambient import current
from pytest_alchemy.deferred import Owned
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.entry import Entry, Status
from pytest_alchemy.errors import JournalWriteError, MayStillAppearError, OtherWorldError
from pytest_alchemy.outcome import Failure, Outcome
from pytest_alchemy.physicalnames import Run, new_run
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.facts import Fact
from pytest_alchemy.report.fates import What
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings, is_in_account
from pytest_alchemy.shared import SharedScope
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.board import Board
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.keys import remember
from pytest_alchemy.tracebacks import are_noise

from .history import History
from .leftovers import Leftovers
from .marker import settings_for
from .options import Options
from .progress import messenger, say, teller
from .reporting import sweep_command
from .stages import RUN, Stages
from .testscope import TestScope, raise_verdict

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake import FakeCloudflare, InventoryItem

__tracebackhide__ = are_noise

LIFETIME = 24 * 3600.0
"""How long anything of a run may still be wanted, in seconds: what is kept is kept for that long."""

HASTE = 4.0
"""How long all teardown may take after an interrupt, in seconds: xdist and CI kill soon after that."""

MAY_NOT_EXIST = "Its create failed as well: perhaps it never existed."
"""Said of what is left although it was never reported as made, where a server is down, say."""

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
        remember(options.environment)
        self.config, self.options = config, options
        self._process = forks.process
        given: dict[str, Any] | None = getattr(config, "workerinput", {}).get("alchemy")
        self.worker: str = getattr(config, "workerinput", {}).get("workerid", "main")
        self.run = Run(given["run"], given["expires"]) if given else new_run(LIFETIME)
        self.book = FactBook()
        self._history = History(self.book) if options.wants_history else None
        self.program = Program(
            patron=0 if self.worker == "main" else os.getppid(),
            diary=self._history,
            progress=messenger(given["progress"], self.worker) if given else teller(config),
            report=str(options.report or ""),
            rootdir=str(config.rootpath),
        )
        self._stages = Stages(options, self.run, self.worker, self.program)
        self._open: dict[Scope, None] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._counted = (0, 0, Counter[str]())
        self._kept: set[Stage] = set()
        self._kept_things: set[Owned] = set()
        self._leftovers: Leftovers | None = None
        self._started = clock.now()
        self._finished = self._given_up = False
        self._shares_account = False
        self._unfinished: set[Stage] = set()
        self._interrupted: float | None = None
        self._outer = current.get()  # a test may be what calls this run

    def clean_up_after_others(self) -> None:
        """Begin to reap what dead runs have left; `finish` waits for the end."""
        self._leftovers = Leftovers(self.options.root, self.run.id)

    def settings(self, node: Node | None) -> Settings:
        """Return what was chosen for the scopes of *node*; None stands for the run."""
        settings = settings_for(node, self.options)
        return self._stages.with_shared_account(settings) if self._shares_account else settings

    def test(self, request: pytest.FixtureRequest) -> TestScope:
        """Return what opens and ends the scope of the test that asks for it."""
        return TestScope(self, request)

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
            raise_verdict(self._close(scope))

    def app_scope(self) -> Iterator[Scope]:
        """Yield the scope of the whole run; under xdist the controller destroys it after the last worker."""
        self.share_account()  # no test said so before if it was asked for by its name (a step of pytest-bdd, say)
        settings = self.settings(None)
        if self.worker == "main":
            scope = self._scope(settings, "", worker=RUN)
            # It goes last, as under xdist: what lives in `alchemy_stage` may need it, whichever was asked for first.
            self._open = {scope: None, **self._open}
            yield scope
            scope.start_closing()
        else:
            stage = self._stages.stage(settings, RUN)
            shared = SharedScope(stage)
            shared.board = Board(self.options.root, settings.app, stage.name)
            self.book.count(scopes=1)
            yield shared
            shared.start_closing()
            if isinstance(stage.journal, FileJournal) and not stage.journal.is_there:
                for lost in shared.subtree():
                    if lost.recorded:  # what others made they tell themselves
                        why = "its record was deleted while in use"
                        self.book.add(self._fact("leaked", lost, why))

    @contextmanager
    def fake_cloudflare(self, item: pytest.Item) -> Iterator[FakeCloudflare]:
        """Open the fake account of *item* to every httpx client; what those leave behind is told and removed."""
        from pytest_alchemy.cloudflare.fake import FakeCloudflare

        settings = self.settings(item)
        with FakeCloudflare.opened(settings) as fake:
            yield fake
            for left in fake.untracked():
                fake.discard(left)
                self.book.add(_untracked(left, settings, item.nodeid, self.worker))

    def is_over(self, scope: Scope) -> bool:
        """Tell whether *scope* has ended, whatever became of what it owned; for a forked child its parent ends it."""
        return scope not in self._open or self._process is not forks.process

    def interrupted(self) -> None:
        """From now on there is little time: what takes longer is left to the watchdog."""
        if self._interrupted is None:
            self._interrupted = clock.monotonic()

    def give_up(self) -> None:
        """From now on there is no time at all: everything is left to the watchdog."""
        self._given_up = True

    def closing(self, scope: Scope) -> dict[str, Any]:
        """Return how *scope* is to be closed: with which strategy and timeout."""
        timeout = scope.settings.teardown_timeout
        left = self._haste_left()
        if left is None:
            return {"timeout": timeout}
        return {"timeout": left if timeout is None else min(left, timeout), "strategy": "parallel"}

    def _haste_left(self) -> float | None:
        """Return how long anything may still take, in seconds; None if nobody is in a hurry."""
        if self._interrupted is None:
            return None
        return max(0.0, self._interrupted + HASTE - clock.monotonic())

    def scope_over(self, scope: Scope, outcome: Outcome) -> None:
        """Note how the teardown of *scope* ended."""
        self._open.pop(scope, None)
        needed: dict[Owned, str] = {}
        late = any(isinstance(failure.error, MayStillAppearError) for failure in outcome.failures)
        for failure in outcome.failures:
            owned = failure.owned
            if failure.error is None and not self._kept_things.isdisjoint(owned.needed_by or ()):
                self._kept_things.add(owned)  # so that what it needs itself is told as kept, too
                needed[owned] = failure.reason
            elif owned.recorded and (
                self._interrupted is not None
                or isinstance(failure.error, MayStillAppearError)
                or (late and failure.error is None)  # it may be needed by what may still appear
            ):
                self._unfinished.add(scope.root)
                self.book.add(self._failed("unfinished", failure))
            elif isinstance(failure.error, OtherWorldError):
                self.book.add(self._failed("elsewhere", failure))
            else:
                self.book.add(self._failed("leaked", failure))
        self._keep(scope, needed)

    def keeps(self, scope: Scope, item: pytest.Item) -> bool:
        """Keep what *scope* owns if that was asked for, and tell whether it was."""
        wanted = scope.settings.keep
        if (
            scope not in self._open
            or wanted == "never"
            or (wanted == "failed" and not item.stash.get(FAILED, False))
        ):
            return False
        scope.start_closing()
        self._open.pop(scope)
        self._keep(scope, dict.fromkeys(scope.subtree(), f"keep={wanted!r}"))
        return True

    def drain(self) -> dict[str, Any]:
        """Return what happened since the last call, and until when, as plain data for the controller."""
        until = clock.now()
        self._count()
        news = self.book.drain()
        return {**news, "until": until} if news else {}

    def last_words(self) -> dict[str, Any]:
        """Return what `drain` does, and the counts as a whole: some of what was told may never have been heard."""
        return {**self.drain(), "whole": self.book.counts()}

    def share_account(self) -> None:
        """From now on all workers of the run use one fake account, so that `alchemy_app` is the same for all."""
        self._shares_account = self.worker != "main"

    def finish(self) -> None:
        """
        Destroy what is left at the end of the process and give up its stages; only the first call does anything.

        A forked child that comes this far (its test raised in it) leaves to its parent what that has.
        """
        if self._finished or self._process is not forks.process:
            return
        self._finished = True
        try:
            for scope in () if self._given_up else reversed(list(self._open)):
                self._close(scope)
        finally:
            current.set(self._outer)
            self._hand_over()
            self._count()
            leaked = {fact.stage for fact in self.book.leaks}
            keep = self._kept | {stage for stage in self._stages if stage.name in leaked}
            self._stages.give_up(keep=keep - self._unfinished, unfinished=self._unfinished)
            patience = 0.0 if self._given_up else self._haste_left()
            for fact in (
                self._leftovers.facts(partial(say, self.config), patience)
                if self._leftovers
                else ()
            ):
                self.book.add(fact)
            self._report_alone()

    def _report_alone(self) -> None:
        """Write this worker's part of the report if the controller is dead, and nobody else would."""
        if self.worker == "main" or os.getppid() == self.program.patron or not self.options.report:
            return
        from pytest_alchemy.errors import ReportFileError
        from pytest_alchemy.report.document import Origin
        from pytest_alchemy.report.files import write

        origin = Origin(
            app=self.options.app,
            run=self.run.id,
            rootdir=self.config.rootpath,
            title=f"{self.options.app}/{self.options.stage}-{self.run.id}",
            session="died",
        )
        with suppress(ReportFileError):  # nobody is left to be told
            write(self.book, self.options.report, origin, started=self._started)

    def _begin_anew(self) -> None:
        """Be a run of its own in a forked child that runs tests itself (pytest-forked): the rest is its parent's."""
        self._process, self.run = forks.process, new_run(LIFETIME)
        self._stages = Stages(self.options, self.run, self.worker, self.program)
        self._open = {}

    def _scope(self, settings: Settings, name: str, worker: str | None = None) -> Scope:
        if self._process is not forks.process:
            self._begin_anew()
        stage = self._stages.stage(settings, worker)
        attempt = self._attempts.get((stage.name, name), 0) + 1
        self._attempts[stage.name, name] = attempt
        # A colon cannot stand in the name of a nested scope, so these never meet.
        place = (f":{name}",) if name else ()
        if attempt > 1:
            place = (*place, f":{attempt}")
        scope = Scope(stage, name=name, place=place, settings=settings)
        self._open[scope] = None
        self.book.count(scopes=1)
        return scope

    def _keep(self, scope: Scope, things: dict[Owned, str]) -> None:
        """Record that *things* in *scope* stay, each with the reason why."""
        if not things:
            return
        self._kept.add(scope.root)
        self._kept_things.update(things)
        problem = ""
        try:
            if any(thing.recorded for thing in things):
                scope.root.record(records.Kept(scope.place, self.run.expires))
            for stage in {stage for thing in things for stage in _shared_needs(thing)}:
                # All of it: what it needs itself, other processes may have made.
                stage.record(records.Kept((), self.run.expires))
        except JournalWriteError as error:  # it is there all the same, and that is to be told
            problem = f"That could not be recorded, so the next run destroys it: {error.reason}."
        for thing, reason in things.items():
            self.book.add(
                self._fact("kept", thing, reason, hint=problem or self._kept_until(thing))
            )

    def _kept_until(self, thing: Owned) -> str:
        if not thing.recorded:
            return "It is in memory and ends with this process: --alchemy-fake-account FILE"
        if self._ends_with_run(thing):
            return "It is in the fake account of this run and ends with it: --alchemy-fake-account FILE"
        until = clock.instant(self.run.expires)
        command = sweep_command(self.config, self.options)
        return f"It is kept until {until:%Y-%m-%d %H:%M} UTC. Clean up after that: {command}"

    def _ends_with_run(self, thing: Owned) -> bool:
        """Tell whether *thing* is in the account that workers share, and needs nothing of theirs that keeps that."""
        if self.options.fake_account or not thing.scope.settings.fake_account:
            return False
        ours = isinstance(thing, Entry) and is_in_account(thing.kind.cls.__module__, thing.world)
        return ours and not any(_shared_needs(thing))

    def _close(self, scope: Scope) -> Outcome:
        if self.is_over(scope):
            return Outcome()
        outcome = run_blocking(scope.close(BlockingDriver(), **self.closing(scope)))
        self.scope_over(scope, outcome)
        return outcome

    def _hand_over(self) -> None:
        """Leave to the watchdog what a second interrupt left open."""
        for scope in self._open:
            for owned in scope.subtree():
                if owned.recorded:
                    self._unfinished.add(scope.root)
                    self.book.add(self._fact("unfinished", owned, "the teardown was interrupted"))
        self._open.clear()

    def _count(self) -> None:
        totals = [stage.counts for stage in self._stages]
        created = sum(counts.created for counts in totals)
        destroyed = sum(counts.destroyed for counts in totals)
        retried = sum((counts.retried for counts in totals), Counter[str]())
        self.book.count(
            created=created - self._counted[0],
            destroyed=destroyed - self._counted[1],
            retries=retried - self._counted[2],
        )
        self._counted = (created, destroyed, retried)

    def _failed(self, what: What, failure: Failure) -> Fact:
        owned = failure.owned
        hint = MAY_NOT_EXIST if isinstance(owned, Entry) and owned.status is Status.FAILED else ""
        return self._fact(what, owned, failure.reason, errors=failure.errors, hint=hint)

    def _fact(self, what: What, owned: Owned, reason: str, **more: Any) -> Fact:
        past = self._history.of(owned) if self._history else {}
        if what == "kept":
            past.pop("ended", None)  # nobody tried to end it
        return Fact(what=what, reason=reason, **owned.facts(), **{**past, **more})


def _shared_needs(thing: Owned) -> Iterator[Stage]:
    """Yield the stages of the whole run that *thing* needs something of, if other workers use them too."""
    needs = thing.needs if isinstance(thing, Entry) else ()
    return (need.scope.root for need in needs if isinstance(need.scope, SharedScope))


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
