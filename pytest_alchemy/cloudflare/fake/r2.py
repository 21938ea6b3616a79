"""R2: buckets, the objects in them, who may reach them for a while, and what all of it takes."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake import (
    r2_buckets,
    r2_domains,
    r2_migration,
    r2_notifications,
    r2_objects,
)
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, field_of, object_of, token_of

_PERMISSIONS = ("admin-read-write", "admin-read-only", "object-read-write", "object-read-only")
_LONGEST_LOAN = 7 * 24 * 3600


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


def _lend(call: Call) -> Reply:
    """Answer with credentials of S3's kind, whose token tells what they are for and until when."""
    body = object_of(call.request, 10022)
    names = ("bucket", "parentAccessKeyId", "permission")
    bucket, parent, permission = (field_of(body, name, str, 10022) for name in names)
    seconds = field_of(body, "ttlSeconds", float, 10022)
    if permission not in _PERMISSIONS:
        raise r2_buckets.invalid(f"permission is none of {', '.join(_PERMISSIONS)}")
    if not 1 <= seconds <= _LONGEST_LOAN:
        raise r2_buckets.invalid(f"ttlSeconds has to be from 1 to {_LONGEST_LOAN}")
    if r2_buckets.bucket_named(call, bucket) is None:
        raise Refusal(404, 10006, "The specified bucket does not exist.")
    claims = {
        "sub": parent,
        "bucket": bucket,
        "scope": permission,
        "prefixes": field_of(body, "prefixes", list, 10022, []),
        "objects": field_of(body, "objects", list, 10022, []),
        "exp": int(clock.now() + seconds),
    }
    return Reply(
        {
            "accessKeyId": clock.random_bytes(16).hex(),
            "secretAccessKey": clock.random_bytes(32).hex(),
            "sessionToken": token_of(claims),
        }
    )


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
        *r2_domains.ROUTES,
        *r2_notifications.ROUTES,
        *r2_migration.ROUTES,
        Route("POST", "@/r2/temp-access-credentials", _lend, writes=False),
        Route("GET", "@/r2/metrics", _metrics, writes=False),
    ),
    inventory=_inventory,
    discard=_discard,
)
