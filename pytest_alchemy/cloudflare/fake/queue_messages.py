"""Queues: the messages in them, from being sent to being acknowledged, dropped or put aside."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.queue_control import (
    BAD_BODY,
    LONGEST_DELAY,
    ONE,
    QueueRow,
    consumer_of,
    number_in,
    queue_named,
    queue_of,
)
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, object_of, timestamp

TABLE = """CREATE TABLE IF NOT EXISTS queue_messages (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, content_type TEXT NOT NULL,
        sent REAL NOT NULL, visible REAL NOT NULL, attempts INTEGER NOT NULL, lease TEXT NOT NULL, body BLOB NOT NULL
    )"""
PURGES = """CREATE TABLE IF NOT EXISTS queue_purges (queue TEXT PRIMARY KEY, at REAL NOT NULL)"""
CONTENT_TYPES = ("text", "json", "bytes")
_LARGEST = 128_000
_LARGEST_BATCH = 256_000
_MOST = 100
_DEFAULT_RETRIES = 3


class _Message(NamedTuple):
    id: str
    attempts: int
    sent: float
    content_type: str
    body: bytes


class Body(NamedTuple):
    """A message that is about to be sent; *delay* is in seconds, None for the queue's own."""

    content_type: str
    body: bytes
    delay: float | None = None


_COLUMNS = ", ".join(_Message._fields)


def send(storage: Storage, queue: QueueRow, messages: Iterable[Body]) -> None:
    """Put *messages* into *queue*, in order."""
    now = clock.now()
    storage.db.executemany(
        "INSERT INTO queue_messages (id, queue, content_type, sent, visible, attempts, lease, body) "
        "VALUES (?, ?, ?, ?, ?, 0, '', ?)",
        [
            (
                clock.random_bytes(16).hex(),
                queue.id,
                message.content_type,
                now,
                now + (queue.delay if message.delay is None else message.delay),
                message.body,
            )
            for message in messages
        ],
    )


def metrics(storage: Storage, queue: QueueRow) -> dict[str, float]:
    """Return how much is in *queue*; the oldest message's moment is in milliseconds since the epoch."""
    count, size, oldest = storage.db.execute(
        "SELECT count(*), coalesce(sum(length(body)), 0), coalesce(min(sent), 0) FROM queue_messages WHERE queue = ?",
        (queue.id,),
    ).fetchone()
    return {
        "backlog_count": count,
        "backlog_bytes": size,
        "oldest_message_timestamp_ms": int(oldest * 1000),
    }


# --- sending


def _send(call: Call) -> Reply:
    return _sent(call, [_body(object_of(call.request, BAD_BODY))])


def _send_batch(call: Call) -> Reply:
    given = object_of(call.request, BAD_BODY)
    messages = given.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= _MOST:
        raise Refusal(400, BAD_BODY, f"messages has to be a list of 1 to {_MOST} messages")
    if not all(isinstance(message, dict) for message in messages):
        raise Refusal(400, BAD_BODY, "each message has to be an object")
    delay = number_in(given, "delay_seconds", None, 0, LONGEST_DELAY)
    bodies = [_body(message) for message in messages]
    if sum(len(body.body) for body in bodies) > _LARGEST_BATCH:
        raise Refusal(413, 10207, f"The batch is larger than {_LARGEST_BATCH} bytes")
    return _sent(
        call, [body if body.delay is not None else body._replace(delay=delay) for body in bodies]
    )


def _sent(call: Call, bodies: list[Body]) -> Reply:
    queue = queue_of(call)
    send(call.storage, queue, bodies)
    return Reply({"metadata": {"metrics": metrics(call.storage, queue)}})


def _body(message: dict[str, Any]) -> Body:
    content_type, given = message.get("content_type", "json"), message.get("body")
    if content_type not in CONTENT_TYPES:
        raise Refusal(400, 10207, f"content_type has to be one of {', '.join(CONTENT_TYPES)}")
    if content_type == "json":
        raw = json.dumps(given, separators=(",", ":"), ensure_ascii=False).encode()
    elif not isinstance(given, str):
        raise Refusal(400, 10207, f"the body of a {content_type} message has to be a string")
    else:
        raw = given.encode() if content_type == "text" else _decoded(given)
    if len(raw) > _LARGEST:
        raise Refusal(413, 10207, f"The message is larger than {_LARGEST} bytes")
    return Body(content_type, raw, number_in(message, "delay_seconds", None, 0, LONGEST_DELAY))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Refusal(400, 10207, "the body of a bytes message has to be base64") from None


# --- receiving


def _pull(call: Call) -> Reply:
    queue, given = queue_of(call), object_of(call.request, BAD_BODY)
    consumer = consumer_of(call.storage, queue.id)
    if consumer is None or consumer.type != "http_pull":
        # Documentation demands the consumer, and does not tell the code of the refusal.
        raise Refusal(400, 11006, f"Queue '{queue.name}' has no consumer of type http_pull.")
    settings = json.loads(consumer.settings)
    most = number_in(given, "batch_size", settings["batch_size"], 1, _MOST)
    hidden = number_in(
        given,
        "visibility_timeout_ms",
        settings["visibility_timeout_ms"],
        0,
        LONGEST_DELAY * 1000,
    )
    _settle(call.storage, queue)
    found = [] if queue.paused else _next(call.storage, queue, int(most))
    leases = [f"{message.id}.{clock.random_bytes(8).hex()}" for message in found]
    call.storage.db.executemany(
        "UPDATE queue_messages SET visible = ?, attempts = attempts + 1, lease = ? WHERE id = ?",
        [
            (clock.now() + hidden / 1000, lease, message.id)
            for message, lease in zip(found, leases, strict=True)
        ],
    )
    measured = metrics(call.storage, queue)
    return Reply(
        {
            "message_backlog_count": measured["backlog_count"],
            "messages": [
                {**_shown(message._replace(attempts=message.attempts + 1)), "lease_id": lease}
                for message, lease in zip(found, leases, strict=True)
            ],
            "metadata": {"metrics": measured},
        }
    )


def _peek(call: Call) -> Reply:
    queue, given = queue_of(call), object_of(call.request, BAD_BODY)
    most = number_in(given, "batch_size", 5, 1, _MOST)
    _settle(call.storage, queue)
    found = _next(call.storage, queue, int(most))
    return Reply({"messages": [{**_shown(message), "ref": message.id} for message in found]})


def _ack(call: Call) -> Reply:
    queue, given = queue_of(call), object_of(call.request, BAD_BODY)
    acks, retries = _leases(given, "acks"), _leases(given, "retries")
    warnings = {}
    counts = [0, 0]
    for place, leases in enumerate((acks, retries)):
        for lease in leases:
            lease_id = lease["lease_id"]
            if _is_known(call.storage, queue, lease_id):
                counts[place] += 1
            else:
                warnings[lease_id] = "the lease is not known: the message may be gone already"
    db = call.storage.db
    # A late acknowledgement counts, even where the message was delivered to somebody else meanwhile.
    db.executemany(
        "DELETE FROM queue_messages WHERE queue = ? AND id = ?",
        [(queue.id, _message_id(lease["lease_id"])) for lease in acks],
    )
    delay = _settings_of(call.storage, queue).get("retry_delay", 0)
    for lease in retries:
        wait = number_in(lease, "delay_seconds", delay, 0, LONGEST_DELAY)
        db.execute(
            "UPDATE queue_messages SET visible = ? WHERE queue = ? AND lease = ?",
            (clock.now() + wait, queue.id, lease["lease_id"]),
        )
    return Reply({"ackCount": counts[0], "retryCount": counts[1], "warnings": warnings})


def _settle(storage: Storage, queue: QueueRow) -> None:
    """Drop what is too old, and put aside what was delivered as often as it may be."""
    now = clock.now()
    storage.db.execute(
        "DELETE FROM queue_messages WHERE queue = ? AND sent <= ?",
        (queue.id, now - queue.retention),
    )
    deliveries = 1 + _settings_of(storage, queue).get("max_retries", _DEFAULT_RETRIES)
    spent = storage.db.execute(
        f"SELECT {_COLUMNS} FROM queue_messages WHERE queue = ? AND attempts >= ? AND visible <= ? ORDER BY number",  # noqa: S608 (our words)
        (queue.id, deliveries, now),
    ).fetchall()
    consumer = consumer_of(storage, queue.id)
    name = None if consumer is None else consumer.dead_letters
    letters = None if name is None else queue_named(storage, name)
    for message in (_Message(*row) for row in spent):
        storage.db.execute("DELETE FROM queue_messages WHERE id = ?", (message.id,))
        if letters is not None:
            send(storage, letters, [Body(message.content_type, message.body)])


def _next(storage: Storage, queue: QueueRow, most: int) -> list[_Message]:
    rows = storage.db.execute(
        f"SELECT {_COLUMNS} FROM queue_messages WHERE queue = ? AND visible <= ? ORDER BY number LIMIT ?",  # noqa: S608 (our words)
        (queue.id, clock.now(), most),
    )
    return [_Message(*row) for row in rows]


def _settings_of(storage: Storage, queue: QueueRow) -> dict[str, Any]:
    consumer = consumer_of(storage, queue.id)
    return {} if consumer is None else dict(json.loads(consumer.settings))


def _leases(given: dict[str, Any], name: str) -> list[dict[str, Any]]:
    leases = given.get(name) or []
    if not isinstance(leases, list) or not all(
        isinstance(lease, dict) and isinstance(lease.get("lease_id"), str) for lease in leases
    ):
        raise Refusal(400, BAD_BODY, f"{name} has to be a list of objects with a lease_id")
    return leases


def _is_known(storage: Storage, queue: QueueRow, lease: str) -> bool:
    found = storage.db.execute(
        "SELECT 1 FROM queue_messages WHERE queue = ? AND id = ? AND lease != ''",
        (queue.id, _message_id(lease)),
    ).fetchone()
    return found is not None


def _message_id(lease: str) -> str:
    return lease.partition(".")[0]


def _shown(message: _Message) -> dict[str, Any]:
    # Text travels as it is; what may not be text is base64, JSON too.
    plain = message.content_type == "text"
    body = message.body if plain else base64.b64encode(message.body)
    return {
        "id": message.id,
        "body": body.decode(),
        "attempts": message.attempts,
        "timestamp_ms": int(message.sent * 1000),
        "metadata": {
            "CF-Content-Type": message.content_type,
            "CF-sourceMessageSource": "api",
        },
    }


# --- the rest


def _metrics(call: Call) -> Reply:
    return Reply(metrics(call.storage, queue_of(call)))


def _purge(call: Call) -> Reply:
    queue = queue_of(call)
    if object_of(call.request, BAD_BODY).get("delete_messages_permanently") is not True:
        raise Refusal(400, BAD_BODY, "delete_messages_permanently has to be true")
    call.storage.db.execute("DELETE FROM queue_messages WHERE queue = ?", (queue.id,))
    call.storage.db.execute(
        "INSERT OR REPLACE INTO queue_purges (queue, at) VALUES (?, ?)", (queue.id, clock.now())
    )
    return _purge_status(call)


def _purge_status(call: Call) -> Reply:
    row = call.storage.db.execute(
        "SELECT at FROM queue_purges WHERE queue = ?", (queue_of(call).id,)
    ).fetchone()
    at = "" if row is None else timestamp(row[0])
    return Reply({"started_at": at, "completed": at})


def _purge_refs(call: Call) -> Reply:
    queue = queue_of(call)
    refs = object_of(call.request, BAD_BODY).get("refs")
    if not isinstance(refs, list) or not all(
        isinstance(ref, dict) and isinstance(ref.get("ref"), str) for ref in refs
    ):
        raise Refusal(400, BAD_BODY, "refs has to be a list of objects with a ref")
    call.storage.db.executemany(
        "DELETE FROM queue_messages WHERE queue = ? AND id = ?",
        [(queue.id, ref["ref"]) for ref in refs],
    )
    return Reply({"errors": [], "warnings": {}})


_MESSAGES = f"{ONE}/messages"
ROUTES = (
    Route("POST", _MESSAGES, _send),
    Route("POST", f"{_MESSAGES}/batch", _send_batch),
    Route("POST", f"{_MESSAGES}/pull", _pull),
    Route("POST", f"{_MESSAGES}/ack", _ack),
    Route("POST", f"{_MESSAGES}/peek", _peek),
    Route("POST", f"{_MESSAGES}/purge", _purge_refs),
    Route("POST", f"{ONE}/purge", _purge),
    Route("GET", f"{ONE}/purge", _purge_status, writes=False),
    Route("GET", f"{ONE}/metrics", _metrics, writes=False),
)
