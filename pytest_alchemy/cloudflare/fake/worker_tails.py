"""Tails of workers: who listens to what a worker logs. Scripts are not run, so nothing is ever heard."""

from __future__ import annotations

from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.documents import Document, Shelf
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, timestamp
from pytest_alchemy.cloudflare.fake.worker_versions import deployed

LIFETIME = 6 * 3600.0
"""How long a tail lasts, in seconds."""

_TAILS = Shelf("tail")


def address_of(id: str) -> str:
    """Return where the tail *id* would be heard: nothing listens there, and it is on this machine."""
    return f"ws://127.0.0.1:9/tails/{id}"


def _start(call: Call) -> Reply:
    deployed(call.storage, call.parts[0])
    return Reply(_shown(_TAILS.add(call.storage, {}, owner=_owner(call))))


def _get(call: Call) -> Reply:
    deployed(call.storage, call.parts[0])
    alive = [tail for tail in _TAILS.all(call.storage, owner=_owner(call)) if _is_alive(tail)]
    # The documented answer is one tail, not a list.
    return Reply(_shown(alive[-1]) if alive else None)


def _stop(call: Call) -> Reply:
    deployed(call.storage, call.parts[0])
    tail = _TAILS.get(call.storage, call.parts[1])
    if tail is None or tail.owner != _owner(call) or not _is_alive(tail):
        raise Refusal(404, 10057, f"There is no tail {call.parts[1]} of this Worker.")
    _TAILS.remove(call.storage, tail.id)
    return Reply(None)


def _owner(call: Call) -> str:
    return f"worker/{call.parts[0]}"


def _is_alive(tail: Document) -> bool:
    return clock.now() < tail.created + LIFETIME


def _shown(tail: Document) -> dict[str, Any]:
    expires = timestamp(tail.created + LIFETIME)
    return {"id": tail.id, "url": address_of(tail.id), "expires_at": expires}


_ALL = "@/workers/scripts/*/tails"
ROUTES = (
    Route("POST", _ALL, _start),
    Route("GET", _ALL, _get, writes=False),
    Route("DELETE", f"{_ALL}/*", _stop),
)
