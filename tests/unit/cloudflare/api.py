"""A small caller of the API, for tests that look at the wire."""

from __future__ import annotations

import atexit
import functools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from pytest_alchemy.cloudflare.fake import FakeAccount, Request, Response
from pytest_alchemy.cloudflare.fake.http_door import HttpDoor
from pytest_alchemy.cloudflare.fake.respx_door import transport_for
from pytest_alchemy.cloudflare.fake.wire import BASE_PATH

DOORS = ("memory", "file", "httpx", "http")
"""The ways in: the core over memory, the core over a file, an httpx client, a loopback server."""


class Api:
    """Sends requests to one account as its owner would."""

    def __init__(
        self, account: FakeAccount, send: Callable[[Request], Response] | None = None
    ) -> None:
        self.account = account
        self.send = send or account.handle

    def __call__(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        body: bytes | None = None,
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Call *path*, in which ``@`` at the start stands for the account."""
        if path.startswith("@"):
            path = f"accounts/{self.account.account_id}{path[1:]}"
        if body is None:
            body = b"" if data is None else json.dumps(data).encode()
        given = {"authorization": f"Bearer {self.account.api_token}", **(headers or {})}
        return self.send(Request(method, f"/client/v4/{path}", query, given, body))

    def result(self, method: str, path: str, data: Any = None, **more: Any) -> Any:
        """Call and return the result of a call that has to succeed."""
        response = self(method, path, data, **more)
        assert response.status == 200, response.body
        envelope = response.json()
        assert envelope["success"] is True
        assert envelope["errors"] == []
        return envelope["result"]

    def refusal(
        self, method: str, path: str, data: Any = None, **more: Any
    ) -> tuple[int, int, str]:
        """Call and return status, code and message of a call that has to be refused."""
        response = self(method, path, data, **more)
        envelope = response.json()
        assert envelope["success"] is False
        assert envelope["result"] is None
        error = envelope["errors"][0]
        return response.status, error["code"], error["message"]

    def database(self, name: str = "orders") -> str:
        """Make a D1 database and return its id."""
        return str(self.result("POST", "@/d1/database", {"name": name})["uuid"])

    def query(self, id: str, sql: str, *params: Any) -> Any:
        """Run *sql* and return the rows of its last statement."""
        answer = self.result(
            "POST", f"@/d1/database/{id}/query", {"sql": sql, "params": list(params)}
        )
        return answer[-1]["results"]

    def namespace(self, title: str = "cache") -> str:
        """Make a KV namespace and return its id."""
        return str(self.result("POST", "@/storage/kv/namespaces", {"title": title})["id"])

    def worker(self, name: str, script: str) -> None:
        """Deploy a worker of one module."""
        metadata = json.dumps({"main_module": "worker.js"})
        files = {
            "metadata": (None, metadata, "application/json"),
            "worker.js": ("worker.js", script, "application/javascript+module"),
        }
        form = httpx.Request("PUT", "https://api.invalid", files=files)
        headers = {"content-type": form.headers["content-type"]}
        self.result("PUT", f"@/workers/scripts/{name}", body=form.read(), headers=headers)


def make_api(door: str, folder: Path) -> Api:
    """Return a caller that goes through *door*."""
    if door == "file":
        return Api(FakeAccount(folder / "account.db"))
    account = FakeAccount()
    if door == "httpx":
        client = httpx.Client(transport=transport_for(account))
        return Api(account, through(client, "https://api.cloudflare.com"))
    if door == "http":
        return Api(account, through(_client(), served(account).removesuffix(BASE_PATH)))
    return Api(account)


def served(account: FakeAccount) -> str:
    """Serve *account* over HTTP, until another one is served, and return its base URL."""
    door, answering = _door()
    answering[:] = [account]
    return door.base_url


@functools.cache
def _door() -> tuple[HttpDoor, list[FakeAccount]]:
    """Open the one server of this process: opening one for each test takes longer than the test."""
    answering: list[FakeAccount] = []
    door = HttpDoor(lambda request: answering[0].handle(request))
    thread = threading.Thread(target=door.serve, daemon=True)
    thread.start()

    def close() -> None:
        door.stop()
        thread.join(10)

    atexit.register(close)
    return door, answering


@functools.cache
def _client() -> httpx.Client:
    client = httpx.Client()
    atexit.register(client.close)
    return client


def through(client: httpx.Client, host: str) -> Callable[[Request], Response]:
    """Return what sends requests to *host* with *client*."""

    def send(request: Request) -> Response:
        url = f"{host}{request.path}" + (f"?{request.query}" if request.query else "")
        answer = client.request(
            request.method, url, headers=dict(request.headers), content=request.body
        )
        return Response(answer.status_code, dict(answer.headers), answer.content)

    return send
