"""R2: buckets, the objects in them, and what all of it takes."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_alchemy.cloudflare.fake import r2_buckets, r2_objects
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Reply


def _metrics(call: Call) -> Reply:
    shown = {}
    for name, storage_class in (("standard", "Standard"), ("infrequentAccess", "InfrequentAccess")):
        count, size = call.storage.db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM r2_objects WHERE storage_class = ?",
            (storage_class,),
        ).fetchone()
        shown[name] = {
            "published": {"metadataSize": 0, "objects": count, "payloadSize": size},
            "uploaded": {"metadataSize": 0, "objects": 0, "payloadSize": 0},
        }
    return Reply(shown)


def _inventory(storage: Storage) -> Iterable[InventoryItem]:
    # Neither tells the name apart two buckets in two jurisdictions, nor the number one made anew.
    for row in storage.db.execute(
        "SELECT public_id, name, created FROM r2_buckets ORDER BY number"
    ):
        yield InventoryItem("r2", *row)


def _discard(storage: Storage, id: str) -> None:
    for (number,) in storage.db.execute(
        "SELECT number FROM r2_buckets WHERE public_id = ?", (id,)
    ).fetchall():
        r2_buckets.remove(storage, number)


PRODUCT = Product(
    kind="r2",
    tables=(*r2_buckets.TABLES, r2_objects.TABLE),
    routes=(
        *r2_buckets.ROUTES,
        *r2_objects.ROUTES,
        Route("GET", "@/r2/metrics", _metrics, writes=False),
    ),
    inventory=_inventory,
    discard=_discard,
)
