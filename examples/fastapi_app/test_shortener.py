from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from shortener import SCHEMA, Settings, create_app

from pytest_alchemy import Scope
from pytest_alchemy.cloudflare import D1Database, KVNamespace
from pytest_alchemy.cloudflare.fake import FakeCloudflare

LINK = {"slug": "docs", "target": "https://example.org/documentation"}


@pytest.fixture
def database(alchemy_scope: Scope) -> D1Database:
    database = alchemy_scope.create(D1Database("links"))
    database.exec(SCHEMA)
    return database


@pytest.fixture
def cache(alchemy_scope: Scope) -> KVNamespace:
    return alchemy_scope.create(KVNamespace("cache"))


@pytest.fixture
async def client(
    fake_cloudflare: FakeCloudflare, database: D1Database, cache: KVNamespace
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, which talks to Cloudflare's API as it does in production: the fake answers."""
    settings = Settings(
        fake_cloudflare.account_id, fake_cloudflare.api_token, database.uuid, cache.namespace_id
    )
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shortener") as client,
    ):
        yield client


async def test_a_link_leads_to_its_target(client: httpx.AsyncClient) -> None:
    added = await client.post("/links", json=LINK)

    followed = await client.get("/docs")

    assert added.status_code == 201
    assert followed.status_code == 307
    assert followed.headers["location"] == LINK["target"]


async def test_an_unknown_link_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 404


async def test_a_slug_is_given_once(client: httpx.AsyncClient, database: D1Database) -> None:
    await client.post("/links", json=LINK)

    again = await client.post("/links", json=LINK | {"target": "https://example.org/other"})

    assert again.status_code == 409
    assert (await database.aquery("SELECT * FROM links")).rows == [LINK]


@pytest.mark.parametrize("target", ["", "javascript:alert(1)", "example.org"])
async def test_only_web_addresses_are_targets(
    client: httpx.AsyncClient, database: D1Database, target: str
) -> None:
    refused = await client.post("/links", json={"slug": "docs", "target": target})

    assert refused.status_code == 422
    assert (await database.aquery("SELECT * FROM links")).rows == []


async def test_a_link_that_was_followed_is_cached(
    client: httpx.AsyncClient, database: D1Database, cache: KVNamespace
) -> None:
    await client.post("/links", json=LINK)
    await client.get("/docs")
    await database.aexec("DROP TABLE links")

    from_cache = await client.get("/docs")

    assert await cache.aget("docs") == LINK["target"]
    assert from_cache.headers["location"] == LINK["target"]


async def test_links_survive_the_loss_of_the_cache(
    client: httpx.AsyncClient, fake_cloudflare: FakeCloudflare
) -> None:
    await client.post("/links", json=LINK)
    fake_cloudflare.fail(path="/storage/kv/", status=500, times=2)  # to read and to write

    assert (await client.get("/docs")).headers["location"] == LINK["target"]


async def test_an_overloaded_database_is_no_error_of_the_caller(
    client: httpx.AsyncClient, fake_cloudflare: FakeCloudflare
) -> None:
    fake_cloudflare.fail(path="/d1/", status=429)

    assert (await client.post("/links", json=LINK)).status_code == 503
    assert (await client.post("/links", json=LINK)).status_code == 201
