"""A journal that never touches the disk; it is gone with its process."""

from __future__ import annotations

from pytest_alchemy.errors import JournalWriteError
from pytest_alchemy.records import AnyLine, Record, StageOpened, decoder, encode


class MemoryJournal:
    """
    A journal in memory, for worlds that end with their process.

    It keeps what was said when it was said: changing an object afterwards does not change the record. What a
    file could not hold is refused here too. Safe to use from several threads.

    Attributes:
        header: Whose journal it is, None if nobody asked.
    """

    def __init__(self, header: StageOpened | None = None) -> None:
        self.header = header
        self._lines: list[bytes] = []

    def append(self, record: Record) -> None:
        """
        Record *record*.

        Raises:
            JournalWriteError: It holds something that is no plain data.
        """
        try:
            self._lines.append(encode(record))
        except (TypeError, ValueError, RecursionError) as error:
            raise JournalWriteError("in memory", f"the record is no plain data: {error}") from error

    @property
    def records(self) -> list[Record]:
        """Everything recorded so far, oldest first."""
        found = map(decoder(AnyLine), self._lines)
        return [record for record in found if not isinstance(record, StageOpened)]

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
