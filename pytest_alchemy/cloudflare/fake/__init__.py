"""
A Cloudflare account that answers like the real one, offline.

One pure core, `FakeAccount.handle`, turns a `Request` into a `Response` over SQLite. Doors lead to it: one for httpx
clients of this process (`respx_door`), more may follow. Every product is one module that offers a `PRODUCT`, and one
name in the list `PRODUCTS` of the account.
"""

from __future__ import annotations

from pytest_alchemy.cloudflare.fake.account import FakeAccount
from pytest_alchemy.cloudflare.fake.product import InventoryItem
from pytest_alchemy.cloudflare.fake.visit import FakeCloudflare
from pytest_alchemy.cloudflare.fake.wire import Request, Response

__all__ = ["FakeAccount", "FakeCloudflare", "InventoryItem", "Request", "Response"]
