"""Queues: subscriptions to what happens elsewhere in the account. They are kept; no event is ever sent."""

from __future__ import annotations

from typing import Any

from pytest_alchemy.cloudflare.fake.documents import Document, Shelf
from pytest_alchemy.cloudflare.fake.queue_control import BAD_BODY, queue_with_id
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.wire import (
    Page,
    Refusal,
    Reply,
    field_of,
    object_of,
    timestamp,
)

# The sources of events, and the field that tells which one of them is meant.
_SOURCES = {
    "images": None,
    "kv": None,
    "r2": None,
    "superSlurper": None,
    "vectorize": None,
    "workersAi.model": "model_name",
    "workersBuilds.worker": "worker_name",
    "workers.script": "script_tag",
    "workflows.workflow": "workflow_name",
}
_ORDERS = {
    "created_at": lambda shown: shown["created_at"],
    "name": lambda shown: shown["name"],
    "enabled": lambda shown: shown["enabled"],
    "source": lambda shown: shown["source"]["type"],
}
_DESTINATION = "queues.queue"
_SUBSCRIPTIONS = Shelf("subscription")


def _create(call: Call) -> Reply:
    body = object_of(call.request, BAD_BODY)
    source = field_of(body, "source", dict, BAD_BODY)
    kind = field_of(source, "type", str, BAD_BODY)
    if kind not in _SOURCES:
        raise _invalid(f"source.type is none of {', '.join(_SOURCES)}")
    which = _SOURCES[kind]
    named = {} if which is None else {which: field_of(source, which, str, BAD_BODY)}
    name = _free_name(call, field_of(body, "name", str, BAD_BODY))
    queue = _queue(call, field_of(body, "destination", dict, BAD_BODY))
    made = _SUBSCRIPTIONS.add(
        call.storage,
        {
            "source": {"type": kind, **named},
            "events": _events(field_of(body, "events", list, BAD_BODY)),
            "enabled": field_of(body, "enabled", bool, BAD_BODY, True),
        },
        name=name,
        owner=f"queue/{queue}",
    )
    return Reply(_shown(made))


def _list(call: Call) -> Reply:
    arguments = call.request.arguments()
    page = Page.of(arguments, default=20, largest=100, code=BAD_BODY)
    order = _ORDERS.get(arguments.get("order", "created_at"))
    if order is None:
        raise _invalid(f"order is none of {', '.join(_ORDERS)}")
    found = sorted(map(_shown, _SUBSCRIPTIONS.all(call.storage)), key=order)
    if arguments.get("direction", "desc") == "desc":
        found.reverse()
    return page.reply(found, lambda shown: shown)


def _get(call: Call) -> Reply:
    return Reply(_shown(_subscription(call)))


def _edit(call: Call) -> Reply:
    old, body = _subscription(call), object_of(call.request, BAD_BODY)
    name = field_of(body, "name", str, BAD_BODY, old.name)
    destination = field_of(body, "destination", dict, BAD_BODY, None)
    new = {
        **old.body,
        "enabled": field_of(body, "enabled", bool, BAD_BODY, old.body["enabled"]),
        "events": _events(field_of(body, "events", list, BAD_BODY, old.body["events"])),
    }
    changed = _SUBSCRIPTIONS.change(
        call.storage,
        old,
        new,
        name=name if name == old.name else _free_name(call, name),
        owner=old.owner if destination is None else f"queue/{_queue(call, destination)}",
    )
    return Reply(_shown(changed))


def _delete(call: Call) -> Reply:
    gone = _subscription(call)
    _SUBSCRIPTIONS.remove(call.storage, gone.id)
    return Reply(_shown(gone))


def _subscription(call: Call) -> Document:
    found = _SUBSCRIPTIONS.get(call.storage, call.parts[0])
    if found is None:
        raise Refusal(404, 11000, f"Subscription not found: {call.parts[0]}")
    return found


def _free_name(call: Call, name: str) -> str:
    if not name or _SUBSCRIPTIONS.all(call.storage, name=name):
        raise Refusal(409, 11009, f"Subscription name '{name}' is already taken, or empty.")
    return name


def _queue(call: Call, destination: dict[str, Any]) -> str:
    if destination.get("type") != _DESTINATION:
        raise _invalid(f"destination.type has to be {_DESTINATION}")
    return queue_with_id(call.storage, field_of(destination, "queue_id", str, BAD_BODY)).id


def _events(given: list[Any]) -> list[str]:
    if not given or not all(isinstance(event, str) and event for event in given):
        raise _invalid("events have to be names, at least one")
    return given


def _shown(subscription: Document) -> dict[str, Any]:
    queue = subscription.owner.removeprefix("queue/")
    return {
        "id": subscription.id,
        "name": subscription.name,
        "created_at": timestamp(subscription.created),
        "modified_at": timestamp(subscription.modified),
        "destination": {"type": _DESTINATION, "queue_id": queue},
        **subscription.body,
    }


def _invalid(reason: str) -> Refusal:
    return Refusal(400, BAD_BODY, f"Invalid subscription: {reason}")


_ALL = "@/event_subscriptions/subscriptions"
_ONE = f"{_ALL}/*"
ROUTES = (
    Route("POST", _ALL, _create),
    Route("GET", _ALL, _list, writes=False),
    Route("GET", _ONE, _get, writes=False),
    Route("PATCH", _ONE, _edit),
    Route("DELETE", _ONE, _delete),
)
