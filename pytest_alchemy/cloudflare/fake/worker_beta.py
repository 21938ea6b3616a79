"""Workers as the newer part of the API shows them: first the worker, then versions of it, made from JSON."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

from pytest_alchemy.cloudflare.fake import (
    queues,
    worker_bindings,
    worker_removal,
    worker_settings,
    worker_versions,
)
from pytest_alchemy.cloudflare.fake.documents import DOMAINS
from pytest_alchemy.cloudflare.fake.queue_control import queue_named
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import (
    Page,
    Refusal,
    Reply,
    field_of,
    object_of,
    timestamp,
)
from pytest_alchemy.cloudflare.fake.worker_upload import Code, Module, invalid


class _Worker(NamedTuple):
    name: str
    tag: str
    created: float
    modified: float
    deployed: str
    enabled: int
    previews: int
    settings: str


_SELECT = f"SELECT {', '.join(_Worker._fields)} FROM workers "  # noqa: S608 (our words)
_DEFAULTS: dict[str, Any] = {
    "logpush": False,
    "observability": {"enabled": False},
    "tags": [],
    "tail_consumers": [],
    "subdomain": {"enabled": False, "previews_enabled": False},
}


# --- workers


def _create(call: Call) -> Reply:
    body = object_of(call.request, 10021)
    name = field_of(body, "name", str, 10021)
    if _find(call.storage, name) is not None:
        raise Refusal(409, 10040, f"A Worker named {name} exists already.")
    worker_versions.make(call.storage, name)
    return _changed(call, name, {**_DEFAULTS, **body})


def _list(call: Call) -> Reply:
    page = Page.of(call.request.arguments(), default=10, largest=100, code=10021)
    rows = call.storage.db.execute(_SELECT + "ORDER BY number").fetchall()
    return page.reply([_Worker(*row) for row in rows], lambda one: _shown(call.storage, one))


def _get(call: Call) -> Reply:
    return Reply(_shown(call.storage, _worker(call)))


def _replace(call: Call) -> Reply:
    return _edited(call, {**_DEFAULTS, **object_of(call.request, 10021)})


def _edit(call: Call) -> Reply:
    return _edited(call, object_of(call.request, 10021))


def _edited(call: Call, wanted: dict[str, Any]) -> Reply:
    name = _worker(call).name
    if wanted.get("name") not in (None, name):
        invalid("This fake account does not rename Workers")
    return _changed(call, name, wanted)


def _changed(call: Call, name: str, wanted: dict[str, Any]) -> Reply:
    worker_settings.change(call.storage, name, wanted)
    subdomain = wanted.get("subdomain")
    if isinstance(subdomain, dict):
        worker_settings.show_at_subdomain(call.storage, name, subdomain)
    changed = _find(call.storage, name)
    assert changed is not None
    return Reply(_shown(call.storage, changed))


def _delete(call: Call) -> Reply:
    worker = _worker(call)
    if call.request.arguments().get("force") != "true":
        worker_removal.check_unused(call.storage, worker.name)
    worker_removal.remove(call.storage, worker.tag)
    return Reply(None)


def _worker(call: Call) -> _Worker:
    found = _find(call.storage, call.parts[0])
    if found is None:
        raise worker_versions.missing()
    return found


def _find(storage: Storage, wanted: str) -> _Worker | None:
    """Return the worker with that name or id."""
    row = storage.db.execute(
        _SELECT + "WHERE name = ? OR tag = ? ORDER BY name = ? DESC", (wanted, wanted, wanted)
    ).fetchone()
    return None if row is None else _Worker(*row)


def _shown(storage: Storage, worker: _Worker) -> dict[str, Any]:
    settings = json.loads(worker.settings)
    return {
        "id": worker.tag,
        "name": worker.name,
        "created_on": timestamp(worker.created),
        "updated_on": timestamp(worker.modified),
        "deployed_on": timestamp(worker.modified) if worker.deployed else None,
        "logpush": bool(settings.get("logpush", False)),
        "observability": settings.get("observability") or {"enabled": False},
        "references": _references(storage, worker.name),
        "subdomain": {
            "enabled": bool(worker.enabled),
            "previews_enabled": bool(worker.previews),
        },
        "tags": settings.get("tags", []),
        "tail_consumers": settings.get("tail_consumers") or [],
    }


def _references(storage: Storage, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return who needs the worker *name*."""
    domains = [
        {
            "id": domain.id,
            "hostname": domain.name,
            "certificate_id": domain.body["cert_id"],
            "zone_id": domain.body["zone_id"],
            "zone_name": domain.body["zone_name"],
        }
        for domain in DOMAINS.all(storage, owner=f"worker/{name}")
    ]
    consumed = []
    for consumer in queues.consumed_by(storage, name):
        queue = queue_named(storage, str(consumer["queue_name"]))
        assert queue is not None
        consumed.append(
            {
                "queue_consumer_id": consumer["consumer_id"],
                "queue_id": queue.id,
                "queue_name": queue.name,
            }
        )
    callers = worker_bindings.bound_workers(storage, "service", name)
    found = [_find(storage, caller) for caller in callers]
    return {
        "dispatch_namespace_outbounds": [],
        "domains": domains,
        "durable_objects": [],
        "queues": consumed,
        "workers": [{"id": one.tag, "name": one.name} for one in found if one is not None],
    }


# --- versions


def _add_version(call: Call) -> Reply:
    worker, body = _worker(call), object_of(call.request, 10021)
    id = worker_versions.add_uploaded(call.storage, worker.name, _code(body), body)
    if call.request.arguments().get("deploy") == "true":
        worker_versions.deploy(call.storage, worker.name, [(id, 100.0)])
    return Reply(_shown_version(call, worker, id))


def _code(body: dict[str, Any]) -> Code:
    main = field_of(body, "main_module", str, 10021, "")
    modules = [_module(given) for given in field_of(body, "modules", list, 10021, [])]
    if main not in [module.name for module in modules] and (main or not body.get("assets")):
        invalid(f"No such module {main!r}: main_module has to name one of the modules")
    if len({module.name for module in modules}) < len(modules):
        invalid("two modules have the same name")
    return Code(main, True, modules)


def _module(given: Any) -> Module:
    if not isinstance(given, dict):
        invalid("modules have to be objects")
    name, kind, text = (
        field_of(given, field, str, 10021) for field in ("name", "content_type", "content_base64")
    )
    try:
        return Module(name, kind, base64.b64decode(text, validate=True))
    except ValueError:
        invalid(f"the content of module {name} is not base64")


def _versions(call: Call) -> Reply:
    worker = _worker(call)
    page = Page.of(call.request.arguments(), default=10, largest=100, code=10021)
    rows = call.storage.db.execute(
        "SELECT id FROM worker_versions WHERE script = ? ORDER BY number DESC", (worker.name,)
    ).fetchall()
    return page.reply(rows, lambda row: _shown_version(call, worker, row[0]))


def _get_version(call: Call) -> Reply:
    return Reply(_shown_version(call, _worker(call), call.parts[1]))


def _delete_version(call: Call) -> Reply:
    worker, id = _worker(call), call.parts[1]
    _shown_version(call, worker, id)
    worker_versions.remove(call.storage, worker.name, id)
    return Reply(None)


def _shown_version(call: Call, worker: _Worker, id: str) -> dict[str, Any]:
    """
    Return what this part of the API says of a version.

    Raises:
        Refusal: The worker has no such version.
    """
    row = call.storage.db.execute(
        "SELECT number, created, main, settings FROM worker_versions WHERE id = ? AND script = ?",
        (id, worker.name),
    ).fetchone()
    if row is None:
        raise Refusal(404, 10071, f"The version {id} could not be found")
    number, created, main, text = row
    settings = json.loads(text)
    assets = settings.pop("assets", None)
    bindings = worker_bindings.of_version(call.storage, id)
    return {
        **settings,
        "id": id,
        "number": number,
        "created_on": timestamp(created),
        "urls": [],
        "source": "api",
        "author_email": worker_versions.EMAIL,
        "main_module": main,
        "startup_time_ms": 1,
        "bindings": [binding.shown for binding in bindings],
        **({} if assets is None else {"assets": {"config": assets["config"]}}),
        **_modules(call, id),
    }


def _modules(call: Call, id: str) -> dict[str, Any]:
    if call.request.arguments().get("include") != "modules":
        return {}
    return {
        "modules": [
            {
                "name": module.name,
                "content_type": module.content_type,
                "content_base64": base64.b64encode(module.body).decode(),
            }
            for module in worker_versions.code_of(call.storage, id).modules
        ]
    }


_ALL = "@/workers/workers"
_ONE = f"{_ALL}/*"
_VERSIONS = f"{_ONE}/versions"
ROUTES = (
    Route("POST", _ALL, _create),
    Route("GET", _ALL, _list, writes=False),
    Route("GET", _ONE, _get, writes=False),
    Route("PUT", _ONE, _replace),
    Route("PATCH", _ONE, _edit),
    Route("DELETE", _ONE, _delete),
    Route("POST", _VERSIONS, _add_version),
    Route("GET", _VERSIONS, _versions, writes=False),
    Route("GET", f"{_VERSIONS}/*", _get_version, writes=False),
    Route("DELETE", f"{_VERSIONS}/*", _delete_version),
)
