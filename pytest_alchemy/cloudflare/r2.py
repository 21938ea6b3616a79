"""R2 buckets as resources."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Iterable
from typing import Any, Literal, Self

from pytest_alchemy.cloudflare.client import Api, Operation, run_hook
from pytest_alchemy.cloudflare.d1 import Location
from pytest_alchemy.cloudflare.errors import CloudflareError
from pytest_alchemy.cloudflare.resource import (
    AccountResource,
    lists_keys,
    quoted_key,
    refuse_fixed,
)
from pytest_alchemy.driver import refuse_in_coroutine
from pytest_alchemy.physicalnames import NameRule
from pytest_alchemy.tracebacks import are_noise

__tracebackhide__ = are_noise

StorageClass = Literal["Standard", "InfrequentAccess"]

_ALL = "/r2/buckets"
_PER_PAGE = 1000
_BUCKET_NOT_FOUND = 10006
_MOST_ROUNDS = 10
FORBIDDEN = (401, 403)
"""HTTP statuses of what the token may not do."""


class R2Bucket(AccountResource, kind="r2", name_rule=NameRule(max=63)):
    """
    An R2 bucket; it is destroyed with all objects in it, its custom domains and its event notifications.

    Keys are text of 1 to 1024 bytes, values bytes of up to 5 GiB (the fake takes 300 MiB).

    Properties:
        location: Where it shall live; fixed once it exists.
        storage_class: What new objects are stored as; None leaves it to Cloudflare.
    """

    location: Location | None = None
    storage_class: StorageClass | None = None

    def update(self, previous: Self) -> Awaitable[None] | None:
        refuse_fixed(self, previous, "location")
        return run_hook(self.scope.settings, self._update)

    def get(self, key: str) -> bytes | None:
        """Return the object under *key*, None if there is none."""
        refuse_in_coroutine("get", "aget")
        return self._run(_get(self, key))

    async def aget(self, key: str) -> bytes | None:
        """Return the object under *key*, None if there is none; asyncio twin of `get`."""
        return await self._arun(_get(self, key))

    def put(self, key: str, value: bytes | str, *, content_type: str | None = None) -> None:
        """
        Store *value* under *key*, in place of what was there.

        Args:
            key: Text of 1 to 1024 bytes.
            value: Bytes, or text, which is stored as UTF-8.
            content_type: What it is served as; None for ``application/octet-stream``.
        """
        refuse_in_coroutine("put", "aput")
        self._run(_put(self, key, value, content_type))

    async def aput(self, key: str, value: bytes | str, *, content_type: str | None = None) -> None:
        """Store *value* under *key*; asyncio twin of `put`."""
        await self._arun(_put(self, key, value, content_type))

    def delete(self, key: str) -> None:
        """Remove the object under *key*; gone already is fine."""
        refuse_in_coroutine("delete", "adelete")
        self._run(_delete(self, key))

    async def adelete(self, key: str) -> None:
        """Remove the object under *key*; asyncio twin of `delete`."""
        await self._arun(_delete(self, key))

    @lists_keys
    def list(self, prefix: str = "") -> builtins.list[str]:
        """Return all keys that begin with *prefix*, in the order of their UTF-8 bytes."""
        refuse_in_coroutine("list", "alist")
        return self._run(_list(self, prefix))

    async def alist(self, prefix: str = "") -> builtins.list[str]:
        """Return all keys that begin with *prefix*; asyncio twin of `list`."""
        return await self._arun(_list(self, prefix))

    @property
    def _path(self) -> str:
        return f"{_ALL}/{self.name}"

    async def _create(self, api: Api) -> None:
        wanted = {
            "name": self.name,
            "locationHint": self.location,
            "storageClass": self.storage_class,
        }
        await api.call(
            "POST", _ALL, {key: value for key, value in wanted.items() if value is not None}
        )

    async def _read(self, api: Api) -> bool:
        return await api.find(self._path) is not None

    async def _update(self, api: Api) -> None:
        wanted = self.storage_class or "Standard"
        await api.call("PATCH", self._path, headers={"cf-r2-storage-class": wanted})

    async def _destroy(self, api: Api) -> None:
        for number in range(_MOST_ROUNDS):  # something may still write while it is emptied
            try:
                await api.delete(self._path)
                return
            except CloudflareError as error:
                if error.status != 409:
                    raise
            await self._empty(api)
            if number == 1:
                await self._detach(api)
        await api.delete(self._path)

    async def _empty(self, api: Api) -> None:
        path = f"{self._path}/objects"
        for page in await api.pages(path, per_page=_PER_PAGE):
            if page:
                await api.call("DELETE", path, [found["key"] for found in page])

    async def _detach(self, api: Api) -> None:
        """Remove what else holds a bucket that is empty, as far as the token may."""
        domains = f"{self._path}/domains/custom"
        for domain in await _allowed(api, domains, "domains"):
            await api.delete(f"{domains}/{domain['domain']}")
        notifications = f"/event_notifications/r2/{self.name}/configuration"
        for queue in await _allowed(api, notifications, "queues"):
            await api.delete(f"{notifications}/queues/{queue['queueId']}")

    @classmethod
    async def _names(cls, api: Api) -> Iterable[str]:
        pages = await api.pages(_ALL, per_page=_PER_PAGE)
        return [found["name"] for page in pages for found in page["buckets"]]


async def _allowed(api: Api, path: str, name: str) -> list[Any]:
    """Return what *path* lists as *name*, nothing if the token may not see it: the bucket's own refusal tells more."""
    try:
        return (await api.find(path) or {}).get(name) or []
    except CloudflareError as error:
        if error.status not in FORBIDDEN:
            raise
        return []


def _get(bucket: R2Bucket, key: str) -> Operation[bytes | None]:
    path = _object_path(bucket, key)

    async def operation(api: Api) -> bytes | None:
        try:
            return (await api.fetch("GET", path)).content
        except CloudflareError as error:
            if error.status != 404 or error.code == _BUCKET_NOT_FOUND:
                raise
            return None

    return operation


def _put(
    bucket: R2Bucket, key: str, value: bytes | str, content_type: str | None
) -> Operation[None]:
    path = _object_path(bucket, key)
    if not isinstance(value, str | bytes):
        raise TypeError(
            f"An object is bytes or text, not {type(value).__name__}: {value!r}.\n"
            "Turn it into text first, for example with json.dumps(value)."
        )
    raw = value.encode() if isinstance(value, str) else value
    headers = {"content-type": content_type or "application/octet-stream"}

    async def operation(api: Api) -> None:
        await api.call("PUT", path, content=raw, headers=headers)

    return operation


def _delete(bucket: R2Bucket, key: str) -> Operation[None]:
    path = _object_path(bucket, key)

    async def operation(api: Api) -> None:
        await api.call("DELETE", path)

    return operation


def _list(bucket: R2Bucket, prefix: str) -> Operation[list[str]]:
    path = f"{bucket._path}/objects"

    async def operation(api: Api) -> list[str]:
        pages = await api.pages(path, prefix=prefix or None, per_page=_PER_PAGE)
        return [found["key"] for page in pages for found in page]

    return operation


def _object_path(bucket: R2Bucket, key: str) -> str:
    return f"{bucket._path}/objects/{quoted_key(key)}"
