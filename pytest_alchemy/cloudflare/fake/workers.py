"""Workers: scripts, the services that they are, and how one is deleted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from pytest_alchemy.cloudflare.fake import (
    queues,
    worker_assets,
    worker_beta,
    worker_bindings,
    worker_removal,
    worker_settings,
    worker_tails,
    worker_versions,
)
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.queue_control import no_handler
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import (
    Page,
    Reply,
    Response,
    timestamp,
)
from pytest_alchemy.cloudflare.fake.worker_upload import Code, read_upload

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
    storage = call.storage
    if "queue" not in code.handlers and queues.consumed_by(storage, script):
        raise no_handler(script)
    worker_versions.make(storage, script)
    id = worker_versions.add_uploaded(storage, script, code, metadata)
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
        "has_assets": bool(version.get("assets")),
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
    main = [module.body for module in code.modules if module.name == code.main]
    return b"".join(main).decode("utf-8", "replace")


# --- the same as services


def _service(call: Call) -> Reply:
    worker = _worker(call)
    times = {"created_on": timestamp(worker.created), "modified_on": timestamp(worker.modified)}
    environment = {"environment": "production", "script": _shown(worker), **times}
    return Reply({"id": worker.name, "default_environment": environment, **times})


# --- workers.dev


def visited(storage: Storage, host: str) -> Response | None:
    """Return what *host* answers, None if it is not below the account's subdomain of workers.dev."""
    subdomain = worker_settings.subdomain(storage)
    name, dot, rest = host.partition(".")
    if not dot or subdomain is None or rest != f"{subdomain}.{worker_settings.DOMAIN}":
        return None
    row = storage.db.execute(
        "SELECT 1 FROM workers WHERE name = ? AND enabled AND deployed <> ''", (name,)
    ).fetchone()
    if row is None:
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
        worker_removal.check_unused(call.storage, worker.name)
    worker_removal.remove(call.storage, worker.tag)
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


_ALL = "@/workers/scripts"
_ONE = f"{_ALL}/*"
_SERVICE = "@/workers/services/*"
PRODUCT = Product(
    kind="worker",
    tables=(*worker_versions.TABLES, worker_settings.TABLE, worker_assets.TABLE),
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
        Route("GET", "@/workers/tails/by-consumer/*", _nothing, writes=False),
        Route("GET", "@/workers/durable_objects/namespaces", _nothing, writes=False),
        *worker_assets.ROUTES,
        *worker_beta.ROUTES,
        *worker_settings.ROUTES,
        *worker_tails.ROUTES,
        *worker_versions.ROUTES,
    ),
    inventory=_inventory,
    discard=worker_removal.remove,
)
