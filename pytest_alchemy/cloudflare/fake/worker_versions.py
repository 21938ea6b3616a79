"""Versions of workers, and which of them is deployed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake import worker_assets, worker_bindings
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Page, Refusal, Reply, object_of, timestamp
from pytest_alchemy.cloudflare.fake.worker_bindings import Binding
from pytest_alchemy.cloudflare.fake.worker_upload import Code, Module, invalid, read_upload

TABLES = (
    """CREATE TABLE IF NOT EXISTS workers (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, tag TEXT NOT NULL, created REAL NOT NULL,
        modified REAL NOT NULL, deployed TEXT NOT NULL, enabled INTEGER NOT NULL, previews INTEGER NOT NULL,
        settings TEXT NOT NULL, schedules TEXT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS worker_versions (
        id TEXT PRIMARY KEY, script TEXT NOT NULL, number INTEGER NOT NULL, created REAL NOT NULL, main TEXT NOT NULL,
        has_modules INTEGER NOT NULL, etag TEXT NOT NULL, handlers TEXT NOT NULL, settings TEXT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS worker_modules (
        version TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (version, name)
    )""",
    """CREATE TABLE IF NOT EXISTS worker_deployments (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, script TEXT NOT NULL, created REAL NOT NULL,
        versions TEXT NOT NULL, annotations TEXT NOT NULL
    )""",
    worker_bindings.TABLE,
)
OF_VERSION = (
    "compatibility_date",
    "compatibility_flags",
    "usage_model",
    "placement",
    "limits",
    "migrations",
    "annotations",
    "assets",
)
"""What is set for a version; a version made from another one takes it over."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
EMAIL = "fake@example.com"
_EVERYTHING = 100.0


def missing() -> Refusal:
    """Return the refusal for a worker that is not there."""
    return Refusal(404, 10007, "This Worker does not exist on your account.")


def make(storage: Storage, script: str) -> None:
    """
    Make the worker *script*, as yet without any version; one that is there stays as it is.

    Raises:
        Refusal: The name is not valid.
    """
    if not _NAME.fullmatch(script):
        raise Refusal(
            400,
            10016,
            "Script names have 1 to 63 lowercase letters, digits, '-' or '_', and start with a letter or a digit.",
        )
    now = clock.now()
    storage.db.execute(
        "INSERT OR IGNORE INTO workers "
        "(name, tag, created, modified, deployed, enabled, previews, settings, schedules) "
        "VALUES (?, ?, ?, ?, '', 0, 0, '{}', '[]')",
        (script, clock.random_bytes(16).hex(), now, now),
    )


def check(storage: Storage, script: str) -> None:
    """
    Check that there is a worker *script*, whether or not a version of it is deployed.

    Raises:
        Refusal: There is none.
    """
    if not storage.db.execute("SELECT 1 FROM workers WHERE name = ?", (script,)).fetchone():
        raise missing()


def deployed(storage: Storage, script: str) -> str:
    """
    Return the deployed version of *script*.

    Raises:
        Refusal: There is no such worker, or no version of it is deployed.
    """
    row = storage.db.execute("SELECT deployed FROM workers WHERE name = ?", (script,)).fetchone()
    if row is None or not row[0]:
        raise missing()
    return str(row[0])


def latest(storage: Storage, script: str) -> str | None:
    """Return the newest version of *script*, None if it has none."""
    row = storage.db.execute(
        "SELECT id FROM worker_versions WHERE script = ? ORDER BY number DESC LIMIT 1", (script,)
    ).fetchone()
    return None if row is None else str(row[0])


def add(
    storage: Storage,
    script: str,
    code: Code,
    bindings: Sequence[Binding],
    settings: dict[str, Any],
) -> str:
    """Add a version to *script* and return its id."""
    id = clock.uuid4()
    (number,) = storage.db.execute(
        "SELECT coalesce(max(number), 0) + 1 FROM worker_versions WHERE script = ?", (script,)
    ).fetchone()
    kept = {key: settings[key] for key in OF_VERSION if settings.get(key) is not None}
    texts = (code.main, code.has_modules, code.etag, json.dumps(code.handlers), json.dumps(kept))
    storage.db.execute(
        "INSERT INTO worker_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (id, script, number, clock.now(), *texts),
    )
    storage.db.executemany(
        "INSERT INTO worker_modules VALUES (?, ?, ?, ?)",
        [(id, module.name, module.content_type, module.body) for module in code.modules],
    )
    worker_bindings.store(storage, script, id, bindings)
    return id


def add_uploaded(storage: Storage, script: str, code: Code, metadata: dict[str, Any]) -> str:
    """
    Add a version to *script* as *metadata* describes it, and return its id.

    Raises:
        Refusal: What its bindings or assets name does not exist.
    """
    last = latest(storage, script)
    bindings = worker_bindings.resolved(storage, script, metadata, last)
    before = {} if last is None else settings_of(storage, last)
    settings = worker_assets.redeemed(storage, script, metadata, before)
    return add(storage, script, code, bindings, settings)


def remove(storage: Storage, script: str, id: str) -> None:
    """
    Remove the version *id* of *script*.

    Raises:
        Refusal: It is deployed.
    """
    shown = json.loads(_newest_deployment(storage, script)[1])
    if id in [version["version_id"] for version in shown]:
        invalid(f"the version {id} is deployed and cannot be deleted")
    storage.db.execute("DELETE FROM worker_modules WHERE version = ?", (id,))
    storage.db.execute("DELETE FROM worker_versions WHERE id = ?", (id,))
    worker_bindings.forget(storage, script, id)


def add_changed(
    storage: Storage,
    script: str,
    *,
    code: Code | None = None,
    bindings: Sequence[Binding] | None = None,
    settings: dict[str, Any] | None = None,
) -> str:
    """Add and deploy a version of *script* that differs from the newest one in what is given; return its id."""
    last = latest(storage, script)
    if last is None:
        raise missing()
    before = {k: v for k, v in settings_of(storage, last).items() if k != "annotations"}
    id = add(
        storage,
        script,
        code or code_of(storage, last),
        worker_bindings.of_version(storage, last) if bindings is None else bindings,
        {**before, **worker_assets.redeemed(storage, script, settings or {}, before)},
    )
    deploy(storage, script, [(id, _EVERYTHING)])
    return id


def deploy(
    storage: Storage,
    script: str,
    versions: Sequence[tuple[str, float]],
    annotations: dict[str, Any] | None = None,
) -> str:
    """Deploy *versions* of *script*, each with its percentage, and return the deployment's id."""
    id, now = clock.uuid4(), clock.now()
    shown = [{"version_id": version, "percentage": part} for version, part in versions]
    storage.db.execute(
        "INSERT INTO worker_deployments (id, script, created, versions, annotations) VALUES (?, ?, ?, ?, ?)",
        (id, script, now, json.dumps(shown), json.dumps(annotations or {})),
    )
    most = max(versions, key=lambda version: version[1])[0]
    storage.db.execute(
        "UPDATE workers SET deployed = ?, modified = ? WHERE name = ?", (most, now, script)
    )
    return id


def code_of(storage: Storage, version: str) -> Code:
    """Return the files of *version*."""
    main, has_modules = storage.db.execute(
        "SELECT main, has_modules FROM worker_versions WHERE id = ?", (version,)
    ).fetchone()
    rows = storage.db.execute(
        "SELECT name, type, body FROM worker_modules WHERE version = ? ORDER BY rowid", (version,)
    )
    return Code(main, bool(has_modules), [Module(*row) for row in rows])


def settings_of(storage: Storage, version: str) -> dict[str, Any]:
    """Return what was set for *version*."""
    (settings,) = storage.db.execute(
        "SELECT settings FROM worker_versions WHERE id = ?", (version,)
    ).fetchone()
    found: dict[str, Any] = json.loads(settings)
    return found


# --- versions


def _create(call: Call) -> Reply:
    script = call.parts[0]
    check(call.storage, script)
    metadata, code = read_upload(call.request)
    id = add_uploaded(call.storage, script, code, metadata)
    return Reply({**_version(call, id), "startup_time_ms": 1})


def _list(call: Call) -> Reply:
    script = call.parts[0]
    check(call.storage, script)
    page = Page.of(call.request.arguments(), default=10, largest=100, code=10021)
    rows = call.storage.db.execute(
        "SELECT id FROM worker_versions WHERE script = ? ORDER BY number DESC", (script,)
    ).fetchall()
    reply = page.reply(rows, lambda row: _summary(call, row[0]))
    return Reply({"items": reply.result}, reply.info)


def _get(call: Call) -> Reply:
    check(call.storage, call.parts[0])
    return Reply(_version(call, call.parts[1]))


def _summary(call: Call, id: str) -> dict[str, Any]:
    row = call.storage.db.execute(
        "SELECT number, created, settings FROM worker_versions WHERE id = ? AND script = ?",
        (id, call.parts[0]),
    ).fetchone()
    if row is None:
        raise Refusal(404, 100146, f"The version {id} could not be found")
    created = timestamp(row[1])
    return {
        "id": id,
        "number": row[0],
        "metadata": {
            "created_on": created,
            "modified_on": created,
            "source": "api",
            "author_email": EMAIL,
            "hasPreview": False,
        },
        "annotations": json.loads(row[2]).get("annotations", {}),
    }


def _version(call: Call, id: str) -> dict[str, Any]:
    summary = _summary(call, id)
    etag, handlers = call.storage.db.execute(
        "SELECT etag, handlers FROM worker_versions WHERE id = ?", (id,)
    ).fetchone()
    settings = settings_of(call.storage, id)
    return {
        **summary,
        "resources": {
            "bindings": [b.shown for b in worker_bindings.of_version(call.storage, id)],
            "script": {
                "etag": etag,
                "handlers": json.loads(handlers),
                "named_handlers": [],
                "last_deployed_from": "api",
            },
            "script_runtime": {
                "compatibility_date": settings.get("compatibility_date"),
                "compatibility_flags": settings.get("compatibility_flags", []),
                "usage_model": settings.get("usage_model", "standard"),
                "limits": settings.get("limits"),
            },
        },
    }


# --- deployments


def _deploy(call: Call) -> Reply:
    script = call.parts[0]
    check(call.storage, script)
    body = object_of(call.request, 10021)
    versions = body.get("versions")
    if not isinstance(versions, list) or not versions:
        invalid("a deployment needs versions")
    found = [_part(call, version) for version in versions]
    if abs(sum(part for _, part in found) - _EVERYTHING) > 0.01:
        invalid("the percentages of a deployment have to add up to 100")
    annotations = body.get("annotations")
    id = deploy(call.storage, script, found, annotations if isinstance(annotations, dict) else None)
    return Reply(_deployment(call, id))


def _part(call: Call, version: Any) -> tuple[str, float]:
    id = version.get("version_id") if isinstance(version, dict) else None
    part = version.get("percentage") if isinstance(version, dict) else None
    if not isinstance(id, str) or isinstance(part, bool) or not isinstance(part, int | float):
        invalid("each version of a deployment needs a version_id and a percentage")
    _summary(call, id)
    return id, float(part)


def _deployments(call: Call) -> Reply:
    check(call.storage, call.parts[0])
    rows = call.storage.db.execute(
        "SELECT id FROM worker_deployments WHERE script = ? ORDER BY number DESC", (call.parts[0],)
    ).fetchall()
    return Reply({"deployments": [_deployment(call, row[0]) for row in rows]})


def _get_deployment(call: Call) -> Reply:
    check(call.storage, call.parts[0])
    return Reply(_deployment(call, call.parts[1]))


def _delete_deployment(call: Call) -> Reply:
    script, id = call.parts
    check(call.storage, script)
    _deployment(call, id)
    if id == _newest_deployment(call.storage, script)[0]:
        invalid("the deployment that is in use cannot be deleted")
    call.storage.db.execute("DELETE FROM worker_deployments WHERE id = ?", (id,))
    return Reply(None)


def _newest_deployment(storage: Storage, script: str) -> tuple[str, str]:
    """Return id and versions, as JSON, of what is deployed; empty for nothing."""
    row = storage.db.execute(
        "SELECT id, versions FROM worker_deployments WHERE script = ? ORDER BY number DESC LIMIT 1",
        (script,),
    ).fetchone()
    return ("", "[]") if row is None else row


def _deployment(call: Call, id: str) -> dict[str, Any]:
    row = call.storage.db.execute(
        "SELECT created, versions, annotations FROM worker_deployments WHERE id = ? AND script = ?",
        (id, call.parts[0]),
    ).fetchone()
    if row is None:
        raise Refusal(404, 10336, f"The deployment {id} could not be found")
    return {
        "id": id,
        "source": "api",
        "strategy": "percentage",
        "author_email": EMAIL,
        "created_on": timestamp(row[0]),
        "annotations": json.loads(row[2]),
        "versions": json.loads(row[1]),
    }


_VERSIONS = "@/workers/scripts/*/versions"
_DEPLOYMENTS = "@/workers/scripts/*/deployments"
ROUTES = (
    Route("POST", _VERSIONS, _create),
    Route("GET", _VERSIONS, _list, writes=False),
    Route("GET", f"{_VERSIONS}/*", _get, writes=False),
    Route("POST", _DEPLOYMENTS, _deploy),
    Route("GET", _DEPLOYMENTS, _deployments, writes=False),
    Route("GET", f"{_DEPLOYMENTS}/*", _get_deployment, writes=False),
    Route("DELETE", f"{_DEPLOYMENTS}/*", _delete_deployment),
)
