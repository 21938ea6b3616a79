"""The application: short links in a D1 database, with Workers KV as a cache in front of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field

SCHEMA = "CREATE TABLE links (slug TEXT PRIMARY KEY, target TEXT NOT NULL)"


@dataclass(frozen=True)
class Settings:
    """Where the application keeps its links."""

    account_id: str
    api_token: str
    database_id: str
    namespace_id: str

    @classmethod
    def from_environment(cls) -> Settings:
        return cls(
            os.environ["CLOUDFLARE_ACCOUNT_ID"],
            os.environ["CLOUDFLARE_API_TOKEN"],
            os.environ["LINKS_DATABASE_ID"],
            os.environ["LINKS_NAMESPACE_ID"],
        )


class Link(BaseModel):
    """A short link, as callers write it."""

    slug: str = Field(pattern="^[a-z0-9-]{1,40}$")
    target: str = Field(pattern="^https?://", max_length=2000)


class SlugTakenError(Exception):
    """There is a link with this slug already."""


class Links:
    """The links of the application, over Cloudflare's HTTP API."""

    def __init__(self, settings: Settings) -> None:
        account = f"https://api.cloudflare.com/client/v4/accounts/{settings.account_id}"
        self._query = f"{account}/d1/database/{settings.database_id}/query"
        self._cache = f"{account}/storage/kv/namespaces/{settings.namespace_id}/values"
        self._http = httpx.AsyncClient(headers={"Authorization": f"Bearer {settings.api_token}"})

    async def add(self, link: Link) -> None:
        """
        Store *link*.

        Raises:
            SlugTakenError: Its slug is in use.
        """
        added = await self._run(
            "INSERT INTO links (slug, target) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING slug",
            link.slug,
            link.target,
        )
        if not added:
            raise SlugTakenError(link.slug)

    async def find(self, slug: str) -> str | None:
        """Return the target of *slug*, None if there is no such link."""
        cached = await self._http.get(f"{self._cache}/{slug}")
        if cached.is_success:
            return cached.text
        rows = await self._run("SELECT target FROM links WHERE slug = ?", slug)
        if not rows:
            return None
        target = str(rows[0]["target"])
        await self._http.put(f"{self._cache}/{slug}", content=target)
        return target

    async def close(self) -> None:
        await self._http.aclose()

    async def _run(self, sql: str, *params: str) -> list[dict[str, Any]]:
        answer = await self._http.post(self._query, json={"sql": sql, "params": params})
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()["result"][0]["results"]
        return rows


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application; its settings come from the environment unless given."""
    links = Links(settings or Settings.from_environment())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await links.close()

    # No pages of its own: every path is a slug.
    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/links", status_code=201)
    async def add(link: Link) -> Link:
        try:
            await links.add(link)
        except SlugTakenError:
            raise HTTPException(409, f"{link.slug} is taken") from None
        return link

    @app.get("/{slug}")
    async def follow(slug: str) -> RedirectResponse:
        target = await links.find(slug)
        if target is None:
            raise HTTPException(404, "no such link")
        return RedirectResponse(target)

    @app.exception_handler(httpx.HTTPError)
    async def unavailable(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "links are not available now"}, 503)

    return app
