"""SQL files into a D1 database and out of it, through every way in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy.cloudflare.fake import Request, Response
from tests.unit.cloudflare.api import DOORS, Api, make_api

SQL = "CREATE TABLE t (a, b BLOB); INSERT INTO t VALUES ('it''s', x'00ff'), (NULL, 1.5); CREATE INDEX i ON t (a);"


@pytest.fixture(params=DOORS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = make_api(request.param, tmp_path)
    yield api
    api.account.close()


def at(api: Api, method: str, address: str, body: bytes = b"") -> Response:
    """Call *address* without a token, as one calls a signed address."""
    return api.send(Request(method, "/" + address.split("/", 3)[3], "", {"x-own": "1"}, body))


def ingest(api: Api, id: str, sql: str) -> Any:
    etag = hashlib.md5(sql.encode()).hexdigest()
    path = f"@/d1/database/{id}/import"
    asked = api.result("POST", path, {"action": "init", "etag": etag})
    if "upload_url" in asked:
        answer = at(api, "PUT", asked["upload_url"], sql.encode())
        assert (answer.status, answer.headers["etag"]) == (200, f'"{etag}"')
    wanted = {"action": "ingest", "etag": etag, "filename": asked["filename"]}
    return api.result("POST", path, wanted)


def exported(api: Api, id: str, **options: Any) -> str:
    wanted = {"output_format": "polling", "dump_options": options}
    answer = api.result("POST", f"@/d1/database/{id}/export", wanted)
    assert answer["status"] == "complete"
    return at(api, "GET", answer["result"]["signed_url"]).body.decode()


def test_a_file_is_run_as_a_whole(api: Api) -> None:
    id = api.database()

    answer = ingest(api, id, SQL)

    assert (answer["status"], answer["result"]["num_queries"]) == ("complete", 3)
    assert api.query(id, "SELECT count(*) AS n FROM t") == [{"n": 2}]
    poll = {"action": "poll", "current_bookmark": answer["at_bookmark"]}
    assert api.result("POST", f"@/d1/database/{id}/import", poll)["status"] == "complete"


def test_a_file_with_a_mistake_changes_nothing(api: Api) -> None:
    id = api.database()

    answer = ingest(api, id, "CREATE TABLE t (a); INSERT INTO nowhere VALUES (1);")

    assert (answer["status"], answer["errors"]) == (
        "error",
        ["no such table: nowhere: SQLITE_ERROR"],
    )
    assert api.query(id, "SELECT count(*) AS n FROM sqlite_master") == [{"n": 0}]


def test_a_file_is_uploaded_once(api: Api) -> None:
    id = api.database()
    ingest(api, id, "CREATE TABLE t (a);")
    etag = hashlib.md5(b"CREATE TABLE t (a);").hexdigest()

    again = api.result("POST", f"@/d1/database/{id}/import", {"action": "init", "etag": etag})

    assert "upload_url" not in again


def test_what_comes_out_makes_the_same_database_again(api: Api) -> None:
    id, copy = api.database(), api.database("copy")
    ingest(api, id, SQL)

    ingest(api, copy, exported(api, id))

    for sql in ("SELECT * FROM t", "SELECT name FROM sqlite_master"):
        assert api.query(copy, sql) == api.query(id, sql)
    assert "INSERT" not in exported(api, id, no_data=True)
    assert "CREATE" not in exported(api, id, no_schema=True)
    assert exported(api, id, tables=["other"]) == "PRAGMA defer_foreign_keys=TRUE;\n"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "init"},
        {"action": "ingest", "filename": "nowhere"},
        {"action": "poll"},
        {"action": ["init"]},
    ],
)
def test_an_import_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    id = api.database()

    assert api.refusal("POST", f"@/d1/database/{id}/import", body)[:2] == (400, 7400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"output_format": "polling", "dump_options": 1},
        {"output_format": "polling", "dump_options": {"tables": 1}},
    ],
)
def test_an_export_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    id = api.database()

    assert api.refusal("POST", f"@/d1/database/{id}/export", body)[:2] == (400, 7400)


def test_an_address_that_nobody_gave_holds_nothing(api: Api) -> None:
    for method in ("GET", "PUT"):
        address = f"https://api.cloudflare.com/client/v4/signed/{'0' * 32}"

        assert at(api, method, address, b"SELECT 1").status == 404
