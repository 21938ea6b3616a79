"""The files of a test's stage for as long as this process owns it: its folder, its lock, its journal."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from pytest_alchemy import forks
from pytest_alchemy.errors import AlchemyError
from pytest_alchemy.records import StageOpened
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import JOURNALS, LOCK, Root
from pytest_alchemy.state.journal import FileJournal, refuse_fork
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.locks import Holder, StageLock
from pytest_alchemy.state.stagestate import load_stage, publish


class StageFiles:
    """
    Makes a stage's files when the first thing is recorded, and removes them after a clean end.

    Args:
        root: The folder of all stages.
        name: Name of this process's journal in the stage: the xdist worker's id, or ``main``. It may have several
            there, for tests that use different credentials.
        shared: True if other processes record in the stage as well: then the lock is this process's own, and the
            files stay for whoever ends the stage.
    """

    def __init__(self, root: Path, name: str, *, shared: bool = False) -> None:
        self._root, self._name, self.shared = Root(root), name, shared
        self._journals: list[FileJournal] = []
        self._lock: StageLock | None = None
        self._opening = threading.Lock()
        self._process = forks.process
        self.folder: Path | None = None

    def open(self, header: StageOpened) -> FileJournal:
        """
        Take the stage's lock, unless this process has it already, and open a journal in it.

        Raises:
            StageLockedError: Another process owns the stage.
            JournalWriteError: This process is a fork of the one that is to own it.
            AlchemyError: The files cannot be made; the message names the file and the reason.
        """
        journals = self._root.stage_path(header.app, header.stage) / JOURNALS
        refuse_fork(str(journals / f"{self._name}.jsonl"), self._process)
        with self._opening:
            if self._lock is None:
                lock = f"{LOCK}-{self._name}" if self.shared else LOCK
                self.folder, self._lock = self._root.hold_stage(
                    header.app, header.stage, Holder.this_process(), lock=lock
                )
            assert self.folder is not None
            number = f"-{len(self._journals) + 1}" if self._journals else ""
            path = journals / f"{self._name}{number}.jsonl"
            try:
                journal = FileJournal.open(
                    path, header, key=user_key(), durable=not header.ephemeral
                )
            except BaseException:
                self._leave_if_unused()
                raise
            self._journals.append(journal)
            return journal

    def take_back(self, journal: FileJournal) -> None:
        """Undo `open`, which opened *journal* last: nothing was recorded in it."""
        with self._opening:
            self._journals.remove(journal)
            journal.close()
            disk.unlink(str(journal.path))
            self._leave_if_unused()

    def _leave_if_unused(self) -> None:
        if not self._journals and self.folder is not None:
            lock, self._lock = self._lock, None
            self._root.remove_if_empty(self.folder, lock=lock)

    def end(self, *, clean: bool) -> None:
        """
        Give the stage up; quiet if nothing was ever recorded.

        Args:
            clean: True if nothing is left: then the files go too. Otherwise they stay for whoever cleans up.
        """
        journals, lock, folder = self._journals, self._lock, self.folder
        self._journals, self._lock = [], None
        if not journals or lock is None or folder is None:
            return
        for journal in journals:
            journal.close()
        if not clean and not self.shared:
            _show_kept(folder)
        if self.shared:
            lock.release(remove=True)
        elif clean:
            self._root.remove_if_empty(folder, journals=[each.path for each in journals], lock=lock)
        else:
            lock.release()


def _show_kept(folder: Path) -> None:
    """Write a state file for each scope in *folder* that is kept, for people to see what is there and until when."""
    with suppress(AlchemyError):  # nobody acts on them: the journal says the same, and stays
        store = FileStore(folder, user_key())
        state = load_stage(store)
        if state.kept:
            publish(store, state)
