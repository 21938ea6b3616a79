"""D1: databases and the SQL in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.jail import Outcome, SqlError, Statement
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.sqltext import split_statements
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Page, Refusal, Reply, object_of, timestamp

_TABLES = (
    """CREATE TABLE IF NOT EXISTS d1_databases (
        number INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, created REAL NOT NULL,
        region TEXT NOT NULL, jurisdiction TEXT, replication TEXT NOT NULL
    )""",
)
_SELECT = "SELECT uuid, name, created, region, jurisdiction, replication FROM d1_databases "
_INSERT = """
    INSERT INTO d1_databases (uuid, name, created, region, jurisdiction, replication) VALUES (?, ?, ?, ?, ?, ?)"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_REGIONS = ("wnam", "enam", "weur", "eeur", "apac", "oc")
_JURISDICTIONS = ("eu", "fedramp")
_REPLICATION_MODES = ("auto", "disabled")
_DEFAULT_REGION = "weur"

_Row = tuple[str, str, float, str, str | None, str]
_Show = Callable[[Outcome], Any]


# --- databases


def _create(call: Call) -> Reply:
    body = object_of(call.request, 7400)
    name = body.get("name")
    if name is None:
        refuse_property("name => Required")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        refuse_property(
            "name => Expected 1 to 64 letters, digits, '-' or '_', starting with a letter or a digit"
        )
    region = _one_of(body, "primary_location_hint", _REGIONS) or _DEFAULT_REGION
    jurisdiction = _one_of(body, "jurisdiction", _JURISDICTIONS)
    mode = _replication_mode(body) or "disabled"
    db = call.storage.db
    if db.execute("SELECT 1 FROM d1_databases WHERE name = ?", (name,)).fetchone():
        raise Refusal(400, 7502, "A database with that name already exists")
    row: _Row = (clock.uuid4(), name, clock.now(), region.upper(), jurisdiction, mode)
    db.execute(_INSERT, row)
    call.storage.databases.make(row[0])
    return Reply({**_summary(row), "num_tables": 0, "file_size": 0, **_details(row)})


def _list(call: Call) -> Reply:
    arguments = call.request.arguments()
    page = Page.of(arguments, default=1000, largest=10_000, code=7400)
    db, name = call.storage.db, arguments.get("name", "")
    (total,) = db.execute(
        "SELECT count(*) FROM d1_databases WHERE instr(name, ?)", (name,)
    ).fetchone()
    rows = db.execute(
        _SELECT + "WHERE instr(name, ?) ORDER BY number LIMIT ? OFFSET ?",
        (name, page.size, page.offset),
    ).fetchall()
    return Reply([_summary(row) for row in rows], page.info(len(rows), total))


def _get(call: Call) -> Reply:
    row = database_of(call)
    fields = call.request.arguments().get("fields")
    wanted = set(fields.split(",")) if fields else None
    shown: dict[str, Any] = _summary(row)
    if wanted is None or wanted & {"num_tables", "file_size"}:
        jail = call.storage.databases.open(row[0])
        shown |= {"num_tables": jail.table_count(), "file_size": jail.size()}
    shown |= _details(row)
    return Reply(
        shown if wanted is None else {name: shown[name] for name in shown if name in wanted}
    )


def _edit(call: Call) -> Reply:
    row = database_of(call)
    mode = _replication_mode(object_of(call.request, 7400))
    if mode is None:
        if call.request.method == "PUT":
            refuse_property("read_replication => Required")
        return Reply({**_summary(row), **_details(row)})
    call.storage.db.execute(
        "UPDATE d1_databases SET replication = ? WHERE uuid = ?", (mode, row[0])
    )
    return Reply({**_summary(row), **_details((*row[:5], mode))})


def _delete(call: Call) -> Reply:
    _discard(call.storage, database_of(call)[0])
    return Reply(None)


def database_of(call: Call) -> _Row:
    """
    Return the row of the database that the path names by id or by name.

    Raises:
        Refusal: There is no such database.
    """
    wanted = call.parts[0]
    row: _Row | None = call.storage.db.execute(
        _SELECT + "WHERE uuid = ? OR name = ? ORDER BY uuid = ? DESC",
        (wanted, wanted, wanted),
    ).fetchone()
    if row is None:
        call.storage.databases.forget(wanted)
        raise Refusal(404, 7404, f"The database {wanted} could not be found")
    return row


def _summary(row: _Row) -> dict[str, Any]:
    return {
        "uuid": row[0],
        "name": row[1],
        "created_at": timestamp(row[2]),
        "version": "production",
        "jurisdiction": row[4],
    }


def _details(row: _Row) -> dict[str, Any]:
    return {"running_in_region": row[3], "read_replication": {"mode": row[5]}}


def _one_of(body: dict[str, Any], name: str, known: tuple[str, ...]) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if value not in known:
        refuse_property(f"{name} => Expected one of {', '.join(known)}")
    return str(value)


def _replication_mode(body: dict[str, Any]) -> str | None:
    replication = body.get("read_replication")
    if replication is None:
        return None
    if not isinstance(replication, dict) or "mode" not in replication:
        refuse_property("read_replication => Expected an object with a mode")
    return _one_of(replication, "mode", _REPLICATION_MODES)


def refuse_property(reason: str) -> NoReturn:
    """
    Refuse a body in which something is missing or wrong.

    Raises:
        Refusal: Always.
    """
    raise Refusal(400, 7400, f"Invalid property: {reason}")


# --- SQL


def _query(call: Call) -> Reply:
    return _run(call, _as_objects)


def _raw(call: Call) -> Reply:
    return _run(call, lambda outcome: {"columns": outcome.columns, "rows": outcome.rows})


def _run(call: Call, show: _Show) -> Reply:
    row = database_of(call)
    statements = _statements(object_of(call.request, 7400))
    jail = call.storage.databases.open(row[0])
    try:
        outcomes = jail.run(statements)
    except SqlError as error:
        raise Refusal(500 if error.ours else 400, 7500, error.text) from error
    size = jail.size()
    return Reply(
        [
            {"success": True, "results": show(one), "meta": show_meta(one, row[3], size)}
            for one in outcomes
        ]
    )


def _as_objects(outcome: Outcome) -> list[dict[str, Any]]:
    return [dict(zip(outcome.columns, row, strict=True)) for row in outcome.rows]


def show_meta(outcome: Outcome, region: str, size: int) -> dict[str, Any]:
    """Return what the API tells of *outcome*, in a database of *size* bytes."""
    milliseconds = round(outcome.seconds * 1000, 4)
    return {
        "served_by": "v3-prod",
        "served_by_region": region,
        "served_by_colo": "FAKE",
        "served_by_primary": True,
        "timings": {"sql_duration_ms": milliseconds},
        "duration": milliseconds,
        "changes": outcome.changes,
        "last_row_id": outcome.last_row_id,
        "changed_db": outcome.changed,
        "size_after": size,
        "rows_read": len(outcome.rows),
        "rows_written": outcome.changes,
        "total_attempts": 1,
    }


def _statements(body: dict[str, Any]) -> list[Statement]:
    batch = body.get("batch")
    if batch is None:
        return _statements_of(body)
    if not isinstance(batch, list) or not batch:
        refuse_property("batch => Expected a list of at least one query")
    found: list[Statement] = []
    for query in batch:
        if not isinstance(query, dict):
            refuse_property("batch => Expected objects with sql and params")
        found += _statements_of(query)
    return found


def _statements_of(query: dict[str, Any]) -> list[Statement]:
    sql = query.get("sql")
    if sql is None:
        refuse_property("sql => Required")
    if not isinstance(sql, str):
        refuse_property("sql => Expected a string")
    pieces = split_statements(sql)
    if not pieces:
        raise Refusal(400, 7500, "No SQL statements detected.: SQLITE_ERROR")
    params = query.get("params")
    if not params:
        return [Statement(piece) for piece in pieces]
    if not isinstance(params, list):
        refuse_property("params => Expected a list")
    if len(pieces) > 1:
        raise Refusal(400, 7500, "A query with params has to be a single statement")
    return [Statement(pieces[0], [_bound(value) for value in params])]


def _bound(value: Any) -> Any:
    """Return what *value* is for the database: a list of byte values is a blob."""
    if isinstance(value, list):
        try:
            return bytes(value)
        except (TypeError, ValueError):
            refuse_property("params => A list has to hold byte values, 0 to 255")
    if isinstance(value, dict):
        refuse_property("params => An object cannot be bound")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return float(value)
    return value


# --- the product


def database_ids(storage: Storage) -> Iterable[str]:
    """Return the ids of all databases."""
    return [row[0] for row in storage.db.execute("SELECT uuid FROM d1_databases")]


def _inventory(storage: Storage) -> Iterable[InventoryItem]:
    for row in storage.db.execute("SELECT uuid, name, created FROM d1_databases ORDER BY number"):
        yield InventoryItem("d1", *row)


def _discard(storage: Storage, id: str) -> None:
    for table in ("d1_files", "d1_bookmarks"):
        storage.db.execute(f"DELETE FROM {table} WHERE database = ?", (id,))  # noqa: S608 (our words)
    storage.db.execute("DELETE FROM d1_databases WHERE uuid = ?", (id,))
    # Not before the commit: an undone delete would leave a database without its file.
    storage.after_commit(lambda: storage.databases.remove(id))


_ALL = "@/d1/database"
_ONE = f"{_ALL}/*"
PRODUCT = Product(
    kind="d1",
    tables=_TABLES,
    routes=(
        Route("POST", _ALL, _create),
        Route("GET", _ALL, _list, writes=False),
        Route("GET", _ONE, _get, writes=False),
        Route("PATCH", _ONE, _edit),
        Route("PUT", _ONE, _edit),
        Route("DELETE", _ONE, _delete),
        # They change a database of its own, in a transaction of its own, not the account.
        Route("POST", f"{_ONE}/query", _query, writes=False),
        Route("POST", f"{_ONE}/raw", _raw, writes=False),
    ),
    inventory=_inventory,
    discard=_discard,
)
