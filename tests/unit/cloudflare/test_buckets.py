"""How buckets go that other things of the account hold on to."""

from __future__ import annotations

from pytest_alchemy.cloudflare import Queue, R2Bucket
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.settings import Settings
from tests.unit.cloudflare.api import Api
from tests.unit.cloudflare.scopes import open_scope


def test_a_bucket_goes_although_it_has_objects_domains_and_notifications() -> None:
    settings = Settings(app="shop", stage="test")
    fake = account_for(settings).fake
    assert fake is not None
    api, scope = Api(fake), open_scope(settings)
    queue, bucket = scope.create(Queue("jobs")), scope.create(R2Bucket("pictures"))
    domain = {"domain": f"{bucket.name}.example.com", "enabled": True, "zoneId": "0" * 32}
    api.result("POST", f"@/r2/buckets/{bucket.name}/domains/custom", domain)
    configuration = f"@/event_notifications/r2/{bucket.name}/configuration"
    rules = {"rules": [{"actions": ["PutObject"]}]}
    api.result("PUT", f"{configuration}/queues/{queue.queue_id}", rules)
    bucket.put("a", b"1")

    scope.destroy()

    names = {item.name for item in fake.inventory()}
    assert names.isdisjoint({bucket.name, queue.name})
