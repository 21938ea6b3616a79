"""R2: what is told to queues when the objects of a bucket change."""

from __future__ import annotations

import json
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.documents import NOTIFICATIONS, Document
from pytest_alchemy.cloudflare.fake.queue_control import QueueRow, queue_with_id
from pytest_alchemy.cloudflare.fake.queue_messages import Body, send
from pytest_alchemy.cloudflare.fake.r2_buckets import Bucket, bucket_named
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, field_of, object_of, timestamp

_ACTIONS = (
    "PutObject",
    "CopyObject",
    "DeleteObject",
    "CompleteMultipartUpload",
    "LifecycleDeletion",
)
_MOST_RULES = 100


def tell(storage: Storage, bucket: Bucket, action: str, **about: Any) -> None:
    """Send to the queues of *bucket* that *action* happened to the object that *about* describes by its key."""
    for notification in NOTIFICATIONS.all(storage, owner=bucket.owner):
        if any(_matches(rule, action, about["key"]) for rule in notification.body["rules"]):
            message = {
                "account": storage.identity.account_id,
                "action": action,
                "bucket": bucket.name,
                "object": about,
                "eventTime": timestamp(clock.now()),
            }
            queue = queue_with_id(storage, notification.name)
            send(storage, queue, [Body("json", json.dumps(message).encode())])


def _matches(rule: dict[str, Any], action: str, key: str) -> bool:
    return (
        action in rule["actions"]
        and key.startswith(rule["prefix"])
        and key.endswith(rule["suffix"])
    )


def _put(call: Call) -> Reply:
    bucket, queue = _bucket(call), _queue(call)
    wanted = field_of(object_of(call.request, 11014), "rules", list, 11014)
    rules = [_rule(rule) for rule in wanted]
    if not rules:
        raise _invalid("at least one rule is required")
    old = _find(call, bucket, queue)
    # Rules are added to those that the queue has.
    both = [*(old.body["rules"] if old else ()), *rules]
    if len(both) > _MOST_RULES:
        raise _invalid(f"a bucket has {_MOST_RULES} rules at most")
    elsewhere = [
        rule
        for other in NOTIFICATIONS.all(call.storage, owner=bucket.owner)
        if other.name != queue.id
        for rule in other.body["rules"]
    ]
    _check_overlap([*elsewhere, *both])
    if old is None:
        NOTIFICATIONS.add(call.storage, {"rules": both}, name=queue.id, owner=bucket.owner)
    else:
        NOTIFICATIONS.change(call.storage, old, {"rules": both})
    return Reply({"event_notification_detail_id": rules[-1]["ruleId"]})


def _rule(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _invalid("each rule has to be an object")
    actions = field_of(given, "actions", list, 11014)
    if not actions or any(action not in _ACTIONS for action in actions):
        raise _invalid(f"actions have to be some of {', '.join(_ACTIONS)}")
    texts = {
        name: field_of(given, name, str, 11014, "") for name in ("prefix", "suffix", "description")
    }
    made = timestamp(clock.now())
    return {"ruleId": clock.random_bytes(16).hex(), "actions": actions, **texts, "createdAt": made}


def _check_overlap(rules: list[dict[str, Any]]) -> None:
    """Refuse two rules that one change could match both of."""
    for number, one in enumerate(rules):
        for other in rules[:number]:
            both = set(one["actions"]) & set(other["actions"])
            if both and _overlap(one["prefix"], other["prefix"], one["suffix"], other["suffix"]):
                raise Refusal(
                    400,
                    11020,
                    f"Conflicting event notification rules: both tell of {', '.join(sorted(both))}, "
                    "and one object can match both.",
                )


def _overlap(prefix: str, other_prefix: str, suffix: str, other_suffix: str) -> bool:
    starts = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
    return starts and (suffix.endswith(other_suffix) or other_suffix.endswith(suffix))


def _list(call: Call) -> Reply:
    bucket = _bucket(call)
    found = NOTIFICATIONS.all(call.storage, owner=bucket.owner)
    if not found:
        raise Refusal(404, 11015, f"No event notifications are configured for {bucket.name}.")
    return Reply({"bucketName": bucket.name, "queues": [_shown(call, one) for one in found]})


def _get(call: Call) -> Reply:
    return Reply(_shown(call, _notification(call)))


def _delete(call: Call) -> Reply:
    old = _notification(call)
    wanted = field_of(object_of(call.request, 11014), "ruleIds", list, 11014, [])
    left = [rule for rule in old.body["rules"] if wanted and rule["ruleId"] not in wanted]
    if left:
        NOTIFICATIONS.change(call.storage, old, {"rules": left})
    else:
        NOTIFICATIONS.remove(call.storage, old.id)
    return Reply({})


def _bucket(call: Call) -> Bucket:
    bucket = bucket_named(call, call.parts[0])
    if bucket is None:
        raise Refusal(404, 10085, f"R2 bucket '{call.parts[0]}' not found.")
    return bucket


def _queue(call: Call) -> QueueRow:
    return queue_with_id(call.storage, call.parts[1])


def _notification(call: Call) -> Document:
    bucket, queue = _bucket(call), _queue(call)
    found = _find(call, bucket, queue)
    if found is None:
        raise Refusal(
            404, 11011, f"Queue {queue.name} is told nothing of the bucket {bucket.name}."
        )
    return found


def _find(call: Call, bucket: Bucket, queue: QueueRow) -> Document | None:
    return next(
        iter(NOTIFICATIONS.all(call.storage, owner=bucket.owner, name=queue.id)),
        None,
    )


def _shown(call: Call, notification: Document) -> dict[str, Any]:
    queue = queue_with_id(call.storage, notification.name)
    return {
        "queueId": queue.id,
        "queueName": queue.name,
        "rules": notification.body["rules"],
    }


def _invalid(reason: str) -> Refusal:
    return Refusal(400, 11014, f"Invalid event notification configuration: {reason}")


_ALL = "@/event_notifications/r2/*/configuration"
_ONE = f"{_ALL}/queues/*"
ROUTES = (
    Route("GET", _ALL, _list, writes=False),
    Route("PUT", _ONE, _put),
    Route("GET", _ONE, _get, writes=False),
    Route("DELETE", _ONE, _delete),
)
