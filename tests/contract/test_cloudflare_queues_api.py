"""The endpoints of queues, through every way in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import clock
from tests.unit.cloudflare.api import DOORS, Api, make_api

ALL = "@/queues"


class Queues:
    """Calls about one queue."""

    def __init__(self, api: Api, name: str = "jobs") -> None:
        self.api = api
        self.id = api.result("POST", ALL, {"queue_name": name})["queue_id"]
        self.path = f"{ALL}/{self.id}"

    def consume(self, **more: Any) -> str:
        body = {"type": "http_pull", **more}
        return str(self.api.result("POST", f"{self.path}/consumers", body)["consumer_id"])

    def send(self, body: Any = "hello", **more: Any) -> Any:
        return self.api.result("POST", f"{self.path}/messages", {"body": body, **more})

    def pull(self, **more: Any) -> list[dict[str, Any]]:
        messages = self.api.result("POST", f"{self.path}/messages/pull", more)["messages"]
        assert isinstance(messages, list)
        return messages

    def ack(self, **more: Any) -> Any:
        return self.api.result("POST", f"{self.path}/messages/ack", more)

    def count(self) -> int:
        return int(self.api.result("GET", f"{self.path}/metrics")["backlog_count"])


@pytest.fixture(params=DOORS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = make_api(request.param, tmp_path)
    yield api
    api.account.close()


@pytest.fixture
def queue(api: Api) -> Queues:
    return Queues(api)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let seconds pass."""
    passed = [0.0]
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + passed[0])

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


# --- queues


def test_a_queue_can_be_made_found_changed_and_deleted(api: Api) -> None:
    made = api.result("POST", ALL, {"queue_name": "jobs", "settings": {"delivery_delay": 5}})
    path = f"{ALL}/{made['queue_id']}"

    assert made == api.result("GET", path)
    assert made == {
        "queue_id": made["queue_id"],
        "queue_name": "jobs",
        "created_on": made["created_on"],
        "modified_on": made["created_on"],
        "settings": {
            "delivery_delay": 5,
            "delivery_paused": False,
            "message_retention_period": 345600,
        },
        "producers": [],
        "producers_total_count": 0,
        "consumers": [],
        "consumers_total_count": 0,
    }
    for method in ("PATCH", "PUT"):
        wanted = {"queue_name": f"jobs-{method.lower()}", "settings": {"delivery_paused": True}}
        changed = api.result(method, path, wanted)
        assert changed == api.result("GET", path)
        assert changed["queue_name"] == f"jobs-{method.lower()}"
        assert changed["settings"] == {**made["settings"], "delivery_paused": True}
    assert api.result("DELETE", path) is None
    assert api.refusal("GET", path)[:2] == (404, 11000)


@pytest.mark.parametrize("name", [None, 5, "", "a" * 64, "Jobs", "a_b", "-ab", "ab-", "a.b"])
def test_a_name_that_is_not_valid_is_refused(api: Api, name: object) -> None:
    assert api.refusal("POST", ALL, {"queue_name": name})[:2] == (400, 11003)


def test_a_taken_name_is_a_conflict(api: Api, queue: Queues) -> None:
    other = Queues(api, "other")

    created = api.refusal("POST", ALL, {"queue_name": "jobs"})
    renamed = api.refusal("PATCH", other.path, {"queue_name": "jobs"})

    words = "Queue name 'jobs' is already taken. Please use a different name and try again."
    assert created == renamed == (409, 11009, words)
    assert api.result("PATCH", queue.path, {"queue_name": "jobs"})["queue_name"] == "jobs"


@pytest.mark.parametrize(
    "settings",
    [
        5,
        {"delivery_delay": "x"},
        {"delivery_delay": -1},
        {"delivery_delay": 43201},
        {"delivery_delay": True},
        {"delivery_paused": 1},
        {"message_retention_period": 59},
    ],
)
def test_settings_that_are_none_are_refused(api: Api, settings: object) -> None:
    refusal = api.refusal("POST", ALL, {"queue_name": "jobs", "settings": settings})

    assert refusal[:2] == (400, 10026)
    assert api.result("GET", ALL) == []


def test_queues_are_listed_by_page_and_by_exact_name(api: Api) -> None:
    for name in ("b", "a", "ab"):
        Queues(api, name)

    def names(query: str) -> list[str]:
        return [found["queue_name"] for found in api.result("GET", ALL, query=query)]

    assert names("") == ["b", "a", "ab"]
    assert names("name=a") == ["a"]
    assert names("name=a&name=b&page=1") == ["b", "a"]
    assert names("name=zz") == []
    assert names("per_page=2&page=2") == ["ab"]
    assert names("per_page=2&page=3") == []


def test_a_missing_queue_is_not_found(api: Api) -> None:
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/consumers"),
        ("POST", "/consumers"),
        ("POST", "/messages/pull"),
        ("POST", "/messages/ack"),
        ("POST", "/purge"),
        ("GET", "/metrics"),
    ):
        assert api.refusal(method, f"{ALL}/{'0' * 32}{path}", {})[:2] == (404, 11000)
    send = api.refusal("POST", f"{ALL}/{'0' * 32}/messages", {"body": 1})
    assert send[:2] == (404, 11000)


def test_a_queue_that_a_worker_sends_to_is_not_deleted(api: Api, queue: Queues) -> None:
    from pytest_alchemy.cloudflare.fake import queues

    storage = api.account._storage
    with storage.transaction(writes=True):
        queues.set_producer(storage, "shop", ["jobs"])

    assert api.result("GET", queue.path)["producers"] == [{"type": "worker", "script": "shop"}]
    assert api.refusal("DELETE", queue.path) == (
        400,
        11005,
        "Cannot delete queue jobs: it is still referenced by a binding in a Worker (shop).",
    )
    with storage.transaction(writes=True):
        queues.set_producer(storage, "shop", [])
    assert api.result("DELETE", queue.path) is None


# --- consumers


def test_a_consumer_can_be_made_found_changed_and_deleted(api: Api, queue: Queues) -> None:
    id = queue.consume(dead_letter_queue="dead", settings={"max_retries": 1})
    path = f"{queue.path}/consumers"

    made = api.result("GET", f"{path}/{id}")
    assert made == {
        "consumer_id": id,
        "created_on": made["created_on"],
        "queue_name": "jobs",
        "type": "http_pull",
        "dead_letter_queue": "dead",
        "settings": {
            "batch_size": 5,
            "visibility_timeout_ms": 30000,
            "max_retries": 1,
            "retry_delay": 0,
        },
    }
    assert api.result("GET", path) == api.result("GET", queue.path)["consumers"] == [made]
    changed = api.result("PUT", f"{path}/{id}", {"settings": {"batch_size": 7}})
    assert changed == {**made, "settings": {**made["settings"], "batch_size": 7}}
    assert api.result("DELETE", f"{path}/{id}") is None
    assert api.result("GET", path) == []
    assert api.refusal("DELETE", f"{path}/{id}")[:2] == (404, 11000)


def test_a_worker_consumer_is_told_under_both_names(api: Api, queue: Queues) -> None:
    from pytest_alchemy.cloudflare.fake import queues

    api.worker("shop", "export default { async queue(batch) {} }")
    body = {"type": "worker", "script_name": "shop"}
    made = api.result("POST", f"{queue.path}/consumers", body)

    assert made["script"] == made["script_name"] == "shop"
    assert made["settings"]["max_wait_time_ms"] == 5000
    storage = api.account._storage
    assert queues.consumed_by(storage, "shop") == [made]
    assert queues.consumed_by(storage, "other") == []
    assert api.refusal("POST", f"{queue.path}/messages/pull", {})[:2] == (400, 11006)


def test_a_queue_has_one_consumer(api: Api, queue: Queues) -> None:
    queue.consume()

    refusal = api.refusal("POST", f"{queue.path}/consumers", {"type": "http_pull"})

    assert refusal == (400, 11004, "Queue 'jobs' already has a consumer.")


@pytest.mark.parametrize(
    "body",
    [
        {"type": "email"},
        {"type": ["http_pull"]},
        {"type": "worker"},
        {"type": "worker", "script_name": 5},
        {"type": "http_pull", "dead_letter_queue": 5},
        {"type": "http_pull", "settings": 5},
        {"type": "http_pull", "settings": {"batch_size": 101}},
        {"type": "http_pull", "settings": {"max_retries": "1"}},
    ],
)
def test_a_consumer_that_is_none_is_refused(
    api: Api, queue: Queues, body: dict[str, object]
) -> None:
    assert api.refusal("POST", f"{queue.path}/consumers", body)[:2] == (400, 10026)


def test_a_queue_takes_consumer_and_messages_with_it(api: Api, queue: Queues) -> None:
    queue.consume()
    queue.send()

    api.result("DELETE", queue.path)
    again = Queues(api)

    assert again.count() == 0
    assert api.result("GET", f"{again.path}/consumers") == []


# --- messages


@pytest.mark.parametrize(
    ("content_type", "sent", "raw"),
    [
        ("text", "hé", "hé".encode()),
        ("json", {"a": ["ü", 1.5, None]}, '{"a":["ü",1.5,null]}'.encode()),
        ("bytes", base64.b64encode(b"\x00\xff").decode(), b"\x00\xff"),
    ],
)
def test_a_message_comes_back_as_it_was_sent(
    queue: Queues, content_type: str, sent: Any, raw: bytes
) -> None:
    queue.consume()
    answer = queue.send(sent, content_type=content_type)

    (message,) = queue.pull()

    body = message["body"]
    assert (body.encode() if content_type == "text" else base64.b64decode(body)) == raw
    assert message["metadata"]["CF-Content-Type"] == content_type
    assert message["attempts"] == 1
    metrics = answer["metadata"]["metrics"]
    assert (metrics["backlog_count"], metrics["backlog_bytes"]) == (1, len(raw))
    assert metrics["oldest_message_timestamp_ms"] == message["timestamp_ms"]


def test_a_body_is_json_unless_it_says_otherwise(queue: Queues) -> None:
    queue.consume()
    queue.send("text")

    (message,) = queue.pull()

    assert json.loads(base64.b64decode(message["body"])) == "text"


def test_a_batch_is_sent_in_order(queue: Queues, api: Api) -> None:
    queue.consume()
    messages = [{"body": str(number), "content_type": "text"} for number in range(7)]
    api.result("POST", f"{queue.path}/messages/batch", {"messages": messages})

    assert [message["body"] for message in queue.pull()] == list("01234")
    assert [message["body"] for message in queue.pull(batch_size=100)] == list("56")
    assert queue.pull() == []


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("", {"body": 5, "content_type": "text"}, (400, 10207)),
        ("", {"body": "?", "content_type": "bytes"}, (400, 10207)),
        ("", {"body": "", "content_type": "v8"}, (400, 10207)),
        ("", {"body": "x" * 128_001, "content_type": "text"}, (413, 10207)),
        ("", {"body": "", "delay_seconds": 43201}, (400, 10026)),
        ("/batch", {"messages": []}, (400, 10026)),
        ("/batch", {"messages": [{"body": 1}] * 101}, (400, 10026)),
        ("/batch", {"messages": [5]}, (400, 10026)),
        ("/batch", {"messages": [{"body": "x" * 100_000}] * 3}, (413, 10207)),
        ("/pull", {"batch_size": 101}, (400, 10026)),
        ("/pull", {"visibility_timeout_ms": -1}, (400, 10026)),
        ("/ack", {"acks": [5]}, (400, 10026)),
        ("/ack", {"retries": 5}, (400, 10026)),
        ("/purge", {"refs": 5}, (400, 10026)),
    ],
)
def test_what_does_not_fit_is_refused(
    queue: Queues, api: Api, path: str, body: dict[str, Any], expected: tuple[int, int]
) -> None:
    queue.consume()

    assert api.refusal("POST", f"{queue.path}/messages{path}", body)[:2] == expected
    assert queue.count() == 0


def test_a_pulled_message_is_hidden_until_its_time_is_over(queue: Queues, later: Any) -> None:
    queue.consume()
    queue.send()
    (first,) = queue.pull(visibility_timeout_ms=1000)
    assert queue.pull() == []

    later(1)
    (second,) = queue.pull()

    assert (second["id"], second["attempts"]) == (first["id"], 2)
    assert second["lease_id"] != first["lease_id"]


def test_an_acknowledged_message_is_gone_even_if_late(queue: Queues, later: Any) -> None:
    queue.consume()
    queue.send()
    (first,) = queue.pull(visibility_timeout_ms=0)
    queue.pull()

    answer = queue.ack(acks=[{"lease_id": first["lease_id"]}])
    again = queue.ack(acks=[{"lease_id": first["lease_id"]}, {"lease_id": "what"}])

    assert answer == {"ackCount": 1, "retryCount": 0, "warnings": {}}
    assert again["ackCount"] == 0
    assert set(again["warnings"]) == {first["lease_id"], "what"}
    later(100)
    assert queue.pull() == []


def test_a_message_to_be_retried_comes_back_after_its_delay(queue: Queues, later: Any) -> None:
    queue.consume(settings={"retry_delay": 10})
    queue.send()
    (message,) = queue.pull()
    lease = {"lease_id": message["lease_id"]}

    assert queue.ack(retries=[lease])["retryCount"] == 1
    assert queue.pull() == []
    later(10)
    (message,) = queue.pull()
    queue.ack(retries=[{"lease_id": message["lease_id"], "delay_seconds": 0}])

    assert queue.pull()[0]["attempts"] == 3


@pytest.mark.parametrize("letters", [True, False])
def test_a_message_that_fails_too_often_is_put_aside_or_dropped(
    api: Api, queue: Queues, letters: bool
) -> None:
    dead = Queues(api, "dead")
    dead.consume()
    more = {"dead_letter_queue": "dead"} if letters else {}
    queue.consume(settings={"max_retries": 2}, **more)
    queue.send("poison", content_type="text")

    attempts = [queue.pull(visibility_timeout_ms=0)[0]["attempts"] for _ in range(3)]
    after = queue.pull()

    assert (attempts, after, queue.count()) == ([1, 2, 3], [], 0)
    assert [message["body"] for message in dead.pull()] == (["poison"] if letters else [])


def test_delays_and_retention_are_kept(api: Api, queue: Queues, later: Any) -> None:
    queue.consume()
    api.result("PATCH", queue.path, {"settings": {"delivery_delay": 5}})
    queue.send(1)
    queue.send(2, delay_seconds=0)
    api.result(
        "POST", f"{queue.path}/messages/batch", {"messages": [{"body": 3}], "delay_seconds": 9}
    )

    assert len(queue.pull()) == 1
    later(5)
    assert len(queue.pull()) == 1
    later(4)
    assert len(queue.pull()) == 1
    queue.send(4)
    later(345_600)
    assert queue.pull() == []
    assert queue.count() == 0


def test_a_paused_queue_delivers_nothing(api: Api, queue: Queues) -> None:
    queue.consume()
    queue.send()
    api.result("PATCH", queue.path, {"settings": {"delivery_paused": True}})
    assert queue.pull() == []

    api.result("PATCH", queue.path, {"settings": {"delivery_paused": False}})

    assert len(queue.pull()) == 1


def test_without_a_pull_consumer_nothing_can_be_pulled(api: Api, queue: Queues) -> None:
    queue.send()

    assert api.refusal("POST", f"{queue.path}/messages/pull", {})[:2] == (400, 11006)


def test_messages_can_be_looked_at_and_purged(api: Api, queue: Queues) -> None:
    for number in range(3):
        queue.send(number)

    first = api.result("POST", f"{queue.path}/messages/peek", {"batch_size": 1})["messages"]
    api.result("POST", f"{queue.path}/messages/purge", {"refs": [{"ref": first[0]["ref"]}]})
    assert queue.count() == 2
    assert api.refusal("POST", f"{queue.path}/purge", {})[:2] == (400, 10026)
    api.result("POST", f"{queue.path}/purge", {"delete_messages_permanently": True})

    assert queue.count() == 0
    assert api.result("GET", f"{queue.path}/purge")["completed"]


def test_what_is_nested_too_deeply_is_refused(api: Api, queue: Queues) -> None:
    for depth in (900, 950, 980, 2000, 100_000):
        body = b'{"body": ' + b"[" * depth + b"]" * depth + b"}"

        answer = api("POST", f"{queue.path}/messages", body=body)

        assert answer.status in (200, 400)
