"""What the engine expects of the place where it records."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from pytest_alchemy.records import AnyLine, Intent, KindSeen, Record, StageOpened

Place = tuple[str, ...]
"""Where a scope is: names from below the stage down to its own; empty for the stage itself."""


class Journal(Protocol):
    """What happened to one stage, in order, append-only; one writer."""

    def append(self, record: Record) -> None:
        """
        Record *record*; when this returns, a reader finds it even if this process is killed.

        Raises:
            JournalWriteError: It could not be recorded (full disk, read-only folder); nothing may be made then.
        """


class SharedRecord(msgspec.Struct, frozen=True):
    """
    What some process recorded of a resource in a stage that several processes share.

    Attributes:
        intent: The line that was written before it was created.
        seen: Where its class can be imported from.
        props: Its properties as last recorded.
        outputs: What is known of it; None if nobody knows that it exists.
    """

    intent: Intent
    seen: KindSeen
    props: dict[str, Any]
    outputs: dict[str, Any] | None


class SharedStage(Protocol):
    """What the processes of one stage know of each other."""

    def turn(self, place: tuple[str, ...], key: str) -> AbstractContextManager[None]:
        """Keep every other process from creating *key* in the scope at *place*; blocks until it is our turn."""

    def find(self, place: tuple[str, ...], kind: str, id: str) -> SharedRecord | None:
        """Return what was recorded last of a resource, by whichever process."""

    def inside(self, place: tuple[str, ...]) -> list[SharedRecord]:
        """Return what is recorded in the scope at *place* and inside it, by whichever process, newest first."""


class Lease(msgspec.Struct, frozen=True):
    """
    The right to write to a stage.

    Attributes:
        fence: Its number: greater than that of every lease of this stage before it.
    """

    fence: int


class Versioned(msgspec.Struct, frozen=True):
    """
    The document of a scope as it was read.

    Attributes:
        document: What it says, as plain data.
        version: What `StateStore.write` compares. No two writes have the same one, whatever they write.
        source: What messages call it: the path of a file, say.
        trusted: Whether this user wrote it on this machine, and nobody has edited it since.
    """

    document: dict[str, Any]
    version: str
    source: str
    trusted: bool = True


class Segment(msgspec.Struct, frozen=True):
    """
    Journal lines that were appended under one lease and are not folded into documents yet.

    Attributes:
        name: What the store calls it.
        header: Its first line.
        records: Every whole line after that, oldest first.
    """

    name: str
    header: StageOpened
    records: list[Record]


class StateStore(Protocol):
    """
    What is recorded of one stage: a document per scope, the journal lines that came after it, and who may write.

    The journal is the truth: documents are made from it, and a segment is discarded only after every document
    it speaks of was written. So a store needs no transaction over several documents.

    It is promised that

    * an appended line is found by every later reader, even if its writer is killed;
    * a reader finds whole documents only, at any moment, without any lease;
    * of several writers that read the same version of a document one succeeds;
    * a lease is given to one at a time; who takes over gets a greater fence, and from then on the old one is refused.

    It is not promised that documents and segments that are read one after another belong together: `epoch` tells.
    Nor does a document need a lease: a writer whose lease is over meets the version of who took over, or writes
    what that one reads and folds again.

    All methods block, may be called from several threads, and raise `AlchemyError` when the place cannot be
    reached, read or written.
    """

    def acquire(self, timeout: float = 0.0) -> Lease:
        """
        Take the stage for this process.

        Args:
            timeout: How long to wait for another owner, in seconds.

        Raises:
            StageLockedError: Somebody else has it, who may also be in this process.
        """

    def renew(self, lease: Lease) -> None:
        """
        Say that the owner still lives; to be called from time to time, and before a long step.

        Raises:
            LeaseLostError: It is not the lease of this process any more.
        """

    def release(self, lease: Lease) -> None:
        """Give the stage back; quiet if the lease is over already."""

    def epoch(self) -> str:
        """Return a text that is another one after each `acquire` and `discard` by whomever."""

    def documents(self) -> dict[Place, Versioned]:
        """
        Return the documents of all scopes that have one.

        Raises:
            StateFileError: One is damaged, or a newer version wrote it.
        """

    def read(self, place: Place) -> Versioned | None:
        """
        Return the document of the scope at *place*, None if it has none.

        Raises:
            StateFileError: It is damaged, or a newer version wrote it.
        """

    def write(self, place: Place, document: dict[str, Any], version: str | None) -> str:
        """
        Replace the document of the scope at *place*, as one step.

        Args:
            place: The scope.
            document: Plain data; its ``scope`` is *place*.
            version: The version that was read, None if there was no document.

        Returns:
            The new version.

        Raises:
            StateChangedError: There is another version now; nothing was written.
        """

    def remove(self, place: Place, version: str) -> None:
        """
        Remove the document of the scope at *place*, as one step.

        Raises:
            StateChangedError: There is another version now, or none; nothing was removed.
        """

    def append(self, lease: Lease, lines: Iterable[AnyLine]) -> None:
        """
        Append *lines* in their order; the first one of each lease is a `StageOpened`.

        If one cannot be written, those before it are, and none after it.

        Raises:
            LeaseLostError: The lease is over; nothing was written.
            JournalWriteError: A line could not be written.
        """

    def segments(self) -> list[Segment]:
        """
        Return what was appended and is not discarded, oldest lease first.

        Raises:
            JournalReadError: A line is damaged, not of this user on this machine, or of a newer version.
        """

    def discard(self, lease: Lease, segments: Iterable[Segment]) -> None:
        """
        Forget *segments*, whose lines are in the documents now.

        One that has grown since it was read stays, with all its lines: folding them twice does no harm.

        Raises:
            LeaseLostError: The lease is over; nothing was forgotten.
        """

    def erase(self, lease: Lease) -> None:
        """
        Forget the stage, in which nothing is owned any more, and give the lease back.

        At no moment on the way does anything look owned that was not so before.

        Raises:
            LeaseLostError: The lease is over; nothing was forgotten.
        """
