"""What a queue promises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_alchemy import clock
from pytest_alchemy.cloudflare import CloudflareError, Queue, QueueConsumedError, Worker
from pytest_alchemy.cloudflare.client import run
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import Caller, Door


@pytest.fixture
def queue(scope: Scope, do: Caller) -> Any:
    return do(scope, "create", Queue("jobs"))


def received(door: Door, queue: Any, do: Caller, number: int) -> list[Any]:
    """Return *number* messages; the real account may deliver them some time after they were sent."""
    messages: list[Any] = []

    def pull() -> int:
        messages.extend(do(queue, "pull", 100))
        return len(messages)

    door.eventually(pull, number)
    return messages


def test_messages_are_delivered_once_they_are_sent(door: Door, queue: Any, do: Caller) -> None:
    do(queue, "send", {"a": [1, None]})
    do(queue, "send_batch", ["ü", b"\xff"])

    messages = received(door, queue, do, 3)

    assert sorted(repr(message.body) for message in messages) == [
        "'ü'",
        "b'\\xff'",
        "{'a': [1, None]}",
    ]
    assert {message.attempts for message in messages} == {1}
    assert all(abs(message.timestamp - clock.now()) < 120 for message in messages)


def test_what_is_acknowledged_is_not_delivered_again(
    door: Door, queue: Any, do: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.needs_fake("its clock can be moved")
    do(queue, "send_batch", ["first", "second"])
    first, second = do(queue, "pull", visibility_timeout=30.0)

    do(queue, "ack", [first])
    hidden = do(queue, "pull")
    moment = clock.now() + 30.5
    monkeypatch.setattr(clock, "now", lambda: moment)
    again = do(queue, "pull")

    assert hidden == []
    assert [(message.id, message.attempts) for message in again] == [(second.id, 2)]
    do(queue, "ack", [first, *again])
    do(queue, "ack", [])


def test_a_delayed_message_waits(
    door: Door, queue: Any, do: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.needs_fake("its clock can be moved")
    do(queue, "send", "now")
    do(queue, "send", "later", delay=60)
    do(queue, "send_batch", ["much later"], delay=600)

    assert [message.body for message in do(queue, "pull")] == ["now"]
    moment = clock.now() + 60.5
    monkeypatch.setattr(clock, "now", lambda: moment)
    assert "later" in [message.body for message in do(queue, "pull")]


def test_the_queue_s_own_delay_is_used(scope: Scope, do: Caller) -> None:
    queue = do(scope, "create", Queue("slow", delivery_delay=600))

    do(queue, "send", "later")

    assert do(queue, "pull") == []


def test_messages_that_are_too_large_are_refused(queue: Any, do: Caller) -> None:
    with pytest.raises(CloudflareError) as raised:
        do(queue, "send", "x" * 200_000)

    assert 400 <= raised.value.status < 500


def test_a_queue_that_a_worker_consumes_cannot_be_pulled(
    door: Door, scope: Scope, do: Caller
) -> None:
    queue = do(scope, "create", Queue("jobs"))
    worker = do(scope, "create", Worker("shop", script="export default { async queue() {} }"))
    path = f"/queues/{queue.queue_id}/consumers"
    body = {"type": "worker", "script_name": worker.name}
    consumer = run(door.settings, lambda api: api.call("POST", path, body))

    with pytest.raises(QueueConsumedError) as raised:
        do(queue, "pull")

    assert str(raised.value) == (
        f"Queue 'jobs' is consumed by the Worker {worker.name!r}: there is nothing to pull.\n"
        "A queue has one consumer: pull from another queue, or remove the Worker's consumer first."
    )
    # A Worker cannot go while it consumes a queue.
    run(door.settings, lambda api: api.delete(f"{path}/{consumer['consumer_id']}"))
    assert do(queue, "pull") == []


BODIES = st.one_of(
    st.text(),
    st.binary(),
    st.dictionaries(st.text(), st.one_of(st.none(), st.booleans(), st.integers(), st.text())),
    st.none(),
    st.lists(st.floats(allow_nan=False, allow_infinity=False)),
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(bodies=st.lists(BODIES, min_size=1, max_size=10))
def test_every_body_comes_back(door: Door, queue: Any, do: Caller, bodies: list[Any]) -> None:
    do(queue, "send_batch", bodies)

    messages = received(door, queue, do, len(bodies))

    assert sorted(map(repr, (message.body for message in messages))) == sorted(map(repr, bodies))
    do(queue, "ack", messages)
