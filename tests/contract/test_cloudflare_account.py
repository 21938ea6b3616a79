"""What every endpoint of the API has in common, through every way in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cloudflare.api import DOORS, Api, make_api


@pytest.fixture(params=DOORS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = make_api(request.param, tmp_path)
    yield api
    api.account.close()


def test_the_token_is_verified(api: Api) -> None:
    response = api("GET", "user/tokens/verify")

    assert response.status == 200
    assert response.json()["result"]["status"] == "active"
    assert response.json()["messages"][0]["message"] == "This API Token is valid and active"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": "Bearer wrong"}, (401, 10000)),
        ({"authorization": "Bearer"}, (400, 6003)),
        ({"authorization": "Basic abc"}, (400, 6003)),
    ],
)
def test_a_bad_token_is_refused(
    api: Api, headers: dict[str, str], expected: tuple[int, int]
) -> None:
    status, code, _ = api.refusal("GET", "@/d1/database", headers=headers)

    assert (status, code) == expected


def test_an_object_called_like_the_upload_of_assets_needs_the_token(api: Api) -> None:
    api.result("POST", "@/r2/buckets", {"name": "pictures"})
    path = "@/r2/buckets/pictures/objects/workers/assets/upload"

    refusal = api.refusal("PUT", path, body=b"1", headers={"authorization": "Bearer wrong"})

    assert refusal[:2] == (401, 10000)


def test_a_wrong_token_does_not_verify(api: Api) -> None:
    refusal = api.refusal("GET", "user/tokens/verify", headers={"authorization": "Bearer wrong"})

    assert refusal == (401, 1000, "Invalid API Token")


def test_a_request_without_any_token_is_refused(api: Api) -> None:
    # An empty Authorization header cannot be told from none by the helper, so the key header stands alone.
    key = api("GET", "user", headers={"x-auth-key": api.account.api_token})

    assert key.status == 200
    from pytest_alchemy.cloudflare.fake import Request

    bare = api.account.handle(Request("GET", "/client/v4/user"))
    assert (bare.status, bare.json()["errors"][0]["code"]) == (400, 9106)


def test_another_account_is_not_ours(api: Api) -> None:
    status, code, message = api.refusal("GET", f"accounts/{'0' * 32}/d1/database")

    assert (status, code, message) == (403, 10000, "Authentication error")


def test_a_malformed_account_id_cannot_be_routed(api: Api) -> None:
    status, code, _ = api.refusal("GET", "accounts/me/d1/database")

    assert (status, code) == (404, 7003)


def test_an_unknown_endpoint_says_that_the_fake_does_not_know_it(api: Api) -> None:
    status, code, message = api.refusal("POST", "@/hyperdrive/configs", {})

    path = f"/client/v4/accounts/{api.account.account_id}/hyperdrive/configs"
    assert (status, code) == (404, 7003)
    assert message == (
        f"Could not route to {path}, perhaps your object identifier is invalid? "
        f"(This fake account has no endpoint for POST {path}.)"
    )


@pytest.mark.parametrize(
    "path", ["@", "@/d1", "@/d1/database/", "@/d1/database//query", "@/d1/database/a/b/c", "x"]
)
def test_a_path_beside_the_endpoints_cannot_be_routed(api: Api, path: str) -> None:
    if path == "@":
        assert api.result("GET", path)["id"] == api.account.account_id
    else:
        assert api.refusal("GET", path)[:2] == (404, 7003)


def test_a_wrong_method_is_not_allowed(api: Api) -> None:
    status, code, message = api.refusal("PUT", "@/d1/database", {})

    assert (status, code) == (405, 10405)
    assert "GET, POST" in message


def test_a_json_body_needs_no_content_type(api: Api) -> None:
    response = api(
        "POST",
        "@/d1/database",
        {"name": "orders"},
        headers={"content-type": "text/plain;charset=UTF-8"},
    )

    assert response.status == 200


@pytest.mark.parametrize("body", [b"{", b"[1,", b"\xff", b'{"name": NaN}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(api: Api, body: bytes) -> None:
    assert api.refusal("POST", "@/d1/database", body=body)[:2] == (400, 10026)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
def test_a_body_of_another_shape_is_refused(api: Api, body: bytes) -> None:
    assert api.refusal("POST", "@/d1/database", body=body)[:2] == (400, 7400)


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\ud800"'])
def test_text_that_is_not_unicode_is_refused(api: Api, text: str) -> None:
    body = f'{{"title": {text}}}'.encode()

    assert api.refusal("POST", "@/storage/kv/namespaces", body=body)[0] == 400


def test_a_path_that_is_not_utf8_is_refused(api: Api) -> None:
    id = api.namespace()

    assert api.refusal("GET", f"@/storage/kv/namespaces/{id}/values/%ff")[0] == 400


def test_every_answer_tells_the_rate_limit(api: Api) -> None:
    for path in ("user", "nothing/here"):
        headers = api("GET", path).headers

        assert re.fullmatch(r'"default";r=\d+;t=\d+', headers["ratelimit"])
        assert headers["ratelimit-policy"] == '"default";q=1200;w=300'
        assert "retry-after" not in headers


@pytest.mark.parametrize("path", ["accounts", "memberships"])
def test_the_account_is_the_only_one_and_pages_past_it_are_empty(api: Api, path: str) -> None:
    first = api("GET", path).json()

    assert first["result_info"]["total_count"] == 1
    assert api.account.account_id in str(first["result"])
    assert api.result("GET", path, query="page=2") == []


def test_a_fault_answers_as_often_as_it_was_told_to(api: Api) -> None:
    api.account.fail(method="GET", path="/d1/database$", status=429, times=2, retry_after=7)

    answers = [api("GET", "@/d1/database") for _ in range(3)]

    assert [answer.status for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[0].json()["errors"][0]["code"] == 971


def test_a_fault_is_for_its_method_and_path_only(api: Api) -> None:
    api.account.fail(method="DELETE", path="/queues")

    assert api("GET", "@/d1/database").status == 200


def test_a_fault_can_hide_an_answer_that_took_effect(api: Api) -> None:
    api.account.fail(method="POST", status=502, acts=True)

    answer = api("POST", "@/d1/database", {"name": "orders"})

    assert answer.status == 502
    assert [item.name for item in api.account.inventory()] == ["orders"]


def test_a_fault_can_answer_anything(api: Api) -> None:
    api.account.fail(status=502, body="<html>Bad gateway</html>")

    answer = api("GET", "user")

    assert (answer.status, answer.body) == (502, b"<html>Bad gateway</html>")


def test_faults_and_requests_can_be_forgotten(api: Api) -> None:
    api.account.fail(times=None)
    api("GET", "user")

    api.account.clear_faults()
    api.account.forget_requests()

    assert api("GET", "user").status == 200
    assert [request.path for request in api.account.requests] == ["/client/v4/user"]


def test_what_was_asked_is_remembered_with_its_body(api: Api) -> None:
    api("POST", "@/d1/database", {"name": "orders"}, query="a=1")

    (request,) = api.account.requests
    assert (request.method, request.query, request.json()) == ("POST", "a=1", {"name": "orders"})


def test_the_inventory_lists_what_is_alive(api: Api) -> None:
    database, namespace = api.database("orders"), api.namespace("cache")
    api.result("DELETE", f"@/d1/database/{api.database('gone')}")

    items = api.account.inventory()

    assert [(item.kind, item.id, item.name) for item in items] == [
        ("d1", database, "orders"),
        ("kv", namespace, "cache"),
    ]
    assert all(item.created > 1_600_000_000 for item in items)


def test_discarding_removes_a_thing_and_is_quiet_the_second_time(api: Api) -> None:
    api.database(), api.namespace()

    for item in api.account.inventory() * 2:
        api.account.discard(item)

    assert api.account.inventory() == []
