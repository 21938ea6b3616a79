"""Scopes for tests of resources, with a journal that is a list."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_alchemy.physicalnames import Run, new_run
from pytest_alchemy.records import Record, StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage


@dataclass
class ListJournal:
    """What was recorded, in order."""

    records: list[Record] = field(default_factory=list)

    def append(self, record: Record) -> None:
        self.records.append(record)


def open_scope(
    settings: Settings, journal: ListJournal | None = None, run: Run | None = None
) -> Scope:
    """Return the scope of a test stage; the same *run* gives the same names."""

    def open_journal(_: StageOpened) -> ListJournal:
        return journal if journal is not None else ListJournal()

    stage = Stage(
        settings,
        "test-gw0-run",
        run or new_run(600.0),
        Program(),
        open_journal,
        key=lambda: b"k" * 32,
    )
    return Scope(stage)
