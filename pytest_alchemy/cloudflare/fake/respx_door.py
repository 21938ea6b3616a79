"""
Two ways for httpx clients of this process to reach a fake account.

* `transport_for` is for a client of our own: a respx router that is never started, so nothing global changes.
* `answering` is for everybody else's clients: while it is open, whatever httpx sends to ``api.cloudflare.com`` or to a
  worker of the account is answered by the account. It stands below the clients and above their connections, for these
  hosts only, so a user's own respx mocks for other hosts work as ever, whenever they were started. For the API's host
  the account goes before a respx route; to answer differently, use `FakeAccount.fail`. Clients with a transport of
  their own (an ``httpx.MockTransport``, say) never reach the network and are left alone. A library that puts its own
  in the same place (pytest-httpx) goes before the account until `go_first`, and may take ours away with its own at
  its end; so ours is put there again whenever it is needed.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import respx

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.account import FakeAccount
from pytest_alchemy.cloudflare.fake.wire import Request, Response

HOST = "api.cloudflare.com"
_WORKERS = ".workers.dev"

_MOST_CALLS = 500
_OURS = "alchemy.response"


def transport_for(account: FakeAccount) -> Transport:
    """Return a transport, for blocking and for asyncio clients, behind which *account* answers every request."""
    router = respx.Router(assert_all_called=False)
    answered = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal answered
        answered += 1
        # The router remembers every call, and the account has its own list.
        if answered % _MOST_CALLS == 0:
            router.calls.clear()
            route.calls.clear()
        return to_httpx(account.handle(from_httpx(request)))

    route = router.route().mock(side_effect=answer)
    return Transport(router)


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Hands requests to *router*, for blocking and for asyncio clients: it never waits for an event loop itself."""

    def __init__(self, router: respx.Router) -> None:
        self._router = router

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return _handed_over(self._router.handler(request), request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await _ahanded_over(self._router.handler(request), request)


@contextmanager
def answering(account: FakeAccount, host: str = HOST) -> Iterator[FakeAccount]:
    """
    Let *account* answer whatever any httpx client of this process sends to *host* while the block runs.

    Blocks may be nested; the innermost one that is open for a host answers.
    """
    entry = (host, account)
    with _lock:
        _patch()
        _open.append(entry)
    try:
        yield account
    finally:
        with _lock:
            # Identity, not equality: another block may be open with the same pair.
            del _open[next(i for i in reversed(range(len(_open))) if _open[i] is entry)]
            if not (_open or _at_home):
                _unpatch()


def keep_at_home(account: FakeAccount) -> None:
    """
    Let *account*, for as long as it lives, answer whatever any httpx client of this process sends to its workers.

    Their addresses look like public ones; without this, a test that calls one would leave the machine.
    """
    with _lock:
        _patch()
        _at_home.add(account)


def go_first() -> None:
    """Go before what another library has put in our place since a block of `answering` was opened."""
    with _lock:
        if _open:
            _patch()


def from_httpx(request: httpx.Request) -> Request:
    """Return *request*, whose body was read, as the account understands it."""
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request(request.method.upper(), path, query, headers, request.content)


def to_httpx(response: Response) -> httpx.Response:
    """Return *response* as httpx understands it."""
    return httpx.Response(
        response.status,
        headers=dict(response.headers),
        content=response.body,
        extensions={_OURS: response} if response.delay or response.is_lost else {},
    )


def _handed_over(answer: httpx.Response, request: httpx.Request) -> httpx.Response:
    """Return *answer* when its time has come, or break the connection as it says."""
    if (ours := answer.extensions.get(_OURS)) is not None:
        seconds, error = _delivery(ours, request)
        clock.pause(seconds)
        if error is not None:
            raise error
    return answer


async def _ahanded_over(answer: httpx.Response, request: httpx.Request) -> httpx.Response:
    """Return *answer* when its time has come; asyncio twin of `_handed_over`."""
    if (ours := answer.extensions.get(_OURS)) is not None:
        seconds, error = _delivery(ours, request)
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
    return answer


def _delivery(
    answer: Response, request: httpx.Request
) -> tuple[float, httpx.TransportError | None]:
    """Return how many seconds the client of *request* waits, and what it gets instead of *answer*."""
    patience = request.extensions.get("timeout", {}).get("read")
    if patience is not None and answer.delay > patience:
        return patience, httpx.ReadTimeout("The read operation timed out", request=request)
    if answer.is_lost:
        words = "Server disconnected without sending a response."
        return answer.delay, httpx.RemoteProtocolError(words, request=request)
    return answer.delay, None


_lock = threading.Lock()
_open: list[tuple[str, FakeAccount]] = []
_at_home: weakref.WeakSet[FakeAccount] = weakref.WeakSet()
# By id(), because what another library wraps around ours may say that it is equal to it.
_ours: weakref.WeakValueDictionary[int, Callable[..., Any]] = weakref.WeakValueDictionary()


def _answer(request: httpx.Request) -> Callable[[], httpx.Response] | None:
    """Return what gives the answer to *request* once its body is read, None if it is none of ours."""
    host = request.url.host
    for known, account in reversed(_open):
        if host == known:
            return lambda: to_httpx(account.handle(from_httpx(request)))
    if host.endswith(_WORKERS):
        for account in [*(account for _, account in reversed(_open)), *_at_home]:
            page = account.visit(host)
            if page is not None:
                return lambda: to_httpx(page)
    return None


def _patch() -> None:
    """Put ours around what stands in the classes, unless that is ours."""
    for owner, name, around in _PLACES:
        there = owner.__dict__[name]
        if not _is_ours(there):
            ours = around(there)
            _ours[id(ours)] = ours
            setattr(owner, name, ours)


def _unpatch() -> None:
    """Take ours away; below what another library put over it it stays, and lets everything through."""
    for owner, name, _ in _PLACES:
        there = owner.__dict__[name]
        if _is_ours(there):
            setattr(owner, name, there.__wrapped__)


def _is_ours(function: Callable[..., Any]) -> bool:
    return _ours.get(id(function)) is function


def _around(send: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    @functools.wraps(send)
    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = _answer(request)
        if answer is None:
            return send(self, request)
        request.read()
        return _handed_over(answer(), request)

    return handle_request


def _async_around(
    send: Callable[..., Awaitable[httpx.Response]],
) -> Callable[..., Awaitable[httpx.Response]]:
    @functools.wraps(send)
    async def handle_async_request(
        self: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        answer = _answer(request)
        if answer is None:
            return await send(self, request)
        await request.aread()
        return await _ahanded_over(answer(), request)

    return handle_async_request


_PLACES: tuple[tuple[type, str, Callable[[Any], Callable[..., Any]]], ...] = (
    (httpx.HTTPTransport, "handle_request", _around),
    (httpx.AsyncHTTPTransport, "handle_async_request", _async_around),
)
