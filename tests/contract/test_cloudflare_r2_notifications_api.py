"""What queues are told of buckets and of the account, through every way in."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.unit.cloudflare.api import Api

OBJECTS = "@/r2/buckets/uploads/objects"
EVENTS = "@/event_notifications/r2/uploads/configuration"
SUBSCRIPTIONS = "@/event_subscriptions/subscriptions"


@pytest.fixture
def queue(api: Api) -> str:
    """Id of a queue, beside which there is a bucket."""
    api.result("POST", "@/r2/buckets", {"name": "uploads"})
    id = str(api.result("POST", "@/queues", {"queue_name": "jobs"})["queue_id"])
    api.result("POST", f"@/queues/{id}/consumers", {"type": "http_pull"})
    return id


def notify(api: Api, queue: str, *actions: str, **more: str) -> Any:
    wanted = {"rules": [{"actions": actions, **more}]}
    return api.result("PUT", f"{EVENTS}/queues/{queue}", wanted)


def told(api: Api, queue: str) -> list[dict[str, Any]]:
    messages = api.result("POST", f"@/queues/{queue}/messages/pull", {})["messages"]
    return [json.loads(base64.b64decode(message["body"])) for message in messages]


# --- notifications of buckets


def test_a_queue_is_told_of_the_objects_that_match(api: Api, queue: str) -> None:
    notify(api, queue, "PutObject", "DeleteObject", prefix="in/", suffix=".jpg")
    for key in ("in%2Fa.jpg", "in%2Fa.txt", "out%2Fa.jpg"):
        api.result("PUT", f"{OBJECTS}/{key}", body=b"12")
        api.result("DELETE", f"{OBJECTS}/{key}")
    api.result("DELETE", f"{OBJECTS}/in%2Fnever.jpg")

    put, deleted = told(api, queue)

    etag = "c20ad4d76fe97759aa27a0c99bff6710"
    assert put["object"] == {"key": "in/a.jpg", "size": 2, "eTag": etag}
    assert (put["action"], put["bucket"]) == ("PutObject", "uploads")
    assert put["account"] == api.account.account_id
    assert (deleted["action"], deleted["object"]) == ("DeleteObject", {"key": "in/a.jpg"})


def test_rules_are_added_shown_and_removed(api: Api, queue: str) -> None:
    first = notify(api, queue, "PutObject")["event_notification_detail_id"]
    notify(api, queue, "DeleteObject", description="gone")

    shown = api.result("GET", f"{EVENTS}/queues/{queue}")
    assert (shown["queueId"], shown["queueName"]) == (queue, "jobs")
    assert [rule["actions"] for rule in shown["rules"]] == [["PutObject"], ["DeleteObject"]]
    assert api.result("GET", EVENTS) == {"bucketName": "uploads", "queues": [shown]}
    api.result("DELETE", f"{EVENTS}/queues/{queue}", {"ruleIds": [first]})
    (left,) = api.result("GET", f"{EVENTS}/queues/{queue}")["rules"]
    assert left["description"] == "gone"
    api.result("DELETE", f"{EVENTS}/queues/{queue}")
    assert api.refusal("GET", f"{EVENTS}/queues/{queue}")[:2] == (404, 11011)
    assert api.refusal("GET", EVENTS)[:2] == (404, 11015)


def test_two_rules_that_one_object_can_match_are_a_conflict(api: Api, queue: str) -> None:
    other = api.result("POST", "@/queues", {"queue_name": "other"})["queue_id"]
    notify(api, queue, "PutObject", prefix="a/", suffix=".jpg")

    def put(**rule: Any) -> int:
        response = api("PUT", f"{EVENTS}/queues/{other}", {"rules": [rule]})
        return 0 if response.status == 200 else int(response.json()["errors"][0]["code"])

    assert put(actions=["PutObject"]) == 11020
    assert put(actions=["PutObject"], prefix="a/b/") == 11020
    assert put(actions=["PutObject"], prefix="b/") == 0
    assert put(actions=["PutObject"], prefix="a/", suffix=".txt") == 0
    assert put(actions=["CopyObject"]) == 0


@pytest.mark.parametrize(
    "rules", [None, [], ["PutObject"], [{}], [{"actions": []}], [{"actions": ["GetObject"]}]]
)
def test_rules_that_make_no_sense_are_refused(api: Api, queue: str, rules: object) -> None:
    path = f"{EVENTS}/queues/{queue}"

    assert api.refusal("PUT", path, {"rules": rules})[:2] == (400, 11014)


def test_bucket_and_queue_have_to_be_there(api: Api, queue: str) -> None:
    wanted = {"rules": [{"actions": ["PutObject"]}]}
    elsewhere = EVENTS.replace("uploads", "none")

    assert api.refusal("PUT", f"{elsewhere}/queues/{queue}", wanted)[:2] == (404, 10085)
    assert api.refusal("PUT", f"{EVENTS}/queues/none", wanted)[:2] == (404, 11000)
    eu = {"cf-r2-jurisdiction": "eu"}
    assert api.refusal("GET", EVENTS, headers=eu)[:2] == (404, 10085)


def test_neither_the_queue_nor_the_bucket_can_go_before_the_rules(api: Api, queue: str) -> None:
    notify(api, queue, "PutObject")

    status, code, message = api.refusal("DELETE", f"@/queues/{queue}")
    assert (status, code, "event notifications" in message) == (400, 11005, True)
    assert api.refusal("DELETE", "@/r2/buckets/uploads")[:2] == (409, 10008)
    api.result("DELETE", f"{EVENTS}/queues/{queue}")
    assert api.result("DELETE", f"@/queues/{queue}") is None
    assert api.result("DELETE", "@/r2/buckets/uploads") == {}


@pytest.mark.parametrize("kind", ["queue", "r2"])
def test_what_is_discarded_takes_the_rules_along(api: Api, queue: str, kind: str) -> None:
    notify(api, queue, "PutObject")
    (item,) = (item for item in api.account.inventory() if item.kind == kind)

    api.account.discard(item)

    for left in api.account.inventory():
        path = f"@/queues/{left.id}" if left.kind == "queue" else "@/r2/buckets/uploads"
        assert api("DELETE", path).status == 200


# --- subscriptions

GIVEN = {"name": "kv", "source": {"type": "kv"}, "events": ["namespace.created"]}


def subscription(api: Api, queue: str, **more: Any) -> Any:
    destination = {"type": "queues.queue", "queue_id": queue}
    return api.result("POST", SUBSCRIPTIONS, {**GIVEN, "destination": destination, **more})


def test_a_subscription_is_made_shown_changed_and_deleted(api: Api, queue: str) -> None:
    made = subscription(api, queue)

    one = f"{SUBSCRIPTIONS}/{made['id']}"
    assert made == api.result("GET", one)
    assert (made["enabled"], made["source"]) == (True, {"type": "kv"})
    changed = api.result("PATCH", one, {"enabled": False, "name": "other"})
    assert (changed["enabled"], changed["name"], changed["events"]) == (
        False,
        "other",
        made["events"],
    )
    assert api.result("DELETE", one) == changed
    assert api.refusal("GET", one)[:2] == (404, 11000)


def test_subscriptions_are_listed_in_the_order_that_is_asked_for(api: Api, queue: str) -> None:
    for name in ("b", "a", "c"):
        subscription(api, queue, name=name)

    def names(query: str) -> str:
        return "".join(one["name"] for one in api.result("GET", SUBSCRIPTIONS, query=query))

    assert names("order=name&direction=asc") == "abc"
    assert names("order=name&direction=desc&per_page=2") == "cb"
    assert names("order=name&per_page=2&page=3") == ""
    assert api.refusal("GET", SUBSCRIPTIONS, query="order=size")[0] == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": {"type": "moon"}},
        {"source": {"type": "workflows.workflow"}},
        {"events": []},
        {"events": [5]},
        {"name": None},
        {"destination": {"type": "webhook", "queue_id": "x"}},
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(
    api: Api, queue: str, wrong: dict[str, Any]
) -> None:
    destination = {"type": "queues.queue", "queue_id": queue}
    wanted = {**GIVEN, "destination": destination, **wrong}

    assert api.refusal("POST", SUBSCRIPTIONS, wanted)[:2] == (400, 10026)


def test_a_subscription_has_a_name_of_its_own_and_a_queue(api: Api, queue: str) -> None:
    subscription(api, queue)
    other = subscription(api, queue, name="other")["id"]
    nowhere = {**GIVEN, "name": "x", "destination": {"type": "queues.queue", "queue_id": "x"}}

    assert api.refusal("PATCH", f"{SUBSCRIPTIONS}/{other}", {"name": "kv"})[:2] == (409, 11009)
    assert api.refusal("POST", SUBSCRIPTIONS, nowhere)[:2] == (404, 11000)
    api.result("DELETE", f"@/queues/{queue}")
    assert api.result("GET", SUBSCRIPTIONS) == []
