"""D1: SQL files into a database, and a database out into one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.d1 import database_of, refuse_property, show_meta
from pytest_alchemy.cloudflare.fake.d1_bookmarks import bookmark
from pytest_alchemy.cloudflare.fake.jail import Jail, Outcome, SqlError, Statement
from pytest_alchemy.cloudflare.fake.product import Product
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.sqltext import split_statements
from pytest_alchemy.cloudflare.fake.wire import (
    BASE_PATH,
    LIMIT_HEADERS,
    SIGNED_PATH,
    Refusal,
    Reply,
    Request,
    Response,
    object_of,
)

# A file belongs to its database; its id is what makes its address a secret, as a signature does for the real API.
TABLE = """CREATE TABLE IF NOT EXISTS d1_files (
    id TEXT PRIMARY KEY, database TEXT NOT NULL, etag TEXT NOT NULL, body BLOB
)"""
_SQL = {"content-type": "application/sql", **LIMIT_HEADERS}
_TABLES = """
    SELECT name, sql FROM sqlite_master
    WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY rowid"""
_OTHERS = "SELECT sql FROM sqlite_master WHERE type != 'table' AND sql IS NOT NULL ORDER BY rowid"


# --- into a database


def _import(call: Call) -> Reply:
    database = database_of(call)[0]
    body = object_of(call.request, 7400)
    action = body.get("action")
    if action == "init":
        return Reply(_init(call, database, _text(body, "etag")))
    if action == "ingest":
        return Reply(_ingest(call, database, _text(body, "filename")))
    if action != "poll":
        refuse_property("action => Expected one of init, ingest, poll")
    # What was ingested was complete at once.
    return Reply(_finished("import", _text(body, "current_bookmark"), {}))


def _init(call: Call, database: str, etag: str) -> dict[str, Any]:
    uploaded = call.storage.db.execute(
        "SELECT id FROM d1_files WHERE database = ? AND etag = ? AND body IS NOT NULL",
        (database, etag),
    ).fetchone()
    if uploaded is not None:
        return {"success": True, "type": "import", "filename": uploaded[0]}
    id = clock.random_bytes(16).hex()
    call.storage.db.execute("INSERT INTO d1_files VALUES (?, ?, ?, NULL)", (id, database, etag))
    address = _address(call.request, id)
    return {"success": True, "type": "import", "filename": id, "upload_url": address}


def _upload(call: Call) -> Response:
    body = call.request.body
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    changed = call.storage.db.execute(
        "UPDATE d1_files SET body = ?, etag = ? WHERE id = ? AND body IS NULL",
        (body, etag, call.parts[0]),
    ).rowcount
    if not changed:
        raise Refusal(404, 7404, "There is no such upload")
    return Response(200, {"etag": f'"{etag}"', **LIMIT_HEADERS}, b"")


def _ingest(call: Call, database: str, id: str) -> dict[str, Any]:
    row = call.storage.db.execute(
        "SELECT body FROM d1_files WHERE id = ? AND database = ? AND body IS NOT NULL",
        (id, database),
    ).fetchone()
    if row is None:
        refuse_property("filename => Nothing was uploaded under that name")
    jail = call.storage.databases.open(database)
    try:
        outcomes = jail.run(
            [Statement(sql) for sql in split_statements(row[0].decode("utf-8", "replace"))]
        )
    except SqlError as error:
        return {"success": False, "type": "import", "status": "error", "errors": [error.text]}
    last = outcomes[-1] if outcomes else Outcome((), (), 0, 0, False, 0.0)
    after = bookmark(call.storage, database)
    return _finished(
        "import",
        after,
        {
            "num_queries": len(outcomes),
            "final_bookmark": after,
            "meta": show_meta(last, database_of(call)[3], jail.size()),
        },
    )


# --- out of one


def _export(call: Call) -> Reply:
    database = database_of(call)[0]
    body = object_of(call.request, 7400)
    if body.get("output_format") != "polling":
        refuse_property("output_format => Expected polling")
    options = body.get("dump_options") or {}
    if not isinstance(options, dict):
        refuse_property("dump_options => Expected an object")
    try:
        lines = list(_dumped(call.storage.databases.open(database), options))
    except SqlError as error:
        raise Refusal(500 if error.ours else 400, 7500, error.text) from error
    id, text = clock.random_bytes(16).hex(), "".join(f"{line}\n" for line in lines).encode()
    call.storage.db.execute("INSERT INTO d1_files VALUES (?, ?, '', ?)", (id, database, text))
    found = {"filename": f"{database}-{id}.sql", "signed_url": _address(call.request, id)}
    return Reply(_finished("export", id, found))


def _download(call: Call) -> Response:
    row = call.storage.db.execute(
        "SELECT body FROM d1_files WHERE id = ? AND body IS NOT NULL", (call.parts[0],)
    ).fetchone()
    if row is None:
        raise Refusal(404, 7404, "There is no such file")
    return Response(200, _SQL, row[0])


def _dumped(jail: Jail, options: dict[str, Any]) -> Iterator[str]:
    wanted = options.get("tables") or []
    if not isinstance(wanted, list):
        refuse_property("dump_options.tables => Expected a list")
    yield "PRAGMA defer_foreign_keys=TRUE;"
    for name, sql in _rows(jail, _TABLES):
        if wanted and name not in wanted:
            continue
        if not options.get("no_schema"):
            yield f"{sql};"
        if not options.get("no_data"):
            yield from _inserts(jail, name)
    if not options.get("no_schema") and not wanted:
        for (sql,) in _rows(jail, _OTHERS):
            yield f"{sql};"


def _inserts(jail: Jail, table: str) -> Iterator[str]:
    columns = [row[1] for row in _rows(jail, f"PRAGMA table_info({_quoted(table)})")]
    values = " || ',' || ".join(f"quote({_quoted(column)})" for column in columns)
    head = f"INSERT INTO {_quoted(table)} ({','.join(map(_quoted, columns))}) VALUES("
    for (text,) in _rows(jail, f"SELECT {values} FROM {_quoted(table)}"):  # noqa: S608 (quoted)
        yield f"{head}{text});"


def _rows(jail: Jail, sql: str) -> Any:
    return jail.run([Statement(sql)])[0].rows


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- both ways


def _finished(kind: str, bookmark: str, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "success": True,
        "type": kind,
        "status": "complete",
        "at_bookmark": bookmark,
        "messages": [],
        "result": result,
    }


def _address(request: Request, id: str) -> str:
    """Return where the file *id* is put and got, at the door that the request came through."""
    host = request.headers.get("host", "api.cloudflare.com")
    scheme = "https" if host == "api.cloudflare.com" else "http"
    return f"{scheme}://{host}{BASE_PATH}{SIGNED_PATH}{id}"


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        refuse_property(f"{name} => Required")
    return value


_ONE = "@/d1/database/*"
_FILE = f"{SIGNED_PATH[1:]}*"
PRODUCT = Product(
    kind="d1files",
    tables=(TABLE,),
    routes=(
        Route("POST", f"{_ONE}/import", _import),
        Route("POST", f"{_ONE}/export", _export),
        Route("PUT", _FILE, _upload),
        Route("GET", _FILE, _download, writes=False),
    ),
)
