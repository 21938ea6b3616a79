"""Small things that the account keeps as they were asked for: rules, domains, jobs. One table holds all kinds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.storage import Storage

TABLE = """CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL,
    created REAL NOT NULL, modified REAL NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id)
)"""
INDEX = "CREATE INDEX IF NOT EXISTS documents_of_owner ON documents (owner, kind)"


class Document(NamedTuple):
    """
    One thing.

    Attributes:
        id: What tells it from all others of its kind.
        owner: What it goes with; empty if it stands alone.
        name: What it is looked for by; its kind says whether two may share one.
        created: Moment of its making, seconds since the epoch.
        modified: Moment of its last change.
        body: Whatever its kind keeps of it.
    """

    id: str
    owner: str
    name: str
    created: float
    modified: float
    body: dict[str, Any]


_SELECT = f"SELECT {', '.join(Document._fields)} FROM documents WHERE kind = ?"  # noqa: S608 (our words)


class Shelf:
    """
    All documents of one kind.

    Args:
        kind: The kind, different from every other shelf's.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def add(
        self,
        storage: Storage,
        body: Mapping[str, Any],
        *,
        name: str = "",
        owner: str = "",
        id: str | None = None,
    ) -> Document:
        """Add a document, by default with a random id of 32 hexadecimal digits."""
        now = clock.now()
        made = Document(id or clock.random_bytes(16).hex(), owner, name, now, now, dict(body))
        storage.db.execute(
            f"INSERT INTO documents (kind, {', '.join(Document._fields)}) VALUES (?{', ?' * 6})",  # noqa: S608
            (self.kind, *made[:-1], json.dumps(made.body)),
        )
        return made

    def get(self, storage: Storage, id: str) -> Document | None:
        """Return the document *id*, None if there is none."""
        return next(iter(self._select(storage, " AND id = ?", id)), None)

    def all(
        self, storage: Storage, *, owner: str | None = None, name: str | None = None
    ) -> list[Document]:
        """Return the documents of that *owner* and that *name*, oldest first."""
        wanted = {"owner": owner, "name": name}
        given = {column: value for column, value in wanted.items() if value is not None}
        return self._select(storage, "".join(f" AND {c} = ?" for c in given), *given.values())

    def change(
        self,
        storage: Storage,
        old: Document,
        body: Mapping[str, Any],
        *,
        name: str | None = None,
        owner: str | None = None,
    ) -> Document:
        """Replace the body of *old*, and its *name* and *owner* if they are given."""
        new = old._replace(
            name=old.name if name is None else name,
            owner=old.owner if owner is None else owner,
            modified=clock.now(),
            body=dict(body),
        )
        storage.db.execute(
            "UPDATE documents SET owner = ?, name = ?, modified = ?, body = ? WHERE kind = ? AND id = ?",
            (new.owner, new.name, new.modified, json.dumps(new.body), self.kind, old.id),
        )
        return new

    def remove(self, storage: Storage, id: str) -> None:
        """Remove the document *id*; gone already is fine."""
        storage.db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (self.kind, id))

    def _select(self, storage: Storage, condition: str, *values: str) -> list[Document]:
        rows = storage.db.execute(
            f"{_SELECT}{condition} ORDER BY number", (self.kind, *values)
        ).fetchall()
        return [Document._make((*row[:-1], json.loads(row[-1]))) for row in rows]


def remove_all_of(storage: Storage, owner: str) -> None:
    """Remove everything that goes with *owner*, of every kind."""
    storage.db.execute("DELETE FROM documents WHERE owner = ?", (owner,))


NOTIFICATIONS = Shelf("r2_notification")
"""What happens to a bucket's objects (owner: ``r2/<its public id>``) and is told to a queue (name: its id)."""

ROUTES = Shelf("route")
DOMAINS = Shelf("domain")
"""Where a worker (owner: ``worker/<its name>``) answers besides workers.dev."""

BUCKET_DOMAINS = Shelf("r2_domain")
"""Where a bucket (owner: ``r2/<its public id>``) is public."""
