"""
A state store in the folder of a stage, on a local disk.

The kernel's lock on one file is the lease: it ends with its process, however that ends. Its number is counted in
another file of the folder, so that it grows over restarts. Each lease appends to a file of its own.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from pytest_alchemy import clock
from pytest_alchemy.errors import (
    JournalWriteError,
    LeaseLostError,
    LinkRefusedError,
    StateChangedError,
    StateFileError,
    StateFolderError,
)
from pytest_alchemy.names import folder_name
from pytest_alchemy.records import AnyLine, Record, StageOpened
from pytest_alchemy.state.disk import disk, is_link, reason_of, sync_folder
from pytest_alchemy.state.folders import JOURNALS, LOCK, Root, folders_in, make_private
from pytest_alchemy.state.journal import FileJournal, read_journal
from pytest_alchemy.state.locks import Holder, NoLock, StageLock
from pytest_alchemy.state.statefile import (
    STATE,
    decode_state,
    draft_of,
    encode_state,
    read_file,
    replace_file,
    version_of,
)
from pytest_alchemy.store import Lease, Place, Segment, Versioned

FENCE: Final = ".fence"
"""Name of the file that holds the number of the last lease."""

_WRITING: Final = ".writing"  # the lock that makes comparing and replacing a document one step
_PATIENCE: Final = 30.0  # for another writer of a document, in seconds
_JSONL: Final = ".jsonl"


class FileStore:
    """
    A `StateStore` in a folder.

    Args:
        folder: The folder of the stage, in the folder of its application; made when the stage is acquired.
        key: The user's key.
        stage: Name of the stage, for messages.
        locking: False where no lock is to be taken; then its user sees to it that one process at a time has it.
    """

    def __init__(self, folder: Path, key: bytes, *, stage: str = "", locking: bool = True) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._root = Root(self.folder.parent.parent)
        self._stage = stage or self.folder.name
        self._key, self._locking = key, locking
        self._guard = threading.RLock()
        self._lock: StageLock | None = None
        self._lease: Lease | None = None
        self._journal: FileJournal | None = None
        self._begun = itertools.count()
        self._header: StageOpened | None = None

    def __repr__(self) -> str:
        return f"FileStore({str(self.folder)!r}, {self._lease})"

    # The lease.

    def acquire(self, timeout: float = 0.0) -> Lease:
        if not self._locking:
            return self.adopt(NoLock(self._root.make(self.folder) / LOCK, stage=self._stage))
        holder = Holder.this_process()
        lock = self._root.hold(self.folder, holder, stage=self._stage, timeout=timeout)
        try:
            return self.adopt(lock)
        except BaseException:
            lock.release()
            raise

    def adopt(self, lock: StageLock) -> Lease:
        """
        Return a new lease for whoever holds the lock of the stage already; `release` gives the lock back.

        Raises:
            StateFileError: The file with the number of the last lease is damaged.
            StateFolderError: It cannot be written.
        """
        with self._guard:
            lease = Lease(1 + self._fence())
            self._mark(lease)
            self._lock, self._lease = lock, lease
            return lease

    def renew(self, lease: Lease) -> None:
        with self._guard:
            self._check(lease)

    def release(self, lease: Lease) -> None:
        with self._guard:
            if self._lease == lease and self._lock is not None:
                self._end(self._lock.release)

    def epoch(self) -> str:
        marked = read_file(self._file(FENCE)) or b""
        return f"{marked.decode(errors='replace')} {' '.join(self._journals())}"

    # Documents.

    def documents(self) -> dict[Place, Versioned]:
        found = {}
        for folder in self._scope_folders():
            path = os.path.join(folder, STATE)
            data = read_file(path)
            if data is None:
                continue
            read = decode_state(data, path, self._key)
            place = tuple(read.document["scope"])
            if not all(isinstance(name, str) for name in place) or self._folder(place) != folder:
                raise StateFileError(
                    path, f"it speaks of scope {'/'.join(map(str, place))!r}, which lies elsewhere"
                )
            found[place] = read
        return found

    def read(self, place: Place) -> Versioned | None:
        path = self._path(place)
        data = read_file(path)
        if data is None:
            return None
        read = decode_state(data, path, self._key)
        if read.document["scope"] != list(place):
            raise StateFileError(path, f"it speaks of another scope than {'/'.join(place)!r}")
        return read

    def write(self, place: Place, document: dict[str, Any], version: str | None) -> str:
        try:
            data = encode_state(document, self._key)
        except (TypeError, ValueError, RecursionError) as error:
            reason = f"that is no plain data: {error}"
            raise StateFolderError(self._file(*place, STATE), reason) from error
        with self._writing():
            path = self._compare(place, version)
            self._make_folders(place)
            replace_file(path, data)
        return version_of(data, self._key)

    def remove(self, place: Place, version: str) -> None:
        with self._writing():
            path = self._compare(place, version)
            try:
                disk.unlink(path)
                sync_folder(os.path.dirname(path))
            except OSError as error:
                raise StateFolderError(path, reason_of(error)) from error
            for length in range(len(place), 0, -1):
                _remove_folder(self._folder(place[:length]))

    # The journal.

    def append(self, lease: Lease, lines: Iterable[AnyLine]) -> None:
        for line in lines:
            if isinstance(line, StageOpened):
                with self._guard:
                    self._check(lease)
                    self._begin(lease, line)
            else:
                self._append(lease, line)

    def segments(self) -> list[Segment]:
        found = []
        for name in self._journals():
            with suppress(FileNotFoundError):  # it has just been folded
                contents = read_journal(self._file(JOURNALS, name), self._key)
                if contents.header is not None:  # else its writer died before it did anything
                    found.append(Segment(name, contents.header, contents.records))
        found.sort(key=lambda segment: (segment.header.fence, segment.header.started, segment.name))
        return found

    def discard(self, lease: Lease, segments: Iterable[Segment]) -> None:
        with self._guard:
            self._check(lease)
            # The names of the journals alone would not tell: there may be none, then one, and none again.
            self._mark(lease)
            for segment in segments:
                self._discard(segment)
            with suppress(FileNotFoundError):
                sync_folder(self._file(JOURNALS))

    def erase(self, lease: Lease) -> None:
        with self._guard:
            lock = self._check(lease)
            self._end(lambda: remove_stage(self.folder, lock))

    # Details.

    def _check(self, lease: Lease) -> StageLock:
        if self._lease != lease or self._lock is None or not self._lock.is_good:
            raise LeaseLostError(self._stage, lease.fence)
        return self._lock

    def _end(self, give_back: Callable[[], object]) -> None:
        """End the lease; *give_back* gives its lock back. Forgotten last: what an interrupt cut off can be repeated."""
        if self._journal is not None:
            self._journal.close()
        give_back()
        self._lock = self._lease = self._journal = self._header = None

    def _append(self, lease: Lease, record: Record) -> None:
        while True:
            with self._guard:
                self._check(lease)
                journal = self._writable(lease)
            try:
                # Outside, so that several threads share one flush of the disk.
                return journal.append(record)
            except JournalWriteError:
                with self._guard:
                    if self._journal is journal:
                        raise
                # It has just been folded: there is another one, or the lease is over.

    def _writable(self, lease: Lease) -> FileJournal:
        """Return the journal of this lease; a new one if the last one was folded."""
        if self._journal is not None:
            return self._journal
        if self._header is None:
            raise JournalWriteError(str(self.folder), "its first line is missing")
        lineage = self._header.lineage
        return self._begin(lease, replace(self._header, journal="", continues=lineage))

    def _begin(self, lease: Lease, header: StageOpened) -> FileJournal:
        """Open a new journal of this lease."""
        header = replace(header, fence=lease.fence)
        # Of two that began at the same moment the second one has the greater name.
        name = f"{header.worker}-{lease.fence:06}-{next(self._begun):06}-{clock.token(6)}{_JSONL}"
        path, durable = self._file(JOURNALS, name), not header.ephemeral
        before = self._journal
        self._journal = FileJournal.open(path, header, key=self._key, durable=durable)
        self._header = self._journal.header
        if before is not None:
            before.close()
        return self._journal

    def _discard(self, segment: Segment) -> None:
        path = self._file(JOURNALS, segment.name)
        journal = self._journal
        if journal is not None and str(journal.path) == path:
            if not journal.close_at(1 + len(segment.records)):
                return
            self._journal = None
        _unlink(path)

    def _fence(self) -> int:
        data = read_file(self._file(FENCE))
        if data is None:
            return 0
        found = re.match(rb"(\d+) ", data)
        if found is None:
            raise StateFileError(self._file(FENCE), "it holds no number of a lease")
        return int(found[1])

    def _mark(self, lease: Lease) -> None:
        """Write the number of *lease* down, with a text that is another one each time."""
        path = self._file(FENCE)
        replace_file(path, b"%d %b\n" % (lease.fence, clock.token(16).encode()))

    def _journals(self) -> list[str]:
        return journals_in(self._file(JOURNALS))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        holder = Holder.this_process()
        lock = self._root.hold(
            self.folder, holder, stage=self._stage, timeout=_PATIENCE, lock=_WRITING
        )
        try:
            yield
        finally:
            try:
                lock.release(remove=True)
            finally:
                lock.release()  # an interrupt may have come at the entry of the first call

    def _compare(self, place: Place, version: str | None) -> str:
        """Return the path of a document that has *version* now."""
        path = self._path(place)
        data = read_file(path)
        if version != (None if data is None else version_of(data, self._key)):
            raise StateChangedError(path)
        return path

    def _make_folders(self, place: Place) -> None:
        for length in range(1, len(place) + 1):
            folder = self._folder(place[:length])
            try:
                if make_private(folder):
                    sync_folder(os.path.dirname(folder))
            except OSError as error:
                raise StateFolderError(folder, reason_of(error)) from error

    def _path(self, place: Place) -> str:
        """Return the path of a document, in folders that are no links."""
        for length in range(len(place) + 1):
            if is_link(self._folder(place[:length])):
                raise LinkRefusedError(self._folder(place[:length]))
        return os.path.join(self._folder(place), STATE)

    def _folder(self, place: Place) -> str:
        return self._file(*map(folder_name, place))

    def _scope_folders(self) -> Iterator[str]:
        if is_link(str(self.folder)):
            raise LinkRefusedError(str(self.folder))
        return folders_under(str(self.folder))

    def _file(self, *names: str) -> str:
        return os.path.join(str(self.folder), *names)


def remove_stage(folder: Path, lock: StageLock) -> bool:
    """
    Remove everything of ours in the folder of a stage that owns nothing any more, and give its lock back.

    Documents go before journals, and the lock last: at no moment does anything look owned that is not.

    Args:
        folder: The stage's folder.
        lock: Its lock, which is released.

    Returns:
        Whether the folder is gone. Files of others are left alone.
    """
    for scope in reversed(list(folders_under(str(folder)))):
        for name in (STATE, os.path.basename(draft_of(STATE))):
            _unlink(os.path.join(scope, name))
        if scope != str(folder):
            _remove_folder(scope)
    for name in (FENCE, os.path.basename(draft_of(FENCE)), _WRITING):
        _unlink(os.path.join(str(folder), name))
    journals = [folder / JOURNALS / name for name in journals_in(str(folder / JOURNALS))]
    return Root(folder.parent.parent).remove_if_empty(folder, journals=journals, lock=lock)


def journals_in(folder: str) -> list[str]:
    """
    Return the names of the journals in *folder*, none if it is not there.

    Raises:
        LinkRefusedError: It is a link.
        StateFolderError: It cannot be read.
    """
    if is_link(folder):
        raise LinkRefusedError(folder)
    try:
        return sorted(name for name in disk.listdir(folder) if name.endswith(_JSONL))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StateFolderError(folder, reason_of(error)) from error


def folders_under(folder: str) -> Iterator[str]:
    """Iterate over *folder* and the folders of all scopes in it, each before those inside it; links are passed over."""
    yield folder
    for inside in folders_in(folder):
        yield from folders_under(inside)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        disk.unlink(path)


def _remove_folder(folder: str) -> None:
    """Remove *folder* if nothing but what a killed writer left is in it."""
    _unlink(os.path.join(folder, os.path.basename(draft_of(STATE))))
    with suppress(OSError):
        disk.rmdir(folder)
