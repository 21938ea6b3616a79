"""The code under test: orders, kept in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from psycopg import AsyncConnection, Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow, class_row

SCHEMA = """
    CREATE TABLE orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        reference text NOT NULL UNIQUE,
        total numeric(10, 2) NOT NULL CHECK (total >= 0),
        paid boolean NOT NULL DEFAULT false
    );
    CREATE INDEX unpaid ON orders (id) WHERE NOT paid;
"""


class DuplicateOrderError(Exception):
    """There is an order with this reference already."""


@dataclass(frozen=True)
class Order:
    """One order."""

    id: int
    reference: str
    total: Decimal
    paid: bool


class Orders:
    """The orders in a database, blocking."""

    def __init__(self, connection: Connection[TupleRow]) -> None:
        self._connection = connection

    def place(self, reference: str, total: Decimal) -> Order:
        with (
            self._connection.transaction(),
            self._connection.cursor(row_factory=class_row(Order)) as cursor,
        ):
            try:
                cursor.execute(_PLACE, [reference, total])
            except UniqueViolation as error:
                raise DuplicateOrderError(reference) from error
            placed = cursor.fetchone()
        assert placed is not None
        return placed

    def pay(self, order: Order) -> None:
        with self._connection.transaction():
            self._connection.execute("UPDATE orders SET paid = true WHERE id = %s", [order.id])

    def unpaid(self) -> list[Order]:
        with self._connection.cursor(row_factory=class_row(Order)) as cursor:
            return cursor.execute(_UNPAID).fetchall()


class AsyncOrders:
    """The orders in a database, for asyncio."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def place(self, reference: str, total: Decimal) -> Order:
        async with (
            self._connection.transaction(),
            self._connection.cursor(row_factory=class_row(Order)) as cursor,
        ):
            try:
                await cursor.execute(_PLACE, [reference, total])
            except UniqueViolation as error:
                raise DuplicateOrderError(reference) from error
            placed = await cursor.fetchone()
        assert placed is not None
        return placed

    async def unpaid(self) -> list[Order]:
        async with self._connection.cursor(row_factory=class_row(Order)) as cursor:
            await cursor.execute(_UNPAID)
            return await cursor.fetchall()


_PLACE = (
    "INSERT INTO orders (reference, total) VALUES (%s, %s) RETURNING id, reference, total, paid"
)
_UNPAID = "SELECT id, reference, total, paid FROM orders WHERE NOT paid ORDER BY id"
