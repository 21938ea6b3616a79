"""No request of any shape makes the account answer 500, raise or hang."""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_alchemy.cloudflare.fake import FakeAccount, Request
from pytest_alchemy.cloudflare.fake.account import PRODUCTS
from tests.unit.cloudflare.api import Api

SECONDS = 10.0
ROUTES = [route for product in PRODUCTS for route in product.routes]

# Whatever the account's own code has in quotes: names of fields, values that they may take.
SOURCES = Path(inspect.getfile(FakeAccount)).parent.glob("*.py")
WORDS = sorted(
    {
        word
        for file in SOURCES
        for word in re.findall(r'"([a-zA-Z_][\w.-]{1,30})"', file.read_text(encoding="utf-8"))
    }
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=20)
    | st.sampled_from(
        ["", "\0", "\ud800", "x" * 2000, "%", "../..", "' OR 1", "1e999", -1, 1 << 70]
    )
)
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    account = FakeAccount(time_limit=1.0)
    yield Api(account)
    account.close()


@pytest.fixture(scope="module")
def there(api: Api) -> dict[str, str]:
    return populated(api)


def populated(api: Api) -> dict[str, str]:
    """Make one thing of each product and nothing else; give what the variable part after a word of a path has to be."""
    for item in api.account.inventory():
        api.account.discard(item)
    api.result("POST", "@/r2/buckets", {"name": "pictures"})
    api.result("PUT", "@/r2/buckets/pictures/objects/a", body=b"1")
    queue = api.result("POST", "@/queues", {"queue_name": "jobs"})["queue_id"]
    consumer = api.result("POST", f"@/queues/{queue}/consumers", {"type": "http_pull"})
    api.worker("api", "export default { fetch() {}, queue() {} }")
    (version,) = api.result("GET", "@/workers/scripts/api/versions")["items"]
    return {
        "database": api.database(),
        "namespaces": api.namespace(),
        "queues": queue,
        "consumers": consumer["consumer_id"],
        "versions": version["id"],
        "buckets": "pictures",
        "objects": "a",
        **with_the_rest(api, queue),
    }


def with_the_rest(api: Api, queue: str) -> dict[str, str]:
    """Make what stands beside the things of the products: rules, domains, routes, jobs."""
    zone, place = "0" * 32, {"type": "queues.queue", "queue_id": queue}
    domain = {"domain": "img.example.com", "enabled": True, "zoneId": zone}
    api.result("POST", "@/r2/buckets/pictures/domains/custom", domain)
    rules = {"rules": [{"actions": ["PutObject"]}]}
    path = f"@/event_notifications/r2/pictures/configuration/queues/{queue}"
    api.result("PUT", path, rules)
    told = {"name": "s", "source": {"type": "kv"}, "events": ["e"], "destination": place}
    subscription = api.result("POST", "@/event_subscriptions/subscriptions", told)
    secret = {"accessKeyId": "k", "secretAccessKey": "s"}
    bucket = {"vendor": "r2", "bucket": "pictures", "secret": secret}
    job = api.result("POST", "@/slurper/jobs", {"source": bucket, "target": bucket})
    route = {"pattern": "example.com/*", "script": "api"}
    hostname = {"hostname": "api.example.com", "service": "api"}
    target = {"type": "logpush", "url": "u", "headers": {}, "logpushDataset": "opentelemetry-logs"}
    logs = {"name": "logs", "enabled": True, "configuration": target}
    api.result("POST", "@/workers/observability/destinations", logs)
    query = {"queryId": "q", "parameters": {}, "timeframe": {"from": 1, "to": 2}}
    return {
        "zones": zone,
        "custom": "img.example.com",
        "r2": "pictures",
        "subscriptions": subscription["id"],
        "jobs": job["id"],
        "routes": api.result("POST", f"zones/{zone}/workers/routes", route)["id"],
        "domains": api.result("PUT", "@/workers/domains", hostname)["id"],
        "tails": api.result("POST", "@/workers/scripts/api/tails")["id"],
        "destinations": "logs",
        "query": api.result("POST", "@/workers/observability/shared/query", query)["id"],
    }


def multipart(draw: st.DrawFn) -> tuple[bytes, str]:
    """Draw a form, well made or broken, and its content type."""
    boundary = draw(st.sampled_from(["x", "", "--", 'a"b']))
    pieces = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(["metadata", "settings", "value", "worker.js", "files", ""]))
        file = draw(st.sampled_from(["", '; filename="worker.js"', '; filename=""', "; filename"]))
        text = draw(st.binary(max_size=20) | DATA.map(lambda d: json.dumps(d).encode()))
        end = draw(st.sampled_from([b"\r\n\r\n", b"\r\n", b""]))
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}'.encode()
        pieces.append(head + end + text + b"\r\n")
    tail = draw(st.sampled_from([f"--{boundary}--".encode(), b""]))
    return b"".join(pieces) + tail, f"multipart/form-data; boundary={boundary}"


@st.composite
def requests(draw: st.DrawFn, account_id: str, token: str, there: dict[str, str]) -> Request:
    """Draw a request that is at least nearly one to an endpoint that exists."""
    route = draw(st.sampled_from(ROUTES))
    before, parts = "", []
    for part in route.pattern.replace("@/", "accounts/@account/", 1).split("/"):
        right = account_id if part == "@account" else there.get(before, "api")
        other = st.sampled_from(["%2F", "%FF", "%00", "..", "", "a/b", "%", *there.values()])
        is_variable = part.startswith(("@", "*"))
        parts.append(draw(st.just(right) | st.just(right) | other) if is_variable else part)
        before = part
    path = "/".join(parts)
    content_type = draw(st.sampled_from(["application/json", "", "application/javascript", "\xff"]))
    body = draw(DATA.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=40))
    if draw(st.booleans()):
        body, content_type = multipart(draw)
    words = st.sampled_from(["", "1", "2.0", "-1", "1e400", "nan", "true", "a", "%ff", "0" * 5000])
    names = st.sampled_from(
        ["page", "per_page", "cursor", "limit", "prefix", "name", "order", "force", "fields"]
    )
    query = "&".join(f"{name}={draw(words)}" for name in draw(st.lists(names, max_size=3)))
    headers = {"authorization": f"Bearer {token}", "content-type": content_type}
    if draw(st.booleans()):
        headers["cf-r2-jurisdiction"] = draw(st.sampled_from(["eu", "", "x" * 100, "\xff"]))
    method = draw(st.sampled_from([route.method] * 6 + ["GET", "PUT", "BREW"]))
    return Request(method, f"/client/v4/{path}", query, headers, body)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_request_makes_the_account_fail_or_hang(
    api: Api, there: dict[str, str], data: st.DataObject
) -> None:
    account = api.account
    request = data.draw(requests(account.account_id, account.api_token, there))
    start = time.perf_counter()

    response = account.handle(request)

    assert time.perf_counter() - start < SECONDS
    assert 200 <= response.status < 500, response.body
    if request.method == "DELETE" and response.status == 200:
        there.update(populated(api))
    if response.headers["content-type"] == "application/json":
        envelope = response.json()
        assert envelope["success"] is (response.status == 200)
        assert bool(envelope["errors"]) is (response.status != 200)


TOKENS = re.findall(
    r"\S+",
    """
    SELECT INSERT INTO t VALUES ( ) , ; * FROM WITH RECURSIVE n AS UNION ALL CREATE TABLE VIEW TRIGGER DROP ATTACH
    DETACH VACUUM PRAGMA EXPLAIN QUERY PLAN load_extension('x') randomblob(1e9) zeroblob(1e9) ? ?1 :a 'it''s x'00'
    -- /* */ BEGIN COMMIT SAVEPOINT hex( 1 1e999 NULL sqlite_master
    """,
)
STATEMENTS = st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sql=STATEMENTS | st.text(max_size=30), params=st.lists(SCALARS, max_size=3))
def test_no_sql_makes_the_account_fail_or_hang(api: Api, sql: str, params: list[Any]) -> None:
    if not api.result("GET", "@/d1/database", query="name=fuzzed"):
        api.query(api.database("fuzzed"), "CREATE TABLE t (a)")
    body = json.dumps({"sql": sql, "params": params}).encode()
    start = time.perf_counter()

    response = api("POST", "@/d1/database/fuzzed/query", body=body)

    assert time.perf_counter() - start < SECONDS
    assert response.status in (200, 400), response.body
