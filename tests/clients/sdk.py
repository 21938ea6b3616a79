"""One way to call the official SDK, blocking or with asyncio, that remembers what was called."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from functools import cached_property
from operator import attrgetter
from typing import Any

import cloudflare

PRODUCTS = ("d1", "kv", "r2", "queues", "workers")


class Sdk:
    """
    The SDK for one account.

    Args:
        client: Its client.
        account_id: The account, which every call gets.
        runner: What runs the calls of an asyncio client; None for a blocking one.
    """

    def __init__(
        self,
        client: cloudflare.Cloudflare | cloudflare.AsyncCloudflare,
        account_id: str,
        runner: asyncio.Runner | None,
    ) -> None:
        self.client, self.account_id, self._runner = client, account_id, runner
        self.called: set[str] = set()

    def __call__(self, method: str, *args: Any, **more: Any) -> Any:
        """Call *method* (``d1.database.create``); give its result, all items of a list, the bytes of a file."""
        self.called.add(method)
        call = attrgetter(method)(self.client)
        if "account_id" in inspect.signature(call).parameters:
            more = {"account_id": self.account_id, **more}
        if self._runner is None:
            found = call(*args, **more)
            if hasattr(found, "get_next_page"):
                return list(found)
            return found.read() if hasattr(found, "read") else found
        return self._runner.run(_awaited(call, args, more))

    def not_called(self) -> set[str]:
        """Return the methods of the SDK's products that nobody called."""
        return set(methods()) - self.called

    def raw(self, method: str, *args: Any, **more: Any) -> Any:
        """Call *method*, whose answer the SDK itself cannot read; give the result in the answer as it came."""
        self.called.add(method)
        resource, _, name = method.rpartition(".")
        call = getattr(attrgetter(resource)(self.client).with_raw_response, name)
        more = {"account_id": self.account_id, **more}
        if self._runner is None:
            return call(*args, **more).json()["result"]
        return self._runner.run(_raw(call, args, more))


async def _raw(call: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    return (await (await call(*args, **more)).json())["result"]


async def _awaited(call: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    found = call(*args, **more)
    if hasattr(found, "__aiter__"):
        return [item async for item in found]
    found = await found
    return await found.read() if hasattr(found, "read") else found


def methods() -> Iterator[str]:
    """Yield every method of the SDK's products."""
    client = cloudflare.Cloudflare(api_token="none")
    for product in PRODUCTS:
        yield from _methods_of(getattr(client, product), product)


def _methods_of(resource: Any, path: str) -> Iterator[str]:
    for name, value in vars(type(resource)).items():
        if name.startswith(("_", "with_")):
            continue
        if isinstance(value, cached_property):
            yield from _methods_of(getattr(resource, name), f"{path}.{name}")
        elif inspect.isfunction(value):
            yield f"{path}.{name}"
