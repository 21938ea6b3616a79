"""What becomes of things while the API fails; only the fake account fails when told to."""

from __future__ import annotations

import re
import time

import pytest

from pytest_alchemy.cloudflare import (
    CloudflareError,
    CloudflareUnreachableError,
    D1Database,
    FakeAccount,
    Worker,
)
from pytest_alchemy.cloudflare.client import run
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import Caller, Door, Thing, each_posted_thing, each_thing, names


@pytest.fixture
def fake(door: Door) -> FakeAccount:
    return door.needs_fake("it fails when told to")


def asked(fake: FakeAccount) -> str:
    """Return the first letters of the methods that were called, in order."""
    return "".join(request.method[0] for request in fake.requests)


@each_posted_thing
def test_after_a_lost_answer_a_thing_is_found_not_made_again(
    fake: FakeAccount, scope: Scope, do: Caller, thing: Thing
) -> None:
    fake.fail(method="POST", status=502, acts=True, retry_after=0.001)

    made = do(scope, "create", thing("orders"))

    assert asked(fake) == "PG"
    assert [item.name for item in fake.inventory()].count(made.name) == 1
    do(scope, "remove", made)
    assert made.name not in names(scope, thing.cls)


@pytest.mark.parametrize("status", [429, 503])
@each_posted_thing
def test_a_refused_create_is_repeated_once_its_name_was_looked_up(
    fake: FakeAccount, scope: Scope, do: Caller, thing: Thing, status: int
) -> None:
    fake.fail(method="POST", status=status, times=2, retry_after=0.001)

    made = do(scope, "create", thing("orders"))

    assert re.fullmatch("P(G+P){2}", asked(fake))
    assert [item.name for item in fake.inventory()].count(made.name) == 1


@each_posted_thing
def test_a_create_is_given_up_after_three_tries(
    fake: FakeAccount, scope: Scope, do: Caller, thing: Thing
) -> None:
    fake.fail(method="POST", status=503, times=3, retry_after=0.001)

    with pytest.raises(CloudflareError) as raised:
        do(scope, "create", thing("orders"))

    assert raised.value.status == 503
    assert asked(fake).count("P") == 3


@each_posted_thing
def test_what_was_made_without_an_answer_goes_with_its_scope(
    fake: FakeAccount, scope: Scope, do: Caller, thing: Thing
) -> None:
    before = names(scope, thing.cls)
    fake.fail(method="POST", status=502, acts=True, retry_after=0.001)
    fake.fail(
        method="GET", status=502, times=3, retry_after=0.001
    )  # so that it cannot be looked for
    with pytest.raises(CloudflareError):
        do(scope, "create", thing("orders"))
    during = names(scope, thing.cls)

    do(scope, "destroy")

    assert len(during - before) == 1
    assert names(scope, thing.cls) == before


@each_posted_thing
def test_a_dropped_answer_is_looked_for_like_a_refused_one(
    fake: FakeAccount, scope: Scope, do: Caller, thing: Thing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.cloudflare.client._FIRST_WAIT", 0.001)
    fake.fail(method="POST", drop=True)

    made = do(scope, "create", thing("orders"))

    assert asked(fake) == "PG"
    assert [item.name for item in fake.inventory()].count(made.name) == 1


def test_without_any_answer_the_error_says_so(
    fake: FakeAccount, scope: Scope, do: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.cloudflare.client._FIRST_WAIT", 0.001)
    db = do(scope, "create", D1Database("orders"))
    fake.fail(method="POST", path="query$", drop=True)

    with pytest.raises(CloudflareUnreachableError) as raised:
        do(db, "query", "CREATE TABLE t (a)")

    assert "Server disconnected without sending a response." in str(raised.value)
    assert do(db, "query", "SELECT * FROM t").rows == []  # it took effect


def test_a_busy_answer_without_words_is_told_in_those_of_the_status(
    fake: FakeAccount, scope: Scope, do: Caller
) -> None:
    db = do(scope, "create", D1Database("orders"))
    fake.fail(path="query$", status=429, body=None)

    with pytest.raises(CloudflareError) as raised:
        do(db, "query", "SELECT 1")

    assert (raised.value.status, raised.value.code, raised.value.message) == (429, 0, "null")


def test_an_answer_can_be_late(fake: FakeAccount, scope: Scope, do: Caller) -> None:
    db = do(scope, "create", D1Database("orders"))
    fake.fail(path="query$", status=None, delay=0.05)

    start = time.monotonic()
    rows = do(db, "query", "SELECT 1 AS a").rows

    assert rows == [{"a": 1}]
    assert time.monotonic() - start >= 0.05


def test_a_worker_is_reachable_once_it_is_made_whatever_failed_meanwhile(
    fake: FakeAccount, scope: Scope, do: Caller
) -> None:
    fake.fail(method="PUT", status=503, times=2, retry_after=0.001)
    fake.fail(method="POST", path="subdomain$", status=503, times=2, retry_after=0.001)

    worker = do(scope, "create", Worker("api", script="export default {}"))

    path = f"/workers/scripts/{worker.name}/subdomain"
    assert run(scope.settings, lambda api: api.call("GET", path))["enabled"] is True


@each_thing
def test_a_destroy_is_repeated_while_the_api_is_busy(
    fake: FakeAccount, scope: Scope, do: Caller, thing: Thing
) -> None:
    made = do(scope, "create", thing("orders"))
    fake.fail(method="DELETE", status=429, times=2, retry_after=0.001)

    do(scope, "destroy")

    assert made.name not in names(scope, thing.cls)
