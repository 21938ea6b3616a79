"""The files of a test's stage for as long as this process owns it: its folder, its lock, its journal."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pytest_alchemy.errors import AlchemyError
from pytest_alchemy.records import StageOpened
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import JOURNALS, LOCK, Root
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.locks import Holder, StageLock
from pytest_alchemy.state.stagestate import load_stage, publish


class StageFiles:
    """
    Makes a stage's files when the first thing is recorded, and removes them after a clean end.

    Args:
        root: The folder of all stages.
        name: Name of this process's journal in the stage: the xdist worker's id, or ``main``.
        shared: True if other processes record in the stage as well: then the lock is this process's own, and the
            files stay for whoever ends the stage.
    """

    def __init__(self, root: Path, name: str, *, shared: bool = False) -> None:
        self._root, self._name, self.shared = Root(root), name, shared
        self._journal: FileJournal | None = None
        self._lock: StageLock | None = None
        self.folder: Path | None = None

    def open(self, header: StageOpened) -> FileJournal:
        """
        Take the stage's lock and open this process's journal in it.

        Raises:
            StageLockedError: Another process owns the stage.
            AlchemyError: The files cannot be made; the message names the file and the reason.
        """
        lock = f"{LOCK}-{self._name}" if self.shared else LOCK
        holder = Holder.this_process()
        self.folder, self._lock = self._root.hold_stage(header.app, header.stage, holder, lock=lock)
        path = self.folder / JOURNALS / f"{self._name}.jsonl"
        try:
            self._journal = FileJournal.open(
                path, header, key=user_key(), durable=not header.ephemeral
            )
        except BaseException:
            self._root.remove_if_empty(self.folder, lock=self._lock)
            raise
        return self._journal

    def end(self, *, clean: bool) -> None:
        """
        Give the stage up; quiet if nothing was ever recorded.

        Args:
            clean: True if nothing is left: then the files go too. Otherwise they stay for whoever cleans up.
        """
        journal, lock, folder = self._journal, self._lock, self.folder
        self._journal = self._lock = None
        if journal is None or lock is None or folder is None:
            return
        journal.close()
        if not clean and not self.shared:
            _show_kept(folder)
        if self.shared:
            lock.release(remove=True)
        elif clean:
            self._root.remove_if_empty(folder, journals=[journal.path], lock=lock)
        else:
            lock.release()


def _show_kept(folder: Path) -> None:
    """Write a state file for each scope in *folder* that is kept, for people to see what is there and until when."""
    with suppress(AlchemyError):  # nobody acts on them: the journal says the same, and stays
        store = FileStore(folder, user_key())
        state = load_stage(store)
        if state.kept:
            publish(store, state)
