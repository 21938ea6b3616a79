"""What is recorded of a stage compared with what exists: every `read` is called, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_alchemy.deferred import Call
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.entry import Entry, Status
from pytest_alchemy.errors import OtherWorldError, ProfileDeniedError
from pytest_alchemy.lifecycle import check_world, exists, summary
from pytest_alchemy.recovery.access import check_kept
from pytest_alchemy.recovery.deadstage import DeadStage
from pytest_alchemy.recovery.footing import take_footing

Verdict = Literal["same", "gone", "changed", "half-made", "unchecked", "failed"]


@dataclass(frozen=True, slots=True)
class Checked:
    """
    What was found out about one thing.

    Attributes:
        verdict: ``same``: it is as recorded; ``gone``: it does not exist; ``changed``: an output is another one;
            ``half-made``: its create did not succeed, but it exists; ``unchecked``: its kind has no `read`;
            ``failed``: it could not be read.
        facts: What a report says of it.
        reason: What differs, or why it could not be read.
    """

    verdict: Verdict
    facts: dict[str, Any]
    reason: str = ""


def check_stage(folder: Path, key: bytes, profile: str | None = None) -> Iterator[Checked]:
    """
    Compare everything in the stage in *folder* with what exists, and yield what was found out about each.

    This process takes on the working directory and the import path of the stage's program.

    Args:
        folder: The stage's folder.
        key: The user's key.
        profile: The profile in use, as in `check_kept`.

    Raises:
        ProfileDeniedError: The profile may not touch the stage; nothing was called.
        StateFileError, JournalReadError, StateForeignError: What is recorded cannot be trusted or read; nothing was
            called.
    """
    dead = DeadStage(folder, key, by_hand=True)
    check_kept(dead.read(), profile)
    for book in dead.read().books.values():
        take_footing(book.header, folder)
    things, findings = dead.recall()
    yield from (Checked("failed", finding.facts, finding.reason) for finding in findings)
    driver = BlockingDriver()
    for thing in things:
        yield _checked(thing, driver)


def _checked(thing: Entry | Call, driver: BlockingDriver) -> Checked:
    facts = thing.facts()
    if isinstance(thing, Call) or "read" not in thing.kind.hooks:
        return Checked("unchecked", facts)
    recorded = thing.outputs()
    try:
        check_world(thing, thing.resource)
        there = run_blocking(exists(thing, driver))
        now = thing.outputs()
        changed = sorted(name for name in now if name in recorded and now[name] != recorded[name])
    except (OtherWorldError, ProfileDeniedError) as error:
        return Checked("failed", facts, str(error))
    except Exception as error:  # a provider's: the others are read all the same
        return Checked("failed", facts, summary(error))
    if thing.status is not Status.CREATED:
        return Checked("half-made" if there else "same", facts)
    if not there:
        return Checked("gone", facts)
    return Checked("changed" if changed else "same", facts, ", ".join(changed))
