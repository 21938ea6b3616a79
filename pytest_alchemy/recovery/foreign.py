"""Stages that another user or another machine recorded: what they say, and how to make them this user's own."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pytest_alchemy.errors import JournalCorruptError, JournalFormatError
from pytest_alchemy.records import FORMAT, AnyLine, Record, StageOpened, decoder
from pytest_alchemy.recovery.deadstage import lock_of
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import JOURNALS
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.statefile import encode_state, read_file, replace_file
from pytest_alchemy.store import Segment

_DIGEST: Final = 17  # the hex digits before each line, and the blank behind them
_NOT_CHECKED: Final = b""


class _Format(msgspec.Struct):
    format: int = FORMAT


class ForeignStore(FileStore):
    """
    Reads a stage whoever wrote it: nothing of what it says is proven, and nothing may be done because of it.

    Args:
        folder: The stage's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _NOT_CHECKED)

    def segments(self) -> list[Segment]:
        """
        Return what its journals say, without asking who wrote them.

        Raises:
            JournalCorruptError: A line cannot be read.
            JournalFormatError: A newer version wrote it.
        """
        found = []
        for path in _journals(self.folder):
            lines = _lines(path)
            if lines:
                header, *records = lines
                found.append(Segment(path.name, _header(path, header), _records(path, records)))
        return sorted(found, key=lambda s: (s.header.fence, s.header.started, s.name))


def first_lines(folder: Path) -> list[StageOpened]:
    """Return the first lines of the journals in the stage's folder *folder* that can be read, whoever wrote them."""
    found = []
    for path in _journals(folder):
        with suppress(JournalCorruptError, JournalFormatError):
            found += [_header(path, line) for line in _lines(path)[:1]]
    return found


def take_over(folder: Path, key: bytes) -> None:
    """
    Sign everything that the stage in *folder* says with this user's key, so that it is reaped like any other.

    Nothing of it is imported or called. Killed at any point, it can simply be done again.

    Args:
        folder: The stage's folder.
        key: The user's key.

    Raises:
        StageLockedError: Somebody lives in the stage.
        AlchemyError: Something in it cannot be read or written.
    """
    lock = lock_of(folder, timeout=0.0)
    try:
        store = ForeignStore(folder)
        segments, documents = store.segments(), store.documents()
        for segment in segments:
            _sign_journal(folder / JOURNALS / segment.name, segment, key)
        for document in documents.values():
            replace_file(document.source, encode_state(document.document, key))
    finally:
        lock.release()


def _sign_journal(path: Path, segment: Segment, key: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        disk.unlink(str(draft))
    journal = FileJournal.open(draft, segment.header, key=key, durable=not segment.header.ephemeral)
    try:
        for record in segment.records:
            journal.append(record)
    except BaseException:
        disk.unlink(str(draft))
        raise
    finally:
        journal.close()
    disk.replace(str(draft), str(path))


def _journals(folder: Path) -> list[Path]:
    return sorted((folder / JOURNALS).glob("*.jsonl"))


def _lines(path: Path) -> list[bytes]:
    """Return the whole lines of a journal; the last one is missing if its writer died in it."""
    return (read_file(str(path)) or b"").split(b"\n")[:-1]


def _header(path: Path, line: bytes) -> StageOpened:
    said = line[_DIGEST:]
    try:
        seen = msgspec.json.decode(said, type=_Format)
        if seen.format > FORMAT:
            raise JournalFormatError(str(path), seen.format, FORMAT)
        header = decoder(AnyLine)(said)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalCorruptError(str(path), 1, f"the line is no stage's: {error}") from error
    if not isinstance(header, StageOpened):
        raise JournalCorruptError(str(path), 1, "the line is no stage's")
    return header


def _records(path: Path, lines: list[bytes]) -> list[Record]:
    records: list[Record] = []
    decode = decoder(AnyLine)
    for number, line in enumerate(lines, 2):
        try:
            record = decode(line[_DIGEST:])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalCorruptError(
                str(path), number, f"the line is no record: {error}"
            ) from error
        if isinstance(record, StageOpened):
            raise JournalCorruptError(str(path), number, "the line is no record")
        records.append(record)
    return records
