"""What is said of an API token."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

from pytest_alchemy.cloudflare.account import DEFAULT_BASE_URL
from pytest_alchemy.cloudflare.errors import (
    CloudflareError,
    CloudflareUnreachableError,
    TokenRefusedError,
)
from pytest_alchemy.cloudflare.fake import FakeAccount
from pytest_alchemy.cloudflare.fake.respx_door import answering
from pytest_alchemy.cloudflare.tokens import accounts, verify

ACCOUNT = "a" * 32
USERS = f"{DEFAULT_BASE_URL}/user/tokens/verify"
ACCOUNTS = f"{DEFAULT_BASE_URL}/accounts/{ACCOUNT}/tokens/verify"
INVALID = httpx.Response(401, json={"errors": [{"code": 1000, "message": "Invalid API Token"}]})


def result(**more: Any) -> httpx.Response:
    return httpx.Response(200, json={"result": {"id": "t1", "status": "active", **more}})


def test_the_fake_account_takes_its_own_token() -> None:
    fake = FakeAccount()

    with answering(fake):
        token = verify(fake.api_token)
        found = accounts(fake.api_token)

    assert (len(token.id), token.expires) == (32, None)
    assert list(found) == [fake.account_id]


def test_the_fake_account_refuses_another_one() -> None:
    with answering(FakeAccount()), pytest.raises(TokenRefusedError) as caught:
        verify("another")

    assert str(caught.value) == (
        "Cloudflare does not take the token: Invalid API Token.\n"
        "Make a new one in the dashboard (My Profile, API Tokens), and give it to alchemy login."
    )


def test_a_token_of_an_account_is_asked_about_there(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(USERS).mock(INVALID)
    respx_mock.get(ACCOUNTS).mock(result(expires_on="2999-01-01T00:00:00Z"))

    token = verify("token", ACCOUNT)

    assert token.id == "t1"
    assert token.expires is not None
    assert token.expires.year == 2999
    assert respx_mock.calls.last.request.headers["authorization"] == "Bearer token"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (result(expires_on="2020-01-01T00:00:00Z"), "it expired on 2020-01-01 at 00:00 UTC"),
        (
            result(status="expired", expires_on="2020-01-01T00:00:00Z"),
            "it expired on 2020-01-01 at 00:00 UTC",
        ),
        (result(status="disabled"), "it is disabled"),
        (
            result(not_before="2999-01-01T00:00:00Z"),
            "it is valid only from 2999-01-01 00:00 UTC on",
        ),
        (INVALID, "Invalid API Token"),
    ],
)
def test_a_token_that_does_not_work_is_refused_with_its_reason(
    respx_mock: respx.MockRouter, answer: httpx.Response, reason: str
) -> None:
    respx_mock.get(USERS).mock(answer)

    with pytest.raises(TokenRefusedError) as caught:
        verify("token")

    assert caught.value.reason == reason


def test_an_answer_about_something_else_is_no_refusal(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(USERS).mock(httpx.Response(503, text="down"))
    with pytest.raises(CloudflareError, match="status 503"):
        verify("token", ACCOUNT)

    respx_mock.get(USERS).mock(side_effect=httpx.ConnectError("no route"))
    with pytest.raises(CloudflareUnreachableError, match="no route"):
        verify("token")
