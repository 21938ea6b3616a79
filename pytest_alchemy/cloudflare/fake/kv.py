"""Workers KV: everything that the account has of it."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_alchemy.cloudflare.fake import kv_namespaces, kv_pairs
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.storage import Storage


def _inventory(storage: Storage) -> Iterable[InventoryItem]:
    for row in storage.db.execute("SELECT id, title, created FROM kv_namespaces ORDER BY number"):
        yield InventoryItem("kv", *row)


PRODUCT = Product(
    kind="kv",
    tables=(kv_namespaces.TABLE, kv_pairs.TABLE),
    routes=(*kv_namespaces.ROUTES, *kv_pairs.ROUTES),
    inventory=_inventory,
    discard=kv_namespaces.remove,
)
