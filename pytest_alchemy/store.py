"""What the engine expects of the place where it records."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from pytest_alchemy.records import Intent, KindSeen, Record


class Journal(Protocol):
    """What happened to one stage, in order, append-only; one writer."""

    def append(self, record: Record) -> None:
        """
        Record *record*; when this returns, a reader finds it even if this process is killed.

        Raises:
            JournalWriteError: It could not be recorded (full disk, read-only folder); nothing may be made then.
        """


@dataclass(frozen=True, slots=True)
class SharedRecord:
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
        """Return what is recorded of a resource, by whichever process."""
