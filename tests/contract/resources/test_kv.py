"""What a KV namespace promises."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_alchemy import clock
from pytest_alchemy.cloudflare import CloudflareError, KVNamespace
from pytest_alchemy.cloudflare.client import run
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import Caller, Door, clear, known_by_name


@pytest.fixture
def kv(scope: Scope, do: Caller) -> Any:
    return do(scope, "create", KVNamespace("cache"))


def test_a_value_is_stored_replaced_and_removed(door: Door, kv: Any, do: Caller) -> None:
    do(kv, "put", "a", "ü")
    door.eventually(lambda: do(kv, "get", "a"), "ü")

    do(kv, "put", "a", b"\xff")
    door.eventually(lambda: do(kv, "get_bytes", "a"), b"\xff")

    for _ in range(2):
        do(kv, "delete", "a")
    door.eventually(lambda: do(kv, "get", "a"), None)
    assert do(kv, "get_bytes", "never") is None


def test_metadata_goes_with_its_value(door: Door, kv: Any, do: Caller) -> None:
    do(kv, "put", "a", "1", metadata={"m": [1, "ü"]})
    door.eventually(lambda: do(kv, "get_with_metadata", "a"), ("1", {"m": [1, "ü"]}))

    do(kv, "put", "a", "2")

    door.eventually(lambda: do(kv, "get_with_metadata", "a"), ("2", None))
    assert do(kv, "get_with_metadata", "never") == (None, None)


def test_a_value_expires(door: Door, kv: Any, do: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    door.needs_fake("its clock can be moved")
    do(kv, "put", "a", "1", expiration_ttl=60)
    do(kv, "put", "b", "1", expiration_ttl=120)
    do(kv, "put", "c", "1")

    moment = clock.now() + 61
    monkeypatch.setattr(clock, "now", lambda: moment)

    assert do(kv, "get", "a") is None
    assert do(kv, "list") == ["b", "c"]


def test_a_time_to_live_that_is_too_short_is_refused(kv: Any, do: Caller) -> None:
    with pytest.raises(CloudflareError) as raised:
        do(kv, "put", "a", "1", expiration_ttl=59)

    assert raised.value.status == 400
    assert "at least 60" in raised.value.message


def test_keys_are_listed_by_prefix_in_order(door: Door, kv: Any, do: Caller) -> None:
    for key in ("b", "a/c", "a", "ü", "a b"):
        do(kv, "put", key, "")

    door.eventually(lambda: do(kv, "list"), ["a", "a b", "a/c", "b", "ü"])
    assert do(kv, "list", "a/") == ["a/c"]
    assert do(kv, "list", prefix="z") == []


def test_all_keys_are_listed_however_many_there_are(door: Door, kv: Any, do: Caller) -> None:
    wanted = [f"key-{number:04}" for number in range(1001)]
    items = [{"key": key, "value": ""} for key in wanted]
    path = f"/storage/kv/namespaces/{kv.namespace_id}/bulk"
    run(door.settings, lambda api: api.call("PUT", path, items))

    door.eventually(lambda: do(kv, "list"), wanted)


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_what_is_no_key_is_refused_before_it_is_sent(kv: Any, do: Caller, key: str) -> None:
    with pytest.raises(ValueError, match=r"a key may not be empty, '\.' or '\.\.'"):
        do(kv, "get", key)


def test_a_value_that_cannot_be_stored_says_what_to_do(kv: Any, do: Caller) -> None:
    with pytest.raises(TypeError) as raised:
        do(kv, "put", "a", {"a": 1})

    assert str(raised.value) == (
        "A KV value is text or bytes, not dict: {'a': 1}.\n"
        "Turn it into text first, for example with json.dumps(value)."
    )


def test_a_missing_namespace_is_an_error_not_a_missing_key(
    scope: Scope, kv: Any, do: Caller
) -> None:
    clear(known_by_name(scope, kv))

    with pytest.raises(CloudflareError) as raised:
        do(kv, "get", "a")

    assert raised.value.status == 404


KEYS = st.text(min_size=1).filter(lambda key: key not in (".", "..") and len(key.encode()) <= 512)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pairs=st.dictionaries(KEYS, st.binary(), min_size=1, max_size=5))
def test_every_key_and_value_comes_back(
    door: Door, kv: Any, do: Caller, pairs: dict[str, bytes]
) -> None:
    for key, value in pairs.items():
        do(kv, "put", key, value)

    for key, value in pairs.items():
        door.eventually(functools.partial(do, kv, "get_bytes", key), value)
    door.eventually(lambda: do(kv, "list"), sorted(pairs, key=str.encode))
    for key in pairs:
        do(kv, "delete", key)
