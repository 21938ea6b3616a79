"""
The report of a run that could not write its own, because it was killed: written by what cleaned up after it.

It is imported only when everything is destroyed that can be: nothing of it delays that.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_alchemy.records import (
    Created,
    CreateFailed,
    Deferred,
    Destroyed,
    DestroyFailed,
    Intent,
    KindSeen,
)
from pytest_alchemy.recovery.finding import recorded_facts
from pytest_alchemy.recovery.footing import present
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.document import Origin
from pytest_alchemy.report.facts import Fact
from pytest_alchemy.report.files import write
from pytest_alchemy.store import Segment


def write_last_report(
    folder: Path, segments: Iterable[Segment], findings: Iterable[dict[str, Any]]
) -> None:
    """
    Write what is recorded of a dead stage, and what became of it, into the report of its run; quiet if none is wanted.

    What other stages of the run, or the run itself, have written there stays.

    Args:
        folder: The stage's folder.
        segments: What the stage's processes recorded.
        findings: What became of each thing that was left: the fields of a `Fact`.

    Raises:
        ReportFileError: The system refused.
    """
    segments = list(segments)
    wanted = next((segment.header for segment in segments if segment.header.report), None)
    if wanted is None:
        return
    book = FactBook(f"{wanted.app}/{wanted.stage}")
    for segment in segments:
        _tell(segment, book)
    book.add_all(Fact(**finding) for finding in findings)
    report, rootdir = Path(wanted.report), Path(present(wanted.rootdir, wanted, folder))
    if report.is_relative_to(wanted.rootdir):  # in a project that was moved it need not exist yet
        report = rootdir / report.relative_to(wanted.rootdir)
    origin = Origin(
        app=wanted.app,
        run=wanted.run,
        rootdir=rootdir,
        title=book.title,
        clean_up="alchemy sweep --yes" if book.leaks else "",
        session="died",
    )
    write(book, report, origin, started=wanted.started)


def _tell(segment: Segment, book: FactBook) -> None:
    """Write into *book* what *segment* says of things that came and went, and how many there were."""
    kinds: dict[str, KindSeen] = {}
    entries: dict[int, Intent | Deferred] = {}
    ready: dict[int, float] = {}
    errors: dict[int, list[str]] = {}
    for record in segment.records:
        match record:
            case KindSeen():
                kinds[record.kind] = record
            case Intent() | Deferred():
                entries[record.seq] = record
            case Created():
                if record.seq not in ready:
                    ready[record.seq] = record.at
                    book.count(created=1)
            case CreateFailed() | DestroyFailed():
                errors.setdefault(record.seq, []).append(record.error)
            case Destroyed() if record.seq in entries:
                entry = entries.pop(record.seq)
                seen = kinds.get(entry.kind) if isinstance(entry, Intent) else None
                book.count(destroyed=int(record.seq in ready))
                book.add(
                    Fact(
                        what="destroyed",
                        **recorded_facts(segment.header, seen, entry),
                        ready=ready.get(record.seq, 0.0),
                        ended=record.at,
                        errors=tuple(errors.get(record.seq, ())),
                    )
                )
            case _:
                pass
