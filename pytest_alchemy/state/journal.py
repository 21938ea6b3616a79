"""
A journal in a file: one line per record, written before the thing it speaks of is done.

A line is ``<16 hex digits> <json>``. The digits are a digest with the user's key over the journal's id, the line's
number and the json: they tell a whole line from a torn one, and a line of ours from one that was altered, moved,
or copied from another journal.
"""

from __future__ import annotations

import os
import threading
from binascii import b2a_hex
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Self

import msgspec

from pytest_alchemy import clock, forks
from pytest_alchemy.errors import (
    JournalCorruptError,
    JournalForeignError,
    JournalFormatError,
    JournalWriteError,
)
from pytest_alchemy.records import (
    FORMAT,
    AnyLine,
    Deferred,
    Intent,
    Record,
    StageOpened,
    decoder,
    encode,
)
from pytest_alchemy.state.disk import (
    disk,
    open_regular,
    read_all,
    reason_of,
    sync_data,
    sync_folder,
    write_all,
)

_PURPOSE = b"alchemy journal"
_DIGEST = 16  # hex digits
_TRIES = 100
_MOMENT = 0.01
"""For how long a journal that was there is taken to be still there, in seconds: looking costs more than a line."""


class _Peek(msgspec.Struct, tag_field="op", tag="stage"):
    """What every version has to find in the first line, whatever else changes."""

    journal: str
    format: int = FORMAT


class JournalContents(msgspec.Struct):
    """
    What a journal says.

    Attributes:
        header: Its first line; None if the writer died before that was whole: then nothing was done either.
        records: Every whole line after it, oldest first.
        torn: Whether something follows the last whole line: the writer died, or writes right now.
        size: Bytes up to the end of the last whole line.
    """

    header: StageOpened | None = None
    records: list[Record] = []
    torn: bool = False
    size: int = 0


class FileJournal:
    """
    A journal in a file, open for appending by this process alone. Safe to use from several threads.

    Made by `open` and `reopen`.

    Attributes:
        path: The file.
        header: Its first line.
    """

    def __init__(
        self,
        path: str,
        fd: int,
        header: StageOpened,
        key: bytes,
        durable: bool,
        lines: int,
        size: int,
    ) -> None:
        self.path = Path(path)
        self.header = header
        self._file = path
        self._fd = fd
        self._process = forks.process
        self._durable = durable
        self._mac = _mac(header.journal, key)
        self._guard = threading.Lock()
        self._sync_guard = threading.Lock()
        # One tuple, so that an interrupt never finds half of it changed.
        self._end = (lines, size)
        self._synced = 0
        self._pending = b""
        self._looked = 0.0  # when it was last seen to be there

    def __repr__(self) -> str:
        return f"FileJournal({self._file!r}, lines={self._end[0]})"

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], header: StageOpened, *, key: bytes, durable: bool
    ) -> Self:
        """
        Make a journal and write its first line.

        Args:
            path: The file; it must not exist.
            header: The first line; an empty `journal` id is filled in with a random one.
            key: The user's key, up to 64 bytes.
            durable: Whether a record has to survive a power cut too, which costs a flush of the disk each time.

        Raises:
            JournalWriteError: It cannot be made or written; nothing is left behind.
        """
        file = os.path.abspath(path)
        if not header.journal:
            header = msgspec.structs.replace(header, journal=clock.token(20))
        fd = _make_file(file)
        journal = cls(file, fd, header, key, durable, 0, 0)
        try:
            journal.append(header)
            if durable:
                sync_folder(os.path.dirname(file))
        except BaseException:
            journal.close()
            disk.unlink(file)
            raise
        return journal

    @classmethod
    def reopen(cls, path: str | os.PathLike[str], key: bytes, *, durable: bool = False) -> Self:
        """
        Go on with an existing journal; only for whoever holds the lock of its stage.

        A torn tail is cut off first.

        Raises:
            JournalCorruptError: A line is not what was written there, or not even the first one is whole.
            JournalForeignError: It is not of this user on this machine.
            JournalFormatError: A newer version wrote it.
            JournalWriteError: It cannot be opened or cut.
            LinkRefusedError: It is a link.
            StateFolderError: It is not an ordinary file.
        """
        file = os.path.abspath(path)
        fd = -1
        try:
            fd = open_regular(file, os.O_RDWR | os.O_APPEND)
            contents = _parse(file, read_all(fd), key)
            if contents.header is None:
                raise JournalCorruptError(file, 1, "it ends before its first line does")
            if contents.torn:
                disk.cut(fd, contents.size)
        except BaseException as error:
            if fd >= 0:
                disk.close(fd)
            if isinstance(error, OSError):
                raise JournalWriteError(file, reason_of(error)) from error
            raise
        lines = 1 + len(contents.records)
        return cls(file, fd, contents.header, key, durable, lines, contents.size)

    def append(self, record: AnyLine) -> None:
        """
        Record *record*; when this returns, a reader finds it even if this process is killed.

        Raises:
            JournalWriteError: It could not be recorded (full disk, deleted file, closed journal, forked process,
                something that is no plain data). The file still reads as it did before; only after a
                flush that failed it may hold the line already.
        """
        try:
            payload = encode(record)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._error(f"the record is no plain data: {error}") from error
        with self._guard:
            if self._fd < 0 or self._pending or forks.process is not self._process:
                self._check()
            # Not `isinstance`: that asks the metaclass of the structs, and takes six times as long.
            if type(record) is Intent or type(record) is Deferred:
                self._look(record.at)
            lines, size = self._end
            mac = self._mac.copy()
            mac.update(b"\0%d\0%b" % (lines + 1, payload))
            self._pending = line = b"".join((b2a_hex(mac.digest()), b" ", payload, b"\n"))
            try:
                written = disk.write(self._fd, line)
                if written != len(line):
                    write_all(self._fd, line[written:])
            except OSError as error:
                self._take_back(size)
                raise self._error(reason_of(error)) from error
            end = size + len(line)
            self._end = (lines + 1, end)
            self._pending = b""
        if self._durable:
            self._sync(end)

    @property
    def is_there(self) -> bool:
        """Whether the file still stands where others look for it."""
        return disk.access(self._file, os.F_OK)

    def close_at(self, lines: int) -> bool:
        """
        Close the file if it has *lines* lines, the first one included.

        Returns:
            False if it has others: then it stays open.
        """
        with self._guard:
            if self._end[0] != lines or self._pending:
                return False
            with self._sync_guard:
                self._close()
            return True

    def close(self) -> None:
        """Close the file; closing twice is quiet. It stays where it is, with all it says."""
        with self._guard, self._sync_guard:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0 and forks.process is self._process:
            disk.close(fd)

    def _check(self) -> None:
        """Make sure that what is written now is written by the owner, and right after what was written before."""
        if self._fd < 0:
            raise self._error("it is closed")
        refuse_fork(self._file, self._process)
        if self._pending:
            self._settle()

    def _look(self, now: float) -> None:
        """
        Make sure that the file is still there; before something comes into the world that only it would name.

        If it was there a moment before *now*, that is taken to be still so.

        Not by descriptor: whoever reads a file's times makes Linux renew them at the next write, which costs more.
        """
        if abs(now - self._looked) <= _MOMENT:
            return
        if not self.is_there:
            remedy = "leave that folder alone while something uses it"
            raise JournalWriteError(self._file, "it was deleted while in use", remedy)
        self._looked = now

    def _settle(self) -> None:
        """Find out what became of a write that an interrupt or a full disk cut off."""
        lines, size = self._end
        whole = size + len(self._pending)
        found = disk.fstat(self._fd).st_size
        if found == whole:
            self._end = (lines + 1, whole)
        elif size <= found < whole:
            try:
                disk.cut(self._fd, size)
            except OSError as error:
                raise self._error(reason_of(error)) from error
        else:
            raise self._error("something else wrote to it or cut it")
        self._pending = b""

    def _take_back(self, size: int) -> None:
        # If this fails too, a reader drops the torn line, and the next append tries again.
        with suppress(OSError):
            disk.cut(self._fd, size)

    def _sync(self, end: int) -> None:
        """Return when everything up to *end* is on the disk; whoever waited finds it done by the one before."""
        with self._sync_guard:
            if self._synced >= end:
                return
            reached = self._end[1]
            try:
                sync_data(self._fd)
            except OSError as error:
                raise self._error(reason_of(error)) from error
            self._synced = reached

    def _error(self, reason: str) -> JournalWriteError:
        return JournalWriteError(self._file, reason)


def refuse_fork(file: str, owner: object) -> None:
    """
    Make sure that this process may write the journal *file*, whose *owner* is a `forks.process`.

    Raises:
        JournalWriteError: It is a fork of the owner, and may end without ending what it made.
    """
    if forks.process is not owner:
        reason = "this process is a fork of the one that owns it"
        raise JournalWriteError(file, reason, "make it in that process, and pass it on to the fork")


def read_journal(path: str | os.PathLike[str], key: bytes) -> JournalContents:
    """
    Return what the journal at *path* says.

    What follows the last whole line is dropped: the writer died in it, so it did not act on it either. The
    writer may go on meanwhile.

    Raises:
        FileNotFoundError: There is no such file (any more).
        JournalCorruptError: A whole line is not what was written there.
        JournalForeignError: It is not of this user on this machine, or cannot be read by this user.
        JournalFormatError: A newer version wrote it.
        LinkRefusedError: It is a link.
        StateFolderError: It is not an ordinary file.
    """
    file = os.path.abspath(path)
    try:
        fd = open_regular(file, os.O_RDONLY)
    except PermissionError as error:
        raise JournalForeignError(file, reason_of(error)) from error
    try:
        return _parse(file, read_all(fd), key)
    finally:
        disk.close(fd)


def _parse(file: str, data: bytes, key: bytes) -> JournalContents:
    lines = data.split(b"\n")
    tail = lines.pop()
    contents = JournalContents(torn=bool(tail), size=len(data) - len(tail))
    if not lines:
        return contents
    contents.header = header = _parse_header(file, lines[0], key)
    copy = _mac(header.journal, key).copy
    record, decode = contents.records.append, decoder(Record)
    for number, line in enumerate(lines[1:], 2):
        payload = line[_DIGEST + 1 :]
        mac = copy()
        mac.update(b"\0%d\0%b" % (number, payload))
        if line[: _DIGEST + 1] != b2a_hex(mac.digest()) + b" ":
            raise JournalCorruptError(
                file, number, "the line was altered, moved, or copied from elsewhere"
            )
        try:
            record(decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalCorruptError(file, number, f"the line is no record: {error}") from error
    return contents


def _parse_header(file: str, line: bytes, key: bytes) -> StageOpened:
    payload = line[_DIGEST + 1 :]
    try:
        seen = decoder(_Peek)(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalForeignError(file, "its first line is no stage's") from error
    if seen.format > FORMAT:
        raise JournalFormatError(file, seen.format, FORMAT)
    mac = _mac(seen.journal, key)
    mac.update(b"\0%d\0%b" % (1, payload))
    if line[: _DIGEST + 1] != b2a_hex(mac.digest()) + b" ":
        raise JournalForeignError(file)
    try:
        header: StageOpened = decoder(StageOpened)(payload)
    except msgspec.DecodeError as error:
        raise JournalCorruptError(file, 1, f"the line is no stage's: {error}") from error
    return header


def _mac(journal: str, key: bytes) -> blake2b:
    return blake2b(journal.encode(), digest_size=_DIGEST // 2, key=key, person=_PURPOSE)


def _make_file(file: str) -> int:
    """Make the journal *file*, and its folder if a neighbour that ended has just removed it."""
    for _ in range(_TRIES):
        try:
            return open_regular(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            try:
                disk.mkdir(os.path.dirname(file), 0o700)
            except FileExistsError:
                pass
            except OSError as error:
                raise JournalWriteError(file, reason_of(error)) from error
        except OSError as error:
            raise JournalWriteError(file, reason_of(error)) from error
    raise JournalWriteError(file, "other processes keep removing its folder")
