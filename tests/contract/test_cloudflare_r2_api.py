"""The R2 endpoints, through every way in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.cloudflare.api import DOORS, Api, make_api

ALL = "@/r2/buckets"
EU = {"cf-r2-jurisdiction": "eu"}


@pytest.fixture(params=DOORS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = make_api(request.param, tmp_path)
    yield api
    api.account.close()


@pytest.fixture
def one(api: Api) -> str:
    """Path of a bucket."""
    api.result("POST", ALL, {"name": "uploads"})
    return f"{ALL}/uploads"


def put(api: Api, one: str, *keys: str) -> None:
    for key in keys:
        api.result("PUT", f"{one}/objects/{quote(key, safe='')}", body=b"1")


# --- buckets


def test_a_bucket_can_be_made_found_changed_and_deleted(api: Api) -> None:
    made = api.result("POST", ALL, {"name": "uploads", "locationHint": "ENAM"})

    assert made == api.result("GET", f"{ALL}/uploads")
    assert made == {
        "name": "uploads",
        "creation_date": made["creation_date"],
        "location": "enam",
        "storage_class": "Standard",
        "jurisdiction": "default",
    }
    rare = {"cf-r2-storage-class": "InfrequentAccess"}
    changed = api.result("PATCH", f"{ALL}/uploads", headers=rare)
    assert changed == api.result("GET", f"{ALL}/uploads")
    assert changed == {**made, "storage_class": "InfrequentAccess"}
    assert api.result("DELETE", f"{ALL}/uploads") == {}
    assert api.refusal("GET", f"{ALL}/uploads") == (
        404,
        10006,
        "The specified bucket does not exist.",
    )


@pytest.mark.parametrize(
    "name", [None, 5, "ab", "a" * 64, "Uploads", "a_b", "-ab", "ab-", "a.b", ""]
)
def test_a_name_that_is_not_valid_is_refused(api: Api, name: object) -> None:
    assert api.refusal("POST", ALL, {"name": name}) == (
        400,
        10005,
        "The specified bucket name is not valid.",
    )


@pytest.mark.parametrize("name", ["abc", "a" * 63, "a-b", "123"])
def test_a_name_within_the_rules_is_taken(api: Api, name: str) -> None:
    assert api.result("POST", ALL, {"name": name})["name"] == name


def test_a_taken_name_is_a_conflict(api: Api, one: str) -> None:
    assert api.refusal("POST", ALL, {"name": "uploads"}) == (
        409,
        10004,
        "The bucket you tried to create already exists, and you own it.",
    )


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"locationHint": "mars"}, {}),
        ({"storageClass": "Glacier"}, {}),
        ({}, {"cf-r2-jurisdiction": "mars"}),
    ],
)
def test_an_argument_that_is_not_one_is_refused(
    api: Api, body: dict[str, Any], headers: dict[str, str]
) -> None:
    assert api.refusal("POST", ALL, {"name": "abc", **body}, headers=headers)[:2] == (400, 10022)


def test_a_change_without_a_class_is_refused(api: Api, one: str) -> None:
    assert api.refusal("PATCH", one)[:2] == (400, 10022)


def test_each_jurisdiction_has_names_of_its_own(api: Api, one: str) -> None:
    api.result("POST", ALL, {"name": "uploads"}, headers=EU)
    api.result("PUT", f"{one}/objects/a", body=b"eu", headers=EU)

    assert api.refusal("GET", f"{one}/objects/a")[:2] == (404, 10007)
    assert api("GET", f"{one}/objects/a", headers=EU).body == b"eu"
    assert api.result("GET", ALL, headers=EU)["buckets"][0]["jurisdiction"] == "eu"
    assert len({item.id for item in api.account.inventory()}) == 2
    api.result("DELETE", one)
    assert api.result("GET", one, headers=EU)["name"] == "uploads"


def test_lists_of_buckets_go_on_by_cursors(api: Api) -> None:
    for name in ("bb-1", "aa-1", "cc-2"):
        api.result("POST", ALL, {"name": name})

    def page(query: str) -> tuple[list[str], str]:
        envelope = api("GET", ALL, query=query).json()
        names = [bucket["name"] for bucket in envelope["result"]["buckets"]]
        return names, envelope["result_info"]["cursor"]

    first, cursor = page("per_page=2")
    assert first == ["aa-1", "bb-1"]
    assert page(f"per_page=2&cursor={cursor}") == (["cc-2"], "")
    last, cursor = page("per_page=2&direction=desc")
    assert last == ["cc-2", "bb-1"]
    assert page(f"per_page=2&direction=desc&cursor={cursor}") == (["aa-1"], "")
    assert page("name_contains=-1&start_after=aa-1") == (["bb-1"], "")
    assert page("start_after=zz") == ([], "")
    assert api.refusal("GET", ALL, query="cursor=a")[:2] == (400, 10022)
    assert api.refusal("GET", ALL, query="per_page=x")[:2] == (400, 10022)


def test_a_bucket_with_objects_is_not_deleted(api: Api, one: str) -> None:
    put(api, one, "a")

    refusal = api.refusal("DELETE", one)

    assert refusal == (
        409,
        10008,
        f"The bucket you tried to delete (uploads) is not empty (account {api.account.account_id}).",
    )
    api.result("DELETE", f"{one}/objects/a")
    assert api.result("DELETE", one) == {}


def test_a_bucket_made_anew_is_empty(api: Api, one: str) -> None:
    put(api, one, "a")
    api.result("PUT", f"{one}/cors", {"rules": [{}]})
    (item,) = api.account.inventory()
    api.account.discard(item)

    api.result("POST", ALL, {"name": "uploads"})

    assert api.result("GET", f"{one}/objects") == []
    assert api.refusal("GET", f"{one}/cors")[:2] == (404, 10059)
    assert api.account.inventory()[0].id != item.id


def test_a_missing_bucket_is_not_found(api: Api) -> None:
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/objects"),
        ("PUT", "/objects/a"),
        ("GET", "/objects/a"),
        ("DELETE", "/objects/a"),
        ("GET", "/cors"),
        ("GET", "/domains/managed"),
    ):
        assert api.refusal(method, f"{ALL}/missing{path}")[:2] == (404, 10006)


# --- settings


def test_rules_are_kept(api: Api, one: str) -> None:
    assert api.refusal("GET", f"{one}/cors")[:2] == (404, 10059)
    assert api.result("GET", f"{one}/lock") == {"rules": []}
    assert len(api.result("GET", f"{one}/lifecycle")["rules"]) == 1

    for name in ("cors", "lock", "lifecycle"):
        assert api.result("PUT", f"{one}/{name}", {"rules": [{"id": name}]}) == {}

        assert api.result("GET", f"{one}/{name}") == {"rules": [{"id": name}]}
        assert api.refusal("PUT", f"{one}/{name}", {"rules": 5})[:2] == (400, 10022)
    assert api.result("DELETE", f"{one}/cors") == {}
    assert api.refusal("GET", f"{one}/cors")[:2] == (404, 10059)


def test_the_managed_domain_is_switched(api: Api, one: str) -> None:
    before = api.result("GET", f"{one}/domains/managed")

    after = api.result("PUT", f"{one}/domains/managed", {"enabled": True})

    assert before["enabled"] is False
    assert after == {**before, "enabled": True} == api.result("GET", f"{one}/domains/managed")
    assert after["domain"] == f"pub-{after['bucketId']}.r2.dev"
    assert api.refusal("PUT", f"{one}/domains/managed", {})[:2] == (400, 10022)


def test_metrics_count_what_is_stored(api: Api, one: str) -> None:
    put(api, one, "a", "b")

    metrics = api.result("GET", "@/r2/metrics")

    assert metrics["standard"]["published"] == {
        "metadataSize": 0,
        "objects": 2,
        "payloadSize": 2,
    }
    assert metrics["infrequentAccess"]["published"]["objects"] == 0


# --- objects


@pytest.mark.parametrize(
    "key", ["a", "dir/a.txt", "a//b", "a b%?#&+", "ключ", "🗝", "..a", "/a", "a/", "x" * 1024]
)
@pytest.mark.parametrize("safe", ["", "/"])
def test_any_key_finds_its_object_again(api: Api, one: str, key: str, safe: str) -> None:
    path = f"{one}/objects/{quote(key, safe=safe)}"

    api.result("PUT", path, body=b"value")

    assert api("GET", path).body == b"value"
    assert [found["key"] for found in api.result("GET", f"{one}/objects")] == [key]
    assert api.result("DELETE", path) == {"key": key}
    assert api.result("GET", f"{one}/objects") == []


@pytest.mark.parametrize("key", ["x" * 1025, "é" * 513, ""])
def test_a_key_of_no_valid_length_is_refused(api: Api, one: str, key: str) -> None:
    refusal = api.refusal("PUT", f"{one}/objects/{quote(key)}", body=b"1")

    assert refusal == (400, 10020, "The specified object name is not valid.")


def test_an_object_comes_back_with_what_was_said_of_it(api: Api, one: str) -> None:
    said = {
        "content-type": "text/css",
        "cache-control": "no-store",
        "content-disposition": "inline",
        "content-language": "de",
        "expires": "Thu, 01 Jan 2037 00:00:00 GMT",
        "cf-r2-storage-class": "InfrequentAccess",
    }
    put_result = api.result("PUT", f"{one}/objects/a", body=b"body{}", headers=said)

    got = api("GET", f"{one}/objects/a")
    (listed,) = api.result("GET", f"{one}/objects")

    etag = hashlib.md5(b"body{}").hexdigest()
    assert {name: got.headers[name] for name in said if not name.startswith("cf-")} == {
        name: text for name, text in said.items() if not name.startswith("cf-")
    }
    assert got.headers["etag"] == f'"{etag}"'
    assert "last-modified" in got.headers
    assert put_result == {
        "key": "a",
        "etag": etag,
        "size": "6",
        "version": put_result["version"],
        "uploaded": listed["last_modified"],
        "storage_class": "InfrequentAccess",
    }
    assert listed["size"] == 6
    assert listed["etag"] == etag
    assert listed["http_metadata"] == {
        "contentType": "text/css",
        "cacheControl": "no-store",
        "contentDisposition": "inline",
        "contentLanguage": "de",
        "cacheExpiry": "Thu, 01 Jan 2037 00:00:00 GMT",
    }


def test_a_put_replaces_the_object(api: Api, one: str) -> None:
    api.result("PUT", f"{one}/objects/a", body=b"1", headers={"content-type": "text/css"})
    api.result("PUT", f"{one}/objects/a", body=b"")

    got = api("GET", f"{one}/objects/a")

    assert got.body == b""
    assert got.headers["content-type"] != "text/css"


def test_what_is_missing_is_told(api: Api, one: str) -> None:
    assert api.refusal("GET", f"{one}/objects/a") == (
        404,
        10007,
        "The specified key does not exist.",
    )
    assert api.result("DELETE", f"{one}/objects/a") == {"key": "a"}


def test_a_head_finds_nothing_even_where_something_is(api: Api, one: str) -> None:
    put(api, one, "a")

    assert api("HEAD", f"{one}/objects/a").status == 404


def test_many_objects_are_deleted_at_once(api: Api, one: str) -> None:
    put(api, one, "a", "b/c", "d")

    assert api.result("DELETE", f"{one}/objects", ["a", "b/c", "missing"]) == [
        {"key": "a"},
        {"key": "b/c"},
        {"key": "missing"},
    ]
    assert [found["key"] for found in api.result("GET", f"{one}/objects")] == ["d"]
    wrongs: list[Any] = [{}, [5], None]
    for wrong in wrongs:
        assert api.refusal("DELETE", f"{one}/objects", wrong)[:2] == (400, 10022)


def test_lists_of_objects_go_on_by_cursors_and_fold_folders(api: Api, one: str) -> None:
    put(api, one, "a", "b/1", "b/2", "b/3", "c", "d/1")

    def pages(query: str) -> list[tuple[list[str], list[str]]]:
        found = []
        cursor = ""
        while True:
            asked = f"{query}&cursor={quote(cursor)}" if cursor else query
            envelope = api("GET", f"{one}/objects", query=asked).json()
            info = envelope["result_info"]
            found.append(([item["key"] for item in envelope["result"]], info["delimited"]))
            assert info["is_truncated"] is bool(info["cursor"])
            if not (cursor := info["cursor"]):
                return found

    assert pages("per_page=4") == [(["a", "b/1", "b/2", "b/3"], []), (["c", "d/1"], [])]
    assert pages("per_page=2&delimiter=/") == [(["a"], ["b/"]), (["c"], ["d/"])]
    assert pages("prefix=b/&per_page=2") == [(["b/1", "b/2"], []), (["b/3"], [])]
    assert pages("prefix=b/&delimiter=/") == [(["b/1", "b/2", "b/3"], [])]
    assert pages("start_after=b/3") == [(["c", "d/1"], [])]
    assert pages("prefix=z") == [([], [])]
