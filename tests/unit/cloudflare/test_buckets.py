"""How buckets go that other things of the account hold on to."""

from __future__ import annotations

import pytest

from pytest_alchemy.cloudflare import Queue, R2Bucket
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.settings import Settings
from tests.unit.cloudflare.api import Api
from tests.unit.cloudflare.scopes import open_scope


def test_a_bucket_that_somebody_still_writes_to_goes_without_the_right_to_see_what_holds_it() -> (
    None
):
    settings = Settings(app="shop", stage="test")
    fake = account_for(settings).fake
    assert fake is not None
    scope = open_scope(settings)
    bucket = scope.create(R2Bucket("pictures"))
    bucket.put("a", b"1")
    written_again = {"success": True, "errors": [], "messages": [], "result": []}
    fake.fail(method="DELETE", path="/objects$", status=200, body=written_again)
    fake.fail(method="GET", path="domains|notifications", status=403, times=None)

    scope.destroy()

    fake.clear_faults()
    assert bucket.name not in {item.name for item in fake.inventory()}


@pytest.mark.parametrize("kinds", [(Queue, R2Bucket), (R2Bucket, Queue)])
def test_a_bucket_goes_although_it_has_objects_domains_and_notifications_and_the_queue_too(
    kinds: tuple[type[Queue | R2Bucket], ...],
) -> None:
    settings = Settings(app="shop", stage="test")
    fake = account_for(settings).fake
    assert fake is not None
    api, scope = Api(fake), open_scope(settings)
    made = {kind: scope.create(kind("one")) for kind in kinds}
    queue, bucket = made[Queue], made[R2Bucket]
    assert isinstance(queue, Queue)
    assert isinstance(bucket, R2Bucket)
    domain = {"domain": f"{bucket.name}.example.com", "enabled": True, "zoneId": "0" * 32}
    api.result("POST", f"@/r2/buckets/{bucket.name}/domains/custom", domain)
    configuration = f"@/event_notifications/r2/{bucket.name}/configuration"
    rules = {"rules": [{"actions": ["PutObject"]}]}
    api.result("PUT", f"{configuration}/queues/{queue.queue_id}", rules)
    bucket.put("a", b"1")

    scope.destroy()

    names = {item.name for item in fake.inventory()}
    assert names.isdisjoint({bucket.name, queue.name})
