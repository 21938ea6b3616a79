from __future__ import annotations

import email.utils
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_alchemy.cloudflare import CloudflareError
from pytest_alchemy.retry import Advice, advise, backoff, is_taken, parse_retry_after, status_of


class Refused(Exception):
    def __init__(self, **attributes: Any) -> None:
        super().__init__("refused")
        self.__dict__.update(attributes)


def httpx_error(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Exception:
    request = httpx.Request("DELETE", "https://example.test/thing")
    response = httpx.Response(status, headers=headers, content=body, request=request)
    return httpx.HTTPStatusError("refused", request=request, response=response)


def botocore_error(status: int, headers: dict[str, str]) -> Exception:
    return Refused(
        response={"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}
    )


@pytest.mark.parametrize(
    "error",
    [
        httpx_error(429),
        botocore_error(429, {}),
        CloudflareError(429, 971, "slow down", "DELETE /x"),
        Refused(status_code=429),
        Refused(status=429),
        Refused(response=SimpleNamespace(status=429, headers={})),
    ],
    ids=["httpx", "botocore", "cloudflare", "status_code", "status", "aiohttp"],
)
def test_the_status_is_found_where_clients_keep_it(error: Exception) -> None:
    assert status_of(error) == 429


@pytest.mark.parametrize(
    ("status", "taken"), [(409, True), (412, True), (400, False), (429, False)]
)
def test_a_create_that_is_refused_because_of_what_exists_is_told_apart(
    status: int, taken: bool
) -> None:
    error, wrapping = httpx_error(status), RuntimeError("it could not be made")
    wrapping.__cause__ = error

    assert (is_taken(error, "a"), is_taken(wrapping, "a")) == (taken, taken)
    assert not is_taken(RuntimeError("no answer at all for a"), "a")


@pytest.mark.parametrize(
    "error",
    [
        FileExistsError(17, "File exists", "/things/alt-shop-a"),
        psycopg.errors.DuplicateDatabase('database "alt-shop-a" already exists'),
        psycopg.errors.DuplicateObject('role "alt-shop-a" already exists'),
    ],
)
def test_a_file_or_a_database_is_in_the_way_of_a_create_of_its_own_name_alone(
    error: Exception,
) -> None:
    assert is_taken(error, "alt-shop-a")
    assert not is_taken(error, "alt-shop-b")


def test_what_is_missing_is_not_in_the_way() -> None:
    for error in (
        FileNotFoundError(2, "No such file", "/a"),
        psycopg.errors.UndefinedTable('relation "a" does not exist'),
    ):
        assert not is_taken(error, "a")


@pytest.mark.parametrize("status", [404, 410])
def test_what_does_not_exist_is_gone(status: int) -> None:
    assert advise(httpx_error(status), now=0.0).gone


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_refusal_is_neither_gone_nor_worth_another_try(status: int) -> None:
    assert advise(httpx_error(status), now=0.0) == Advice()


def test_that_something_else_is_missing_does_not_make_the_thing_gone() -> None:
    error = RuntimeError("could not look up the zone")
    error.__cause__ = httpx_error(404)

    assert not advise(error, now=0.0).gone


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_overloaded_provider_is_asked_again(status: int) -> None:
    advice = advise(httpx_error(status), now=0.0)

    assert advice.again
    assert advice.answered
    assert advice.throttled == (status == 429)


def test_a_wrapped_refusal_is_seen_through() -> None:
    error = RuntimeError("delete failed")
    error.__cause__ = httpx_error(429, {"Retry-After": "7"})

    assert advise(error, now=0.0) == Advice(again=True, wait=7.0, throttled=True, answered=True)


@pytest.mark.parametrize("error", [TypeError("x"), AttributeError("x"), AssertionError("x")])
def test_a_mistake_of_the_program_is_not_tried_again(error: Exception) -> None:
    assert not advise(error, now=0.0).again


def test_any_other_error_may_pass() -> None:
    assert advise(RuntimeError("still in use"), now=0.0) == Advice(again=True)


def test_a_lost_connection_is_worth_patience() -> None:
    assert advise(ConnectionResetError(), now=0.0) == Advice(again=True, answered=True)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (httpx_error(429, {"retry-after": "3"}), 3.0),
        (httpx_error(503, {"Retry-After": "0.25"}), 0.25),
        (httpx_error(429, {"Retry-After": "2", "Retry-After-Ms": "1500"}), 1.5),
        (httpx_error(429, {"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}), 90.0),
        (httpx_error(429, {"Retry-After": "Thu, 01 Jan 1970 00:00:01 GMT"}), 0.0),
        (httpx_error(429, {"Retry-After": "soon"}), None),
        (httpx_error(429, {"Retry-After": "-5"}), 0.0),
        (httpx_error(429, {"Retry-After": "nan"}), None),
        (httpx_error(429), None),
        (httpx_error(429, body=b"null"), None),
        (httpx_error(429, body=b"<html>\xff"), None),
        (botocore_error(429, {"RETRY-AFTER": "4"}), 4.0),
        (CloudflareError(429, 971, "", "DELETE /x", retry_after=2.5), 2.5),
    ],
)
def test_the_wait_is_what_the_provider_asks_for(error: Exception, seconds: float | None) -> None:
    assert advise(error, now=10.0).wait == seconds


@given(st.floats(0, 4e9), st.integers(0, 100_000))
def test_a_date_and_its_seconds_mean_the_same(now: float, seconds: int) -> None:
    date = email.utils.formatdate(int(now) + seconds, usegmt=True)

    parsed = parse_retry_after(date, now=float(int(now)))

    assert parsed == pytest.approx(seconds)


@given(
    st.one_of(
        st.none(),
        st.text(),
        st.booleans(),
        st.binary(),
        st.floats(),
        st.integers(),
        st.lists(st.text()),
    )
)
def test_a_wait_is_never_negative_and_never_raises(value: object) -> None:
    parsed = parse_retry_after(value, now=0.0)

    assert parsed is None or parsed >= 0


def test_backing_off_doubles_up_to_its_cap() -> None:
    assert [backoff(n, base=1.0, cap=5.0) for n in (1, 2, 3, 4, 1000)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="attempt 0 is below 1"):
        backoff(0)
