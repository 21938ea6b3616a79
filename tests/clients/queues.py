"""What the official SDK does with queues."""

from __future__ import annotations

import cloudflare
import pytest

from tests.clients.sdk import Sdk


def use_queues(sdk: Sdk) -> None:
    id = sdk("queues.create", queue_name="jobs").queue_id
    assert sdk("queues.update", id, settings={"delivery_delay": 0}).queue_name == "jobs"
    assert sdk("queues.edit", id, queue_name="work").queue_name == "work"
    consumer = sdk("queues.consumers.create", id, type="http_pull").consumer_id
    here = {"queue_id": id, "type": "http_pull"}
    sdk("queues.consumers.update", consumer, settings={"batch_size": 3}, **here)
    assert sdk("queues.consumers.get", consumer, queue_id=id).settings.batch_size == 3
    assert len(sdk("queues.consumers.list", id)) == 1

    sdk("queues.messages.push", id, body="one", content_type="text")
    messages = [{"body": body, "content_type": "text"} for body in ("two", "three")]
    sdk("queues.messages.bulk_push", id, messages=messages)
    seen = sdk("queues.messages.peek", id, batch_size=3)
    assert sdk("queues.get_metrics", id).backlog_count == 3
    sdk("queues.messages.purge", id, refs=[{"ref": seen.messages[2].ref}])
    pulled = sdk("queues.messages.pull", id, batch_size=10)
    assert [message.body for message in pulled.messages] == ["one", "two"]
    acks = [{"lease_id": message.lease_id} for message in pulled.messages]
    assert sdk("queues.messages.ack", id, acks=acks).ack_count == 2
    sdk("queues.purge.start", id, delete_messages_permanently=True)
    assert sdk("queues.purge.status", id) is not None

    use_subscriptions(sdk, id)
    sdk("queues.consumers.delete", consumer, queue_id=id)
    assert [found.queue_name for found in sdk("queues.list")] == ["work"]
    assert sdk("queues.get", id).consumers_total_count == 0
    sdk("queues.delete", id)
    assert sdk("queues.list") == []


def use_subscriptions(sdk: Sdk, queue: str) -> None:
    subscriptions = "queues.subscriptions"
    given = {
        "name": "buckets",
        "source": {"type": "r2"},
        "events": ["bucket.created"],
        "destination": {"type": "queues.queue", "queue_id": queue},
    }
    made = sdk(f"{subscriptions}.create", **given)
    assert (made.enabled, made.destination.queue_id) == (True, queue)
    with pytest.raises(cloudflare.ConflictError, match="taken"):
        sdk(f"{subscriptions}.create", **given)
    changed = sdk(f"{subscriptions}.update", made.id, enabled=False, events=["bucket.deleted"])
    assert (changed.enabled, changed.events) == (False, ["bucket.deleted"])
    assert sdk(f"{subscriptions}.get", made.id).to_dict() == changed.to_dict()
    assert [one.name for one in sdk(f"{subscriptions}.list")] == ["buckets"]
    sdk(f"{subscriptions}.delete", made.id)
    assert sdk(f"{subscriptions}.list") == []
    with pytest.raises(cloudflare.NotFoundError):
        sdk(f"{subscriptions}.get", made.id)
