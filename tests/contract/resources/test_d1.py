"""What a D1 database promises."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_alchemy.cloudflare import CloudflareError, D1Database
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import Caller, Door

# A whole number that JavaScript, in which the real API is written, holds exactly; SQLite and the fake hold more.
EXACT = 1 << 53


@pytest.fixture
def db(scope: Scope, do: Caller) -> Any:
    return do(scope, "create", D1Database("orders"))


def test_a_query_returns_rows_by_column_name(db: Any, do: Caller) -> None:
    do(db, "exec", "CREATE TABLE t (a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 'x')")

    result = do(db, "query", "SELECT a, b, ? AS c FROM t WHERE a = ?", None, 1)

    assert result.rows == [{"a": 1, "b": "x", "c": None}]
    assert do(db, "query", "SELECT * FROM t WHERE a = 5").rows == []


def test_meta_tells_what_a_statement_did(db: Any, do: Caller) -> None:
    do(db, "exec", "CREATE TABLE t (a INTEGER PRIMARY KEY)")

    meta = do(db, "query", "INSERT INTO t VALUES (7), (9)").meta

    assert meta["changes"] == 2
    assert meta["last_row_id"] == 9
    assert meta["changed_db"] is True
    assert meta["duration"] >= 0


def test_exec_gives_a_result_for_each_statement(db: Any, do: Caller) -> None:
    results = do(db, "exec", "CREATE TABLE t (a); INSERT INTO t VALUES (';'); SELECT a FROM t;")

    assert [result.rows for result in results] == [[], [], [{"a": ";"}]]


def test_a_batch_gives_a_result_for_each_query(db: Any, do: Caller) -> None:
    do(db, "exec", "CREATE TABLE t (a)")

    results = do(
        db,
        "batch",
        [("INSERT INTO t VALUES (?)", 5), "SELECT a FROM t", ("SELECT a FROM t WHERE a > ?", 5)],
    )

    assert [result.rows for result in results] == [[], [{"a": 5}], []]


def test_a_batch_is_done_as_a_whole_or_not_at_all(db: Any, do: Caller) -> None:
    do(db, "exec", "CREATE TABLE t (a UNIQUE)")

    with pytest.raises(CloudflareError) as raised:
        do(db, "batch", [("INSERT INTO t VALUES (?)", 1), ("INSERT INTO t VALUES (?)", 1)])

    assert (raised.value.status, raised.value.code) == (400, 7500)
    assert "UNIQUE constraint failed: t.a" in raised.value.message
    assert do(db, "query", "SELECT count(*) AS n FROM t").rows == [{"n": 0}]


def test_foreign_keys_are_enforced(db: Any, do: Caller) -> None:
    do(db, "exec", "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a REFERENCES a (id))")

    with pytest.raises(CloudflareError, match="FOREIGN KEY constraint failed"):
        do(db, "query", "INSERT INTO b VALUES (1)")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM missing", "no such table: missing"),
        ("SELEC 1", "syntax error"),
        ("BEGIN", ""),
        ("ATTACH 'x.db' AS x", ""),
    ],
)
def test_sql_that_cannot_be_run_is_refused(db: Any, do: Caller, sql: str, words: str) -> None:
    with pytest.raises(CloudflareError) as raised:
        do(db, "query", sql)

    assert raised.value.status == 400
    assert words in raised.value.message


def test_databases_see_nothing_of_each_other(scope: Scope, db: Any, do: Caller) -> None:
    other = do(scope, "create", D1Database("other"))
    do(db, "exec", "CREATE TABLE t (a)")

    with pytest.raises(CloudflareError, match="no such table"):
        do(other, "query", "SELECT * FROM t")


def test_a_value_that_cannot_be_bound_says_what_to_do(db: Any, do: Caller) -> None:
    with pytest.raises(TypeError) as raised:
        do(db, "query", "SELECT ?", 5j)

    assert str(raised.value) == (
        "complex cannot be bound to a query: 5j.\n"
        "Pass text, a number, a boolean, None or bytes; dates as value.isoformat()."
    )


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary(),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(VALUES, min_size=1, max_size=20))
def test_every_value_comes_back_as_it_was_stored(
    door: Door, db: Any, do: Caller, values: list[Any]
) -> None:
    if door.is_real:
        values = [0 if isinstance(one, int) and abs(one) > EXACT else one for one in values]
    do(db, "exec", "DROP TABLE IF EXISTS t; CREATE TABLE t (place INTEGER PRIMARY KEY, value)")
    do(db, "batch", [("INSERT INTO t VALUES (?, ?)", *pair) for pair in enumerate(values)])

    rows = do(db, "query", "SELECT value, typeof(value) AS type FROM t ORDER BY place").rows

    assert [row["value"] for row in rows] == values
    assert [row["type"] for row in rows] == [stored_as(value) for value in values]


def stored_as(value: Any) -> str:
    """Return what SQLite calls the type of *value*."""
    names = {type(None): "null", bool: "integer", int: "integer", float: "real", str: "text"}
    return names.get(type(value), "blob")


def test_numbers_at_the_edges_come_back(db: Any, do: Caller) -> None:
    edges = [0, 1, -1, EXACT - 1, 1 - EXACT, 0.1, -1.5, math.pi, 5e-324, 1.7976931348623157e308]

    rows = do(db, "batch", [("SELECT ? AS a", edge) for edge in edges])

    assert [result.rows[0]["a"] for result in rows] == edges
