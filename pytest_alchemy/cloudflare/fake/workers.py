"""Workers: scripts, the services that they are, and how one is deleted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake import queues, worker_bindings, worker_settings, worker_versions
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.queue_control import no_handler
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import (
    Page,
    Refusal,
    Reply,
    Response,
    object_of,
    timestamp,
)
from pytest_alchemy.cloudflare.fake.worker_upload import Code, read_upload

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SELECT = """
    SELECT workers.name, tag, workers.created, modified, deployed, enabled, previews, workers.settings,
        has_modules, etag, handlers, worker_versions.settings
    FROM workers JOIN worker_versions ON worker_versions.id = deployed """


class _Worker(NamedTuple):
    name: str
    tag: str
    created: float
    modified: float
    deployed: str
    enabled: int
    previews: int
    settings: str
    has_modules: int
    etag: str
    handlers: str
    version_settings: str


# --- scripts


def _upload(call: Call) -> Reply:
    script = call.parts[0]
    metadata, code = read_upload(call.request)
    _make(call, script, code, metadata)
    worker = _worker(call)
    shown = {} if call.request.arguments().get("excludeScript") else {"script": _text(code)}
    return Reply(
        {
            **_shown(worker),
            **shown,
            "startup_time_ms": 1,
            "deployment_id": worker.deployed.replace("-", ""),
            "entry_point": code.main,
        }
    )


def _make(call: Call, script: str, code: Code, metadata: dict[str, Any]) -> None:
    """Add and deploy a version of *script*, which is made if it is not there."""
    if not _NAME.fullmatch(script):
        raise Refusal(
            400,
            10016,
            "Script names have 1 to 63 lowercase letters, digits, '-' or '_', and start with a letter or a digit.",
        )
    storage = call.storage
    if "queue" not in code.handlers and queues.consumed_by(storage, script):
        raise no_handler(script)
    last = worker_versions.latest(storage, script)
    bindings = worker_bindings.resolved(storage, script, metadata, last)
    id = worker_versions.add(storage, script, code, bindings, metadata)
    if last is None:
        now = clock.now()
        storage.db.execute(
            "INSERT INTO workers (name, tag, created, modified, deployed, enabled, previews, settings, schedules) "
            "VALUES (?, ?, ?, ?, ?, 0, 0, '{}', '[]')",
            (script, os.urandom(16).hex(), now, now, id),
        )
    worker_settings.change(storage, script, metadata)
    worker_versions.deploy(storage, script, [(id, 100.0)])


def _list(call: Call) -> Reply:
    rows = call.storage.db.execute(_SELECT + "ORDER BY workers.number").fetchall()
    return Reply([_shown(_Worker(*row)) for row in rows])


def _search(call: Call) -> Reply:
    arguments = call.request.arguments()
    page = Page.of(arguments, default=10, largest=100, code=10021)
    rows = call.storage.db.execute(
        _SELECT + "WHERE instr(workers.name, ?) AND (? = '' OR tag = ?) ORDER BY workers.number",
        (arguments.get("name", ""), arguments.get("id", ""), arguments.get("id", "")),
    ).fetchall()
    return page.reply([_Worker(*row) for row in rows], _found)


def _found(worker: _Worker) -> dict[str, Any]:
    return {
        "id": worker.tag,
        "script_name": worker.name,
        "service_name": worker.name,
        "environment_name": "production",
        "environment_is_default": True,
        "created_on": timestamp(worker.created),
        "modified_on": timestamp(worker.modified),
    }


def _source(call: Call) -> Response:
    return worker_versions.code_of(call.storage, _worker(call).deployed).response()


def _change_source(call: Call) -> Reply:
    script = _worker(call).name
    _, code = read_upload(call.request)
    worker_versions.add_changed(call.storage, script, code=code)
    return Reply(_shown(_worker(call)))


def _worker(call: Call) -> _Worker:
    """
    Return the worker that the path names, by its name or its id.

    Raises:
        Refusal: There is no such worker.
    """
    wanted = call.parts[0]
    row = call.storage.db.execute(
        _SELECT + "WHERE workers.name = ? OR tag = ? ORDER BY workers.name = ? DESC",
        (wanted, wanted, wanted),
    ).fetchone()
    if row is None:
        raise worker_versions.missing()
    return _Worker(*row)


def _shown(worker: _Worker) -> dict[str, Any]:
    settings, version = json.loads(worker.settings), json.loads(worker.version_settings)
    return {
        "id": worker.name,
        "tag": worker.tag,
        "tags": settings.get("tags", []),
        "etag": worker.etag,
        "handlers": json.loads(worker.handlers),
        "named_handlers": [],
        "has_modules": bool(worker.has_modules),
        "has_assets": False,
        "created_on": timestamp(worker.created),
        "modified_on": timestamp(worker.modified),
        "last_deployed_from": "api",
        "logpush": bool(settings.get("logpush", False)),
        "tail_consumers": settings.get("tail_consumers"),
        "observability": settings.get("observability"),
        "compatibility_date": version.get("compatibility_date"),
        "compatibility_flags": version.get("compatibility_flags", []),
        "usage_model": version.get("usage_model", "standard"),
        "placement": version.get("placement", {}),
    }


def _text(code: Code) -> str:
    (main,) = (module.body for module in code.modules if module.name == code.main)
    return main.decode("utf-8", "replace")


# --- the same as services, and as workers with a subdomain of their own


def _service(call: Call) -> Reply:
    worker = _worker(call)
    times = {"created_on": timestamp(worker.created), "modified_on": timestamp(worker.modified)}
    environment = {"environment": "production", "script": _shown(worker), **times}
    return Reply({"id": worker.name, "default_environment": environment, **times})


def _workers(call: Call) -> Reply:
    page = Page.of(call.request.arguments(), default=10, largest=100, code=10021)
    rows = call.storage.db.execute(_SELECT + "ORDER BY workers.number").fetchall()
    return page.reply([_Worker(*row) for row in rows], _new_view)


def _get_new(call: Call) -> Reply:
    return Reply(_new_view(_worker(call)))


def _change_new(call: Call) -> Reply:
    worker = _worker(call)
    body = object_of(call.request, 10021)
    worker_settings.change(call.storage, worker.name, body)
    subdomain = body.get("subdomain")
    if isinstance(subdomain, dict):
        worker_settings.show_at_subdomain(call.storage, worker.name, subdomain)
    return Reply(_new_view(_worker(call)))


def _new_view(worker: _Worker) -> dict[str, Any]:
    settings = json.loads(worker.settings)
    return {
        "id": worker.tag,
        "name": worker.name,
        "created_on": timestamp(worker.created),
        "updated_on": timestamp(worker.modified),
        "logpush": bool(settings.get("logpush", False)),
        "observability": settings.get("observability") or {"enabled": False},
        "references": {},
        "subdomain": {
            "enabled": bool(worker.enabled),
            "previews_enabled": bool(worker.previews),
        },
        "tags": settings.get("tags", []),
        "tail_consumers": settings.get("tail_consumers") or [],
    }


# --- workers.dev


def visited(storage: Storage, host: str) -> Response | None:
    """Return what *host* answers, None if it is not below the account's subdomain of workers.dev."""
    subdomain = worker_settings.subdomain(storage)
    name, dot, rest = host.partition(".")
    if not dot or subdomain is None or rest != f"{subdomain}.{worker_settings.DOMAIN}":
        return None
    row = storage.db.execute("SELECT enabled FROM workers WHERE name = ?", (name,)).fetchone()
    if row is None or not row[0]:
        return _page(404, f"No Worker of this fake account is shown at {host}.")
    return _page(
        501,
        f"The Worker {name!r} is deployed in a fake Cloudflare account, which keeps its script but does not run it.",
    )


def _page(status: int, text: str) -> Response:
    return Response(status, {"content-type": "text/plain; charset=utf-8"}, f"{text}\n".encode())


# --- deleting


def _delete(call: Call) -> Reply:
    worker = _worker(call)
    if call.request.arguments().get("force") != "true":
        if queues.consumed_by(call.storage, worker.name):
            raise Refusal(
                400,
                10064,
                "Cannot delete this Worker as it is a consumer for a Queue. "
                "Remove it from the Queue's consumers first, then delete it.",
            )
        callers = [
            caller
            for caller in worker_bindings.bound_workers(call.storage, "service", worker.name)
            if caller != worker.name
        ]
        if callers:
            # Clients look for the words; nobody has confirmed the code.
            raise Refusal(
                400,
                10064,
                "Cannot delete this Worker as it is still referenced by service bindings in Workers: "
                f"{', '.join(callers)}. Remove the bindings first, or delete it with force.",
            )
    _discard(call.storage, worker.tag)
    return Reply(None)


def _consumers(call: Call) -> Reply:
    return Reply(queues.consumed_by(call.storage, _worker(call).name))


def _references(call: Call) -> Reply:
    worker = _worker(call)
    callers = worker_bindings.bound_workers(call.storage, "service", worker.name)
    incoming = [
        {"name": caller, "service": caller, "environment": "production", "handlers": []}
        for caller in callers
    ]
    return Reply(
        {
            "services": {"incoming": incoming, "outgoing": [], "pages_function": False},
            "durable_objects": [],
            "dispatch_outbounds": [],
        }
    )


def _nothing(_: Call) -> Reply:
    """Answer for what this account never holds: Durable Objects, tail consumers."""
    return Reply([], Page(1, 1000).info(0, 0))


def _inventory(storage: Storage) -> Iterable[InventoryItem]:
    for row in storage.db.execute("SELECT tag, name, created FROM workers ORDER BY number"):
        yield InventoryItem("worker", *row)


def _discard(storage: Storage, id: str) -> None:
    db = storage.db
    for (name,) in db.execute("SELECT name FROM workers WHERE tag = ?", (id,)).fetchall():
        db.execute(
            "DELETE FROM worker_modules WHERE version IN (SELECT id FROM worker_versions WHERE script = ?)",
            (name,),
        )
        for table in ("worker_versions", "worker_bindings", "worker_deployments"):
            db.execute(f"DELETE FROM {table} WHERE script = ?", (name,))  # noqa: S608 (our words)
        queues.set_producer(storage, name, ())
        db.execute("DELETE FROM queue_consumers WHERE script = ?", (name,))
        db.execute("DELETE FROM workers WHERE name = ?", (name,))


_ALL = "@/workers/scripts"
_ONE = f"{_ALL}/*"
_NEW = "@/workers/workers"
_SERVICE = "@/workers/services/*"
PRODUCT = Product(
    kind="worker",
    tables=(*worker_versions.TABLES, worker_settings.TABLE),
    routes=(
        Route("GET", _ALL, _list, writes=False),
        Route("GET", "@/workers/scripts-search", _search, writes=False),
        Route("PUT", _ONE, _upload),
        Route("GET", _ONE, _source, writes=False),
        Route("DELETE", _ONE, _delete),
        Route("PUT", f"{_ONE}/content", _change_source),
        Route("GET", f"{_ONE}/content/v2", _source, writes=False),
        Route("GET", f"{_ONE}/queue-consumers", _consumers, writes=False),
        Route("GET", f"{_ONE}/references", _references, writes=False),
        Route("GET", _SERVICE, _service, writes=False),
        Route("DELETE", _SERVICE, _delete),
        Route("GET", _NEW, _workers, writes=False),
        Route("GET", f"{_NEW}/*", _get_new, writes=False),
        Route("PATCH", f"{_NEW}/*", _change_new),
        Route("DELETE", f"{_NEW}/*", _delete),
        Route("GET", "@/workers/tails/by-consumer/*", _nothing, writes=False),
        Route("GET", "@/workers/durable_objects/namespaces", _nothing, writes=False),
        *worker_settings.ROUTES,
        *worker_versions.ROUTES,
    ),
    inventory=_inventory,
    discard=_discard,
)
