"""What the official SDK does with D1, KV and R2."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import cloudflare
import httpx
import pytest

from tests.clients.sdk import Sdk


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

    use_bucket_domains(sdk)
    use_notifications(sdk)
    use_sippy(sdk)
    use_super_slurper(sdk)
    loan = {"permission": "object-read-only", "ttl_seconds": 60}
    lent = sdk(
        "r2.temporary_credentials.create", parent_access_key_id="k", bucket="pictures", **loan
    )
    assert lent.session_token.count(".") == 2
    with pytest.raises(cloudflare.NotFoundError, match="bucket does not exist"):
        sdk("r2.temporary_credentials.create", parent_access_key_id="k", bucket="none", **loan)

    assert [found.name for found in sdk(f"{r2}.list").buckets] == ["pictures"]
    sdk(f"{r2}.delete", "pictures")
    assert sdk(f"{r2}.list").buckets == []


def use_bucket_domains(sdk: Sdk) -> None:
    domains, here = "r2.buckets.domains.custom", {"bucket_name": "pictures"}
    given = {"domain": "img.example.com", "enabled": True, "zone_id": "0" * 32}
    assert sdk(f"{domains}.create", "pictures", **given).zone_id == "0" * 32
    with pytest.raises(cloudflare.ConflictError, match="in use"):
        sdk(f"{domains}.create", "pictures", **given)
    assert not sdk(f"{domains}.update", "img.example.com", enabled=False, **here).enabled
    sdk(f"{domains}.update", "img.example.com", min_tls="1.3", **here)
    found = sdk(f"{domains}.get", "img.example.com", **here)
    assert (found.enabled, found.min_tls, found.zone_name) == (False, "1.3", "example.com")
    assert [one.domain for one in sdk(f"{domains}.list", "pictures").domains] == [found.domain]
    with pytest.raises(cloudflare.ConflictError, match="custom domains"):
        sdk("r2.buckets.delete", "pictures")
    sdk(f"{domains}.delete", "img.example.com", **here)
    assert sdk(f"{domains}.list", "pictures").domains == []
    with pytest.raises(cloudflare.NotFoundError):
        sdk(f"{domains}.get", "img.example.com", **here)


def use_notifications(sdk: Sdk) -> None:
    events, here = "r2.buckets.event_notifications", {"bucket_name": "pictures"}
    queue = sdk("queues.create", queue_name="uploads").queue_id
    rules = [{"actions": ["PutObject", "DeleteObject"], "prefix": "in/"}]
    sdk(f"{events}.update", queue, rules=rules, **here)
    (rule,) = sdk(f"{events}.get", queue, **here).rules
    assert (rule.prefix, rule.actions) == ("in/", rules[0]["actions"])
    assert [one.queue_name for one in sdk(f"{events}.list", "pictures").queues] == ["uploads"]
    sdk("r2.buckets.objects.upload", "in/a", b"1", **here)
    sdk("r2.buckets.objects.delete", "in/a", **here)
    assert sdk("queues.get_metrics", queue).backlog_count == 2
    for method, thing in (("queues.delete", queue), ("r2.buckets.delete", "pictures")):
        with pytest.raises(cloudflare.APIStatusError, match="event notifications"):
            sdk(method, thing)
    sdk(f"{events}.delete", queue, **here)
    with pytest.raises(cloudflare.NotFoundError):
        sdk(f"{events}.list", "pictures")
    sdk("queues.delete", queue)


def use_sippy(sdk: Sdk) -> None:
    sippy, keys = "r2.buckets.sippy", {"access_key_id": "k", "secret_access_key": "hidden"}
    source = {"provider": "aws", "bucket": "old", "region": "eu-west-1", **keys}
    made = sdk(f"{sippy}.update", "pictures", source=source, destination={"provider": "r2", **keys})
    assert (made.enabled, made.source.bucket, made.destination.bucket) == (True, "old", "pictures")
    found = sdk(f"{sippy}.get", "pictures")
    assert found == made
    assert "hidden" not in found.to_json()
    assert sdk(f"{sippy}.delete", "pictures").enabled is False
    assert sdk(f"{sippy}.get", "pictures").enabled is False


def use_super_slurper(sdk: Sdk) -> None:
    slurper, secret = "r2.super_slurper", {"access_key_id": "k", "secret_access_key": "hidden"}
    source = {"vendor": "s3", "bucket": "old", "secret": secret}
    target = {"vendor": "r2", "bucket": "pictures", "secret": secret}
    checks = f"{slurper}.connectivity_precheck"
    assert sdk(f"{checks}.source", **source).connectivity_status == "success"
    assert sdk(f"{checks}.target", **target).connectivity_status == "success"
    assert sdk(f"{checks}.target", **{**target, "bucket": "no"}).connectivity_status == "error"
    jobs = f"{slurper}.jobs"
    id = sdk(f"{jobs}.create", source=source, target=target).id
    assert [job.id for job in sdk(f"{jobs}.list")] == [id]
    sdk(f"{jobs}.pause", id)
    assert sdk(f"{jobs}.get", id).status == "paused"
    sdk(f"{jobs}.resume", id)
    progress = sdk(f"{jobs}.progress", id)
    assert (progress.status, progress.transferred_objects) == ("running", 0)
    sdk(f"{jobs}.abort", id)
    with pytest.raises(cloudflare.BadRequestError, match="is aborted"):
        sdk(f"{jobs}.abort", id)
    logged = [log.log_type for log in sdk(f"{jobs}.logs.list", id)]
    assert logged == ["migrationAbort", "migrationResume", "migrationPause", "migrationStart"]
    other = sdk(f"{jobs}.create", source=source, target=target).id
    sdk(f"{jobs}.abort_all")
    assert sdk(f"{jobs}.get", other).status == "aborted"
