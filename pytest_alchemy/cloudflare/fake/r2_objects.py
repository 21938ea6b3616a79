"""R2: the objects in buckets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, NamedTuple

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.r2_buckets import ONE, bucket_of, storage_class_of
from pytest_alchemy.cloudflare.fake.r2_notifications import tell
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.wire import (
    LIMIT_HEADERS,
    Refusal,
    Reply,
    Response,
    cursor_after,
    cursor_of,
    page_size,
    timestamp,
)

TABLE = """CREATE TABLE IF NOT EXISTS r2_objects (
        bucket INTEGER NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, version TEXT NOT NULL, uploaded REAL NOT NULL,
        size INTEGER NOT NULL, storage_class TEXT NOT NULL, http_metadata TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (bucket, key)
    )"""
# Names in the API's lists, and the headers they come from and go back to.
_HTTP_METADATA = {
    "contentType": "content-type",
    "cacheControl": "cache-control",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "contentLanguage": "content-language",
    "cacheExpiry": "expires",
}
_LONGEST_KEY = 1024
_MOST_ON_A_PAGE = 1000
_LARGEST = 300 * 1024 * 1024  # what wrangler sends at most; the real API takes 5 GiB


class _Object(NamedTuple):
    key: str
    etag: str
    version: str
    uploaded: float
    size: int
    storage_class: str
    http_metadata: str


_COLUMNS = ", ".join(_Object._fields)
# SQLite compares text by its UTF-8 bytes, which is the order the API promises.
_SELECT_PAGE = f"""
    SELECT {_COLUMNS} FROM r2_objects
    WHERE bucket = ? AND key > ? AND key >= ? AND substr(key, 1, ?) = ? ORDER BY key"""  # noqa: S608 (our words)


def _put(call: Call) -> Reply:
    bucket, key, value = bucket_of(call), _checked_key(call.parts[1]), call.request.body
    if len(value) > _LARGEST:
        raise Refusal(400, 100100, "Your proposed upload exceeds the maximum allowed object size.")
    made = _Object(
        key=key,
        etag=hashlib.md5(value, usedforsecurity=False).hexdigest(),
        version=clock.random_bytes(16).hex(),
        uploaded=clock.now(),
        size=len(value),
        storage_class=storage_class_of(
            call.request.headers.get("cf-r2-storage-class", bucket.storage_class)
        ),
        http_metadata=json.dumps(_http_metadata(call.request.headers)),
    )
    call.storage.db.execute(
        f"INSERT OR REPLACE INTO r2_objects (bucket, {_COLUMNS}, value) VALUES (?{', ?' * 8})",  # noqa: S608 (our words)
        (bucket.number, *made, value),
    )
    tell(call.storage, bucket, "PutObject", key=key, size=made.size, eTag=made.etag)
    return Reply(
        {
            "key": made.key,
            "etag": made.etag,
            "size": str(made.size),
            "version": made.version,
            "uploaded": timestamp(made.uploaded),
            "storage_class": made.storage_class,
        }
    )


def _get(call: Call) -> Response:
    row = call.storage.db.execute(
        f"SELECT value, {_COLUMNS} FROM r2_objects WHERE bucket = ? AND key = ?",  # noqa: S608 (our words)
        (bucket_of(call).number, call.parts[1]),
    ).fetchone()
    if row is None:
        raise _missing()
    value, *columns = row
    found = _Object(*columns)
    metadata = json.loads(found.http_metadata)
    headers = {
        "content-type": "application/octet-stream",
        "etag": f'"{found.etag}"',
        "last-modified": formatdate(found.uploaded, usegmt=True),
        **{_HTTP_METADATA[name]: text for name, text in metadata.items()},
        **LIMIT_HEADERS,
    }
    return Response(200, headers, value)


def _head(call: Call) -> Reply:
    # The real API answers so even for what exists.
    raise _missing()


def _delete(call: Call) -> Reply:
    _delete_keys(call, [call.parts[1]])
    return Reply({"key": call.parts[1]})


def _delete_many(call: Call) -> Reply:
    keys = call.request.json()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refusal(400, 10022, "Invalid argument: a list of keys is expected")
    _delete_keys(call, keys)
    return Reply([{"key": key} for key in keys])


def _delete_keys(call: Call, keys: list[str]) -> None:
    bucket = bucket_of(call)
    for key in keys:
        gone = call.storage.db.execute(
            "DELETE FROM r2_objects WHERE bucket = ? AND key = ?", (bucket.number, key)
        ).rowcount
        if gone:
            tell(call.storage, bucket, "DeleteObject", key=key)


def _list(call: Call) -> Reply:
    bucket, arguments = bucket_of(call), call.request.arguments()
    size = page_size(arguments, default=_MOST_ON_A_PAGE, largest=_MOST_ON_A_PAGE, code=10022)
    after = cursor_after(arguments, code=10022) or arguments.get("start_after", "")
    prefix, delimiter = arguments.get("prefix", ""), arguments.get("delimiter", "")
    objects: list[_Object] = []
    folders: dict[str, None] = {}
    last, is_truncated = "", False
    for row in call.storage.db.execute(
        _SELECT_PAGE, (bucket.number, after, prefix, len(prefix), prefix)
    ):
        found = _Object(*row)
        folder = _folder(found.key, prefix, delimiter)
        if folder not in folders:
            if len(objects) + len(folders) == size:
                is_truncated = True
                break
            if folder is None:
                objects.append(found)
            else:
                folders[folder] = None
        last = found.key
    cursor = cursor_of(last) if is_truncated else ""
    info = {"cursor": cursor, "is_truncated": is_truncated, "per_page": size}
    return Reply([_shown(found) for found in objects], {**info, "delimited": list(folders)})


def _folder(key: str, prefix: str, delimiter: str) -> str | None:
    """Return what *key* is listed under instead of by itself, up to the first *delimiter* after *prefix*."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if end < 0 else key[: end + len(delimiter)]


def _shown(found: _Object) -> dict[str, Any]:
    return {
        "key": found.key,
        "etag": found.etag,
        "last_modified": timestamp(found.uploaded),
        "size": found.size,
        "http_metadata": json.loads(found.http_metadata),
        "custom_metadata": {},
        "storage_class": found.storage_class,
        "ssec": False,
    }


def _http_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[header] for name, header in _HTTP_METADATA.items() if header in headers}


def _checked_key(key: str) -> str:
    if not key or len(key.encode()) > _LONGEST_KEY:
        raise Refusal(400, 10020, "The specified object name is not valid.")
    return key


def _missing() -> Refusal:
    return Refusal(404, 10007, "The specified key does not exist.")


_ALL = f"{ONE}/objects"
_KEY = f"{_ALL}/**"
ROUTES = (
    Route("GET", _ALL, _list, writes=False),
    Route("DELETE", _ALL, _delete_many),
    Route("PUT", _KEY, _put),
    Route("GET", _KEY, _get, writes=False),
    Route("HEAD", _KEY, _head, writes=False),
    Route("DELETE", _KEY, _delete),
)
