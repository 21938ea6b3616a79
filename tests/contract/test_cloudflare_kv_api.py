"""The Workers KV endpoints, through every way in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pytest_alchemy import clock
from tests.unit.cloudflare.api import DOORS, Api, make_api

ALL = "@/storage/kv/namespaces"


@pytest.fixture(params=DOORS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = make_api(request.param, tmp_path)
    yield api
    api.account.close()


@pytest.fixture
def one(api: Api) -> str:
    """Path of a namespace."""
    return f"{ALL}/{api.namespace()}"


# --- namespaces


def test_a_namespace_can_be_made_found_renamed_and_deleted(api: Api) -> None:
    id = api.namespace("cache")

    assert api.result("GET", f"{ALL}/{id}") == {
        "id": id,
        "title": "cache",
        "supports_url_encoding": True,
    }
    api.result("PUT", f"{ALL}/{id}", {"title": "other"})
    assert api.result("GET", f"{ALL}/{id}")["title"] == "other"
    assert api.result("DELETE", f"{ALL}/{id}") is None
    assert api.refusal("GET", f"{ALL}/{id}")[:2] == (404, 10013)


def test_a_taken_title_is_refused_on_create_and_on_rename(api: Api) -> None:
    id = api.namespace("cache")
    api.namespace("other")

    created = api.refusal("POST", ALL, {"title": "cache"})
    renamed = api.refusal("PUT", f"{ALL}/{id}", {"title": "other"})

    assert created == (
        400,
        10014,
        "create: 'a namespace with this account ID and title already exists'",
    )
    assert renamed[:2] == (400, 10014)
    assert api.result("PUT", f"{ALL}/{id}", {"title": "cache"})["title"] == "cache"


@pytest.mark.parametrize("title", [None, "", 5, "a" * 513])
def test_a_title_that_is_not_one_is_refused(api: Api, title: object) -> None:
    assert api.refusal("POST", ALL, {"title": title})[:2] == (400, 10019)


def test_lists_come_in_pages_and_pages_past_the_end_are_empty(api: Api) -> None:
    for title in ("b", "a", "c"):
        api.namespace(title)

    def titles(query: str) -> list[str]:
        return [item["title"] for item in api.result("GET", ALL, query=query)]

    assert titles("per_page=2") == ["b", "a"]
    assert titles("per_page=2&page=2") == ["c"]
    assert titles("per_page=2&page=3") == []
    assert titles("page=99999999999999999999") == []
    assert titles("order=title&direction=desc") == ["c", "b", "a"]


def test_a_missing_namespace_is_not_found(api: Api) -> None:
    missing = f"{ALL}/{'0' * 32}"
    for method, path in (
        ("PUT", "/values/a"),
        ("GET", "/values/a"),
        ("DELETE", "/values/a"),
        ("GET", "/metadata/a"),
        ("GET", "/keys"),
        ("PUT", "/bulk"),
        ("DELETE", ""),
    ):
        assert api.refusal(method, missing + path, [])[:2] == (404, 10013)


def test_a_deleted_namespace_takes_its_pairs_with_it(api: Api, one: str) -> None:
    api.result("PUT", f"{one}/values/a", body=b"1")
    api.result("DELETE", one)

    again = f"{ALL}/{api.namespace('cache')}"

    assert api.result("GET", f"{again}/keys") == []


# --- values


@pytest.mark.parametrize("key", ["a", "a/b", "a b%?#&+", "ключ", "🗝", "..a", "x" * 512])
def test_any_key_finds_its_value_again(api: Api, one: str, key: str) -> None:
    path = f"{one}/values/{quote(key, safe='')}"

    api.result("PUT", path, body=b"value")

    assert api("GET", path).body == b"value"
    assert [item["name"] for item in api.result("GET", f"{one}/keys")] == [key]


@pytest.mark.parametrize("key", ["x" * 513, "é" * 257])
def test_a_key_that_is_too_long_is_refused(api: Api, one: str, key: str) -> None:
    assert api.refusal("PUT", f"{one}/values/{quote(key)}", body=b"1")[0] == 414


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
@pytest.mark.parametrize("value", [b"", b'{"a": 1}', bytes(range(256))])
def test_a_raw_body_is_the_value(api: Api, one: str, content_type: str, value: bytes) -> None:
    headers = {"content-type": content_type} if content_type else {}

    api.result("PUT", f"{one}/values/a", body=value, headers=headers)

    answer = api("GET", f"{one}/values/a")
    assert (answer.status, answer.body) == (200, value)
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("filename", ['; filename="upload"', ""])
def test_a_form_carries_value_and_metadata(api: Api, one: str, filename: str) -> None:
    body = (
        b'--XX\r\nContent-Disposition: form-data; name="value"' + filename.encode() + b"\r\n\r\n"
        b"line\r\n--not a boundary\r\n\r\n--XX\r\n"
        b'Content-Disposition: form-data; name="metadata"\r\nContent-Type: application/json\r\n\r\n'
        b'{"a": "\xc3\xbc"}\r\n--XX--\r\n'
    )

    api.result(
        "PUT",
        f"{one}/values/a",
        body=body,
        headers={"content-type": 'multipart/form-data; boundary="XX"'},
    )

    assert api("GET", f"{one}/values/a").body == b"line\r\n--not a boundary\r\n"
    assert api.result("GET", f"{one}/metadata/a") == {"a": "ü"}
    assert api.result("GET", f"{one}/keys") == [{"name": "a", "metadata": {"a": "ü"}}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        b"--XX--\r\n",
        b"--XX\r\n\r\n--XX--",
        b"--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--",
        (
            b'--XX\r\nContent-Disposition: form-data; name="value"\r\n\r\n1\r\n--XX\r\n'
            b'Content-Disposition: form-data; name="metadata"\r\n\r\n{\r\n--XX--'
        ),
    ],
)
def test_a_malformed_form_is_refused(api: Api, one: str, body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=XX"}

    assert api.refusal("PUT", f"{one}/values/a", body=body, headers=headers)[:2] == (400, 10012)
    assert (
        api.refusal(
            "PUT", f"{one}/values/a", body=body, headers={"content-type": "multipart/form-data"}
        )[0]
        == 400
    )


def test_a_put_without_metadata_clears_metadata_and_expiration(api: Api, one: str) -> None:
    api.result(
        "PUT", f"{one}/bulk", [{"key": "a", "value": "1", "metadata": [1], "expiration_ttl": 60}]
    )

    api.result("PUT", f"{one}/values/a", body=b"2")

    assert api.result("GET", f"{one}/keys") == [{"name": "a"}]
    assert api.result("GET", f"{one}/metadata/a") is None


def test_a_missing_key_is_not_found_but_deleted_quietly(api: Api, one: str) -> None:
    assert api.refusal("GET", f"{one}/values/a") == (404, 10009, "get: 'key not found'")
    assert api.refusal("GET", f"{one}/metadata/a")[:2] == (404, 10009)
    assert api("DELETE", f"{one}/values/a").status == 200


def test_a_pair_vanishes_when_it_expires(
    api: Api, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    api.result("PUT", f"{one}/values/a", body=b"1", query="expiration_ttl=60&expiration=1")
    expiration = int(api("GET", f"{one}/values/a").headers["expiration"])

    monkeypatch.setattr(clock, "now", lambda: now + 62)

    assert now + 58 < expiration < now + 62
    assert api("GET", f"{one}/values/a").status == 404
    assert api.result("GET", f"{one}/keys") == []
    assert api.result("POST", f"{one}/bulk/get", {"keys": ["a"]}) == {"values": {"a": None}}


@pytest.mark.parametrize("ttl", ["59", "0", "-1", "x", "1e400"])
def test_a_time_to_live_that_is_too_short_is_refused(api: Api, one: str, ttl: str) -> None:
    status, code, message = api.refusal(
        "PUT", f"{one}/values/a", body=b"1", query=f"expiration_ttl={ttl}"
    )

    assert (status, code) == (400, 10034)
    assert message == f"Invalid expiration_ttl of {ttl}. Expiration TTL must be at least 60."


def test_a_moment_in_the_past_is_refused(api: Api, one: str) -> None:
    assert api.refusal("PUT", f"{one}/values/a", body=b"1", query="expiration=5")[:2] == (
        400,
        10034,
    )


# --- keys


def test_keys_come_in_the_order_of_their_bytes_with_a_cursor(api: Api, one: str) -> None:
    names = ["b", "a", "ä", "𐀀", "\uffff", "a/1", "A"]
    api.result("PUT", f"{one}/bulk", [{"key": name, "value": ""} for name in names])

    found, cursor, rounds = [], "", 0
    while rounds == 0 or cursor:
        answer = api("GET", f"{one}/keys", query=f"limit=3&cursor={cursor}").json()
        found += [item["name"] for item in answer["result"]]
        assert answer["result_info"]["count"] == len(answer["result"])
        cursor, rounds = answer["result_info"]["cursor"], rounds + 1

    assert found == sorted(names, key=str.encode)
    assert rounds == 3


def test_a_prefix_narrows_the_keys(api: Api, one: str) -> None:
    api.result(
        "PUT",
        f"{one}/bulk",
        [{"key": key, "value": ""} for key in ("a%", "a_b", "ab", "b", "a\U0010ffffx")],
    )

    def names(prefix: str) -> list[str]:
        return [
            item["name"]
            for item in api.result("GET", f"{one}/keys", query=f"prefix={quote(prefix)}")
        ]

    assert names("a_") == ["a_b"]
    assert names("a%") == ["a%"]
    assert names("a") == ["a%", "a_b", "ab", "a\U0010ffffx"]
    assert names("a\U0010ffff") == ["a\U0010ffffx"]


@pytest.mark.parametrize("query", ["limit=x", "cursor=%ff", "cursor=a"])
def test_a_limit_or_cursor_that_is_none_is_refused(api: Api, one: str, query: str) -> None:
    assert api.refusal("GET", f"{one}/keys", query=query)[0] == 400


# --- many at once


def test_bulk_puts_gets_and_deletes(api: Api, one: str) -> None:
    put = api.result(
        "PUT",
        f"{one}/bulk",
        [
            {"key": "a", "value": "1", "metadata": {"m": 1}},
            {"key": "b", "value": "//8=", "base64": True},
            {"key": "c", "value": '{"x": 2}', "expiration_ttl": 90},
        ],
    )

    assert put == {"successful_key_count": 3, "unsuccessful_keys": []}
    assert api("GET", f"{one}/values/b").body == b"\xff\xff"
    assert api.result("POST", f"{one}/bulk/get", {"keys": ["a", "z"]}) == {
        "values": {"a": "1", "z": None}
    }
    assert api.result("POST", f"{one}/bulk/get", {"keys": ["c"], "type": "json"}) == {
        "values": {"c": {"x": 2}}
    }
    with_metadata = api.result(
        "POST", f"{one}/bulk/get", {"keys": ["a", "c"], "withMetadata": True}
    )["values"]
    assert with_metadata["a"] == {"value": "1", "metadata": {"m": 1}}
    assert set(with_metadata["c"]) == {"value", "metadata", "expiration"}

    api.result("DELETE", f"{one}/bulk", ["a"])
    api.result("POST", f"{one}/bulk/delete", ["b", "never"])

    assert [item["name"] for item in api.result("GET", f"{one}/keys")] == ["c"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"a": 1}, 10012),
        ([], 10029),
        ([{"key": "a"}], 10012),
        ([{"key": "a", "value": 5}], 10012),
        ([{"key": 5, "value": "a"}], 10012),
        ([{"key": "", "value": "a"}], 10012),
        ([{"key": "ok", "value": "1"}, {"key": "a", "value": "*", "base64": True}], 10012),
        ([{"key": "ok", "value": "1"}, {"key": "a", "value": "1", "expiration_ttl": 5}], 10034),
        ([{"key": "a", "value": ""}] * 10_001, 10012),
    ],
)
def test_a_malformed_bulk_body_is_refused_as_a_whole(
    api: Api, one: str, body: object, code: int
) -> None:
    assert api.refusal("PUT", f"{one}/bulk", body)[:2] == (400, code)
    assert api.result("GET", f"{one}/keys") == []


@pytest.mark.parametrize("keys", [["a"] * 101, "a", [5]])
def test_a_malformed_bulk_get_is_refused(api: Api, one: str, keys: object) -> None:
    assert api.refusal("POST", f"{one}/bulk/get", {"keys": keys})[0] == 400


def test_large_metadata_and_values_are_refused(api: Api, one: str) -> None:
    large = [{"key": "a", "value": "1", "metadata": "x" * 1024}]

    assert api.refusal("PUT", f"{one}/bulk", large)[0] == 413
    assert api.refusal("PUT", f"{one}/values/a", body=bytes(25 * 1024 * 1024 + 1))[0] == 413
