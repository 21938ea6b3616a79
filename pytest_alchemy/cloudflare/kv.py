"""Workers KV namespaces as resources."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable
from typing import Any

from pytest_alchemy.cloudflare.client import Api, Operation
from pytest_alchemy.cloudflare.errors import CloudflareError
from pytest_alchemy.cloudflare.resource import AccountResource, lists_keys, quoted_key
from pytest_alchemy.driver import refuse_in_coroutine
from pytest_alchemy.physicalnames import NameRule
from pytest_alchemy.resource import output
from pytest_alchemy.tracebacks import are_noise

__tracebackhide__ = are_noise

_ALL = "/storage/kv/namespaces"
_NAMESPACE_NOT_FOUND = 10013
_PER_PAGE = 100


class KVNamespace(AccountResource, kind="kv", name_rule=NameRule(max=63)):
    """
    A Workers KV namespace.

    Keys are text of 1 to 512 bytes, values text or bytes of up to 25 MiB. What was just written may be read
    late elsewhere in the world; the fake is immediate.

    Outputs:
        namespace_id: Its id.
    """

    namespace_id: str = output()

    def get(self, key: str) -> str | None:
        """
        Return the value of *key* as text, None if there is none.

        Raises:
            UnicodeDecodeError: The value is not text; use `get_bytes`.
        """
        refuse_in_coroutine("get", "aget")
        return _text(self._run(_get(self, key)))

    async def aget(self, key: str) -> str | None:
        """Return the value of *key* as text, None if there is none; asyncio twin of `get`."""
        return _text(await self._arun(_get(self, key)))

    def get_bytes(self, key: str) -> bytes | None:
        """Return the value of *key*, None if there is none."""
        refuse_in_coroutine("get_bytes", "aget_bytes")
        return self._run(_get(self, key))

    async def aget_bytes(self, key: str) -> bytes | None:
        """Return the value of *key*, None if there is none; asyncio twin of `get_bytes`."""
        return await self._arun(_get(self, key))

    def get_with_metadata(self, key: str) -> tuple[str | None, Any]:
        """Return the value of *key* as text and its metadata; both None if there is no such key."""
        refuse_in_coroutine("get_with_metadata", "aget_with_metadata")
        return self._run(_get_with_metadata(self, key))

    async def aget_with_metadata(self, key: str) -> tuple[str | None, Any]:
        """Return value and metadata of *key*; asyncio twin of `get_with_metadata`."""
        return await self._arun(_get_with_metadata(self, key))

    def put(
        self,
        key: str,
        value: str | bytes,
        *,
        metadata: Any = None,
        expiration_ttl: int | None = None,
    ) -> None:
        """
        Store *value* under *key*; metadata and expiration of an earlier value are dropped.

        Args:
            key: Text of 1 to 512 bytes.
            value: Text or bytes.
            metadata: Data for JSON, at most 1024 bytes of it.
            expiration_ttl: How long it lives, in seconds, from 60; None for ever.
        """
        refuse_in_coroutine("put", "aput")
        self._run(_put(self, key, value, metadata, expiration_ttl))

    async def aput(
        self,
        key: str,
        value: str | bytes,
        *,
        metadata: Any = None,
        expiration_ttl: int | None = None,
    ) -> None:
        """Store *value* under *key*; asyncio twin of `put`."""
        await self._arun(_put(self, key, value, metadata, expiration_ttl))

    def delete(self, key: str) -> None:
        """Remove *key*; gone already is fine."""
        refuse_in_coroutine("delete", "adelete")
        self._run(_delete(self, key))

    async def adelete(self, key: str) -> None:
        """Remove *key*; asyncio twin of `delete`."""
        await self._arun(_delete(self, key))

    @lists_keys
    def list(self, prefix: str = "") -> builtins.list[str]:
        """Return all keys that begin with *prefix*, in the order of their UTF-8 bytes."""
        refuse_in_coroutine("list", "alist")
        return self._run(_list(self, prefix))

    async def alist(self, prefix: str = "") -> builtins.list[str]:
        """Return all keys that begin with *prefix*; asyncio twin of `list`."""
        return await self._arun(_list(self, prefix))

    async def _create(self, api: Api) -> None:
        self.namespace_id = (await api.call("POST", _ALL, {"title": self.name}))["id"]

    async def _read(self, api: Api) -> bool:
        # The API has no look-up by title.
        page = 1
        while found := await api.call(
            "GET", _ALL, query={"page": page, "per_page": _PER_PAGE, "order": "title"}
        ):
            for namespace in found:
                if namespace["title"] == self.name:
                    self.namespace_id = namespace["id"]
                    return True
            page += 1
        return False

    async def _destroy(self, api: Api) -> None:
        if "namespace_id" in self.__dict__ or await self._read(api):
            await api.delete(f"{_ALL}/{self.namespace_id}")

    @classmethod
    async def _names(cls, api: Api) -> Iterable[str]:
        found = await api.everything(_ALL, per_page=_PER_PAGE, order="title")
        return [namespace["title"] for namespace in found]


def _get(namespace: KVNamespace, key: str) -> Operation[bytes | None]:
    path = _value_path(namespace, key)

    async def operation(api: Api) -> bytes | None:
        try:
            return (await api.fetch("GET", path)).content
        except CloudflareError as error:
            if error.status != 404 or error.code == _NAMESPACE_NOT_FOUND:
                raise
            return None

    return operation


def _get_with_metadata(namespace: KVNamespace, key: str) -> Operation[tuple[str | None, Any]]:
    path = f"{_ALL}/{namespace.namespace_id}/bulk/get"

    async def operation(api: Api) -> tuple[str | None, Any]:
        asked = {"keys": [key], "withMetadata": True}
        answer = await api.call("POST", path, asked, again=True)
        found = answer["values"].get(key)
        return (None, None) if found is None else (found["value"], found.get("metadata"))

    return operation


def _put(
    namespace: KVNamespace, key: str, value: str | bytes, metadata: Any, expiration_ttl: int | None
) -> Operation[None]:
    path = _value_path(namespace, key)
    if not isinstance(value, str | bytes):
        raise TypeError(
            f"A KV value is text or bytes, not {type(value).__name__}: {value!r}.\n"
            "Turn it into text first, for example with json.dumps(value)."
        )
    raw = value.encode() if isinstance(value, str) else value
    body: dict[str, Any] = {"content": raw}
    if metadata is not None:
        body = {
            "files": {
                "value": (None, raw, "application/octet-stream"),
                "metadata": (None, json.dumps(metadata), "application/json"),
            }
        }

    async def operation(api: Api) -> None:
        await api.call("PUT", path, query={"expiration_ttl": expiration_ttl}, **body)

    return operation


def _delete(namespace: KVNamespace, key: str) -> Operation[None]:
    path = _value_path(namespace, key)

    async def operation(api: Api) -> None:
        await api.call("DELETE", path)

    return operation


def _list(namespace: KVNamespace, prefix: str) -> Operation[list[str]]:
    path = f"{_ALL}/{namespace.namespace_id}/keys"

    async def operation(api: Api) -> list[str]:
        pages = await api.pages(path, prefix=prefix or None)
        return [found["name"] for page in pages for found in page]

    return operation


def _value_path(namespace: KVNamespace, key: str) -> str:
    return f"{_ALL}/{namespace.namespace_id}/values/{quoted_key(key)}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
