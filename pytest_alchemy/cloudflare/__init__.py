"""
Cloudflare's resources, and a fake account that they live in unless a run is live.

Importing this package loads none of it: each name comes with its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.d1 import D1Database, QueryResult
    from pytest_alchemy.cloudflare.errors import (
        CloudflareError,
        CloudflareUnreachableError,
        CredentialsError,
        FakeAccountError,
        QueueConsumedError,
    )
    from pytest_alchemy.cloudflare.fake.account import FakeAccount
    from pytest_alchemy.cloudflare.fake.visit import FakeCloudflare
    from pytest_alchemy.cloudflare.kv import KVNamespace
    from pytest_alchemy.cloudflare.queue import Queue, QueueMessage
    from pytest_alchemy.cloudflare.r2 import R2Bucket
    from pytest_alchemy.cloudflare.worker import Worker

__all__ = [
    "CloudflareError",
    "CloudflareUnreachableError",
    "CredentialsError",
    "D1Database",
    "FakeAccount",
    "FakeAccountError",
    "FakeCloudflare",
    "KVNamespace",
    "QueryResult",
    "Queue",
    "QueueConsumedError",
    "QueueMessage",
    "R2Bucket",
    "Worker",
]

_HOME = {
    "CloudflareError": "errors",
    "CloudflareUnreachableError": "errors",
    "CredentialsError": "errors",
    "D1Database": "d1",
    "FakeAccount": "fake.account",
    "FakeAccountError": "errors",
    "FakeCloudflare": "fake.visit",
    "KVNamespace": "kv",
    "QueryResult": "d1",
    "Queue": "queue",
    "QueueConsumedError": "errors",
    "QueueMessage": "queue",
    "R2Bucket": "r2",
    "Worker": "worker",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
