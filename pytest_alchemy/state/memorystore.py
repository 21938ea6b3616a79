"""A state store in memory, for programs whose state need not outlive them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from pytest_alchemy import clock
from pytest_alchemy.errors import (
    JournalWriteError,
    LeaseLostError,
    StageLockedError,
    StateChangedError,
    StateFolderError,
)
from pytest_alchemy.records import AnyLine, StageOpened, encode
from pytest_alchemy.state.locks import Holder
from pytest_alchemy.state.memory import MemoryJournal
from pytest_alchemy.state.statefile import decode_state, encode_state, version_of
from pytest_alchemy.store import Lease, Place, Segment, Versioned

_KEY = b"nobody else can write here"


@dataclass(slots=True)
class _Part:
    """One segment."""

    name: str
    lease: Lease
    header: StageOpened
    journal: MemoryJournal


class MemoryStore:
    """
    A `StateStore` for the threads of one process.

    It keeps what was said when it was said: changing an object afterwards changes nothing.

    Args:
        stage: Name of the stage, for messages.
    """

    def __init__(self, stage: str = "memory") -> None:
        self._stage = stage
        self._state = threading.Condition()
        self._documents: dict[Place, bytes] = {}
        self._parts: list[_Part] = []
        self._owner: tuple[Lease, Holder] | None = None
        self._header: StageOpened | None = None
        self._fence = 0
        self._discarded = 0

    def acquire(self, timeout: float = 0.0) -> Lease:
        until = clock.monotonic() + timeout
        with self._state:
            while self._owner is not None:
                left = until - clock.monotonic()
                if left <= 0:
                    holder = self._owner[1]
                    since = clock.instant(holder.since)
                    raise StageLockedError(self._stage, str(holder), since)
                self._state.wait(left)
            self._fence += 1
            self._owner, self._header = (Lease(self._fence), Holder.this_process()), None
            return self._owner[0]

    def renew(self, lease: Lease) -> None:
        with self._state:
            self._check(lease)

    def release(self, lease: Lease) -> None:
        with self._state:
            if self._owner is not None and self._owner[0] == lease:
                self._owner = None
                self._state.notify_all()

    def epoch(self) -> str:
        with self._state:
            return f"{self._fence}.{self._discarded}"

    def documents(self) -> dict[Place, Versioned]:
        with self._state:
            found = dict(self._documents)
        return {place: decode_state(data, self._name(place), _KEY) for place, data in found.items()}

    def read(self, place: Place) -> Versioned | None:
        with self._state:
            data = self._documents.get(place)
        return None if data is None else decode_state(data, self._name(place), _KEY)

    def write(self, place: Place, document: dict[str, Any], version: str | None) -> str:
        try:
            data = encode_state(document, _KEY)
        except (TypeError, ValueError, RecursionError) as error:
            raise StateFolderError(self._name(place), f"that is no plain data: {error}") from error
        with self._state:
            self._compare(place, version)
            self._documents[place] = data
        return version_of(data, _KEY)

    def remove(self, place: Place, version: str) -> None:
        with self._state:
            self._compare(place, version)
            del self._documents[place]

    def append(self, lease: Lease, lines: Iterable[AnyLine]) -> None:
        with self._state:
            self._check(lease)
            for line in lines:
                if isinstance(line, StageOpened):
                    self._begin(lease, line)
                else:
                    self._writable(lease).append(line)

    def segments(self) -> list[Segment]:
        with self._state:
            return [Segment(part.name, part.header, part.journal.records) for part in self._parts]

    def discard(self, lease: Lease, segments: Iterable[Segment]) -> None:
        with self._state:
            self._check(lease)
            read = {segment.name: len(segment.records) for segment in segments}
            self._parts = [
                part for part in self._parts if read.get(part.name) != len(part.journal.records)
            ]
            self._discarded += 1

    def erase(self, lease: Lease) -> None:
        with self._state:
            self._check(lease)
            self._documents.clear()
            self._parts.clear()
            self._discarded += 1
            self.release(lease)

    def _writable(self, lease: Lease) -> MemoryJournal:
        """Return the journal of this lease; a new one if the last one was folded."""
        if self._parts and self._parts[-1].lease == lease:
            return self._parts[-1].journal
        if self._header is None:
            raise JournalWriteError(self._stage, "its first line is missing")
        lineage = self._header.lineage
        return self._begin(lease, replace(self._header, journal="", continues=lineage))

    def _begin(self, lease: Lease, header: StageOpened) -> MemoryJournal:
        journal = header.journal or clock.token(20)
        self._header = header = replace(header, journal=journal, fence=lease.fence)
        try:
            encode(header)
        except (TypeError, ValueError, RecursionError) as error:
            raise JournalWriteError(self._stage, f"that is no plain data: {error}") from error
        part = _Part(journal, lease, header, MemoryJournal(header))
        self._parts.append(part)
        return part.journal

    def _check(self, lease: Lease) -> None:
        if self._owner is None or self._owner[0] != lease:
            raise LeaseLostError(self._stage, lease.fence)

    def _compare(self, place: Place, version: str | None) -> None:
        data = self._documents.get(place)
        if version != (None if data is None else version_of(data, _KEY)):
            raise StateChangedError(self._name(place))

    def _name(self, place: Place) -> str:
        return "/".join((self._stage, *place))
