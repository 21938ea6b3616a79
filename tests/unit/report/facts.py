"""Facts to report about."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pytest_alchemy.report.facts import Fact
from pytest_alchemy.report.fates import What

ROOT = PurePosixPath("/home/ann/shop")
NOON = datetime(2026, 3, 1, 12, 4, 11).astimezone().timestamp()  # reports speak in local time


def fact(what: What = "leaked", **changes: Any) -> Fact:
    """Return a fact about the database ``orders``, with *changes*."""
    known: dict[str, Any] = {
        "kind": "D1Database",
        "id": "orders",
        "name": "alt-shop-orders-x7",
        "scope": "shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund",
        "stage": "test-gw3-k3f9x2ab",
        "app": "shop",
        "profile": "default",
        "world": "cloudflare:acc1",
        "worker": "gw3",
        "test": "tests/test_orders.py::test_refund",
        "where": f"{ROOT}/tests/test_orders.py:41",
        "reason": "destroy failed: RuntimeError: boom",
        "at": NOON,
    }
    return Fact(what=what, **(known | changes))
