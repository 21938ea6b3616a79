"""The D1 endpoints, through every way in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cloudflare.api import DOORS, Api, make_api


@pytest.fixture(params=DOORS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = make_api(request.param, tmp_path)
    yield api
    api.account.close()


def sql_error(api: Api, id: str, sql: str, *params: Any) -> str:
    status, code, message = api.refusal(
        "POST", f"@/d1/database/{id}/query", {"sql": sql, "params": list(params)}
    )
    assert (status, code) == (400, 7500)
    return message


# --- databases


def test_a_new_database_is_found_by_id_and_by_name(api: Api) -> None:
    made = api.result("POST", "@/d1/database", {"name": "orders", "primary_location_hint": "weur"})

    by_id = api.result("GET", f"@/d1/database/{made['uuid']}")
    by_name = api.result("GET", "@/d1/database/orders")

    assert by_id == by_name
    assert by_id["name"] == "orders"
    assert by_id["version"] == "production"
    assert by_id["num_tables"] == 0
    assert by_id["read_replication"] == {"mode": "disabled"}
    assert by_id["running_in_region"] == "WEUR"


def test_fields_narrow_what_is_told(api: Api) -> None:
    id = api.database("orders")

    assert api.result("GET", "@/d1/database/orders", query="fields=uuid,name") == {
        "uuid": id,
        "name": "orders",
    }


def test_a_taken_name_is_refused(api: Api) -> None:
    api.database("orders")

    refusal = api.refusal("POST", "@/d1/database", {"name": "orders"})

    assert refusal == (400, 7502, "A database with that name already exists")


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é", "a" * 65, 5, ["a"]])
def test_a_name_that_is_not_one_is_refused(api: Api, name: object) -> None:
    assert api.refusal("POST", "@/d1/database", {"name": name})[:2] == (400, 7400)


def test_a_missing_name_is_refused(api: Api) -> None:
    assert api.refusal("POST", "@/d1/database", {}) == (
        400,
        7400,
        "Invalid property: name => Required",
    )


def test_a_missing_database_is_not_found(api: Api) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("PATCH", ""),
        ("POST", "/query"),
        ("POST", "/raw"),
    ):
        refusal = api.refusal(method, f"@/d1/database/nowhere{path}", {"sql": "SELECT 1"})

        assert refusal == (404, 7404, "The database nowhere could not be found")


def test_a_deleted_database_is_gone_with_its_data_and_its_name_is_free(api: Api) -> None:
    id = api.database("orders")
    api.query(id, "CREATE TABLE t (a)")

    assert api.result("DELETE", f"@/d1/database/{id}") is None

    assert api.refusal("POST", f"@/d1/database/{id}/query", {"sql": "SELECT 1"})[:2] == (404, 7404)
    assert api.query(api.database("orders"), "SELECT count(*) AS n FROM sqlite_master") == [
        {"n": 0}
    ]


def test_lists_come_in_pages_and_pages_past_the_end_are_empty(api: Api) -> None:
    for name in ("a1", "b1", "b2"):
        api.database(name)

    pages = [api("GET", "@/d1/database", query=f"page={n}&per_page=2.0").json() for n in (1, 2, 3)]

    assert [[item["name"] for item in page["result"]] for page in pages] == [
        ["a1", "b1"],
        ["b2"],
        [],
    ]
    assert pages[0]["result_info"] == {
        "page": 1,
        "per_page": 2,
        "count": 2,
        "total_count": 3,
        "total_pages": 2,
    }
    assert [item["name"] for item in api.result("GET", "@/d1/database", query="name=b")] == [
        "b1",
        "b2",
    ]
    assert "file_size" not in pages[0]["result"][0]


def test_a_page_that_is_no_number_is_refused(api: Api) -> None:
    assert api.refusal("GET", "@/d1/database", query="page=x")[:2] == (400, 7400)
    assert api.refusal("GET", "@/d1/database", query="per_page=inf")[:2] == (400, 7400)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_read_replication_can_be_changed(api: Api, method: str) -> None:
    id = api.database("orders")

    api.result(method, f"@/d1/database/{id}", {"read_replication": {"mode": "auto"}})

    assert api.result("GET", f"@/d1/database/{id}")["read_replication"] == {"mode": "auto"}
    assert api.refusal(method, f"@/d1/database/{id}", {"read_replication": {"mode": "x"}})[:2] == (
        400,
        7400,
    )


# --- SQL


def test_rows_come_back_as_objects_with_what_was_done(api: Api) -> None:
    id = api.database()
    api.query(id, "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")

    (insert,) = api.result(
        "POST",
        f"@/d1/database/{id}/query",
        {"sql": "INSERT INTO t (name) VALUES (?), (?)", "params": ["a", "b"]},
    )
    (select,) = api.result("POST", f"@/d1/database/{id}/query", {"sql": "SELECT * FROM t"})

    assert select["results"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert insert["success"] is True
    assert insert["results"] == []
    assert (insert["meta"]["changes"], insert["meta"]["last_row_id"]) == (2, 2)
    assert insert["meta"]["changed_db"] is True
    assert insert["meta"]["size_after"] > 0
    assert select["meta"]["changed_db"] is False
    assert select["meta"]["rows_read"] == 2


def test_raw_keeps_columns_of_the_same_name(api: Api) -> None:
    id = api.database()

    (answer,) = api.result("POST", f"@/d1/database/{id}/raw", {"sql": "SELECT 1 AS a, 2 AS a"})

    assert answer["results"] == {"columns": ["a", "a"], "rows": [[1, 2]]}


def test_a_schema_change_changes_the_database(api: Api) -> None:
    id = api.database()

    answers = api.result(
        "POST", f"@/d1/database/{id}/query", {"sql": "CREATE TABLE t (a); DROP TABLE t; SELECT 1"}
    )

    assert [answer["meta"]["changed_db"] for answer in answers] == [True, True, False]


def test_several_statements_give_one_result_each(api: Api) -> None:
    id = api.database()
    sql = """
        -- a comment; with a semicolon
        CREATE TABLE t (a TEXT);
        CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET a = 'x;y' WHERE a = 'z'; SELECT 1; END;
        /* ; */ ;
        INSERT INTO t VALUES ('z'), (';');
        SELECT a FROM t ORDER BY a -- the last one
    """

    answers = api.result("POST", f"@/d1/database/{id}/query", {"sql": sql})

    assert [len(answer["results"]) for answer in answers] == [0, 0, 0, 2]
    assert answers[-1]["results"] == [{"a": ";"}, {"a": "x;y"}]


def test_a_batch_gives_one_result_for_each_statement(api: Api) -> None:
    id = api.database()
    batch = [
        {"sql": "CREATE TABLE t (a)"},
        {"sql": "INSERT INTO t VALUES (?)", "params": [5]},
        {"sql": "SELECT a FROM t"},
    ]

    answers = api.result("POST", f"@/d1/database/{id}/query", {"batch": batch})

    assert [answer["results"] for answer in answers] == [[], [], [{"a": 5}]]


@pytest.mark.parametrize(
    "failing",
    [
        "INSERT INTO t VALUES (1)",
        "INSERT OR ROLLBACK INTO t VALUES (1)",
        "SELECT * FROM missing",
        "COMMIT",
        "ROLLBACK",
        "INSERT INTO child VALUES (99)",
    ],
)
def test_an_error_undoes_the_whole_request(api: Api, failing: str) -> None:
    id = api.database()
    api.query(
        id,
        "CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);"
        "CREATE TABLE child (t INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED)",
    )

    sql_error(api, id, f"INSERT INTO t VALUES (2); {failing}; INSERT INTO t VALUES (3)")

    assert api.query(id, "SELECT a FROM t") == [{"a": 1}]


@pytest.mark.parametrize(
    "sql", ["BEGIN", "BEGIN IMMEDIATE", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a"]
)
def test_transactions_of_its_own_are_refused(api: Api, sql: str) -> None:
    message = sql_error(api, api.database(), sql)

    assert message == (
        "BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not available in D1: "
        "the statements of one request are a transaction already: SQLITE_AUTH"
    )


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM x", "no such table: x: SQLITE_ERROR"),
        ("selec 1", 'near "selec": syntax error at offset 0: SQLITE_ERROR'),
        ("SELECT ')' FROM )", 'near ")": syntax error at offset 16: SQLITE_ERROR'),
        ("SELECT", "incomplete input: SQLITE_ERROR"),
        ("INSERT INTO t VALUES (1)", "UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT"),
        ("INSERT INTO t VALUES (NULL)", "NOT NULL constraint failed: t.a: SQLITE_CONSTRAINT"),
        ("SELECT ?", "Wrong number of parameter bindings for SQL query.: SQLITE_ERROR"),
        ("SELECT 'a' || char(0) || zeroblob(3000000)", "string or blob too big: SQLITE_TOOBIG"),
        ("-- nothing", "No SQL statements detected.: SQLITE_ERROR"),
        (" ; ; ", "No SQL statements detected.: SQLITE_ERROR"),
        ("", "No SQL statements detected.: SQLITE_ERROR"),
    ],
)
def test_errors_carry_the_words_of_the_database(api: Api, sql: str, message: str) -> None:
    id = api.database()
    api.query(id, "CREATE TABLE t (a TEXT NOT NULL UNIQUE); INSERT INTO t VALUES (1)")

    assert sql_error(api, id, sql) == message


def test_a_foreign_key_is_enforced(api: Api) -> None:
    id = api.database()
    api.query(id, "CREATE TABLE p (a INTEGER PRIMARY KEY); CREATE TABLE c (a INTEGER REFERENCES p)")

    assert (
        sql_error(api, id, "INSERT INTO c VALUES (1)")
        == "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT"
    )


@pytest.mark.parametrize(
    ("value", "stored", "kind"),
    [
        (True, 1, "integer"),
        (False, 0, "integer"),
        (None, None, "null"),
        ("ü", "ü", "text"),
        (1.5, 1.5, "real"),
        (1 << 62, 1 << 62, "integer"),
        (1 << 64, float(1 << 64), "real"),
        ([0, 255], [0, 255], "blob"),
        ([], [], "blob"),
    ],
)
def test_values_come_back_as_they_were_stored(
    api: Api, value: object, stored: object, kind: str
) -> None:
    rows = api.query(api.database(), "SELECT ? AS v, typeof(?1) AS kind", value)

    assert rows == [{"v": stored, "kind": kind}]


def test_values_that_json_cannot_say_are_made_sayable(api: Api) -> None:
    rows = api.query(api.database(), "SELECT 9e999 AS v, CAST(x'ff61' AS TEXT) AS t")

    assert rows == [{"v": None, "t": "\ufffda"}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 7400),
        ({"sql": 5}, 7400),
        ({"sql": "SELECT ?", "params": {"a": 1}}, 7400),
        ({"sql": "SELECT ?", "params": [{"a": 1}]}, 7400),
        ({"sql": "SELECT ?", "params": [[256]]}, 7400),
        ({"sql": "SELECT ?", "params": [["a"]]}, 7400),
        ({"batch": []}, 7400),
        ({"batch": ["SELECT 1"]}, 7400),
        ({"sql": "SELECT 1; SELECT ?", "params": [1]}, 7500),
        ({"sql": "SELECT '\ud800'"}, 7500),
        ({"sql": "SELECT ?", "params": ["\ud800"]}, 7500),
        ({"sql": "SELECT 1\0"}, 7500),
        ({"sql": "SELECT :a", "params": [1, 2]}, 7500),
    ],
)
def test_a_malformed_query_is_refused(api: Api, body: object, code: int) -> None:
    assert api.refusal("POST", f"@/d1/database/{api.database()}/query", body)[:2] == (400, code)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + ", ".join("?" * 101),
        "CREATE TABLE t (" + ", ".join(f"c{n}" for n in range(101)) + ")",
        "SELECT '" + "x" * 100_000 + "'",
        "SELECT 'a' LIKE '" + "a" * 51 + "'",
    ],
    ids=["params", "columns", "statement", "pattern"],
)
def test_the_documented_limits_hold(api: Api, sql: str) -> None:
    params = [1] * sql.count("?")

    assert (
        api.refusal(
            "POST", f"@/d1/database/{api.database()}/query", {"sql": sql, "params": params}
        )[0]
        == 400
    )


# --- the jail


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '{file}' AS other",
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "VACUUM INTO '{file}'",
        "VACUUM",
        "SELECT load_extension('{file}')",
        "SELECT fts3_tokenizer('simple')",
        "PRAGMA writable_schema = ON",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA temp_store_directory = '{file}'",
        "PRAGMA database_list",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_compile_options",
        "CREATE TEMP TABLE t (a)",
        "CREATE TABLE temp.t (a)",
        'CREATE VIEW "TEMP".v AS SELECT 1',
        "CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END",
        "SELECT * FROM sqlite_dbpage",
        "CREATE VIRTUAL TABLE v USING dbstat",
        "CREATE VIRTUAL TABLE v USING fts4(a)",
        "PRAGMA page_size = 512",
        "EXPLAIN ATTACH '{file}' AS other",
        "SELECT readfile('{file}')",
    ],
)
def test_sql_cannot_leave_its_database(api: Api, tmp_path: Path, sql: str) -> None:
    file = tmp_path / "outside.db"
    id = api.database()

    sql_error(api, id, sql.format(file=file))
    sql_error(api, id, "SELECT 1; " + sql.format(file=file))

    assert not file.exists()


def test_an_attached_database_cannot_be_smuggled_in_by_an_earlier_statement(api: Api) -> None:
    id = api.database()

    for _ in range(2):  # the second time nothing may have been remembered as allowed
        sql_error(api, id, "CREATE TABLE t (a); COMMIT; ATTACH ':memory:' AS x")

    assert api.query(id, "PRAGMA table_list(t)") == []


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA table_info(t)",
        "SELECT * FROM pragma_table_info('t')",
        "PRAGMA table_xinfo(t)",
        "PRAGMA index_list(t)",
        "PRAGMA foreign_key_list(t)",
        "PRAGMA foreign_key_check",
        "PRAGMA quick_check",
        "PRAGMA defer_foreign_keys = ON",
        "PRAGMA optimize",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t ADD COLUMN b",
        "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('word'); SELECT * FROM f('word'); DROP TABLE f",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5) SELECT i FROM n",
        "SELECT json_extract('{}', '$.a')",
        "REINDEX",
        "ANALYZE",
        "SELECT ?1, ?1",
    ],
)
def test_ordinary_sql_is_allowed(api: Api, sql: str) -> None:
    id = api.database()
    api.query(id, "CREATE TABLE t (a INTEGER PRIMARY KEY)")

    api.query(id, sql, *([1] if "?" in sql else []))


def test_a_setting_lasts_for_its_request_only(api: Api) -> None:
    id = api.database()

    rows = api.query(id, "PRAGMA case_sensitive_like = ON; SELECT 'a' LIKE 'A' AS same")
    later = api.query(id, "SELECT 'a' LIKE 'A' AS same")

    assert (rows, later) == ([{"same": 0}], [{"same": 1}])
