"""Queues: the queues themselves and who consumes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.documents import NOTIFICATIONS, remove_all_of
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Page, Refusal, Reply, object_of, timestamp

TABLES = (
    """CREATE TABLE IF NOT EXISTS queues (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, created REAL NOT NULL,
        modified REAL NOT NULL, delay REAL NOT NULL, paused INTEGER NOT NULL, retention REAL NOT NULL
    )""",
    # A queue has one consumer at most.
    """CREATE TABLE IF NOT EXISTS queue_consumers (
        id TEXT PRIMARY KEY, queue TEXT NOT NULL UNIQUE, type TEXT NOT NULL, script TEXT, dead_letters TEXT,
        settings TEXT NOT NULL, created REAL NOT NULL
    )""",
    # Which scripts send to which queue, as their bindings say.
    """CREATE TABLE IF NOT EXISTS queue_producers (
        queue TEXT NOT NULL, script TEXT NOT NULL, PRIMARY KEY (queue, script)
    )""",
)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LONGEST_DELAY = 12 * 3600
_LONGEST_RETENTION = 14 * 24 * 3600
_DEFAULT_RETENTION = 4 * 24 * 3600
BAD_BODY = 10026

# Name of a setting, its default, and what it may be at least and at most.
_Settings = Mapping[str, tuple[float | None, float, float]]
_OF_BOTH: _Settings = {"max_retries": (3, 0, 100), "retry_delay": (0, 0, LONGEST_DELAY)}
_SETTINGS: Mapping[str, _Settings] = {
    "worker": {
        "batch_size": (10, 1, 100),
        "max_wait_time_ms": (5000, 0, 60_000),
        "max_concurrency": (None, 1, 250),
        **_OF_BOTH,
    },
    "http_pull": {
        "batch_size": (5, 1, 100),
        "visibility_timeout_ms": (30_000, 0, LONGEST_DELAY * 1000),
        **_OF_BOTH,
    },
}


class QueueRow(NamedTuple):
    """A queue's row; delay and retention are in seconds."""

    id: str
    name: str
    created: float
    modified: float
    delay: float
    paused: int
    retention: float


class ConsumerRow(NamedTuple):
    """A consumer's row; *settings* is JSON."""

    id: str
    queue: str
    type: str
    script: str | None
    dead_letters: str | None
    settings: str
    created: float


_QUEUE = f"SELECT {', '.join(QueueRow._fields)} FROM queues"  # noqa: S608 (our words)
_CONSUMER = f"SELECT {', '.join(ConsumerRow._fields)} FROM queue_consumers"  # noqa: S608 (our words)


def queue_of(call: Call) -> QueueRow:
    """Return the queue that the path names, as `queue_with_id` does."""
    return queue_with_id(call.storage, call.parts[0])


def queue_with_id(storage: Storage, id: str) -> QueueRow:
    """
    Return the queue *id*.

    Raises:
        Refusal: There is no such queue.
    """
    row = _first(storage, f"{_QUEUE} WHERE id = ?", id)
    if row is None:
        raise Refusal(404, 11000, f"Queue not found: {id}")
    return QueueRow(*row)


def queue_named(storage: Storage, name: str) -> QueueRow | None:
    """Return the queue called *name*."""
    row = _first(storage, f"{_QUEUE} WHERE name = ?", name)
    return None if row is None else QueueRow(*row)


def consumer_of(storage: Storage, queue: str) -> ConsumerRow | None:
    """Return the consumer of the queue with the id *queue*."""
    row = _first(storage, f"{_CONSUMER} WHERE queue = ?", queue)
    return None if row is None else ConsumerRow(*row)


def number_in(body: Mapping[str, Any], name: str, default: Any, least: float, most: float) -> Any:
    """
    Return the number *name* in *body*, *default* if it is not there.

    Raises:
        Refusal: It is no number, or out of range.
    """
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Refusal(
            400, BAD_BODY, f"{name} has to be a number from {least:g} to {most:g}, not {value!r}"
        )
    return value


def remove(storage: Storage, id: str) -> None:
    """Remove the queue *id* with its messages and its consumer."""
    for table in ("queue_consumers", "queue_producers", "queue_messages", "queue_purges"):
        storage.db.execute(f"DELETE FROM {table} WHERE queue = ?", (id,))  # noqa: S608 (our words)
    storage.db.execute("DELETE FROM queues WHERE id = ?", (id,))
    for notification in NOTIFICATIONS.all(storage, name=id):
        NOTIFICATIONS.remove(storage, notification.id)
    remove_all_of(storage, f"queue/{id}")


# --- queues


def _create(call: Call) -> Reply:
    body = object_of(call.request, BAD_BODY)
    name, now = _free_name(call, body.get("queue_name")), clock.now()
    row = QueueRow(
        clock.random_bytes(16).hex(), name, now, now, *_settings(body, (0, 0, _DEFAULT_RETENTION))
    )
    call.storage.db.execute(
        f"INSERT INTO queues ({', '.join(QueueRow._fields)}) VALUES (?{', ?' * 6})",  # noqa: S608 (our words)
        row,
    )
    return Reply(_shown(call.storage, row))


def _list(call: Call) -> Reply:
    query = parse_qsl(call.request.query)
    names = {value for name, value in query if name == "name"}
    rows = [QueueRow(*row) for row in call.storage.db.execute(f"{_QUEUE} ORDER BY number")]
    page = Page.of(call.request.arguments(), default=100, largest=100, code=BAD_BODY)
    found = [row for row in rows if not names or row.name in names]
    return page.reply(found, lambda row: _shown(call.storage, row))


def _get(call: Call) -> Reply:
    return Reply(_shown(call.storage, queue_of(call)))


def _edit(call: Call) -> Reply:
    row, body = queue_of(call), object_of(call.request, BAD_BODY)
    name = body.get("queue_name")
    delay, paused, retention = _settings(body, (row.delay, row.paused, row.retention))
    changed = row._replace(
        name=row.name if name in (None, row.name) else _free_name(call, name),
        modified=clock.now(),
        delay=delay,
        paused=paused,
        retention=retention,
    )
    call.storage.db.execute(
        "UPDATE queues SET name = ?, modified = ?, delay = ?, paused = ?, retention = ? WHERE id = ?",
        (changed.name, changed.modified, delay, paused, retention, row.id),
    )
    return Reply(_shown(call.storage, changed))


def _delete(call: Call) -> Reply:
    row = queue_of(call)
    scripts = _producers(call.storage, row.id)
    if scripts:
        raise Refusal(
            400,
            11005,
            f"Cannot delete queue {row.name}: it is still referenced by a binding in a Worker ({', '.join(scripts)}).",
        )
    if NOTIFICATIONS.all(call.storage, name=row.id):
        why = "event notifications of an R2 bucket are still sent to it"
        # Clients remove them first; nobody has confirmed the code.
        raise Refusal(400, 11005, f"Cannot delete queue {row.name}: {why}.")
    remove(call.storage, row.id)
    return Reply(None)


def _free_name(call: Call, name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refusal(
            400,
            11003,
            "Invalid queue name: it has 1 to 63 lowercase letters, digits and dashes, "
            "and starts and ends with a letter or a digit.",
        )
    if queue_named(call.storage, name) is not None:
        raise Refusal(
            409,
            11009,
            f"Queue name '{name}' is already taken. Please use a different name and try again.",
        )
    return name


def _settings(
    body: Mapping[str, Any], default: tuple[float, int, float]
) -> tuple[float, int, float]:
    """Return delay, paused and retention as *body* wants them."""
    given = body.get("settings")
    if given is None:
        return default
    if not isinstance(given, dict):
        raise Refusal(400, BAD_BODY, "settings has to be an object")
    paused = given.get("delivery_paused", bool(default[1]))
    if not isinstance(paused, bool):
        raise Refusal(400, BAD_BODY, "delivery_paused has to be true or false")
    return (
        number_in(given, "delivery_delay", default[0], 0, LONGEST_DELAY),
        int(paused),
        number_in(given, "message_retention_period", default[2], 60, _LONGEST_RETENTION),
    )


def _producers(storage: Storage, id: str) -> list[str]:
    rows = storage.db.execute(
        "SELECT script FROM queue_producers WHERE queue = ? ORDER BY script", (id,)
    )
    return [script for (script,) in rows]


def _shown(storage: Storage, row: QueueRow) -> dict[str, Any]:
    producers = [{"type": "worker", "script": name} for name in _producers(storage, row.id)]
    consumer = consumer_of(storage, row.id)
    consumers = [] if consumer is None else [shown_consumer(consumer, row.name)]
    return {
        "queue_id": row.id,
        "queue_name": row.name,
        "created_on": timestamp(row.created),
        "modified_on": timestamp(row.modified),
        "settings": {
            "delivery_delay": row.delay,
            "delivery_paused": bool(row.paused),
            "message_retention_period": row.retention,
        },
        "producers": producers,
        "producers_total_count": len(producers),
        "consumers": consumers,
        "consumers_total_count": len(consumers),
    }


# --- consumers


def shown_consumer(row: ConsumerRow, queue_name: str) -> dict[str, Any]:
    """Return what the API says of a consumer; clients look for the script under either name."""
    script = {"script": row.script, "script_name": row.script} if row.script else {}
    letters = {"dead_letter_queue": row.dead_letters} if row.dead_letters else {}
    return {
        "consumer_id": row.id,
        "created_on": timestamp(row.created),
        "queue_name": queue_name,
        "type": row.type,
        **script,
        **letters,
        "settings": json.loads(row.settings),
    }


def _add_consumer(call: Call) -> Reply:
    queue = queue_of(call)
    if consumer_of(call.storage, queue.id) is not None:
        raise Refusal(400, 11004, f"Queue '{queue.name}' already has a consumer.")
    row = ConsumerRow(
        clock.random_bytes(16).hex(), queue.id, *_wanted_consumer(call, {}), created=clock.now()
    )
    call.storage.db.execute(
        f"INSERT INTO queue_consumers ({', '.join(ConsumerRow._fields)}) VALUES (?{', ?' * 6})",  # noqa: S608
        row,
    )
    return Reply(shown_consumer(row, queue.name))


def _consumers(call: Call) -> Reply:
    queue = queue_of(call)
    row = consumer_of(call.storage, queue.id)
    return Reply([] if row is None else [shown_consumer(row, queue.name)])


def _get_consumer(call: Call) -> Reply:
    return Reply(shown_consumer(_consumer(call), queue_of(call).name))


def _edit_consumer(call: Call) -> Reply:
    queue, row = queue_of(call), _consumer(call)
    kind, script, dead_letters, settings = wanted = _wanted_consumer(call, row._asdict())
    changed = row._replace(type=kind, script=script, dead_letters=dead_letters, settings=settings)
    call.storage.db.execute(
        "UPDATE queue_consumers SET type = ?, script = ?, dead_letters = ?, settings = ? WHERE id = ?",
        (*wanted, row.id),
    )
    return Reply(shown_consumer(changed, queue.name))


def _delete_consumer(call: Call) -> Reply:
    call.storage.db.execute("DELETE FROM queue_consumers WHERE id = ?", (_consumer(call).id,))
    return Reply(None)


def _consumer(call: Call) -> ConsumerRow:
    row = consumer_of(call.storage, queue_of(call).id)
    if row is None or row.id != call.parts[1]:
        raise Refusal(404, 11000, f"Consumer not found: {call.parts[1]}")
    return row


def _wanted_consumer(
    call: Call, before: Mapping[str, Any]
) -> tuple[str, str | None, str | None, str]:
    """Return type, script, dead letter queue and settings that the body asks for; missing ones as *before*."""
    body = object_of(call.request, BAD_BODY)
    kind = body.get("type", before.get("type", "worker"))
    if not isinstance(kind, str) or kind not in _SETTINGS:
        raise Refusal(400, BAD_BODY, f"type has to be one of {', '.join(_SETTINGS)}")
    script = body.get("script_name", body.get("script", before.get("script")))
    if kind == "worker" and (not isinstance(script, str) or not script):
        raise Refusal(400, BAD_BODY, "script_name is required")
    if kind == "worker":
        _check_handler(call.storage, str(script))
    dead_letters = body.get("dead_letter_queue", before.get("dead_letters"))
    if not isinstance(dead_letters, str | None):
        raise Refusal(400, BAD_BODY, "dead_letter_queue has to be the name of a queue")
    given = body.get("settings") or {}
    if not isinstance(given, dict):
        raise Refusal(400, BAD_BODY, "settings has to be an object")
    earlier = json.loads(before.get("settings", "{}"))
    settings = {
        name: number_in(given, name, earlier.get(name, default), least, most)
        for name, (default, least, most) in _SETTINGS[kind].items()
    }
    return kind, script if kind == "worker" else None, dead_letters or None, json.dumps(settings)


def _check_handler(storage: Storage, script: str) -> None:
    row = _first(
        storage,
        "SELECT handlers FROM workers JOIN worker_versions ON worker_versions.id = deployed WHERE name = ?",
        script,
    )
    if row is None:
        raise Refusal(404, 10007, "This Worker does not exist on your account.")
    if "queue" not in json.loads(row[0]):
        raise no_handler(script)


def no_handler(script: str) -> Refusal:
    """Return the refusal for a consumer that would not know what to do with a message."""
    return Refusal(400, 11001, f"Queue consumer {script} is missing a `queue` handler.")


def _first(storage: Storage, sql: str, argument: str) -> Any:
    return storage.db.execute(sql, (argument,)).fetchone()


ALL = "@/queues"
ONE = f"{ALL}/*"
_CONSUMERS = f"{ONE}/consumers"
ROUTES = (
    Route("POST", ALL, _create),
    Route("GET", ALL, _list, writes=False),
    Route("GET", ONE, _get, writes=False),
    Route("PUT", ONE, _edit),
    Route("PATCH", ONE, _edit),
    Route("DELETE", ONE, _delete),
    Route("GET", _CONSUMERS, _consumers, writes=False),
    Route("POST", _CONSUMERS, _add_consumer),
    Route("GET", f"{_CONSUMERS}/*", _get_consumer, writes=False),
    Route("PUT", f"{_CONSUMERS}/*", _edit_consumer),
    Route("DELETE", f"{_CONSUMERS}/*", _delete_consumer),
)
