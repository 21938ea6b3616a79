"""Queues: everything that the account has of them."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_alchemy.cloudflare.fake import (
    queue_control,
    queue_messages,
    queue_subscriptions,
)
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.storage import Storage


def set_producer(storage: Storage, script: str, names: Iterable[str]) -> None:
    """Note that *script* sends to the queues *names* and to no others; a queue cannot go before its producers."""
    storage.db.execute("DELETE FROM queue_producers WHERE script = ?", (script,))
    storage.db.executemany(
        "INSERT OR IGNORE INTO queue_producers (queue, script) SELECT id, ? FROM queues WHERE name = ?",
        [(script, name) for name in names],
    )


def consumed_by(storage: Storage, script: str) -> list[dict[str, object]]:
    """Return the consumers that *script* is, as the API shows them; it cannot go before them."""
    rows = storage.db.execute(
        "SELECT q.name, c.id, c.queue, c.type, c.script, c.dead_letters, c.settings, c.created "
        "FROM queue_consumers c JOIN queues q ON q.id = c.queue WHERE c.script = ? ORDER BY q.number",
        (script,),
    )
    return [
        queue_control.shown_consumer(queue_control.ConsumerRow(*row), name) for name, *row in rows
    ]


def _inventory(storage: Storage) -> Iterable[InventoryItem]:
    for row in storage.db.execute("SELECT id, name, created FROM queues ORDER BY number"):
        yield InventoryItem("queue", *row)


PRODUCT = Product(
    kind="queue",
    tables=(*queue_control.TABLES, queue_messages.TABLE, queue_messages.PURGES),
    routes=(*queue_control.ROUTES, *queue_messages.ROUTES, *queue_subscriptions.ROUTES),
    inventory=_inventory,
    discard=queue_control.remove,
)
