"""The parts of the jail that no request can reach."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from pytest_alchemy.cloudflare.fake.jail import Jail, SqlError, Statement
from pytest_alchemy.cloudflare.fake.sqltext import split_statements

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_a_query_without_end_is_ended_and_undone() -> None:
    with closing(Jail(":memory:", time_limit=0.05)) as jail:
        with pytest.raises(SqlError) as raised:
            jail.run([Statement("CREATE TABLE t (a)"), Statement(ENDLESS)])

        assert str(raised.value) == "D1 DB exceeded its CPU time limit and was reset."
        assert raised.value.ours is False
        assert jail.run([Statement("SELECT count(*) FROM sqlite_master")])[0].rows == [[0]]


def test_an_error_of_the_storage_is_told_from_one_of_the_statement(tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite3"
    file.touch()
    with closing(Jail(f"file:{file}?mode=rw")) as jail:
        jail.run([Statement("CREATE TABLE t (a)")])
        file.write_bytes(b"not a database" * 1000)

        with pytest.raises(SqlError) as raised:
            jail.run([Statement("SELECT * FROM t")])

    assert raised.value.ours is True
    assert str(raised.value) == "file is not a database: SQLITE_NOTADB"


def test_a_restore_gives_up_when_another_process_holds_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.cloudflare.fake.jail.BUSY_SECONDS", 0.01)
    file = tmp_path / "orders.sqlite3"
    file.touch()
    with (
        closing(Jail(f"file:{file}?mode=rw")) as jail,
        closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other,
    ):
        jail.run([Statement("CREATE TABLE t (a)")])
        other.execute("BEGIN IMMEDIATE")
        lets_go = threading.Timer(10, other.execute, ["ROLLBACK"])  # or a failure would not end
        lets_go.start()

        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            jail.restore(b"")

        lets_go.cancel()
        lets_go.join()
        other.execute("ROLLBACK")
        assert jail.run([Statement("SELECT count(*) FROM t")])[0].rows == [[0]]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (";;", []),
        ("-- only words;", []),
        ("/* ; */", []),
        ("/* never closed ;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1; SELECT 2 ;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT \";\"", ["SELECT ';'", 'SELECT ";"']),
        ("SELECT 1 -- ; \n; SELECT [;]", ["SELECT 1 -- ;", "SELECT [;]"]),
        ("SELECT 'never closed; SELECT 2", ["SELECT 'never closed; SELECT 2"]),
        (
            "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END; SELECT 3",
            ["CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END", "SELECT 3"],
        ),
        (
            "EXPLAIN create /* ; */ temp\ntrigger x BEGIN SELECT 'end;'; END /* ; */ ; SELECT 3",
            [
                "EXPLAIN create /* ; */ temp\ntrigger x BEGIN SELECT 'end;'; END /* ; */",
                "SELECT 3",
            ],
        ),
    ],
)
def test_sql_is_split_where_statements_end(sql: str, expected: list[str]) -> None:
    assert split_statements(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "'" + ";" * 300_000,
        "/*" + ";" * 300_000,
        "CREATE TRIGGER x BEGIN " + "a;" * 100_000,
        "CREATE TRIGGER x BEGIN " + "a end;" * 14_000,
        "SELECT 1;" * 50_000,
    ],
    ids=["literal", "comment", "trigger", "ends", "many"],
)
def test_no_text_takes_long_to_split(sql: str) -> None:
    start = time.process_time()

    split_statements(sql)

    assert time.process_time() - start < 10
