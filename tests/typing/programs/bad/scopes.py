"""What a scope does not take, and what it does not give."""

from __future__ import annotations

from pytest_alchemy import Scope
from pytest_alchemy.cloudflare import D1Database, KVNamespace


def remove_folder(path: str) -> None: ...


def test_blocking(alchemy_scope: Scope) -> None:
    kv: KVNamespace = alchemy_scope.create(D1Database("orders"))  # error
    alchemy_scope.create("orders")  # error
    alchemy_scope.create(D1Database)  # error
    alchemy_scope.remove("orders")  # error
    alchemy_scope.physical_name(7)  # error
    alchemy_scope.defer(remove_folder, 7)  # error
    kv.nothing()  # error


async def test_awaited(alchemy_scope: Scope) -> None:
    kv: KVNamespace = await D1Database("orders")  # error
    kv = await alchemy_scope.acreate(D1Database("orders"))  # error
    kv.nothing()  # error
