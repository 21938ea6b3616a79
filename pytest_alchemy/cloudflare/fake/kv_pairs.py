"""Workers KV: the pairs in a namespace, one by one and many at once."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.kv_namespaces import ONE, namespace_of
from pytest_alchemy.cloudflare.fake.multipart import MalformedBody, is_form, parts_of
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import (
    LIMIT_HEADERS,
    Refusal,
    Reply,
    Response,
    cursor_after,
    cursor_of,
    object_of,
    page_size,
)

TABLE = """CREATE TABLE IF NOT EXISTS kv_pairs (
    namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expiration INTEGER, metadata TEXT,
    PRIMARY KEY (namespace, key)
)"""
_SELECT_PAIR = """
    SELECT key, value, expiration, metadata FROM kv_pairs
    WHERE namespace = ? AND key = ? AND (expiration IS NULL OR expiration > ?)"""
# SQLite compares text by its UTF-8 bytes, which is the order the API promises.
_SELECT_KEYS = """
    SELECT key, expiration, metadata FROM kv_pairs
    WHERE namespace = ? AND key > ? AND key >= ? AND substr(key, 1, ?) = ? AND (expiration IS NULL OR expiration > ?)
    ORDER BY key LIMIT ?"""

# Documented limits; where the documentation names no error code, the status alone is certain.
_LONGEST_KEY = 512
_LARGEST_VALUE = 25 * 1024 * 1024
_LARGEST_METADATA = 1024
_SHORTEST_TTL = 60
_MOST_BULK = 10_000
_MOST_BULK_GET = 100
_MOST_KEYS = 1000
_LATEST = 1 << 53


class _Pair(NamedTuple):
    key: str
    value: bytes
    expiration: int | None
    metadata: str | None


# --- single values


def _put_value(call: Call) -> Reply:
    id, _ = namespace_of(call)
    key = _checked_key(call.parts[1])
    value, metadata = _sent(call)
    arguments = call.request.arguments()
    pair = _pair(key, value, arguments.get("expiration"), arguments.get("expiration_ttl"), metadata)
    _store(call.storage, id, [pair])
    return Reply({})


def _get_value(call: Call) -> Response:
    id, _ = namespace_of(call)
    row = _find(call.storage, id, call.parts[1])
    if row is None:
        raise Refusal(404, 10009, "get: 'key not found'")
    headers = {"content-type": "application/octet-stream", **LIMIT_HEADERS}
    if row.expiration is not None:
        headers["expiration"] = str(row.expiration)
    return Response(200, headers, row.value)


def _delete_value(call: Call) -> Reply:
    id, _ = namespace_of(call)
    call.storage.db.execute(
        "DELETE FROM kv_pairs WHERE namespace = ? AND key = ?", (id, call.parts[1])
    )
    return Reply({})


def _get_metadata(call: Call) -> Reply:
    id, _ = namespace_of(call)
    row = _find(call.storage, id, call.parts[1])
    if row is None:
        raise Refusal(404, 10009, "get: 'key not found'")
    return Reply(_loaded(row.metadata))


def _keys(call: Call) -> Reply:
    id, _ = namespace_of(call)
    arguments = call.request.arguments()
    prefix = arguments.get("prefix", "")
    limit = page_size(arguments, default=_MOST_KEYS, largest=_MOST_KEYS, code=10001, name="limit")
    after = cursor_after(arguments, code=10001)
    rows = call.storage.db.execute(
        _SELECT_KEYS,
        (id, after, prefix, len(prefix), prefix, int(clock.now()), limit + 1),
    ).fetchall()
    shown = rows[:limit]
    cursor = cursor_of(shown[-1][0]) if len(rows) > limit else ""
    return Reply([_shown_key(row) for row in shown], {"count": len(shown), "cursor": cursor})


def _shown_key(row: tuple[str, int | None, str | None]) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": row[0]}
    if row[1] is not None:
        shown["expiration"] = row[1]
    if row[2] is not None:
        shown["metadata"] = json.loads(row[2])
    return shown


def _sent(call: Call) -> tuple[bytes, str | None]:
    """Return value and metadata of a put: a raw body is the value itself, whatever its content type."""
    content_type = call.request.headers.get("content-type", "")
    if not is_form(content_type):
        return call.request.body, None
    try:
        parts = {part.name: part.body for part in parts_of(content_type, call.request.body)}
    except MalformedBody as error:
        raise Refusal(400, 10012, f"put: 'could not parse the form: {error}'") from None
    if "value" not in parts:
        raise Refusal(400, 10012, "put: 'the form has no part named value'")
    metadata = parts.get("metadata")
    if not metadata:
        return parts["value"], None
    try:
        return parts["value"], _compact(json.loads(metadata))
    except ValueError:
        raise Refusal(400, 10012, "put: 'metadata is not valid JSON'") from None


# --- many values at once


def _put_bulk(call: Call) -> Reply:
    id, _ = namespace_of(call)
    pairs = [_bulk_pair(item) for item in _listed(call, call.request.json(), _MOST_BULK)]
    _store(call.storage, id, pairs)
    return _bulk_reply(len(pairs))


def _delete_bulk(call: Call) -> Reply:
    id, _ = namespace_of(call)
    keys = [_bulk_key(key) for key in _listed(call, call.request.json(), _MOST_BULK)]
    call.storage.db.executemany(
        "DELETE FROM kv_pairs WHERE namespace = ? AND key = ?", [(id, key) for key in keys]
    )
    return _bulk_reply(len(keys))


def _get_bulk(call: Call) -> Reply:
    id, _ = namespace_of(call)
    body = object_of(call.request, 10012)
    keys = [_bulk_key(key) for key in _listed(call, body.get("keys"), _MOST_BULK_GET)]
    as_json, with_metadata = body.get("type") == "json", bool(body.get("withMetadata"))
    return Reply(
        {"values": {key: _bulk_value(call, id, key, as_json, with_metadata) for key in keys}}
    )


def _bulk_value(call: Call, id: str, key: str, as_json: bool, with_metadata: bool) -> Any:
    row = _find(call.storage, id, key)
    if row is None:
        return None
    try:
        value: Any = row.value.decode()
        value = json.loads(value) if as_json else value
    except ValueError:
        raise Refusal(
            400, 10012, f"get: 'the value of {key} is not of the type asked for'"
        ) from None
    if not with_metadata:
        return value
    shown = {"value": value, "metadata": _loaded(row.metadata)}
    return shown if row.expiration is None else {**shown, "expiration": row.expiration}


def _listed(call: Call, body: Any, most: int) -> list[Any]:
    if not isinstance(body, list):
        raise Refusal(400, 10012, "could not parse the body: an array is expected")
    if not body:
        raise Refusal(400, 10029, "you must specify at least one key")
    if len(body) > most:
        raise Refusal(400, 10012, f"at most {most} keys can be given at once, not {len(body)}")
    return body


def _bulk_pair(item: Any) -> _Pair:
    if not isinstance(item, dict) or not isinstance(item.get("value"), str):
        raise Refusal(
            400, 10012, "could not parse the body: each item needs a key and a text value"
        )
    value = item["value"].encode()
    if item.get("base64"):
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error:
            raise Refusal(400, 10012, "could not parse the body: a value is not base64") from None
    metadata = None if item.get("metadata") is None else _compact(item["metadata"])
    return _pair(
        _bulk_key(item.get("key")),
        value,
        item.get("expiration"),
        item.get("expiration_ttl"),
        metadata,
    )


def _bulk_key(key: Any) -> str:
    if not isinstance(key, str):
        raise Refusal(400, 10012, "could not parse the body: a key has to be text")
    return _checked_key(key)


def _bulk_reply(count: int) -> Reply:
    return Reply({"successful_key_count": count, "unsuccessful_keys": []})


# --- pairs


def _pair(key: str, value: bytes, expiration: Any, ttl: Any, metadata: str | None) -> _Pair:
    if len(value) > _LARGEST_VALUE:
        raise Refusal(
            413, 10030, f"Value length of {len(value)} exceeds limit of {_LARGEST_VALUE}."
        )
    if metadata is not None and len(metadata.encode()) > _LARGEST_METADATA:
        raise Refusal(413, 10030, f"Metadata length exceeds limit of {_LARGEST_METADATA}.")
    now = int(clock.now())
    # The time to live wins where both are given.
    if ttl not in (None, ""):
        seconds = _whole(ttl)
        if seconds is None or seconds < _SHORTEST_TTL:
            raise Refusal(
                400,
                10034,
                f"Invalid expiration_ttl of {ttl}. Expiration TTL must be at least {_SHORTEST_TTL}.",
            )
        return _Pair(key, value, now + seconds, metadata)
    if expiration not in (None, ""):
        moment = _whole(expiration)
        if moment is None or moment < now + _SHORTEST_TTL:
            raise Refusal(
                400,
                10034,
                f"Invalid expiration of {expiration}. It must be at least {_SHORTEST_TTL} seconds from now.",
            )
        return _Pair(key, value, moment, metadata)
    return _Pair(key, value, None, metadata)


def _whole(number: Any) -> int | None:
    try:
        whole = int(float(number))
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if abs(whole) < _LATEST else None


def _checked_key(key: str) -> str:
    if key in ("", ".", ".."):
        raise Refusal(400, 10012, "a key may not be empty, '.' or '..'")
    if len(key.encode()) > _LONGEST_KEY:
        raise Refusal(
            414,
            10030,
            f"UTF-8 encoded length of {len(key.encode())} exceeds key length limit of {_LONGEST_KEY}.",
        )
    return key


def _find(storage: Storage, id: str, key: str) -> _Pair | None:
    row = storage.db.execute(
        _SELECT_PAIR,
        (id, key, int(clock.now())),
    ).fetchone()
    return None if row is None else _Pair(*row)


def _store(storage: Storage, id: str, pairs: Iterable[_Pair]) -> None:
    storage.db.executemany(
        "INSERT OR REPLACE INTO kv_pairs (namespace, key, value, expiration, metadata) VALUES (?, ?, ?, ?, ?)",
        [(id, *pair) for pair in pairs],
    )


def _compact(metadata: Any) -> str:
    return json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)


def _loaded(metadata: str | None) -> Any:
    return None if metadata is None else json.loads(metadata)


ROUTES = (
    Route("GET", f"{ONE}/keys", _keys, writes=False),
    Route("PUT", f"{ONE}/values/*", _put_value),
    Route("GET", f"{ONE}/values/*", _get_value, writes=False),
    Route("DELETE", f"{ONE}/values/*", _delete_value),
    Route("GET", f"{ONE}/metadata/*", _get_metadata, writes=False),
    Route("PUT", f"{ONE}/bulk", _put_bulk),
    Route("DELETE", f"{ONE}/bulk", _delete_bulk),
    Route("POST", f"{ONE}/bulk/delete", _delete_bulk),
    Route("POST", f"{ONE}/bulk/get", _get_bulk, writes=False),
)
