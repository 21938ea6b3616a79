"""What is asked of the logs of workers. Scripts are not run, so there are none: answers are empty, and well formed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.documents import Document, Shelf
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
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
from pytest_alchemy.cloudflare.fake.worker_tails import LIFETIME, address_of
from pytest_alchemy.cloudflare.fake.worker_versions import EMAIL, missing

_BAD = 10021
_DATASETS = ("opentelemetry-traces", "opentelemetry-logs", "opentelemetry-metrics")
_ORDERS = {"created": "created", "updated": "modified"}
_VIEWS: Mapping[str, Any] = {
    "events": {"count": 0, "events": [], "fields": [], "series": []},
    "calculations": [],
    "invocations": {},
    "traces": [],
    "agents": [],
    "requests": [],
}


def _in_order(call: Call, found: list[Document]) -> tuple[Page, list[Document]]:
    """Return the page that the query asks for, and *found* in the order that it asks for."""
    arguments = call.request.arguments()
    sizes = {"page": arguments.get("page", ""), "per_page": arguments.get("perPage", "")}
    page = Page.of(sizes, default=20, largest=100, code=_BAD)
    column = _ORDERS.get(arguments.get("orderBy", "updated"), "modified")
    newest_first = arguments.get("order", "desc") == "desc"
    return page, sorted(found, key=lambda one: getattr(one, column), reverse=newest_first)


# --- destinations: where logs would be sent

_DESTINATIONS = Shelf("destination")


def _add_destination(call: Call) -> Reply:
    body = object_of(call.request, _BAD)
    name = field_of(body, "name", str, _BAD)
    configuration = field_of(body, "configuration", dict, _BAD)
    if configuration.get("logpushDataset") not in _DATASETS:
        raise Refusal(400, _BAD, f"logpushDataset has to be one of {', '.join(_DATASETS)}")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "destination"
    if _DESTINATIONS.get(call.storage, slug) is not None:
        raise Refusal(409, 10040, f"A destination {slug} exists already.")
    made = _DESTINATIONS.add(
        call.storage,
        {
            "enabled": field_of(body, "enabled", bool, _BAD),
            "logpushDataset": configuration["logpushDataset"],
            **_target(configuration),
        },
        id=slug,
        name=name,
    )
    return Reply(_shown_destination(call.storage, made))


def _edit_destination(call: Call) -> Reply:
    old, body = _destination(call), object_of(call.request, _BAD)
    new = {
        **old.body,
        "enabled": field_of(body, "enabled", bool, _BAD),
        **_target(field_of(body, "configuration", dict, _BAD)),
    }
    changed = _DESTINATIONS.change(call.storage, old, new)
    return Reply(_shown_destination(call.storage, changed))


def _list_destinations(call: Call) -> Reply:
    page, found = _in_order(call, _DESTINATIONS.all(call.storage))
    return page.reply(found, lambda one: _shown_destination(call.storage, one))


def _delete_destination(call: Call) -> Reply:
    gone = _destination(call)
    _DESTINATIONS.remove(call.storage, gone.id)
    return Reply(_shown_destination(call.storage, gone))


def _destination(call: Call) -> Document:
    found = _DESTINATIONS.get(call.storage, call.parts[0])
    if found is None:
        raise Refusal(404, 10007, f"There is no destination {call.parts[0]}.")
    return found


def _target(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return where a destination is; the *configuration* of one always holds all of it."""
    if configuration.get("type") != "logpush":
        raise Refusal(400, _BAD, "configuration.type has to be logpush")
    return {
        "url": field_of(configuration, "url", str, _BAD),
        "headers": field_of(configuration, "headers", dict, _BAD),
    }


def _shown_destination(storage: Storage, destination: Document) -> dict[str, Any]:
    body = destination.body
    return {
        "slug": destination.id,
        "name": destination.name,
        "enabled": body["enabled"],
        "scripts": _scripts_sending_to(storage, destination.id),
        "configuration": {
            "type": "logpush",
            "url": body["url"],
            "headers": body["headers"],
            "destination_conf": body["url"],
            "logpushDataset": body["logpushDataset"],
            "logpushJob": int(destination.created),
            "jobStatus": {"error_message": "", "last_complete": "", "last_error": ""},
        },
    }


def _scripts_sending_to(storage: Storage, slug: str) -> list[str]:
    """Return the workers whose settings name the destination *slug* for their logs or traces."""
    found = []
    for script, text in storage.db.execute("SELECT name, settings FROM workers ORDER BY number"):
        settings = json.loads(text).get("observability")
        parts = settings.values() if isinstance(settings, dict) else ()
        named = [part.get("destinations") for part in parts if isinstance(part, dict)]
        if any(slug in names for names in named if isinstance(names, list)):
            found.append(script)
    return found


def _inventory(storage: Storage) -> Iterable[InventoryItem]:
    for destination in _DESTINATIONS.all(storage):
        yield InventoryItem("destination", destination.id, destination.name, destination.created)


# --- queries that are kept, and those that are shared

_QUERIES = Shelf("query")
_SHARED = Shelf("shared_query")


def _add_query(call: Call) -> Reply:
    body = object_of(call.request, _BAD)
    made = _QUERIES.add(
        call.storage,
        {
            "description": field_of(body, "description", str, _BAD, None),
            "parameters": field_of(body, "parameters", dict, _BAD),
        },
        name=field_of(body, "name", str, _BAD),
    )
    return Reply(_shown_query(made))


def _list_queries(call: Call) -> Reply:
    page, found = _in_order(call, _QUERIES.all(call.storage))
    return page.reply(found, _shown_query)


def _shown_query(query: Document) -> dict[str, Any]:
    return {
        "id": query.id,
        "name": query.name,
        "adhoc": False,
        "created": timestamp(query.created),
        "createdBy": EMAIL,
        "updated": timestamp(query.modified),
        "updatedBy": EMAIL,
        **query.body,
    }


def _share(call: Call) -> Reply:
    return Reply({"id": _SHARED.add(call.storage, _result(call)).id})


def _get_shared(call: Call) -> Reply:
    shared = _SHARED.get(call.storage, call.parts[0])
    if shared is None:
        raise Refusal(404, 10007, f"There is no shared query {call.parts[0]}.")
    return Reply(shared.body)


# --- telemetry


def _query(call: Call) -> Reply:
    return Reply(_result(call))


def _result(call: Call) -> dict[str, Any]:
    """Return the answer to the query in the body: one that is kept, or with parameters of its own."""
    body = object_of(call.request, _BAD)
    id = field_of(body, "queryId", str, _BAD)
    kept = _QUERIES.get(call.storage, id)
    parameters = field_of(body, "parameters", dict, _BAD, None)
    if kept is None and parameters is None:
        raise Refusal(404, 10007, f"There is no query {id}, and no parameters of another one.")
    now = timestamp(clock.now())
    adhoc = {"id": id, "name": "", "adhoc": True, "description": None, "parameters": parameters}
    by_whom = {"created": now, "createdBy": EMAIL, "updated": now, "updatedBy": EMAIL}
    view = field_of(body, "view", str, _BAD, "events")
    if view not in _VIEWS:
        raise Refusal(400, _BAD, f"view has to be one of {', '.join(_VIEWS)}")
    statistics = {"bytes_read": 0, "elapsed": 0, "rows_read": 0}
    run = {
        "id": id,
        "accountId": call.storage.identity.account_id,
        "userId": EMAIL,
        "dry": field_of(body, "dry", bool, _BAD, False),
        "granularity": field_of(body, "granularity", float, _BAD, 0),
        "query": {**adhoc, **by_whom} if kept is None else _shown_query(kept),
        "status": "COMPLETED",
        "timeframe": _timeframe(body),
        "created": now,
        "updated": now,
        "statistics": statistics,
    }
    return {"run": run, "statistics": statistics, view: _VIEWS[view]}


def _timeframe(body: dict[str, Any]) -> dict[str, Any]:
    given = field_of(body, "timeframe", dict, _BAD)
    return {name: field_of(given, name, float, _BAD) for name in ("from", "to")}


def _keys(call: Call) -> Reply:
    object_of(call.request, _BAD)
    return Reply([])


def _values(call: Call) -> Reply:
    body = object_of(call.request, _BAD)
    field_of(body, "key", str, _BAD)
    field_of(body, "datasets", list, _BAD)
    _timeframe(body)
    return Reply([])


# --- live tails

_LIVE = Shelf("live_tail")


def _start_live(call: Call) -> Reply:
    owner = _owner(call)
    tail = _LIVE.add(call.storage, {}, owner=owner)
    return Reply({"wsUrl": address_of(tail.id)})


def _heartbeat(call: Call) -> Reply:
    owner, now = _owner(call), clock.now()
    alive = [
        tail for tail in _LIVE.all(call.storage, owner=owner) if now < tail.modified + LIFETIME
    ]
    if not alive:
        raise Refusal(404, 10057, "There is no live tail to keep.")
    for tail in alive:
        _LIVE.change(call.storage, tail, {})
    return Reply({})


def _owner(call: Call) -> str:
    """Return whose logs the body asks for: a worker's, by name or id, or all."""
    wanted = field_of(object_of(call.request, _BAD), "scriptId", str, _BAD, None)
    if wanted is None:
        return ""
    row = call.storage.db.execute(
        "SELECT name FROM workers WHERE ? IN (name, tag)", (wanted,)
    ).fetchone()
    if row is None:
        raise missing()
    return f"worker/{row[0]}"


_BASE = "@/workers/observability"
_TELEMETRY = f"{_BASE}/telemetry"
PRODUCT = Product(
    kind="destination",
    routes=(
        Route("POST", f"{_BASE}/destinations", _add_destination),
        Route("GET", f"{_BASE}/destinations", _list_destinations, writes=False),
        Route("PATCH", f"{_BASE}/destinations/*", _edit_destination),
        Route("DELETE", f"{_BASE}/destinations/*", _delete_destination),
        Route("POST", f"{_BASE}/queries", _add_query),
        Route("GET", f"{_BASE}/queries", _list_queries, writes=False),
        Route("POST", f"{_BASE}/shared/query", _share),
        Route("GET", f"{_BASE}/shared/query/*", _get_shared, writes=False),
        Route("POST", f"{_TELEMETRY}/query", _query, writes=False),
        Route("POST", f"{_TELEMETRY}/keys", _keys, writes=False),
        Route("POST", f"{_TELEMETRY}/values", _values, writes=False),
        Route("POST", f"{_TELEMETRY}/live-tail", _start_live),
        Route("POST", f"{_TELEMETRY}/live-tail/heartbeat", _heartbeat),
    ),
    inventory=_inventory,
    discard=_DESTINATIONS.remove,
)
