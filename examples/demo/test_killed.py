from __future__ import annotations

import os
import signal

from pytest_alchemy import Scope
from pytest_alchemy.cloudflare import D1Database, KVNamespace


def test_whose_worker_is_killed(alchemy_scope: Scope) -> None:
    orders = alchemy_scope.create(D1Database("orders"))
    carts = alchemy_scope.create(KVNamespace("carts"))
    orders.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    carts.put("ada", "3 apples")

    os.kill(os.getpid(), signal.SIGKILL)  # no finally, no fixture, no atexit runs after this
