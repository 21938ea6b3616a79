"""What the engine expects of the place where it records."""

from __future__ import annotations

from typing import Protocol

from pytest_alchemy.records import Record


class Journal(Protocol):
    """What happened to one stage, in order, append-only; one writer."""

    def append(self, record: Record) -> None:
        """
        Record *record*; when this returns, a reader finds it even if this process is killed.

        Raises:
            JournalWriteError: It could not be recorded (full disk, read-only folder); nothing may be made then.
        """
