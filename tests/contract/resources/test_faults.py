"""What becomes of things while the API fails; only the fake account fails when told to."""

from __future__ import annotations

import re

import pytest

from pytest_alchemy.cloudflare import CloudflareError, FakeAccount
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import THINGS, Caller, Door, Thing, names

each_thing = pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.cls.__name__)
each_posted_thing = pytest.mark.parametrize(
    "thing",
    [thing for thing in THINGS if thing.taken is not None],
    ids=lambda thing: thing.cls.__name__,
)


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


@each_thing
def test_a_destroy_is_repeated_while_the_api_is_busy(
    fake: FakeAccount, scope: Scope, do: Caller, thing: Thing
) -> None:
    made = do(scope, "create", thing("orders"))
    fake.fail(method="DELETE", status=429, times=2, retry_after=0.001)

    do(scope, "destroy")

    assert made.name not in names(scope, thing.cls)
