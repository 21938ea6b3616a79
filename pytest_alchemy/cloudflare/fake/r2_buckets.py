"""R2: buckets and their settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake import documents
from pytest_alchemy.cloudflare.fake.routes import Call, Handler, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import (
    Refusal,
    Reply,
    cursor_after,
    cursor_of,
    object_of,
    page_size,
    timestamp,
)

TABLES = (
    # The same name may be taken once in each jurisdiction: they are name spaces of their own.
    """CREATE TABLE IF NOT EXISTS r2_buckets (
        number INTEGER PRIMARY KEY, jurisdiction TEXT NOT NULL, name TEXT NOT NULL, public_id TEXT NOT NULL,
        created REAL NOT NULL, location TEXT NOT NULL, storage_class TEXT NOT NULL, UNIQUE (jurisdiction, name)
    )""",
    """CREATE TABLE IF NOT EXISTS r2_settings (
        bucket INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (bucket, name)
    )""",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_JURISDICTIONS = ("default", "eu", "us", "fedramp", "fedramp-high")
_LOCATIONS = ("apac", "eeur", "enam", "weur", "wnam", "oc")
_DEFAULT_LOCATION = "weur"
STORAGE_CLASSES = ("Standard", "InfrequentAccess")
_MOST_ON_A_PAGE = 1000
_HOLDING = (
    (documents.BUCKET_DOMAINS, "custom domains"),
    (documents.NOTIFICATIONS, "event notifications to queues"),
)
_DEFAULT_RULES: Mapping[str, Any] = {
    "rules": [
        {
            "id": "Default Multipart Abort Rule",
            "enabled": True,
            "conditions": {"prefix": ""},
            "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 604800}},
        }
    ]
}


class Bucket(NamedTuple):
    """A bucket's row."""

    number: int
    jurisdiction: str
    name: str
    public_id: str
    created: float
    location: str
    storage_class: str

    @property
    def owner(self) -> str:
        """What documents that go with the bucket name as their owner."""
        return f"r2/{self.public_id}"


_COLUMNS = ", ".join(Bucket._fields)


def bucket_of(call: Call) -> Bucket:
    """
    Return the bucket that path and jurisdiction name.

    Raises:
        Refusal: There is no such bucket.
    """
    row = bucket_named(call, call.parts[0])
    if row is None:
        raise Refusal(404, 10006, "The specified bucket does not exist.")
    return row


def bucket_named(call: Call, name: str, jurisdiction: str | None = None) -> Bucket | None:
    """Return the bucket *name*, by default of the jurisdiction that the request asks for."""
    return _find(call.storage, jurisdiction or _jurisdiction(call), name)


def storage_class_of(wanted: Any) -> str:
    """
    Return the storage class that is *wanted*, the usual one for None.

    Raises:
        Refusal: There is no such class.
    """
    if wanted is None:
        return STORAGE_CLASSES[0]
    if wanted not in STORAGE_CLASSES:
        raise invalid(f"storage class {wanted!r} is none of {', '.join(STORAGE_CLASSES)}")
    return str(wanted)


def invalid(reason: str) -> Refusal:
    """Return the refusal of an argument."""
    return Refusal(400, 10022, f"Invalid argument: {reason}")


def _create(call: Call) -> Reply:
    body = object_of(call.request, 10022)
    name, location = body.get("name"), body.get("locationHint")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refusal(400, 10005, "The specified bucket name is not valid.")
    if location is not None and str(location).lower() not in _LOCATIONS:
        raise invalid(f"location hint {location!r} is none of {', '.join(_LOCATIONS)}")
    storage_class = storage_class_of(body.get("storageClass"))
    jurisdiction = _jurisdiction(call)
    if _find(call.storage, jurisdiction, name) is not None:
        raise Refusal(409, 10004, "The bucket you tried to create already exists, and you own it.")
    place = _DEFAULT_LOCATION if location is None else str(location).lower()
    call.storage.db.execute(
        "INSERT INTO r2_buckets (jurisdiction, name, public_id, created, location, storage_class) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (jurisdiction, name, clock.random_bytes(16).hex(), clock.now(), place, storage_class),
    )
    made = _find(call.storage, jurisdiction, name)
    assert made is not None
    return Reply(_shown(made))


def _list(call: Call) -> Reply:
    arguments = call.request.arguments()
    size = page_size(arguments, default=20, largest=_MOST_ON_A_PAGE, code=10022)
    after = cursor_after(arguments, code=10022) or arguments.get("start_after", "")
    order, beyond = ("DESC", "<") if arguments.get("direction") == "desc" else ("ASC", ">")
    if not after:
        beyond = "<>"
    rows = [
        Bucket(*row)
        for row in call.storage.db.execute(
            f"SELECT {_COLUMNS} FROM r2_buckets WHERE jurisdiction = ? AND instr(name, ?) "  # noqa: S608 (our words)
            f"AND name {beyond} ? ORDER BY name {order} LIMIT ?",
            (_jurisdiction(call), arguments.get("name_contains", ""), after, size + 1),
        )
    ]
    shown = rows[:size]
    cursor = cursor_of(shown[-1].name) if len(rows) > size else ""
    return Reply({"buckets": [_shown(row) for row in shown]}, {"cursor": cursor, "per_page": size})


def _get(call: Call) -> Reply:
    return Reply(_shown(bucket_of(call)))


def _edit(call: Call) -> Reply:
    row = bucket_of(call)
    wanted = call.request.headers.get("cf-r2-storage-class")
    if wanted is None:
        raise invalid("the header cf-r2-storage-class is required")
    changed = row._replace(storage_class=storage_class_of(wanted))
    call.storage.db.execute(
        "UPDATE r2_buckets SET storage_class = ? WHERE number = ?", (wanted, row.number)
    )
    return Reply(_shown(changed))


def _delete(call: Call) -> Reply:
    row = bucket_of(call)
    db = call.storage.db
    if db.execute("SELECT 1 FROM r2_objects WHERE bucket = ? LIMIT 1", (row.number,)).fetchone():
        account = call.storage.identity.account_id
        raise Refusal(
            409,
            10008,
            f"The bucket you tried to delete ({row.name}) is not empty (account {account}).",
        )
    for shelf, words in _HOLDING:
        if held := shelf.all(call.storage, owner=row.owner):
            # Clients remove both first; nobody has confirmed the code.
            raise Refusal(
                409,
                10008,
                f"The bucket you tried to delete ({row.name}) still has {words}: "
                f"{', '.join(document.name for document in held)}.",
            )
    remove(call.storage, row.number)
    return Reply({})


def remove(storage: Storage, number: int) -> None:
    """Remove the bucket *number* with all it holds."""
    for (public_id,) in storage.db.execute(
        "SELECT public_id FROM r2_buckets WHERE number = ?", (number,)
    ).fetchall():
        documents.remove_all_of(storage, f"r2/{public_id}")
    for table in ("r2_objects", "r2_settings"):
        storage.db.execute(f"DELETE FROM {table} WHERE bucket = ?", (number,))  # noqa: S608 (our words)
    storage.db.execute("DELETE FROM r2_buckets WHERE number = ?", (number,))


def _find(storage: Storage, jurisdiction: str, name: str) -> Bucket | None:
    row = storage.db.execute(
        f"SELECT {_COLUMNS} FROM r2_buckets WHERE jurisdiction = ? AND name = ?",  # noqa: S608 (our words)
        (jurisdiction, name),
    ).fetchone()
    return None if row is None else Bucket(*row)


def _jurisdiction(call: Call) -> str:
    wanted = call.request.headers.get("cf-r2-jurisdiction") or "default"
    if wanted not in _JURISDICTIONS:
        raise invalid(f"jurisdiction {wanted!r} is none of {', '.join(_JURISDICTIONS)}")
    return wanted


def _shown(row: Bucket) -> dict[str, Any]:
    return {
        "name": row.name,
        "creation_date": timestamp(row.created),
        "location": row.location,
        "storage_class": row.storage_class,
        "jurisdiction": row.jurisdiction,
    }


# --- settings


def _put_rules(name: str) -> Handler:
    def put(call: Call) -> Reply:
        row, body = bucket_of(call), object_of(call.request, 10022)
        if not isinstance(body.get("rules", []), list):
            raise invalid("rules has to be a list")
        keep(call.storage, row, name, {"rules": body.get("rules", [])})
        return Reply({})

    return put


def _get_rules(name: str, default: Mapping[str, Any]) -> Handler:
    return lambda call: Reply(kept(call.storage, bucket_of(call), name) or default)


def _get_cors(call: Call) -> Reply:
    rules = kept(call.storage, bucket_of(call), "cors")
    if rules is None:
        raise Refusal(404, 10059, "The CORS configuration does not exist.")
    return Reply(rules)


def _delete_cors(call: Call) -> Reply:
    row = bucket_of(call)
    call.storage.db.execute(
        "DELETE FROM r2_settings WHERE bucket = ? AND name = 'cors'", (row.number,)
    )
    return Reply({})


def _put_managed(call: Call) -> Reply:
    row = bucket_of(call)
    enabled = object_of(call.request, 10022).get("enabled")
    if not isinstance(enabled, bool):
        raise invalid("enabled has to be true or false")
    keep(call.storage, row, "managed", {"enabled": enabled})
    return _get_managed(call)


def _get_managed(call: Call) -> Reply:
    row = bucket_of(call)
    domain = {"bucketId": row.public_id, "domain": f"pub-{row.public_id}.r2.dev"}
    return Reply({**domain, **(kept(call.storage, row, "managed") or {"enabled": False})})


def keep(storage: Storage, row: Bucket, name: str, value: Mapping[str, Any]) -> None:
    """Set *name* of the bucket *row* to *value*."""
    storage.db.execute(
        "INSERT OR REPLACE INTO r2_settings (bucket, name, value) VALUES (?, ?, ?)",
        (row.number, name, json.dumps(value)),
    )


def kept(storage: Storage, row: Bucket, name: str) -> Any:
    """Return what *name* of the bucket *row* is set to, None if it is not."""
    found = storage.db.execute(
        "SELECT value FROM r2_settings WHERE bucket = ? AND name = ?", (row.number, name)
    ).fetchone()
    return None if found is None else json.loads(found[0])


ALL = "@/r2/buckets"
ONE = f"{ALL}/*"
ROUTES = (
    Route("POST", ALL, _create),
    Route("GET", ALL, _list, writes=False),
    Route("GET", ONE, _get, writes=False),
    Route("PATCH", ONE, _edit),
    Route("DELETE", ONE, _delete),
    Route("PUT", f"{ONE}/cors", _put_rules("cors")),
    Route("GET", f"{ONE}/cors", _get_cors, writes=False),
    Route("DELETE", f"{ONE}/cors", _delete_cors),
    Route("PUT", f"{ONE}/lifecycle", _put_rules("lifecycle")),
    Route("GET", f"{ONE}/lifecycle", _get_rules("lifecycle", _DEFAULT_RULES), writes=False),
    Route("PUT", f"{ONE}/lock", _put_rules("lock")),
    Route("GET", f"{ONE}/lock", _get_rules("lock", {"rules": []}), writes=False),
    Route("PUT", f"{ONE}/domains/managed", _put_managed),
    Route("GET", f"{ONE}/domains/managed", _get_managed, writes=False),
)
