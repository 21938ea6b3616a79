"""Queues as resources."""

from __future__ import annotations

import base64
import builtins
import json
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pytest_alchemy.cloudflare.client import Api, Operation, run_hook
from pytest_alchemy.cloudflare.errors import CloudflareError, QueueConsumedError
from pytest_alchemy.cloudflare.r2 import FORBIDDEN, R2Bucket
from pytest_alchemy.cloudflare.resource import AccountResource
from pytest_alchemy.cloudflare.versions import forget_senders
from pytest_alchemy.driver import refuse_in_coroutine
from pytest_alchemy.physicalnames import NameRule, parse
from pytest_alchemy.resource import output
from pytest_alchemy.tracebacks import are_noise

__tracebackhide__ = are_noise

_ALL = "/queues"
_PER_PAGE = 100
_HAS_CONSUMER = 11004
_STILL_NEEDED = 11005


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """
    A message that was pulled.

    Attributes:
        id: Its id.
        body: What was sent: bytes, text, or data from JSON.
        attempts: How often it was delivered, this time included.
        lease_id: What acknowledges it.
        timestamp: When it was sent, in seconds since the epoch.
    """

    id: str
    body: Any
    attempts: int
    lease_id: str
    timestamp: float


class Queue(AccountResource, kind="queue", name_rule=NameRule(max=63)):
    """
    A queue; it is destroyed with all messages in it.

    A message is delivered at least once, in no promised order; the fake keeps the order of sending.

    Properties:
        delivery_delay: How long messages wait before they are delivered, in seconds, up to 12 hours.
        message_retention_period: How long messages are kept, in seconds, from 60 to 14 days; None for 4 days.

    Outputs:
        queue_id: Its id.
    """

    delivery_delay: int | None = None
    message_retention_period: int | None = None

    queue_id: str = output()

    def update(self, previous: Self) -> Awaitable[None] | None:
        return run_hook(self.scope.settings, self._update)

    def send(self, body: Any, *, delay: int | None = None) -> None:
        """
        Send a message.

        Args:
            body: Bytes, text, or data for JSON; at most 128 000 bytes of it.
            delay: How long it waits before it is delivered, in seconds, up to 12 hours; None for the queue's own.
        """
        refuse_in_coroutine("send", "asend")
        self._run(_send(self, body, delay))

    async def asend(self, body: Any, *, delay: int | None = None) -> None:
        """Send a message; asyncio twin of `send`."""
        await self._arun(_send(self, body, delay))

    def send_batch(self, bodies: Iterable[Any], *, delay: int | None = None) -> None:
        """
        Send several messages, all or none.

        Args:
            bodies: 1 to 100, each as in `send`, together at most 256 000 bytes.
            delay: As in `send`.
        """
        refuse_in_coroutine("send_batch", "asend_batch")
        self._run(_send_batch(self, bodies, delay))

    async def asend_batch(self, bodies: Iterable[Any], *, delay: int | None = None) -> None:
        """Send several messages, all or none; asyncio twin of `send_batch`."""
        await self._arun(_send_batch(self, bodies, delay))

    def pull(
        self, batch_size: int = 10, *, visibility_timeout: float = 30.0
    ) -> builtins.list[QueueMessage]:
        """
        Return messages that wait for delivery, without waiting for any; nobody else gets them for a while.

        The first call gives the queue a pull consumer if it has none.

        Args:
            batch_size: How many at most, 1 to 100.
            visibility_timeout: How long nobody else gets them, in seconds, up to 12 hours. What is not acknowledged
                by then is delivered again, three times by default.

        Raises:
            QueueConsumedError: A Worker consumes the queue.
        """
        refuse_in_coroutine("pull", "apull")
        return self._run(_pull(self, batch_size, visibility_timeout))

    async def apull(
        self, batch_size: int = 10, *, visibility_timeout: float = 30.0
    ) -> builtins.list[QueueMessage]:
        """Return messages that wait for delivery; asyncio twin of `pull`."""
        return await self._arun(_pull(self, batch_size, visibility_timeout))

    def ack(self, messages: Sequence[QueueMessage]) -> None:
        """Acknowledge *messages*, so that they are not delivered again; gone already is fine."""
        refuse_in_coroutine("ack", "aack")
        self._run(_ack(self, messages))

    async def aack(self, messages: Sequence[QueueMessage]) -> None:
        """Acknowledge *messages*; asyncio twin of `ack`."""
        await self._arun(_ack(self, messages))

    def _settings(self) -> dict[str, Any]:
        wanted = {
            "delivery_delay": self.delivery_delay,
            "message_retention_period": self.message_retention_period,
        }
        return {key: value for key, value in wanted.items() if value is not None}

    async def _create(self, api: Api) -> None:
        settings = self._settings()
        more = {"settings": settings} if settings else {}
        made = await api.call("POST", _ALL, {"queue_name": self.name, **more})
        self.queue_id = made["queue_id"]

    async def _read(self, api: Api) -> bool:
        for found in await api.call("GET", _ALL, query={"name": self.name}):
            if found["queue_name"] == self.name:
                self.queue_id = found["queue_id"]
                return True
        return False

    async def _update(self, api: Api) -> None:
        default = {"delivery_delay": 0, "message_retention_period": 345_600}
        settings = {**default, **self._settings()}
        await api.call("PATCH", f"{_ALL}/{self.queue_id}", {"settings": settings})

    async def _destroy(self, api: Api) -> None:
        if not ("queue_id" in self.__dict__ or await self._read(api)):
            return
        path = f"{_ALL}/{self.queue_id}"
        try:
            await api.delete(path)
        except CloudflareError as error:
            if error.code != _STILL_NEEDED:
                raise
            for free in (self._silence, self._unbind):
                try:
                    await free(api)
                except CloudflareError as refused:
                    if refused.status not in FORBIDDEN:
                        raise
            await api.delete(path)

    async def _silence(self, api: Api) -> None:
        """Remove the event notifications by which buckets hold it that may go later."""
        for name in await R2Bucket._names(api):
            if self._is_related(name):
                rules = f"/event_notifications/r2/{name}/configuration/queues/{self.queue_id}"
                await api.delete(rules)

    async def _unbind(self, api: Api) -> None:
        """Delete the versions by which Workers hold it that do not send to it any more."""
        found = await api.call("GET", f"{_ALL}/{self.queue_id}")
        for producer in found.get("producers") or ():
            if self._is_related(producer.get("script", "")):
                await forget_senders(api, producer["script"], self.name)

    def _is_related(self, name: str) -> bool:
        """Tell whether *name* is that of a thing of the same application and run."""
        ours, other = parse(self.name), parse(name)
        return bool(ours and other and (other.app, other.run) == (ours.app, ours.run))

    @classmethod
    async def _names(cls, api: Api) -> Iterable[str]:
        return [found["queue_name"] for found in await api.everything(_ALL, per_page=_PER_PAGE)]


def _send(queue: Queue, body: Any, delay: int | None) -> Operation[None]:
    path = f"{_ALL}/{queue.queue_id}/messages"
    message = {**_message(body), **_delayed(delay)}

    async def operation(api: Api) -> None:
        await api.call("POST", path, message)

    return operation


def _send_batch(queue: Queue, bodies: Iterable[Any], delay: int | None) -> Operation[None]:
    path = f"{_ALL}/{queue.queue_id}/messages/batch"
    batch = {"messages": [_message(body) for body in bodies], **_delayed(delay)}

    async def operation(api: Api) -> None:
        await api.call("POST", path, batch)

    return operation


def _pull(
    queue: Queue, batch_size: int, visibility_timeout: float
) -> Operation[list[QueueMessage]]:
    path = f"{_ALL}/{queue.queue_id}"
    asked = {"batch_size": batch_size, "visibility_timeout_ms": round(visibility_timeout * 1000)}

    async def operation(api: Api) -> list[QueueMessage]:
        if not getattr(queue, "_pullable", False):
            await _make_pullable(queue, api, f"{path}/consumers")
        answer = await api.call("POST", f"{path}/messages/pull", asked)
        return [_pulled(message) for message in answer["messages"]]

    return operation


async def _make_pullable(queue: Queue, api: Api, path: str) -> None:
    """Give *queue* a pull consumer unless it has one."""
    consumers = await api.call("GET", path)
    if not consumers:
        try:
            consumers = [await api.call("POST", path, {"type": "http_pull"})]
        except CloudflareError as error:
            if error.code != _HAS_CONSUMER:  # somebody else was quicker
                raise
            consumers = await api.call("GET", path)
    for consumer in consumers:
        if consumer["type"] != "http_pull":
            raise QueueConsumedError(str(queue), consumer.get("script") or consumer["script_name"])
    queue.__dict__["_pullable"] = True


def _ack(queue: Queue, messages: Sequence[QueueMessage]) -> Operation[None]:
    path = f"{_ALL}/{queue.queue_id}/messages/ack"
    acks = [{"lease_id": message.lease_id} for message in messages]

    async def operation(api: Api) -> None:
        if acks:
            await api.call("POST", path, {"acks": acks, "retries": []})

    return operation


def _message(body: Any) -> dict[str, Any]:
    if isinstance(body, bytes | bytearray):
        return {"content_type": "bytes", "body": base64.b64encode(body).decode()}
    if isinstance(body, str):
        return {"content_type": "text", "body": body}
    return {"content_type": "json", "body": body}


def _delayed(delay: int | None) -> dict[str, int]:
    return {} if delay is None else {"delay_seconds": delay}


def _pulled(message: dict[str, Any]) -> QueueMessage:
    content_type, body = message["metadata"].get("CF-Content-Type", "text"), message["body"]
    if content_type != "text":
        body = base64.b64decode(body)
    if content_type == "json":
        body = json.loads(body)
    return QueueMessage(
        id=message["id"],
        body=body,
        attempts=int(message["attempts"]),
        lease_id=message["lease_id"],
        timestamp=message["timestamp_ms"] / 1000,
    )
