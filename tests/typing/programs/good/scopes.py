"""A scope gives back what it was given; awaiting a resource gives the resource."""

from __future__ import annotations

from typing import assert_type

from pytest_alchemy import Scope
from pytest_alchemy.cloudflare import D1Database, KVNamespace


def remove_folder(path: str, *, force: bool = False) -> None: ...


def test_blocking(alchemy_scope: Scope) -> None:
    db = alchemy_scope.create(D1Database("orders"))
    assert_type(db, D1Database)
    db.exec("SELECT 1")
    assert_type(alchemy_scope.physical_name("uploads", max=40), str)
    alchemy_scope.defer(remove_folder, "/tmp/x", force=True)
    alchemy_scope.remove(db)


async def test_awaited(alchemy_scope: Scope) -> None:
    assert_type(await D1Database("orders"), D1Database)
    kv = await alchemy_scope.acreate(KVNamespace("cache"))
    assert_type(kv, KVNamespace)
    await kv.aput("key", "value")
    await alchemy_scope.aremove(kv)
