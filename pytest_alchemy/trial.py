"""A test's scope outside pytest: it ends by destroying everything, whatever ends its block."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType

from pytest_alchemy import forks
from pytest_alchemy.ambient import current
from pytest_alchemy.driver import ASYNC, BLOCKING, Driver, refuse_in_coroutine, run_blocking
from pytest_alchemy.names import check_name
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.programs.choice import FAKE_ACCOUNT
from pytest_alchemy.programs.commandline import command_line
from pytest_alchemy.records import StageOpened
from pytest_alchemy.recovery.process import Watch
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings, Strategy
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.stagefiles import StageFiles

LIFETIME = 24 * 3600.0
"""Latest moment at which anything of it may still be wanted, in seconds from its beginning."""


class Trial:
    """
    The scope of a test that no pytest runs.

    Args:
        name: Any text.
        stage: First part of its stage's name.
        destroy_strategy: How it destroys.
    """

    def __init__(self, name: str, stage: str, destroy_strategy: Strategy) -> None:
        run, root = new_run(LIFETIME), command_line().root or Path(".alchemy")
        fake = os.environ.get(FAKE_ACCOUNT) or None
        settings = Settings(
            command_line().app or _app(),
            check_name("a stage", stage),
            destroy=destroy_strategy,
            fake_account=os.path.abspath(fake) if fake else None,
        )
        self._files, self._watch = StageFiles(root, "main"), Watch()
        self._process = forks.process
        opened = Stage(settings, f"{stage}-main-{run.id}", run, Program(), self._open)
        self._scope = Scope(opened, parent=Scope(opened), name=name, place=(f":{name}",))

    def __enter__(self) -> Scope:
        refuse_in_coroutine("with", "async with")
        return self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scope.__exit__(kind, error, trace)
        run_blocking(self._end(BLOCKING))

    async def __aenter__(self) -> Scope:
        return self._scope.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scope.__exit__(kind, error, trace)
        await self._end(ASYNC)

    async def _end(self, driver: Driver) -> None:
        if self._process is not forks.process:
            return  # whoever forked ends it
        clean = False
        try:
            outcome = await self._scope.close(driver)
            clean = not outcome.failures
        finally:
            self._files.end(clean=clean)
            if clean and self._files.folder is not None:
                self._watch.done(self._files.folder)
            self._watch.end()
        outcome.raise_failures(self._scope.title)

    def _open(self, header: StageOpened) -> FileJournal:
        journal = self._files.open(header)
        assert self._files.folder is not None
        self._watch.guard(self._files.folder)
        return journal


def _app() -> str:
    """Return what an application is called that nobody names: the current one's name, else that of the folder."""
    here = current.get()
    if here is not None:
        return here.scope.app if not isinstance(here, Scope) else here.app
    return re.sub(r"[^\w.-]+", "-", Path.cwd().name).strip("-_.")[:100] or "app"
