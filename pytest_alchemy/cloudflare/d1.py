"""D1 databases as resources."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import quote

from pytest_alchemy.cloudflare.client import Api, Operation, run_hook
from pytest_alchemy.cloudflare.resource import AccountResource, refuse_fixed
from pytest_alchemy.driver import refuse_in_coroutine
from pytest_alchemy.physicalnames import NameRule
from pytest_alchemy.resource import output
from pytest_alchemy.tracebacks import are_noise

__tracebackhide__ = are_noise

Location = Literal["wnam", "enam", "weur", "eeur", "apac", "oc"]
Jurisdiction = Literal["eu", "fedramp"]
ReadReplication = Literal["auto", "disabled"]
Query = str | tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """
    What one statement gave.

    Attributes:
        rows: A dict per row, by column name: text, numbers, None, or bytes for a blob.
        meta: What D1 tells of it: ``changes``, ``last_row_id``, ``duration`` (milliseconds) and more.
    """

    rows: list[dict[str, Any]]
    meta: dict[str, Any]


class D1Database(AccountResource, kind="d1", name_rule=NameRule(max=63)):
    """
    A D1 database.

    Properties:
        primary_location_hint: Where it shall live; fixed once it exists.
        jurisdiction: Where it has to stay; fixed once it exists.
        read_replication: Whether it has replicas for reading; None leaves it to Cloudflare.

    Outputs:
        uuid: Its id.
    """

    primary_location_hint: Location | None = None
    jurisdiction: Jurisdiction | None = None
    read_replication: ReadReplication | None = None

    uuid: str = output()

    def update(self, previous: Self) -> Awaitable[None] | None:
        refuse_fixed(self, previous, "primary_location_hint", "jurisdiction")
        return run_hook(self.scope.settings, self._update)

    def query(self, sql: str, *params: Any) -> QueryResult:
        """
        Run *sql* and return what its last statement gave.

        Args:
            sql: One statement; several only without *params*.
            params: Values for its ``?``: text, numbers, booleans, None, or bytes for a blob.

        Raises:
            CloudflareError: The database refused it; nothing was changed.
        """
        refuse_in_coroutine("query", "aquery")
        return self._run(_queries(self, {"sql": sql, "params": _plain(params)}))[-1]

    async def aquery(self, sql: str, *params: Any) -> QueryResult:
        """Run *sql* and return what its last statement gave; asyncio twin of `query`."""
        return (await self._arun(_queries(self, {"sql": sql, "params": _plain(params)})))[-1]

    def exec(self, sql: str) -> builtins.list[QueryResult]:
        """
        Run the statements in *sql*, all or none, and return what each of them gave.

        Raises:
            CloudflareError: The database refused one; nothing was changed.
        """
        refuse_in_coroutine("exec", "aexec")
        return self._run(_queries(self, {"sql": sql}))

    async def aexec(self, sql: str) -> builtins.list[QueryResult]:
        """Run the statements in *sql*, all or none; asyncio twin of `exec`."""
        return await self._arun(_queries(self, {"sql": sql}))

    def batch(self, queries: Sequence[Query]) -> builtins.list[QueryResult]:
        """
        Run *queries*, all or none, and return what each of them gave.

        Args:
            queries: Each a statement, or a tuple of a statement and its values:
                ``["DELETE FROM t", ("INSERT INTO t VALUES (?)", 1)]``.

        Raises:
            CloudflareError: The database refused one; nothing was changed.
        """
        refuse_in_coroutine("batch", "abatch")
        return self._run(_queries(self, {"batch": [_one(query) for query in queries]}))

    async def abatch(self, queries: Sequence[Query]) -> builtins.list[QueryResult]:
        """Run *queries*, all or none; asyncio twin of `batch`."""
        return await self._arun(_queries(self, {"batch": [_one(query) for query in queries]}))

    async def _create(self, api: Api) -> None:
        wanted = {
            "name": self.name,
            "primary_location_hint": self.primary_location_hint,
            "jurisdiction": self.jurisdiction,
            "read_replication": self.read_replication and {"mode": self.read_replication},
        }
        made = await api.call(
            "POST", _ALL, {key: value for key, value in wanted.items() if value is not None}
        )
        self.uuid = made["uuid"]

    async def _read(self, api: Api) -> bool:
        path = f"{_ALL}/{quote(self.name, safe='')}"
        found = await api.find(path, query={"fields": "uuid,name"})
        if found is not None:
            self.uuid = found["uuid"]
        return found is not None

    async def _update(self, api: Api) -> None:
        mode = self.read_replication or "disabled"
        await api.call("PATCH", f"{_ALL}/{self.uuid}", {"read_replication": {"mode": mode}})

    async def _destroy(self, api: Api) -> None:
        if "uuid" in self.__dict__ or await self._read(api):
            await api.delete(f"{_ALL}/{self.uuid}")

    @classmethod
    async def _names(cls, api: Api) -> Iterable[str]:
        return [found["name"] for found in await api.everything(_ALL, per_page=_PER_PAGE)]


_ALL = "/d1/database"
_PER_PAGE = 1000


def _queries(database: D1Database, body: dict[str, Any]) -> Operation[list[QueryResult]]:
    path = f"{_ALL}/{database.uuid}/query"

    async def operation(api: Api) -> list[QueryResult]:
        answers = await api.call("POST", path, body)
        return [_result(answer) for answer in answers]

    return operation


def _result(answer: dict[str, Any]) -> QueryResult:
    # The API writes a blob as a list of byte values, and nothing else as a list.
    rows = [
        {name: bytes(cell) if isinstance(cell, list) else cell for name, cell in row.items()}
        for row in answer["results"]
    ]
    return QueryResult(rows, answer["meta"])


def _one(query: Query) -> dict[str, Any]:
    if isinstance(query, str):
        return {"sql": query}
    sql, *params = query
    return {"sql": sql, "params": _plain(params)}


def _plain(params: Sequence[Any]) -> list[Any]:
    """Return *params* as JSON can carry them."""
    return [
        list(value) if isinstance(value, bytes | bytearray | memoryview) else _checked(value)
        for value in params
    ]


def _checked(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(
        f"{type(value).__name__} cannot be bound to a query: {value!r}.\n"
        "Pass text, a number, a boolean, None or bytes; dates as value.isoformat()."
    )
