"""
Calling the API, blocking and with asyncio, from one implementation.

An operation is a coroutine function that takes an `Api` and awaits nothing but it. Driven with a blocking `Api` it
never suspends, so that it can be run to its end by hand; with an asyncio one it is awaited in the caller's loop.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import ssl
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlencode

import httpx

from pytest_alchemy import clock, forks
from pytest_alchemy.cloudflare.account import DEFAULT_BASE_URL, Account, account_for
from pytest_alchemy.cloudflare.errors import CloudflareError, CloudflareUnreachableError
from pytest_alchemy.driver import in_async_hook, run_blocking
from pytest_alchemy.retry import GONE, OVERLOADED, backoff, parse_retry_after, patient
from pytest_alchemy.settings import Settings
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake.respx_door import Transport

__tracebackhide__ = are_noise

T = TypeVar("T")
Failure = CloudflareError | CloudflareUnreachableError

TRIES = 3
"""How often a call is made that may be repeated."""

_LONGEST_WAIT = 10.0
_FIRST_WAIT = 0.5
_FIRST_WAIT_FAKE = 0.001  # a fault that was asked for needs no patience
_NEVER_REPEATED = frozenset({"POST"})
_TIMEOUT = httpx.Timeout(60.0, connect=10.0).as_dict()
_LONGEST_EXCERPT = 200


class Sender(Protocol):
    """How a request reaches the API, and how to wait."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to *request*, its body read."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Api:
    """
    The calls to one account.

    Args:
        account: The account.
        sender: How to reach it.
    """

    def __init__(self, account: Account, sender: Sender) -> None:
        self.account = account
        self._sender = sender

    async def call(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        again: bool = False,
        **more: Any,
    ) -> Any:
        """
        Call *path* below the account and return the result in the envelope.

        Args:
            method: Upper-case method. All but POST are repeated when the API is overloaded or does not answer.
            path: Path below the account, percent-encoded, with a slash at the start.
            data: What to send as JSON; None for no body.
            query: Arguments of the query; those that are None are left out.
            again: True for a POST that does no harm when it is repeated.
            more: What else `httpx.Request` takes (``content``, ``files``, ``headers``).

        Raises:
            CloudflareError: The API refused.
            CloudflareUnreachableError: The API did not answer.
        """
        response = await self.fetch(method, path, data, query=query, again=again, **more)
        try:
            return response.json()["result"]
        except (ValueError, KeyError, TypeError):
            raise error_in(response, f"{method} {path}") from None

    async def everything(self, path: str, **query: Any) -> list[Any]:
        """
        Return the items of all pages of the list at *path*.

        Args:
            path: As in `call`.
            query: Arguments of the query besides the number of the page.

        Raises:
            CloudflareError, CloudflareUnreachableError: As `call`.
        """
        items: list[Any] = []
        before: list[Any] = []
        for page in itertools.count(1):
            found = await self.call("GET", path, query={"page": page, **query})
            if not found or found == before:  # a list that has no pages gives all of it each time
                break
            items += found
            before = found
        return items

    async def pages(self, path: str, **query: Any) -> list[Any]:
        """
        Return the results of all pages of the list at *path* that goes on by cursors.

        Args:
            path: As in `call`.
            query: Arguments of the query besides the cursor.

        Raises:
            CloudflareError, CloudflareUnreachableError: As `call`.
        """
        pages: list[Any] = []
        cursor: str | None = None
        while True:
            answer = await self.fetch("GET", path, query={"cursor": cursor, **query})
            page = answer.json()
            pages.append(page["result"])
            cursor = (page.get("result_info") or {}).get("cursor")
            if not cursor:
                return pages

    async def fetch(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        again: bool = False,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Call *path* like `call`, and return the answer itself if it is a success."""
        url = f"{self.account.base_url}/accounts/{self.account.account_id}{path}"
        if arguments := {name: value for name, value in (query or {}).items() if value is not None}:
            url += "?" + urlencode(arguments)
        if data is not None:
            more["json"] = data
        more["headers"] = {
            **(headers or {}),
            "authorization": f"Bearer {self.account.api_token}",
        }
        call = f"{method} {path}"
        tries = 1 if patient.get() or (method in _NEVER_REPEATED and not again) else TRIES
        for attempt in range(1, tries + 1):
            try:
                response = await self._sender.send(self._request(method, url, more))
                if response.is_success:
                    return response
                failure: Failure = error_in(response, call)
            except httpx.TransportError as error:
                failure = CloudflareUnreachableError(call, str(error) or type(error).__name__)
                failure.__cause__ = error
            if attempt == tries or not self.may_repeat(failure):
                break
            await self.pause(attempt, failure)
        raise failure

    def may_repeat(self, failure: Failure) -> bool:
        """Tell whether the same call may work later: the API is overloaded, or did not answer."""
        return isinstance(failure, CloudflareUnreachableError) or failure.status in OVERLOADED

    async def pause(self, attempt: int, failure: Failure) -> None:
        """Wait after *failure*, the one number *attempt*: as long as the API asks, up to 10 seconds."""
        first = _FIRST_WAIT if self.account.fake is None else _FIRST_WAIT_FAKE
        asked = failure.retry_after if isinstance(failure, CloudflareError) else None
        wait = backoff(attempt, base=first) if asked is None else asked
        await self._sender.sleep(min(wait, _LONGEST_WAIT))

    async def find(self, path: str, *, query: Mapping[str, Any] | None = None) -> Any:
        """Return the result at *path*, None if nothing is there."""
        try:
            return await self.call("GET", path, query=query)
        except CloudflareError as error:
            if error.status not in GONE:
                raise
            return None

    async def delete(self, path: str) -> None:
        """Delete what is at *path*; gone already is fine."""
        try:
            await self.call("DELETE", path)
        except CloudflareError as error:
            if error.status not in GONE:
                raise

    def _request(self, method: str, url: str, more: dict[str, Any]) -> httpx.Request:
        return httpx.Request(
            method,
            url,
            extensions={"timeout": _TIMEOUT},
            **more,
        )


Operation = Callable[[Api], Coroutine[Any, Any, T]]


def run(settings: Settings, operation: Operation[T]) -> T:
    """Run *operation* against the account of *settings*, blocking."""
    account = account_for(settings)
    return run_blocking(operation(Api(account, _senders.blocking(account))))


async def arun(settings: Settings, operation: Operation[T]) -> T:
    """Run *operation* against the account of *settings* in the running loop."""
    account = account_for(settings)
    return await operation(Api(account, await _senders.asyncio(account)))


def run_hook(settings: Settings, operation: Operation[T]) -> T | Awaitable[T]:
    """Run *operation* as the hook that calls this has to: blocking, or by an awaitable for the engine to await."""
    return arun(settings, operation) if in_async_hook() else run(settings, operation)


def ask(path: str, api_token: str) -> Any:
    """
    Return the result at *path*, which belongs to a token and to no account.

    Raises:
        CloudflareError: The API refused.
        CloudflareUnreachableError: The API did not answer.
    """
    base = (os.environ.get("CLOUDFLARE_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    call, headers = f"GET {path}", {"authorization": f"Bearer {api_token}"}
    try:
        response = httpx.get(f"{base}{path}", headers=headers, verify=_ssl_context())
    except httpx.TransportError as error:
        raise CloudflareUnreachableError(call, str(error)) from error
    if not response.is_success:
        raise error_in(response, call)
    return response.json()["result"]


class _BlockingSender:
    def __init__(self, account: Account) -> None:
        if account.fake is not None:
            # The transport itself: a client would ask the mocks of a test, which may be for all clients.
            self._send: Callable[[httpx.Request], httpx.Response] = _transport(
                account
            ).handle_request
        else:
            self._send = httpx.Client(verify=_ssl_context()).send

    async def send(self, request: httpx.Request) -> httpx.Response:
        response = self._send(request)
        response.read()
        return response

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (nothing but blocking code drives this sender)


class _AsyncSender:
    def __init__(self, account: Account, client: httpx.AsyncClient | None) -> None:
        if client is None:
            self._send: Callable[[httpx.Request], Awaitable[httpx.Response]] = _transport(
                account
            ).handle_async_request
        else:
            self._send = client.send

    async def send(self, request: httpx.Request) -> httpx.Response:
        response = await self._send(request)
        await response.aread()
        return response

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Senders:
    """One sender per account for blocking code, and one per account and event loop."""

    def __init__(self) -> None:
        self._pid = forks.process_id()
        self._lock = threading.Lock()
        self._blocking: weakref.WeakKeyDictionary[Account, _BlockingSender] = (
            weakref.WeakKeyDictionary()
        )
        self._asyncio: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[Account, tuple[_AsyncSender, Any]]
        ] = weakref.WeakKeyDictionary()

    def blocking(self, account: Account) -> _BlockingSender:
        self._forget_parent()
        with self._lock:
            sender = self._blocking.get(account)
            if sender is None:
                sender = self._blocking[account] = _BlockingSender(account)
            return sender

    async def asyncio(self, account: Account) -> _AsyncSender:
        self._forget_parent()
        loop = asyncio.get_running_loop()
        with self._lock:
            senders = self._asyncio.setdefault(loop, {})
            known = senders.get(account)
            if known is not None:
                return known[0]
            if account.fake is not None:
                sender, keeper = _AsyncSender(account, None), None
            else:
                client = httpx.AsyncClient(verify=_ssl_context())
                sender, keeper = _AsyncSender(account, client), _kept(client, senders)
            senders[account] = (sender, keeper)
        if keeper is not None:
            await anext(keeper)
        return sender

    def _forget_parent(self) -> None:
        if self._pid != forks.process_id():
            self.__init__()  # type: ignore[misc]  # connections and locks may not cross a fork


async def _kept(
    client: httpx.AsyncClient, senders: dict[Account, Any]
) -> AsyncGenerator[None, None]:
    """
    Keep *client* open until its loop ends.

    A loop that is shut down properly ends its asynchronous generators while it still runs, which is the moment to
    close connections. *senders* is emptied so that nothing keeps the loop's objects alive after it.
    """
    try:
        yield
    finally:
        senders.clear()
        await client.aclose()


def _transport(account: Account) -> Transport:
    from pytest_alchemy.cloudflare.fake.respx_door import transport_for

    assert account.fake is not None
    return transport_for(account.fake)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """Return the one context of this process: making one takes 20 ms."""
    return httpx.create_ssl_context()


def error_in(response: httpx.Response, call: str) -> CloudflareError:
    """Return the refusal that *response* to *call* is."""
    code, message = 0, ""
    try:
        error = response.json()["errors"][0]
        code, message = int(error["code"]), str(error["message"])
    except (ValueError, KeyError, IndexError, TypeError):
        # A proxy in between, say; its page may be long, and is of no use but for its first words.
        message = (
            " ".join(response.text[:_LONGEST_EXCERPT].split())
            or response.reason_phrase
            or "no reason given"
        )
    return CloudflareError(response.status_code, code, message, call, _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    asked = response.headers.get("retry-after", "")
    return None if asked.startswith("-") else parse_retry_after(asked, now=clock.now())


_senders = _Senders()
