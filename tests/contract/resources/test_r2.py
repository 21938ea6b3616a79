"""What an R2 bucket promises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_alchemy.cloudflare import CloudflareError, R2Bucket
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import Caller, clear, known_by_name, names


@pytest.fixture
def bucket(scope: Scope, do: Caller) -> Any:
    return do(scope, "create", R2Bucket("uploads"))


def test_an_object_is_stored_replaced_and_removed(bucket: Any, do: Caller) -> None:
    do(bucket, "put", "a", "ü")
    assert do(bucket, "get", "a") == "ü".encode()

    do(bucket, "put", "a", b"\xff", content_type="image/png")
    assert do(bucket, "get", "a") == b"\xff"

    for _ in range(2):
        do(bucket, "delete", "a")
    assert do(bucket, "get", "a") is None


def test_keys_are_listed_by_prefix_in_order(
    bucket: Any, do: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.cloudflare.r2._PER_PAGE", 2)
    for key in ("b", "a/c", "a", "ü", "a b"):
        do(bucket, "put", key, b"")

    assert do(bucket, "list") == ["a", "a b", "a/c", "b", "ü"]
    assert do(bucket, "list", "a/") == ["a/c"]
    assert do(bucket, "list", prefix="z") == []


def test_a_bucket_goes_with_all_objects_in_it(
    scope: Scope, bucket: Any, do: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.cloudflare.r2._PER_PAGE", 2)
    for number in range(5):
        do(bucket, "put", f"dir/{number}", b"x")

    do(scope, "remove", bucket)

    assert bucket.name not in names(scope, R2Bucket)


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_what_is_no_key_is_refused_before_it_is_sent(bucket: Any, do: Caller, key: str) -> None:
    with pytest.raises(ValueError, match=r"a key may not be empty, '\.' or '\.\.'"):
        do(bucket, "put", key, b"")


def test_a_value_that_cannot_be_stored_says_what_to_do(bucket: Any, do: Caller) -> None:
    with pytest.raises(TypeError) as raised:
        do(bucket, "put", "a", {"a": 1})

    assert str(raised.value) == (
        "An object is bytes or text, not dict: {'a': 1}.\n"
        "Turn it into text first, for example with json.dumps(value)."
    )


def test_a_missing_bucket_is_an_error_not_a_missing_key(
    scope: Scope, bucket: Any, do: Caller
) -> None:
    clear(known_by_name(scope, bucket))

    with pytest.raises(CloudflareError) as raised:
        do(bucket, "get", "a")

    assert raised.value.status == 404


KEYS = st.text(min_size=1).filter(lambda key: key not in (".", "..") and len(key.encode()) <= 1024)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pairs=st.dictionaries(KEYS, st.binary(), min_size=1, max_size=5))
def test_every_key_and_object_comes_back(bucket: Any, do: Caller, pairs: dict[str, bytes]) -> None:
    for key, value in pairs.items():
        do(bucket, "put", key, value)

    assert {key: do(bucket, "get", key) for key in pairs} == pairs
    assert do(bucket, "list") == sorted(pairs, key=str.encode)
    for key in pairs:
        do(bucket, "delete", key)
