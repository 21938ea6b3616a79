"""Versions of a Worker that are deployed no longer: they hold on to the queues that they send to."""

from __future__ import annotations

from typing import Any

from pytest_alchemy.cloudflare.client import Api
from pytest_alchemy.tracebacks import are_noise

__tracebackhide__ = are_noise

_PER_PAGE = 100


async def forget_senders(api: Api, worker: str, queue: str) -> None:
    """
    Delete those versions of *worker* that send to *queue* and are deployed no longer.

    Nobody can go back to one of them once the queue is gone.

    Args:
        api: The account.
        worker: Name of the Worker.
        queue: Name of the queue.

    Raises:
        CloudflareError, CloudflareUnreachableError: As `Api.call`.
    """
    deployments = await api.call("GET", f"/workers/scripts/{worker}/deployments")
    deployed = {
        version["version_id"]
        for deployment in deployments["deployments"][:1]  # the newest comes first
        for version in deployment["versions"]
    }
    versions = f"/workers/workers/{worker}/versions"
    for version in await api.everything(versions, per_page=_PER_PAGE):
        if version["id"] not in deployed and _sends_to(version, queue):
            await api.delete(f"{versions}/{version['id']}")


def _sends_to(version: dict[str, Any], queue: str) -> bool:
    return any(
        binding["type"] == "queue" and binding["queue_name"] == queue
        for binding in version.get("bindings", ())
    )
