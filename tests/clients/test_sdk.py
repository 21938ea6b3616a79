"""The official SDK, blocking and with asyncio, through both doors: every method of it that the account serves."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import cloudflare
import httpx
import pytest

from pytest_alchemy.cloudflare.fake import FakeAccount
from pytest_alchemy.cloudflare.fake.respx_door import answering
from tests.clients.sdk import NOT_SERVED, Sdk, methods
from tests.unit.cloudflare.api import served

MODULE = (
    "worker.js",
    b"export default { fetch() {}, queue() {} }",
    "application/javascript+module",
)
EVERY = dict(methods())

# The SDK warns of those of its methods that it will drop; until then they have to work.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:cloudflare", "ignore:Please use"
)


@pytest.fixture
def account() -> Iterator[FakeAccount]:
    account = FakeAccount()
    yield account
    account.close()


@pytest.fixture(params=["httpx", "http"])
def base_url(request: pytest.FixtureRequest, account: FakeAccount) -> Iterator[str | None]:
    if request.param == "http":
        yield served(account)
    else:
        with answering(account):
            yield None


@pytest.fixture(params=["blocking", "asyncio"])
def sdk(
    request: pytest.FixtureRequest, account: FakeAccount, base_url: str | None
) -> Iterator[Sdk]:
    given: dict[str, Any] = {
        "api_token": account.api_token,
        "base_url": base_url,
        "max_retries": 0,
    }
    if request.param == "blocking":
        with cloudflare.Cloudflare(**given) as client:
            yield Sdk(client, account.account_id, None)
    else:
        with asyncio.Runner() as runner:
            async_client = cloudflare.AsyncCloudflare(**given)
            yield Sdk(async_client, account.account_id, runner)
            runner.run(async_client.close())


def use_d1(sdk: Sdk) -> None:
    db = "d1.database"
    id = sdk(f"{db}.create", name="orders").uuid
    mode = sdk(f"{db}.update", id, read_replication={"mode": "auto"}).read_replication.mode
    assert mode == "auto"
    assert sdk(f"{db}.edit", id, read_replication={"mode": "disabled"}).name == "orders"
    sdk(f"{db}.query", id, sql="CREATE TABLE t (a)")
    sdk(f"{db}.query", id, sql="INSERT INTO t VALUES (?)", params=["one"])
    (queried,) = sdk(f"{db}.query", id, sql="SELECT a FROM t")
    assert queried.results == [{"a": "one"}]
    (raw,) = sdk(f"{db}.raw", id, sql="SELECT a, a FROM t")
    assert (raw.results.columns, raw.results.rows) == (["a", "a"], [["one", "one"]])

    exported = sdk(f"{db}.export", id, output_format="polling")
    text = httpx.get(exported.result.signed_url).content
    assert b"CREATE TABLE t (a);" in text
    sdk(f"{db}.query", id, sql="DROP TABLE t")
    etag = hashlib.md5(text).hexdigest()
    asked = sdk(f"{db}.import_", id, action="init", etag=etag)
    httpx.put(asked.upload_url, content=text)
    done = sdk(f"{db}.import_", id, action="ingest", etag=etag, filename=asked.filename)
    assert done.status == "complete"
    poll = sdk(f"{db}.import_", id, action="poll", current_bookmark=done.at_bookmark)
    assert poll.success

    use_time_travel(sdk, id)
    assert sdk(f"{db}.get", id).num_tables == 1
    assert [found.name for found in sdk(f"{db}.list")] == ["orders"]
    sdk(f"{db}.delete", id)
    assert sdk(f"{db}.list") == []


def use_time_travel(sdk: Sdk, id: str) -> None:
    db, travel = "d1.database", "d1.database.time_travel"
    before = sdk(f"{travel}.get_bookmark", id).bookmark
    moment = datetime.now(UTC)
    assert sdk(f"{travel}.get_bookmark", id, timestamp=moment).bookmark == before
    sdk(f"{db}.query", id, sql="DELETE FROM t")
    restored = sdk(f"{travel}.restore", id, bookmark=before)
    (queried,) = sdk(f"{db}.query", id, sql="SELECT a FROM t")
    assert queried.results == [{"a": "one"}]
    sdk(f"{travel}.restore", id, bookmark=restored.previous_bookmark)
    (queried,) = sdk(f"{db}.query", id, sql="SELECT a FROM t")
    assert queried.results == []
    with pytest.raises(cloudflare.BadRequestError, match="Invalid bookmark"):
        sdk(f"{travel}.restore", id, bookmark="none")


def use_kv(sdk: Sdk) -> None:
    kv = "kv.namespaces"
    id = sdk(f"{kv}.create", title="cache").id
    here = {"namespace_id": id}
    assert sdk(f"{kv}.update", id, title="pages").title == "pages"
    assert sdk(f"{kv}.get", id).title == "pages"
    sdk(f"{kv}.values.update", "a/b", value=b"\xff1", metadata={"m": 1}, **here)
    assert sdk(f"{kv}.values.get", "a/b", **here) == b"\xff1"
    assert sdk(f"{kv}.metadata.get", "a/b", **here) == {"m": 1}
    pairs = [{"key": f"k{number}", "value": "v"} for number in range(3)]
    assert sdk(f"{kv}.bulk_update", id, body=pairs).successful_key_count == 3
    sdk(f"{kv}.keys.bulk_update", id, body=pairs)
    assert [key.name for key in sdk(f"{kv}.keys.list", id, limit=10)] == ["a/b", "k0", "k1", "k2"]
    assert sdk(f"{kv}.bulk_get", id, keys=["k0", "no"]).values == {"k0": "v", "no": None}
    assert sdk(f"{kv}.keys.bulk_get", id, keys=["k1"]).values == {"k1": "v"}
    sdk(f"{kv}.values.delete", "k0", **here)
    sdk(f"{kv}.bulk_delete", id, body=["k1"])
    sdk(f"{kv}.keys.bulk_delete", id, body=["k2"])
    assert [key.name for key in sdk(f"{kv}.keys.list", id)] == ["a/b"]
    assert [found.title for found in sdk(f"{kv}.list")] == ["pages"]
    sdk(f"{kv}.delete", id)
    assert sdk(f"{kv}.list") == []


def use_r2(sdk: Sdk) -> None:
    r2 = "r2.buckets"
    here = {"bucket_name": "pictures"}
    assert sdk(f"{r2}.create", name="pictures").name == "pictures"
    sdk(f"{r2}.edit", "pictures", storage_class="InfrequentAccess")
    assert sdk(f"{r2}.get", "pictures").storage_class == "InfrequentAccess"
    sdk(f"{r2}.objects.upload", "a/b c.bin", b"\x00\xff", **here)
    assert sdk(f"{r2}.objects.get", "a/b c.bin", **here) == b"\x00\xff"
    assert [found.key for found in sdk(f"{r2}.objects.list", "pictures")] == ["a/b c.bin"]
    assert sdk(f"{r2}.metrics.list") is not None
    with pytest.raises(cloudflare.ConflictError, match="not empty"):
        sdk(f"{r2}.delete", "pictures")
    sdk(f"{r2}.objects.delete", "a/b c.bin", **here)

    rules = [{"allowed": {"methods": ["GET"], "origins": ["https://example.com"]}}]
    sdk(f"{r2}.cors.update", "pictures", rules=rules)
    assert len(sdk(f"{r2}.cors.get", "pictures").rules) == 1
    sdk(f"{r2}.cors.delete", "pictures")
    sdk(f"{r2}.lifecycle.update", "pictures", rules=[])
    assert sdk(f"{r2}.lifecycle.get", "pictures") is not None
    sdk(f"{r2}.locks.update", "pictures", rules=[])
    assert sdk(f"{r2}.locks.get", "pictures") is not None
    assert sdk(f"{r2}.domains.managed.update", "pictures", enabled=True).enabled
    assert sdk(f"{r2}.domains.managed.list", "pictures").domain.endswith(".r2.dev")

    assert [found.name for found in sdk(f"{r2}.list").buckets] == ["pictures"]
    sdk(f"{r2}.delete", "pictures")
    assert sdk(f"{r2}.list").buckets == []


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

    sdk("queues.consumers.delete", consumer, queue_id=id)
    assert [found.queue_name for found in sdk("queues.list")] == ["work"]
    assert sdk("queues.get", id).consumers_total_count == 0
    sdk("queues.delete", id)
    assert sdk("queues.list") == []


def use_workers(sdk: Sdk) -> None:
    scripts = "workers.scripts"
    binding = {"name": "GREETING", "type": "plain_text", "text": "hello"}
    metadata = {"main_module": "worker.js", "bindings": [binding]}
    made = sdk(f"{scripts}.update", "api", metadata=metadata, files=[MODULE])
    assert (made.id, made.handlers) == ("api", ["fetch", "queue"])
    assert "export default" in str(sdk(f"{scripts}.get", "api"))
    assert [found.script_name for found in sdk(f"{scripts}.search", name="ap")] == ["api"]
    sdk(f"{scripts}.content.update", "api", metadata={"main_module": "worker.js"}, files=[MODULE])
    assert b"export default" in sdk(f"{scripts}.content.get", "api")
    assert sdk(f"{scripts}.settings.edit", "api", logpush=True).logpush
    assert sdk(f"{scripts}.settings.get", "api").logpush
    both = f"{scripts}.script_and_version_settings"
    sdk(f"{both}.edit", "api", settings={"compatibility_date": "2026-01-01"})
    assert sdk(f"{both}.get", "api").compatibility_date == "2026-01-01"
    assert [found.name for found in sdk(f"{both}.get", "api").bindings] == ["GREETING"]
    use_secrets(sdk)
    use_versions(sdk)
    sdk(f"{scripts}.schedules.update", "api", body=[{"cron": "0 3 * * *"}])
    assert [found.cron for found in sdk(f"{scripts}.schedules.get", "api").schedules] == [
        "0 3 * * *"
    ]
    use_subdomain(sdk)
    assert [found.id for found in sdk(f"{scripts}.list")] == ["api"]
    sdk(f"{scripts}.delete", "api", force=True)
    assert sdk(f"{scripts}.list") == []


def use_secrets(sdk: Sdk) -> None:
    secrets = "workers.scripts.secrets"
    given = {"name": "KEY", "text": "hidden", "type": "secret_text"}
    assert sdk(f"{secrets}.update", "api", **given).name == "KEY"
    sdk(f"{secrets}.bulk_update", "api", secrets={"OTHER": {**given, "name": "OTHER"}})
    assert {found.name for found in sdk(f"{secrets}.list", "api")} == {"KEY", "OTHER"}
    assert sdk(f"{secrets}.get", "KEY", script_name="api").type == "secret_text"
    sdk(f"{secrets}.delete", "KEY", script_name="api")


def use_versions(sdk: Sdk) -> None:
    versions, deployments = "workers.scripts.versions", "workers.scripts.deployments"
    metadata = {"main_module": "worker.js"}
    made = sdk.raw(f"{versions}.create", "api", metadata=metadata, files=[MODULE])
    shown = sdk.raw(f"{versions}.get", made["id"], script_name="api")
    assert shown["number"] == made["number"]
    assert made["id"] in [found.id for found in sdk(f"{versions}.list", "api")]
    share = [{"version_id": made["id"], "percentage": 100}]
    new = sdk(f"{deployments}.create", "api", strategy="percentage", versions=share)
    all_of_them = sdk.raw(f"{deployments}.list", "api")["deployments"]
    assert all_of_them[0]["id"] == new.id
    assert sdk(f"{deployments}.get", new.id, script_name="api").strategy == "percentage"
    sdk(f"{deployments}.delete", all_of_them[-1]["id"], script_name="api")


def use_subdomain(sdk: Sdk) -> None:
    subdomain = "workers.scripts.subdomain"
    assert sdk(f"{subdomain}.create", "api", enabled=True).enabled
    assert sdk(f"{subdomain}.get", "api").enabled
    sdk(f"{subdomain}.delete", "api")
    beta = "workers.beta.workers"
    changes = {"logpush": False, "name": "api", "observability": {}, "tail_consumers": []}
    sdk(f"{beta}.edit", "api", subdomain={"enabled": True}, tags=["a"], **changes)
    assert sdk(f"{beta}.get", "api").subdomain.enabled
    assert [found.name for found in sdk(f"{beta}.list")] == ["api"]
    sdk("workers.scripts.update", "b", metadata={"main_module": "worker.js"}, files=[MODULE])
    sdk(f"{beta}.delete", "b")
    sdk("workers.account_settings.update", green_compute=True)
    assert sdk("workers.account_settings.get").green_compute
    assert sdk("workers.subdomains.update", subdomain="shop").subdomain == "shop"
    assert sdk("workers.subdomains.get").subdomain == "shop"
    sdk("workers.subdomains.delete")


def test_every_method_of_the_sdk_works_or_is_known_not_to_be_served(
    sdk: Sdk, account: FakeAccount
) -> None:
    for use in (use_d1, use_kv, use_r2, use_queues, use_workers):
        use(sdk)

    not_called = EVERY.keys() - sdk.called
    assert {method for method in not_called if not method.startswith(NOT_SERVED)} == set()
    assert {method for method in sdk.called if method.startswith(NOT_SERVED)} == set()
    assert account.inventory() == []


def test_what_is_not_served_says_so(sdk: Sdk) -> None:
    shapes: dict[str, Any] = {"body": {}, "rules": [], "datasets": []}
    for method, needed in EVERY.items():
        if method.startswith(NOT_SERVED):
            given = {name: shapes.get(name, "x") for name in needed if name != "account_id"}

            with pytest.raises(cloudflare.APIStatusError) as raised:
                sdk(method, **given)

            (error,) = raised.value.errors
            assert (error.code, method) in ((7003, method), (10405, method))
            assert "This fake account has no endpoint" in str(error.message) or error.code == 10405
