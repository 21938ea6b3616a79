"""The xdist controller: gives the run its id, reaps what dead workers left, ends what all workers shared."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import clock
from pytest_alchemy.names import folder_name, new_run
from pytest_alchemy.report.facts import Fact, FactBook

from .options import Options
from .reporting import Reporter

LIFETIME = 24 * 3600.0
"""How long anything of a run may still be wanted, in seconds: what is kept is kept for that long."""

PATIENCE = 12.0
"""How long the end of a run waits for what is being reaped, in seconds; the reaping itself goes on after that."""

_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); import runpy; runpy.run_module('pytest_alchemy.recovery', run_name='__main__', alter_sys=True)"


class Controller:
    """
    What the controller of an xdist run does for the scopes of its workers.

    Args:
        config: The run's configuration.
        options: What was chosen for it.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config, self._options = config, options
        self._run = new_run(LIFETIME)
        self._book = FactBook()
        self._reaped: set[str] = set()
        self._pending: list[Future[None]] = []
        self._threads: ThreadPoolExecutor | None = None
        self._finished = False
        reporter = Reporter(config, options, self._book, self._run.id, self._finish)
        config.pluginmanager.register(reporter, "alchemy_reporter")
        config.add_cleanup(self._finish)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it belongs to."""
        node.workerinput["alchemy"] = {"run": self._run.id, "expires": self._run.expires}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker had left to tell, and reap what it left behind if it died; must not block."""
        told = getattr(node, "workeroutput", None)
        if told and "alchemy" in told:
            self._book.merge(told["alchemy"])
        if error:
            self._reap(node.gateway.id)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a worker tells with the report of a test."""
        told = getattr(report, "alchemy", None)
        if told:
            self._book.merge(told)

    def _finish(self) -> None:
        """Wait for what is being reaped, and reap what nobody told of; only the first call does anything."""
        if self._finished:
            return
        self._finished = True
        # On Ctrl-C xdist does not say which workers went down.
        for folder in self._folders("*"):
            self._submit(folder)
        give_up = clock.monotonic() + PATIENCE
        for future in self._pending:
            future.exception(timeout=max(0.0, give_up - clock.monotonic()))
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _reap(self, worker: str) -> None:
        for folder in self._folders(worker):
            self._submit(folder)

    def _folders(self, worker: str) -> Iterator[Path]:
        """Yield the stages of this run that *worker* had."""
        suffix = folder_name(f"x-{self._run.id}").removeprefix("x")
        pattern = f"*/*-{worker}{suffix}"
        yield from sorted(self._options.root.glob(pattern))

    def _submit(self, folder: Path) -> None:
        if str(folder) in self._reaped:
            return
        self._reaped.add(str(folder))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(4, "alchemy-reap")
        self._pending.append(self._threads.submit(self._reap_folder, folder))

    def _reap_folder(self, folder: Path) -> None:
        started = clock.monotonic()
        for line in reap_in_process(folder, PATIENCE):
            if line["what"] != "error":
                facts = {**line["facts"], "seconds": clock.monotonic() - started}
                self._book.add(Fact(what=line["what"], reason=line["reason"], **facts))


def reap_in_process(folder: Path, timeout: float) -> Iterator[dict[str, Any]]:
    """
    Reap the stage in *folder* in a process of its own, and yield what it says.

    The process outlives this one if it has to.

    Args:
        folder: The stage's folder.
        timeout: How long it may wait for the stage's lock, in seconds.
    """
    package = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-P", "-c", _BOOT, str(package), str(folder), f"--timeout={timeout}"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            yield json.loads(line)
    threading.Thread(target=process.wait, name="alchemy-reaper", daemon=True).start()
