"""The xdist controller: gives the run its id, reaps what dead workers left, ends what all workers shared."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_alchemy import clock
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.report.book import FactBook

from .leftovers import Leftovers
from .options import Options
from .progress import Bulletins, say
from .reaping import Reaping, Reapings, unfinished
from .reporting import Reporter
from .signals import end_on_sigterm, notice_interrupts

if TYPE_CHECKING:
    from pytest_alchemy.report.facts import Fact

LIFETIME = 24 * 3600.0
"""How long anything of a run may still be wanted, in seconds: what is kept is kept for that long."""

PATIENCE = 12.0
"""How long the end of a run waits for what is being reaped, in seconds; the reaping itself goes on after that."""

_ENDS = (KeyboardInterrupt, pytest.exit.Exception)
"""What ends a run early: Ctrl-C, and a signal that asks it to end."""


class Controller:
    """
    What the controller of an xdist run does for the scopes of its workers.

    Args:
        config: The run's configuration.
        options: What was chosen for it.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._options, self._tell = options, partial(say, config)
        self._run = new_run(LIFETIME)
        self._book = FactBook()
        self._reapings = Reapings()
        self._reaps: dict[Path, Reaping] = {}
        self._died_in: dict[str, str] = {}
        self._nodes: dict[str, Any] = {}
        self._heard: dict[str, Counter[str]] = {}
        self._heard_until: dict[str, float] = {}
        self._ended: set[str] = set()
        self._leftovers: Leftovers | None = None
        self._bulletins: Bulletins | None = None
        self._files: list[str] = []
        self._finished = self._given_up = self._in_haste = False
        self._interrupts = 0
        reporter = Reporter(config, options, self._book, self._run.id, self._finish)
        config.pluginmanager.register(reporter, "alchemy_reporter")
        # Before what it has to be there for: the last one is cleaned up first.
        notice_interrupts(config, self._note_interrupt)
        config.add_cleanup(self._finish)
        if not options.no_sigterm:
            end_on_sigterm(config, wanted=self._uses_scopes)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it belongs to."""
        self._nodes[node.gateway.id] = node
        file = f"{tempfile.gettempdir()}/pytest-alchemy-{self._run.id}-{node.gateway.id}"
        self._files.append(file)
        node.workerinput["alchemy"] = {
            "run": self._run.id,
            "expires": self._run.expires,
            "progress": file if node.gateway.spec.popen else "",  # else it runs on another machine
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker had left to tell, and reap what it left behind if it died; must not block."""
        self._hear_last(node)
        if error:
            self._ended.discard(node.gateway.id)
            self._reap(node.gateway.id)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a worker tells with the report of a test."""
        told = getattr(report, "alchemy", None)
        if told is not None:
            self._get_ready()
            self._hear(report.node.gateway.id, told)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Remember which test a worker died in."""
        self._died_in[report.node.gateway.id] = crashitem

    def pytest_keyboard_interrupt(self) -> None:
        """Hurry: Ctrl-C, a signal, or `pytest.exit` ends the run."""
        self._in_haste = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Leave to the watchdogs what is left when a second Ctrl-C comes."""
        try:
            return (yield)
        except _ENDS:
            self._given_up = True
            raise

    def _note_interrupt(self) -> None:
        # No test runs here that could mean another one with it.
        self._interrupts += 1
        self._given_up |= self._interrupts > 1

    def _get_ready(self) -> None:
        """Begin what a run with scopes needs; only the first call does anything."""
        if self._leftovers is None:
            self._leftovers = Leftovers(self._options.root, self._run.id)
            self._bulletins = Bulletins(self._files, self._tell)

    def _hear(self, worker: str, told: dict[str, Any]) -> None:
        self._book.merge(told)
        self._heard.setdefault(worker, Counter()).update(
            {name: told.get(name, 0) for name in self._book.counts()}
        )
        self._heard_until[worker] = told.get("until", self._heard_until.get(worker, 0.0))

    def _hear_last(self, node: Any) -> None:
        """Take what a worker said at its end; after Ctrl-C not all that it said before was heard."""
        told = getattr(node, "workeroutput", {}).pop("alchemy", None)
        if told:
            self._ended.add(node.gateway.id)
            self._hear(node.gateway.id, told)
            heard = self._heard[node.gateway.id]
            self._book.count(**{name: n - heard[name] for name, n in told["whole"].items()})

    def _uses_scopes(self) -> bool:
        # The workers' first tests may still be running: then nothing has been told, but there are stages.
        return not self._book.is_silent or any(self._folders("*"))

    def _finish(self) -> None:
        """Wait for what is being reaped, and reap what nobody told of; only the first call does anything."""
        if self._finished:
            return
        self._finished = True
        try:
            if not self._given_up:
                self._reap_all()
        except _ENDS:
            self._given_up = True
            raise
        finally:
            if self._given_up:
                for folder in self._folders("*"):
                    for fact in unfinished(folder, "the teardown was interrupted"):
                        self._book.add(fact)
            if self._bulletins:
                self._bulletins.end()

    def _reap_all(self) -> None:
        # On Ctrl-C xdist does not say which workers went down.
        for node in self._nodes.values():
            self._hear_last(node)
        # A folder whose reaping has ended is gone already; what it held is still to be told.
        folders, shared = (
            dict.fromkeys([*self._reaps, *self._folders("*")]),
            list(self._folders("run")),
        )
        done_with = {*shared, *self._given_up_by_workers()}
        reaps = [self._submit(folder) for folder in folders if folder not in done_with]
        for fact in self._results(reaps):
            self._count_unheard(fact)
            self._book.add(self._explained(fact))
        # Last, because the workers' resources may lie in the account that it holds. Its end is no accident.
        for fact in self._results([self._submit(folder) for folder in shared], to_the_end=True):
            self._count_unheard(fact)
            if fact.what == "kept":
                fact = fact.changed(reason="something that is kept needs it")
            if fact.what != "reaped":
                self._book.add(fact)
                continue
            self._book.count(destroyed=1)
            if self._options.wants_history:
                self._book.add(fact.changed(what="destroyed", seconds=0.0))
        for fact in self._leftovers.facts(self._tell) if self._leftovers else ():
            self._book.add(fact)

    def _count_unheard(self, fact: Fact) -> None:
        """Count what a worker made and died before it could tell of it."""
        heard_until = self._heard_until.get(fact.worker, 0.0)
        if fact.what != "unfinished" and fact.kind != "deferred" and fact.at > heard_until:
            self._book.count(created=1)

    def _given_up_by_workers(self) -> Iterator[Path]:
        """Yield the stages in which a worker left to the end of its time what it could not destroy, and told of it."""
        unfinished = {fact.worker for fact in self._book.facts if fact.what == "unfinished"}
        for worker in self._ended - unfinished:
            yield from self._folders(worker)

    def _results(self, reaps: list[Reaping], *, to_the_end: bool = False) -> Iterator[Fact]:
        give_up = clock.monotonic() + PATIENCE
        to_the_end &= not self._in_haste
        for reap in reaps:
            patience = give_up - clock.monotonic()
            late = "its destroy takes long and goes on without this run"
            yield from reap.results(patience, self._tell, late=late, to_the_end=to_the_end)

    def _explained(self, fact: Fact) -> Fact:
        """Return *fact* with the test that its worker died in."""
        died_in = self._died_in.get(fact.worker)
        if fact.what != "reaped" or fact.reason or died_in is None:
            return fact
        return fact.changed(reason=f"[{fact.worker}] died in {died_in}")

    def _reap(self, worker: str) -> None:
        for folder in self._folders(worker):
            self._submit(folder)

    def _folders(self, worker: str) -> Iterator[Path]:
        """Yield the stages of this run that *worker* had."""
        # A folder whose stage has an uncommon name ends in a digest of it.
        yield from sorted(self._options.root.glob(f"*/*-{worker}-{self._run.id}*"))

    def _submit(self, folder: Path) -> Reaping:
        if folder not in self._reaps:
            self._reaps[folder] = self._reapings.begin(folder, PATIENCE)
        return self._reaps[folder]
