"""
The report as programs read it, and the source of every other form: the document in ``leaks.json``.

Names of fields do not change within one number of ``schema``; new ones may join them. ``leaks.schema.json`` beside this
module says what each of them means (JSON Schema, draft 2020-12). ``file`` is relative to ``rootdir`` where it lies
below it; moments are in UTC, and null if nobody knows them, like ``line``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Final, Literal

from pytest_alchemy import clock
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.facts import Fact
from pytest_alchemy.report.fates import WHATS
from pytest_alchemy.report.texts import plain

SCHEMA: Final = 1
SCHEMA_FILE: Final = Path(__file__).with_name("leaks.schema.json")
"""What ``leaks.json`` may hold, as JSON Schema."""

MOST_FACTS: Final = 10_000
"""How many facts a report lists, the worst first; what comes after them is only counted."""

MOST_BYTES: Final = 16 * 2**20
"""How long the list of facts may get, in bytes of JSON."""

Session = Literal["ended", "died"]
Document = dict[str, Any]

_MOMENTS: Final = {
    "at": "created_at",
    "ready": "create_ended_at",
    "ending": "destroy_started_at",
    "ended": "destroy_ended_at",
}
_TEXTS: Final = (
    *("what", "kind", "id", "name", "scope", "stage", "app", "profile", "world", "worker", "test"),
    *("reason", "hint", "seconds"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """
    Whose report it is.

    Attributes:
        app: Name of the application.
        run: Id of the run.
        rootdir: Files below it are named relative to it.
        title: What the counts are about, ``my-app/test-k3f9x2ab``.
        clean_up: The command that destroys what is left; empty if there is none.
        session: ``ended``: the run wrote its report itself; ``died``: it was killed, and who cleaned up after it wrote
            what it had recorded.
    """

    app: str
    run: str
    rootdir: PurePath
    title: str = ""
    clean_up: str = ""
    session: Session = "ended"


def as_document(book: FactBook, origin: Origin) -> Document:
    """Return what *book* knows as plain data; bounded, whatever happened."""
    facts: list[dict[str, Any]] = []
    size = 0
    tally = book.tally()
    for fact in _in_order(book):
        if len(facts) >= MOST_FACTS:
            break
        entry = _entry(fact, origin.rootdir)
        size += len(json.dumps(entry))
        if size > MOST_BYTES:
            break
        facts.append(entry)
    known = sum(tally.values()) + len(book.gone)
    return {
        "schema": SCHEMA,
        "app": origin.app,
        "run": origin.run,
        "title": origin.title,
        "session": origin.session,
        "written_at": _moment(clock.now()),
        "rootdir": plain(origin.rootdir),
        "clean_up": plain(origin.clean_up),
        "counts": {
            "scopes": book.scopes,
            "created": book.created,
            "destroyed": book.destroyed,
            "retried": book.retries.total(),
            **tally,
        },
        "retries": dict(book.retries),
        "unlisted": known - len(facts),
        "facts": facts,
    }


def joined(book: FactBook, origin: Origin, earlier: Document) -> tuple[FactBook, Origin]:
    """
    Return *book* and *origin* with what another process wrote about the same run before.

    The numbers of a session that ended itself are whole; those of what outlived a session that was killed add up.
    """
    both = FactBook(book.title)
    both.add_all(fact_of(entry, origin.rootdir) for entry in earlier["facts"])
    both.add_all([*book.facts, *book.gone])
    counts = earlier["counts"]
    if earlier["session"] == "ended" and origin.session == "died":
        origin = replace(
            origin,
            session="ended",
            title=earlier["title"],
            clean_up=earlier["clean_up"] if both.leaks else "",
        )
    else:
        both.count(
            created=book.created,
            destroyed=book.destroyed,
            scopes=book.scopes,
            retries=book.retries,
        )
        if origin.session == "ended":
            return both, origin
    both.count(
        created=counts["created"],
        destroyed=counts["destroyed"],
        scopes=counts["scopes"],
        retries=earlier["retries"],
    )
    return both, origin


def fact_of(entry: dict[str, Any], rootdir: PurePath) -> Fact:
    """Return the fact that an entry of a document's ``facts`` was made from."""
    known: dict[str, Any] = {name: entry[name] for name in _TEXTS}
    moments: dict[str, Any] = {
        name: datetime.fromisoformat(entry[key]).timestamp() if entry[key] else 0.0
        for name, key in _MOMENTS.items()
    }
    where = str(rootdir / entry["file"]) if entry["file"] else ""
    if entry["line"] is not None:
        where = f"{where}:{entry['line']}"
    return Fact(**known, **moments, where=where, errors=tuple(entry["errors"]))


def _in_order(book: FactBook) -> list[Fact]:
    problems = sorted(book.facts, key=lambda fact: WHATS.index(fact.what))
    return [*problems, *sorted(book.gone, key=lambda fact: fact.at)]


def _entry(fact: Fact, rootdir: PurePath) -> dict[str, Any]:
    file, line = fact.place(rootdir)
    return {
        **{name: getattr(fact, name) for name in _TEXTS},
        "file": file,
        "line": line,
        **{key: _moment(getattr(fact, name)) for name, key in _MOMENTS.items()},
        "errors": list(fact.errors),
    }


def _moment(seconds: float) -> str | None:
    return clock.instant(seconds).isoformat() if seconds else None
