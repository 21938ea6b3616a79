"""Static assets of workers: their upload, from the list of all files to the token that a version redeems."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.documents import Document, Shelf
from pytest_alchemy.cloudflare.fake.multipart import MalformedBody, parts_of
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, field_of, object_of, token_of
from pytest_alchemy.cloudflare.fake.worker_upload import invalid

TABLE = """CREATE TABLE IF NOT EXISTS worker_assets (
    script TEXT NOT NULL, hash TEXT NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (script, hash)
)"""
# Its id is the token that uploads carry, its name the one that a version redeems once nothing is missing.
_SESSIONS = Shelf("asset_session")
_LIFETIME = 3600.0
_MOST_IN_A_BUCKET = 50


def redeemed(
    storage: Storage, script: str, metadata: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Return *metadata* with the files that its token stands for in the place of the token.

    Args:
        storage: Where the uploads are.
        script: Name of the worker.
        metadata: What came with a version: ``assets``, or ``keep_assets`` for those of the last one.
        before: The settings of the last version.

    Raises:
        Refusal: The token is unknown, of another worker, or files are missing.
    """
    given = metadata.get("assets")
    if given is None:
        kept = before.get("assets") if metadata.get("keep_assets") else None
        return {**metadata, **({} if kept is None else {"assets": kept})}
    if not isinstance(given, dict):
        invalid("assets has to be an object")
    token = field_of(given, "jwt", str, 10021)
    sessions = _SESSIONS.all(storage, owner=_owner(script), name=token)
    if not sessions or any(_missing(storage, sessions[0])):
        invalid("assets.jwt is no token of a finished upload for this Worker")
    config = field_of(given, "config", dict, 10021, {})
    return {**metadata, "assets": {"config": config, "manifest": sessions[0].body["manifest"]}}


def _start(call: Call) -> Reply:
    script = call.parts[0]
    manifest = field_of(object_of(call.request, 10021), "manifest", dict, 10021)
    for path, file in manifest.items():
        if not path.startswith("/") or not isinstance(file, dict):
            invalid("manifest has to name files by their paths, which start with '/'")
        field_of(file, "hash", str, 10021)
        field_of(file, "size", float, 10021)
    _forget_old(call.storage)
    claims = {"script": script, "exp": int(clock.now() + _LIFETIME)}
    session = _SESSIONS.add(
        call.storage,
        {"manifest": manifest},
        id=token_of(claims),
        name=token_of({**claims, "complete": True}),
        owner=_owner(script),
    )
    missing = list(_missing(call.storage, session))
    buckets = [
        missing[start : start + _MOST_IN_A_BUCKET]
        for start in range(0, len(missing), _MOST_IN_A_BUCKET)
    ]
    return Reply({"jwt": session.id if missing else session.name, "buckets": buckets})


def _upload(call: Call) -> Reply:
    session = _session(call)
    if call.request.arguments().get("base64") != "true":
        invalid("assets have to be encoded: ?base64=true")
    try:
        parts = parts_of(call.request.headers.get("content-type", ""), call.request.body)
    except MalformedBody as error:
        invalid(f"Could not parse the form: {error}")
    script = session.owner.removeprefix("worker/")
    wanted = set(_hashes(session))
    for part in parts:
        if part.name not in wanted:
            invalid(f"{part.name} is the hash of no file of this upload")
        try:
            body = base64.b64decode(part.body, validate=True)
        except ValueError:
            invalid(f"the file {part.name} is not encoded as base64")
        call.storage.db.execute(
            "INSERT OR REPLACE INTO worker_assets VALUES (?, ?, ?, ?)",
            (script, part.name, part.content_type, body),
        )
    is_complete = not any(_missing(call.storage, session))
    return Reply({"jwt": session.name if is_complete else None})


def _session(call: Call) -> Document:
    """Return the session whose token the request carries in the place of the account's."""
    token = call.request.headers.get("authorization", "").partition(" ")[2]
    session = _SESSIONS.get(call.storage, token)
    if session is None or session.created + _LIFETIME < clock.now():
        raise Refusal(401, 10000, "Authentication error: no token of a running upload of assets")
    return session


def _missing(storage: Storage, session: Document) -> Iterator[str]:
    script = session.owner.removeprefix("worker/")
    there = storage.db.execute("SELECT hash FROM worker_assets WHERE script = ?", (script,))
    known = {digest for (digest,) in there.fetchall()}
    return (digest for digest in _hashes(session) if digest not in known)


def _hashes(session: Document) -> list[str]:
    return sorted({file["hash"] for file in session.body["manifest"].values()})


def _forget_old(storage: Storage) -> None:
    """Remove what was uploaded, long ago, for a worker that never came to be."""
    running = set()
    for session in _SESSIONS.all(storage):
        if session.created + _LIFETIME < clock.now():
            _SESSIONS.remove(storage, session.id)
        else:
            running.add(session.owner.removeprefix("worker/"))
    scripts = storage.db.execute(
        "SELECT DISTINCT script FROM worker_assets WHERE script NOT IN (SELECT name FROM workers)"
    ).fetchall()
    for (script,) in scripts:
        if script not in running:
            storage.db.execute("DELETE FROM worker_assets WHERE script = ?", (script,))


def _owner(script: str) -> str:
    return f"worker/{script}"


ROUTES = (
    Route("POST", "@/workers/scripts/*/assets-upload-session", _start),
    Route("POST", "@/workers/assets/upload", _upload),
)
