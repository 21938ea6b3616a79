from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import pytest
from orders import AsyncOrders, DuplicateOrderError, Orders
from postgres_database import PostgresDatabase
from psycopg import OperationalError

from pytest_alchemy import Scope


@pytest.fixture
def orders(database: PostgresDatabase) -> Iterator[Orders]:
    with database.connect() as connection:
        yield Orders(connection)


def test_a_placed_order_is_unpaid(orders: Orders) -> None:
    placed = orders.place("A-1", Decimal("19.99"))

    assert orders.unpaid() == [placed]


def test_a_paid_order_is_unpaid_no_more(orders: Orders) -> None:
    first, second = orders.place("A-1", Decimal(5)), orders.place("A-2", Decimal(7))

    orders.pay(first)

    assert orders.unpaid() == [second]


def test_a_reference_is_taken_once(orders: Orders) -> None:
    placed = orders.place("A-1", Decimal(5))

    with pytest.raises(DuplicateOrderError, match="A-1"):
        orders.place("A-1", Decimal(6))

    assert orders.unpaid() == [placed]


def test_each_test_begins_with_an_empty_table(orders: Orders) -> None:
    assert orders.unpaid() == []


async def test_of_many_who_want_one_reference_one_gets_it(database: PostgresDatabase) -> None:
    async def place() -> bool:
        async with await database.aconnect() as connection:
            try:
                await AsyncOrders(connection).place("A-1", Decimal(5))
            except DuplicateOrderError:
                return False
            return True

    placed = await asyncio.gather(*(place() for _ in range(5)))

    assert sorted(placed) == [False, False, False, False, True]


@pytest.mark.alchemy(destroy="parallel")
async def test_two_shops_keep_their_orders_apart(template: PostgresDatabase) -> None:
    # Awaiting a resource makes it in the scope of the test, which the marker opens.
    north = await PostgresDatabase("north", server=template.server, template=template)
    south = await PostgresDatabase("south", server=template.server, template=template)
    async with await north.aconnect() as connection:
        await AsyncOrders(connection).place("A-1", Decimal(5))

    async with await south.aconnect() as connection:
        assert await AsyncOrders(connection).unpaid() == []


async def test_an_open_connection_does_not_keep_a_database(
    alchemy_scope: Scope, database: PostgresDatabase
) -> None:
    async with await database.aconnect() as connection:
        await alchemy_scope.aremove(database)  # sooner than the end of the test

        with pytest.raises(OperationalError):
            await connection.execute("SELECT 1")

    assert database.name not in await PostgresDatabase.list()
