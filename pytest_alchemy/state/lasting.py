"""A stage that outlives its programs, while one of them owns it."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_alchemy import clock
from pytest_alchemy.errors import LeaseLostError
from pytest_alchemy.records import Record, StageOpened
from pytest_alchemy.state.stagestate import StageState, fold_stage
from pytest_alchemy.store import Journal, Lease, StateStore


class LastingStage:
    """
    Takes a stage, tells what earlier programs own in it, records what happens, and gives it up.

    Args:
        store: Where it is recorded.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._lease: Lease | None = None
        self._lineage = ""
        self._wrote = False

    def take(self, timeout: float = 0.0) -> Lease:
        """Take the stage and read nothing yet; see `open`."""
        self._lease = self._store.acquire(timeout)
        return self._lease

    def open(self, timeout: float = 0.0) -> StageState:
        """
        Take the stage, unless it is taken already, and return what it owns; what a dead program left in its journal is
        folded.

        The numbers of what is made from now on go on from `StageState.next_number`.

        Args:
            timeout: How long to wait for another owner, in seconds.

        Raises:
            StageLockedError: Another process owns it.
            StateFileError, JournalReadError: What is recorded cannot be trusted or read; nothing was changed.
        """
        lease = self._lease or self.take(timeout)
        try:
            state = fold_stage(self._store, lease)
        except BaseException:
            self._lease = None
            self._store.release(lease)
            raise
        self._wrote = False
        self._lineage = next(reversed(state.books), "")
        return state

    def journal(self, header: StageOpened) -> Journal:
        """
        Return the journal of this program, which goes on with the numbers of those before it.

        Args:
            header: Its first line; which numbers it goes on with is filled in.

        Raises:
            LeaseLostError: The stage is not open.
            JournalWriteError: The line cannot be written.
        """
        lease, first = self._owned(header.stage), header.journal or clock.token(12)
        header = replace(header, journal=first, continues=self._lineage)
        self._wrote = True
        self._store.append(lease, [header])
        self._lineage = header.lineage
        return _LeaseJournal(self._store, lease)

    def end(self, *, clean: bool) -> None:
        """
        Fold what happened and give the stage up; quiet if it is not open.

        Args:
            clean: True if nothing is left in it: then it is forgotten.
        """
        lease = self._lease
        if lease is None:
            return
        wrote, self._wrote = self._wrote, False
        try:
            if wrote:  # else it is as it was folded when it was opened
                fold_stage(self._store, lease)
            if clean:
                self._store.erase(lease)
        finally:
            self._store.release(lease)
            self._lease = None  # last: what was interrupted is done by the next call

    def _owned(self, stage: str) -> Lease:
        if self._lease is None:
            raise LeaseLostError(stage, 0)
        return self._lease


class _LeaseJournal:
    """The journal of one lease."""

    def __init__(self, store: StateStore, lease: Lease) -> None:
        self._store, self._lease = store, lease

    def append(self, record: Record) -> None:
        self._store.append(self._lease, (record,))
