"""D1: bookmarks of what a database held, and going back to one."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.d1 import database_of, refuse_property
from pytest_alchemy.cloudflare.fake.product import Product
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, object_of, timestamp

# A bookmark is taken when somebody asks for one, so that a write costs nothing. It tells what the database held from
# its last change before (*changed*) to the moment of the question (*taken*), and as long as nothing changed later.
TABLE = """CREATE TABLE IF NOT EXISTS d1_bookmarks (
    number INTEGER PRIMARY KEY, database TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, changed REAL NOT NULL,
    taken REAL NOT NULL, content BLOB NOT NULL, UNIQUE (database, id)
)"""
MOST_KEPT = 64
"""Bookmarks of one database that are kept; older ones are invalid, as they are after 30 days for the real API."""
MOST_BYTES = 64 * 1024 * 1024
"""What the kept bookmarks of one database hold together, unless the last two need more: those undo a restore."""

_SELECT = "SELECT id, digest, changed, taken FROM d1_bookmarks WHERE database = ? "
_FORGET = """
    DELETE FROM d1_bookmarks WHERE database = ? AND number IN (
        SELECT number FROM (
            SELECT number, row_number() OVER latest AS place, sum(length(content)) OVER latest AS size
            FROM d1_bookmarks WHERE database = ? WINDOW latest AS (ORDER BY number DESC)
        ) WHERE place > ? OR (place > 2 AND size > ?)
    )"""


class _Bookmark(NamedTuple):
    id: str
    digest: str
    changed: float
    taken: float


def bookmark(storage: Storage, database: str) -> str:
    """Return a bookmark of what *database* holds now: the last one, as long as nothing changed."""
    jail = storage.databases.open(database)
    content = jail.content()
    changed, now = storage.databases.changed_at(database), clock.now()
    last = _first(storage, database, "ORDER BY number DESC")
    # What changed and changed back was something else in between: a file counts its changes, memory only tells when.
    if last is not None and last.digest == _digest(content) and jail.changed <= last.taken:
        storage.db.execute(
            "UPDATE d1_bookmarks SET taken = ? WHERE database = ? AND id = ?",
            (now, database, last.id),
        )
        return last.id
    return _add(storage, database, content, changed, now)


def _get(call: Call) -> Reply:
    database, created = database_of(call)[0], database_of(call)[2]
    given = call.request.arguments().get("timestamp")
    if given is None:
        return Reply({"bookmark": bookmark(call.storage, database)})
    return Reply({"bookmark": _at(call.storage, database, created, given)})


def _restore(call: Call) -> Reply:
    database, created = database_of(call)[0], database_of(call)[2]
    wanted = {**object_of(call.request, 7400), **call.request.arguments()}
    id, moment = wanted.get("bookmark"), wanted.get("timestamp")
    if id is None and moment is None:
        refuse_property("bookmark => Required, or a timestamp")
    if id is None:
        id = _at(call.storage, database, created, str(moment))
    target = call.storage.db.execute(
        "SELECT content FROM d1_bookmarks WHERE database = ? AND id = ?", (database, str(id))
    ).fetchone()
    if target is None:
        raise Refusal(400, 7400, f"Invalid bookmark: database {database} has no bookmark {id}")
    previous = bookmark(call.storage, database)
    jail = call.storage.databases.open(database)
    jail.restore(target[0])
    new = _add(call.storage, database, jail.content(), jail.changed, clock.now())
    return Reply(
        {
            "bookmark": new,
            "previous_bookmark": previous,
            "message": f"Restored database {database} from bookmark {id}.",
        }
    )


def _at(storage: Storage, database: str, created: float, given: str) -> str:
    """
    Return a bookmark of what *database*, which was *created* at some moment, held at the *given* one.

    Raises:
        Refusal: That is not known: it was before its time, or nobody asked for a bookmark between two changes.
    """
    moment = _moment(given)
    if moment < created:
        _unknown(given, f"The database was made at {timestamp(created)}.")
    current = storage.databases.changed_at(database)
    if current <= moment:
        return bookmark(storage, database)
    found = _first(
        storage, database, "AND changed <= ? AND taken >= ? ORDER BY number DESC", moment, moment
    )
    if found is None:
        _unknown(
            given,
            "This fake account knows what a database held when its bookmark was asked for: "
            "ask for it before the change that you want to undo.",
        )
    return found.id


def _unknown(given: str, reason: str) -> NoReturn:
    raise Refusal(400, 7400, f"No bookmark of {given}: {reason}")


def _moment(given: str) -> float:
    """Return the moment that *given* tells as ISO 8601, or as seconds since the epoch."""
    try:
        if given.isdecimal():
            return float(given)
        found = datetime.fromisoformat(given)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        refuse_property("timestamp => Expected a moment as ISO 8601 tells it")


def _add(storage: Storage, database: str, content: bytes, changed: float, taken: float) -> str:
    db, digest = storage.db, _digest(content)
    (number,) = db.execute("SELECT coalesce(max(number), 0) + 1 FROM d1_bookmarks").fetchone()
    # As with the real ones, sorting them sorts them by age.
    id = f"{number:08x}-00000000-{int(taken):08x}-{digest}"
    db.execute(
        "INSERT INTO d1_bookmarks VALUES (?, ?, ?, ?, ?, ?, ?)",
        (number, database, id, digest, changed, taken, content),
    )
    db.execute(_FORGET, (database, database, MOST_KEPT, MOST_BYTES))
    return id


def _digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _first(storage: Storage, database: str, condition: str, *values: Any) -> _Bookmark | None:
    row = storage.db.execute(f"{_SELECT}{condition} LIMIT 1", (database, *values)).fetchone()
    return None if row is None else _Bookmark(*row)


_ONE = "@/d1/database/*/time_travel"
PRODUCT = Product(
    kind="d1bookmarks",
    tables=(TABLE,),
    routes=(
        # Asking for a bookmark takes it.
        Route("GET", f"{_ONE}/bookmark", _get),
        Route("POST", f"{_ONE}/restore", _restore),
    ),
)
