"""What became of one thing in a dead stage, and what a report says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_alchemy.records import Deferred, Intent, KindSeen, StageOpened


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What became of one thing in a dead stage.

    Attributes:
        what: ``reaped``, ``leaked``, ``elsewhere``, ``unrecoverable``, ``forgotten`` or ``kept``; ``unfinished``
            comes before one of these.
        facts: What a report says of the thing.
        reason: Why it is still there, empty if it is gone.
        errors: What each failed attempt to destroy it said.
    """

    what: str
    facts: dict[str, Any]
    reason: str = ""
    errors: tuple[str, ...] = ()


Tell = Callable[[Finding], None]
"""Is told what happens to one thing."""


def recorded_facts(
    header: StageOpened, seen: KindSeen | None, record: Intent | Deferred
) -> dict[str, Any]:
    """
    Return what a report says of something, as far as it is recorded.

    Args:
        header: First line of the journal.
        seen: Where the class of its kind can be imported from, if it is a resource and that is known.
        record: What the journal says of it.
    """
    path = [part.strip(":") for part in record.path]
    call = "" if isinstance(record, Intent) else record.function.removeprefix("deferred ")
    return {
        "kind": _title(seen, record),
        "id": record.id if isinstance(record, Intent) else call,
        "name": record.name if isinstance(record, Intent) else call,
        "scope": "/".join((header.app, header.stage, *path)),
        "stage": header.stage,
        "app": header.app,
        "profile": (isinstance(record, Intent) and record.profile)
        or header.settings.get("profile", ""),
        "world": record.world if isinstance(record, Intent) else "",
        "worker": header.worker,
        "test": record.test,
        "where": record.where,
        "at": record.at,
    }


def _title(seen: KindSeen | None, record: Intent | Deferred) -> str:
    if isinstance(record, Deferred):
        return "deferred"
    return seen.qualname.rpartition(".")[2] if seen else record.kind
