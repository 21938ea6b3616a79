"""Going back to what a D1 database held, through every way in."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest

from pytest_alchemy.cloudflare.fake import FakeAccount, d1_bookmarks
from pytest_alchemy.cloudflare.fake.d1_bookmarks import MOST_KEPT
from tests.unit.cloudflare.api import Api


@pytest.fixture
def id(api: Api) -> str:
    """A database with a table of one row."""
    id = api.database()
    api.query(id, "CREATE TABLE t (a)")
    api.query(id, "INSERT INTO t VALUES (1)")
    return id


def travel(id: str) -> str:
    return f"@/d1/database/{id}/time_travel"


def bookmark(api: Api, id: str, query: str = "") -> str:
    return str(api.result("GET", f"{travel(id)}/bookmark", query=query)["bookmark"])


def restore(api: Api, id: str, **wanted: str) -> dict[str, str]:
    found: dict[str, str] = api.result("POST", f"{travel(id)}/restore", query=urlencode(wanted))
    return found


def at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def test_a_bookmark_brings_back_rows_tables_and_indexes(api: Api, id: str) -> None:
    api.query(id, "CREATE INDEX i ON t (a)")
    before = bookmark(api, id)
    api.query(id, "DELETE FROM t; DROP INDEX i; CREATE TABLE other (b)")

    answer = restore(api, id, bookmark=before)

    assert api.query(id, "SELECT a FROM t") == [{"a": 1}]
    assert [row["name"] for row in api.query(id, "SELECT name FROM sqlite_master")] == ["t", "i"]
    assert answer["bookmark"] == bookmark(api, id) > answer["previous_bookmark"] > before


def test_a_restore_can_be_undone_and_the_past_stays(api: Api, id: str) -> None:
    before = bookmark(api, id)
    api.query(id, "INSERT INTO t VALUES (2)")

    answer = restore(api, id, bookmark=before)
    restore(api, id, bookmark=answer["previous_bookmark"])

    assert api.query(id, "SELECT a FROM t") == [{"a": 1}, {"a": 2}]
    restore(api, id, bookmark=before)
    assert api.query(id, "SELECT a FROM t") == [{"a": 1}]


def test_what_was_restored_is_a_database_like_any_other(api: Api, id: str) -> None:
    before = bookmark(api, id)
    api.query(id, "DROP TABLE t")
    restore(api, id, bookmark=before)

    api.query(id, "INSERT INTO t VALUES (3)")

    assert api.query(id, "SELECT a FROM t") == [{"a": 1}, {"a": 3}]
    api.query(id, "CREATE TABLE child (a REFERENCES parent (b)); CREATE TABLE parent (b UNIQUE)")
    refused = api.refusal(
        "POST", f"@/d1/database/{id}/query", {"sql": "INSERT INTO child VALUES (1)"}
    )
    assert "FOREIGN KEY" in refused[2]


def test_a_database_goes_back_to_being_empty(api: Api) -> None:
    id = api.database()
    empty = bookmark(api, id)
    api.query(id, "CREATE TABLE t (a)")

    restore(api, id, bookmark=empty)

    assert api.query(id, "SELECT name FROM sqlite_master") == []


def test_bookmarks_stay_the_same_until_something_changes_and_are_in_order(
    api: Api, id: str
) -> None:
    first = bookmark(api, id)
    api.query(id, "SELECT * FROM t")
    assert bookmark(api, id) == first

    api.query(id, "INSERT INTO t VALUES (2)")

    assert bookmark(api, id) > first


def test_the_present_and_every_moment_with_a_bookmark_can_be_named_by_their_time(
    api: Api, id: str
) -> None:
    moment = time.time()
    before = bookmark(api, id)
    api.query(id, "INSERT INTO t VALUES (2)")

    assert bookmark(api, id, urlencode({"timestamp": at(moment)})) == before
    assert bookmark(api, id, urlencode({"timestamp": at(time.time() + 60)})) == bookmark(api, id)
    restore(api, id, timestamp=at(moment))
    assert api.query(id, "SELECT a FROM t") == [{"a": 1}]


def test_what_changed_and_changed_back_was_something_else_in_between(api: Api, id: str) -> None:
    api.query(id, "UPDATE t SET a = 5")
    before = bookmark(api, id)
    api.query(id, "UPDATE t SET a = 6")
    moment = time.time()
    api.query(id, "UPDATE t SET a = 5")

    after = bookmark(api, id)

    assert after > before
    assert bookmark(api, id) == after
    wanted = urlencode({"timestamp": at(moment)})
    assert api.refusal("GET", f"{travel(id)}/bookmark", query=wanted)[:2] == (400, 7400)


def test_a_moment_that_nobody_asked_for_is_refused_not_guessed(api: Api, id: str) -> None:
    moment = time.time()
    api.query(id, "INSERT INTO t VALUES (2)")

    status, code, message = api.refusal(
        "POST", f"{travel(id)}/restore", query=urlencode({"timestamp": at(moment)})
    )

    assert (status, code) == (400, 7400)
    assert message == (
        f"No bookmark of {at(moment)}: This fake account knows what a database held when its bookmark was asked for: "
        "ask for it before the change that you want to undo."
    )
    assert api.query(id, "SELECT count(*) AS n FROM t") == [{"n": 2}]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, "bookmark => Required, or a timestamp"),
        ({"bookmark": "none"}, "has no bookmark none"),
        ({"timestamp": "yesterday"}, "timestamp => Expected a moment"),
        ({"timestamp": "2001-01-01T00:00:00Z"}, "The database was made at"),
    ],
)
def test_a_restore_to_nowhere_is_refused(
    api: Api, id: str, wanted: dict[str, str], reason: str
) -> None:
    status, code, message = api.refusal("POST", f"{travel(id)}/restore", query=urlencode(wanted))

    assert (status, code) == (400, 7400)
    assert reason in message


def test_a_bookmark_is_of_one_database(api: Api, id: str) -> None:
    other = bookmark(api, api.database("other"))

    assert "has no bookmark" in api.refusal("POST", f"{travel(id)}/restore", {"bookmark": other})[2]
    assert api.refusal("GET", f"{travel('none')}/bookmark")[:2] == (404, 7404)


def test_old_bookmarks_end(api: Api, id: str) -> None:
    first = bookmark(api, id)
    for number in range(MOST_KEPT):
        api.query(id, "INSERT INTO t VALUES (?)", number)
        bookmark(api, id)

    assert api.refusal("POST", f"{travel(id)}/restore", {"bookmark": first})[:2] == (400, 7400)


def test_bookmarks_of_a_large_database_end_sooner_but_a_restore_can_be_undone(
    api: Api, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(d1_bookmarks, "MOST_BYTES", 50_000)
    api.query(id, "INSERT INTO t VALUES (zeroblob(20000))")
    first = bookmark(api, id)
    api.query(id, "INSERT INTO t VALUES (2)")
    second = bookmark(api, id)
    api.query(id, "INSERT INTO t VALUES (zeroblob(100000))")

    answer = restore(api, id, bookmark=second)
    restore(api, id, bookmark=answer["previous_bookmark"])

    assert api.query(id, "SELECT length(a) AS n FROM t")[-1] == {"n": 100000}
    for gone in (first, second):
        assert api.refusal("POST", f"{travel(id)}/restore", {"bookmark": gone})[0] == 400


def test_an_import_ends_with_a_bookmark_that_can_be_restored(api: Api) -> None:
    id = api.database()
    path = f"@/d1/database/{id}/import"
    file = api.result("POST", path, {"action": "init", "etag": "0"})["filename"]
    api("PUT", f"signed/{file}", body=b"CREATE TABLE t (a); INSERT INTO t VALUES (7);")
    ingest = {"action": "ingest", "etag": "0", "filename": file}
    after = api.result("POST", path, ingest)["result"]["final_bookmark"]
    api.query(id, "DROP TABLE t")

    restore(api, id, bookmark=after)

    assert api.query(id, "SELECT a FROM t") == [{"a": 7}]


def test_another_process_sees_bookmarks_restores_and_the_time_of_changes(tmp_path: Path) -> None:
    ours, theirs = (Api(FakeAccount(tmp_path / "account.db")) for _ in range(2))
    id = ours.database()
    ours.query(id, "CREATE TABLE t (a)")
    assert theirs.query(id, "SELECT a FROM t") == []
    before = bookmark(ours, id)
    moment = time.time() + 0.001
    theirs.query(id, "INSERT INTO t VALUES (1)")

    refused = ours.refusal(
        "GET", f"{travel(id)}/bookmark", query=urlencode({"timestamp": at(moment)})
    )
    restore(theirs, id, bookmark=before)

    assert refused[:2] == (400, 7400)
    assert ours.query(id, "SELECT a FROM t") == []
    for api in (ours, theirs):
        api.account.close()
