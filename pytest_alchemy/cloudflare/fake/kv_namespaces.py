"""Workers KV: namespaces."""

from __future__ import annotations

from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Page, Refusal, Reply, object_of
from pytest_alchemy.cloudflare.fake.worker_bindings import bound_workers

TABLE = """CREATE TABLE IF NOT EXISTS kv_namespaces (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL UNIQUE, created REAL NOT NULL
)"""
_ORDERS = {"": "number", "id": "id", "title": "title"}

# Documented limits; where the documentation names no error code, the status alone is certain.
_LONGEST_TITLE = 512


def _create(call: Call) -> Reply:
    title = _title(call)
    id = clock.random_bytes(16).hex()
    _refuse_taken(call, title)
    call.storage.db.execute(
        "INSERT INTO kv_namespaces (id, title, created) VALUES (?, ?, ?)", (id, title, clock.now())
    )
    return Reply(_shown((id, title)))


def _list(call: Call) -> Reply:
    arguments = call.request.arguments()
    page = Page.of(arguments, default=20, largest=1000, code=10001)
    order = _ORDERS.get(arguments.get("order", ""), "number")
    direction = "DESC" if arguments.get("direction") == "desc" else "ASC"
    db = call.storage.db
    (total,) = db.execute("SELECT count(*) FROM kv_namespaces").fetchone()
    rows = db.execute(
        f"SELECT id, title FROM kv_namespaces ORDER BY {order} {direction} LIMIT ? OFFSET ?",  # noqa: S608 (our words)
        (page.size, page.offset),
    ).fetchall()
    return Reply([_shown(row) for row in rows], page.info(len(rows), total))


def _get(call: Call) -> Reply:
    return Reply(_shown(namespace_of(call)))


def _rename(call: Call) -> Reply:
    id, _ = namespace_of(call)
    title = _title(call)
    _refuse_taken(call, title, but=id)
    call.storage.db.execute("UPDATE kv_namespaces SET title = ? WHERE id = ?", (title, id))
    return Reply(_shown((id, title)))


def _delete(call: Call) -> Reply:
    id, _ = namespace_of(call)
    if scripts := bound_workers(call.storage, "kv_namespace", id):
        raise Refusal(
            400, 10052, f"remove: 'namespace has associated scripts: {', '.join(scripts)}'"
        )
    remove(call.storage, id)
    return Reply(None)


def namespace_of(call: Call) -> tuple[str, str]:
    """
    Return id and title of the namespace that the path names.

    Raises:
        Refusal: There is no such namespace.
    """
    row = call.storage.db.execute(
        "SELECT id, title FROM kv_namespaces WHERE id = ?", (call.parts[0],)
    ).fetchone()
    if row is None:
        raise Refusal(404, 10013, f"{_verb(call)}: 'namespace not found'")
    return row[0], row[1]


def _title(call: Call) -> str:
    title = object_of(call.request, 10012).get("title")
    if not isinstance(title, str) or not title:
        raise Refusal(400, 10019, f"{_verb(call)}: 'a namespace title is required'")
    if len(title) > _LONGEST_TITLE:
        raise Refusal(
            400, 10019, f"{_verb(call)}: 'a title has at most {_LONGEST_TITLE} characters'"
        )
    return title


def _refuse_taken(call: Call, title: str, but: str = "") -> None:
    taken = call.storage.db.execute(
        "SELECT 1 FROM kv_namespaces WHERE title = ? AND id != ?", (title, but)
    ).fetchone()
    if taken:
        raise Refusal(
            400,
            10014,
            f"{_verb(call)}: 'a namespace with this account ID and title already exists'",
        )


def _verb(call: Call) -> str:
    return {"GET": "get", "POST": "create", "PUT": "put", "DELETE": "remove"}.get(
        call.request.method, "call"
    )


def _shown(row: tuple[str, str]) -> dict[str, Any]:
    return {"id": row[0], "title": row[1], "supports_url_encoding": True}


def remove(storage: Storage, id: str) -> None:
    """Remove a namespace with all that is in it."""
    storage.db.execute("DELETE FROM kv_pairs WHERE namespace = ?", (id,))
    storage.db.execute("DELETE FROM kv_namespaces WHERE id = ?", (id,))


_ALL = "@/storage/kv/namespaces"
ONE = f"{_ALL}/*"
ROUTES = (
    Route("POST", _ALL, _create),
    Route("GET", _ALL, _list, writes=False),
    Route("GET", ONE, _get, writes=False),
    Route("PUT", ONE, _rename),
    Route("DELETE", ONE, _delete),
)
