"""The stages that one process of a run owns: opened when they are needed, watched over, and given up at the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from msgspec.structs import replace

from pytest_alchemy.pauses import Pauses
from pytest_alchemy.physicalnames import Run
from pytest_alchemy.records import StageOpened
from pytest_alchemy.recovery.process import Watch
from pytest_alchemy.sealed import key_of_run
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.folders import ACCOUNT, Root
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.runpauses import RunPauses
from pytest_alchemy.state.stagefiles import StageFiles

from .options import Options

RUN = "run"
"""What stands for the worker in the name of the stage that all workers share."""


class Stages:
    """
    The stages of one process.

    Args:
        options: What was chosen for the run.
        run: Id and end of the run.
        worker: xdist worker id, ``main`` without workers.
        program: What all stages of this process share.
    """

    def __init__(self, options: Options, run: Run, worker: str, program: Program) -> None:
        self._options, self._run, self._worker, self._program = options, run, worker, program
        self._stages: dict[tuple[Any, ...], tuple[Stage, StageFiles]] = {}
        # Those of one name, which differ in their credentials, lie in one folder.
        self._files: dict[tuple[str, str], StageFiles] = {}
        self._account: str | None = None
        self._pauses = Pauses()
        if worker != "main":
            self._pauses = RunPauses(options.root, options.app, f"{options.stage}-{RUN}-{run.id}")
        # The controller cleans up after its workers while it lives.
        self._watch = Watch(program.patron)

    def __iter__(self) -> Iterator[Stage]:
        return (stage for stage, _ in self._stages.values())

    def stage(self, settings: Settings, worker: str | None = None) -> Stage:
        """Return the stage of *settings*; with `RUN` as *worker* the one that all workers share."""
        worker = worker or self._worker
        key = (settings.app, settings.stage, settings.profile, settings.live, worker)
        if key not in self._stages:
            shared = worker == RUN and self._worker != "main"
            name = f"{settings.stage}-{worker}-{self._run.id}"
            if (settings.app, name) not in self._files:
                made = StageFiles(self._options.root, self._worker, shared=shared)
                self._files[settings.app, name] = made
            files = self._files[settings.app, name]
            plain = replace(settings, keep="never", teardown_timeout=None)
            opened = partial(self._open, files, shared)
            stage = Stage(
                plain,
                name,
                self._run,
                self._program,
                opened,
                self._worker,
                self._pauses,
                key=lambda: key_of_run(user_key(), plain.app, name),
            )
            self._stages[key] = stage, files
        return self._stages[key][0]

    def with_shared_account(self, settings: Settings) -> Settings:
        """Return *settings* with the fake account of the whole run, unless another one was chosen."""
        if settings.live or settings.fake_account:
            return settings
        if self._account is None:
            root = Root(self._options.root)
            name = f"{self._options.stage}-{RUN}-{self._run.id}"
            folder = root.make_stage(self._options.app, name) / ACCOUNT
            folder.mkdir(mode=0o700, exist_ok=True)
            self._account = str(folder / "account.sqlite")
        return replace(settings, fake_account=self._account)

    def give_up(self, *, keep: set[Stage], unfinished: set[Stage]) -> None:
        """
        End the ownership of all stages.

        Args:
            keep: Stages in which something stays: it was asked for, or could not be destroyed.
            unfinished: Stages in which there was no time to destroy everything: the watchdog goes on there.
        """
        for files in self._files.values():
            inside = {stage for stage, its in self._stages.values() if its is files}
            files.end(clean=inside.isdisjoint(keep | unfinished))
            if files.folder is not None and inside.isdisjoint(unfinished) and not files.shared:
                self._watch.done(files.folder)
        self._watch.end()

    def _open(self, files: StageFiles, shared: bool, header: StageOpened) -> FileJournal:
        journal = files.open(header)
        assert files.folder is not None
        try:
            self._watch.guard(files.folder, shared=shared)
        except BaseException:  # no more processes, say: nothing has been made yet
            files.take_back(journal)
            raise
        return journal
