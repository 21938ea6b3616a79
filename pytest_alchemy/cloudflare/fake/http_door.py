"""
A fake account over HTTP, for clients that are not httpx in this process: wrangler, other languages.

It needs uvicorn (the extra ``serve``), which nothing else imports.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pytest_alchemy.cloudflare.fake.wire import BASE_PATH, Refusal, Request, Response, refused

_LARGEST_BODY = 320 * 1024 * 1024
_SECONDS_TO_FINISH = 2
_BODILESS = frozenset({204, 304})

_Handle = Callable[[Request], Response]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class HttpDoor:
    """
    An HTTP server in front of an account.

    Args:
        handle: Answers a request; `FakeAccount.handle` of the account.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.

    Raises:
        OSError: The address is not of this machine, or the port is taken.
    """

    def __init__(self, handle: _Handle, host: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = _listening(host, port)
        self.base_url = f"http://{_authority(host, self._socket.getsockname()[1])}{BASE_PATH}"
        self._server = _Server(
            uvicorn.Config(
                _App(handle, host),
                http=_OneSend,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_SECONDS_TO_FINISH,
            )
        )

    def serve(self) -> None:
        """Serve until `stop` is called from a signal handler or another thread; requests under way are finished."""
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def stop(self) -> None:
        """End `serve`."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever opened the door."""
        yield


class _App:
    """What uvicorn calls for each request."""

    def __init__(self, handle: _Handle, host: str) -> None:
        self._handle, self._host = handle, host
        # The account serves one request at a time, and a long one may not keep the server from ending.
        self._thread = ThreadPoolExecutor(1, "alchemy-fake")

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            _check_host(headers.get("host", ""), self._host)
            body = await _body(receive)
        except Refusal as refusal:
            response = refused(refusal)
        else:
            request = Request(
                scope["method"].upper(),
                scope["raw_path"].decode("latin-1"),
                scope["query_string"].decode("latin-1"),
                headers,
                body,
            )
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._thread, self._handle, request)
        await asyncio.sleep(response.delay)
        if response.is_lost:
            # The only way from here to the connection; an exception would be answered with a status.
            send.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn gives a bound method
            await receive()  # which returns once the connection is gone
            return
        await _answer(response, send)


class _OneSend(H11Protocol):
    """Sends head and body of an answer together: sent apart, they cost a round trip with some clients."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in its base
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]  # stands in for one


class _Joined:
    """A transport that sends together what is written in one turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._transport.write(data)


async def _body(receive: _Receive) -> bytes:
    pieces, size = [], 0
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > _LARGEST_BODY:
            raise Refusal(413, 10000, f"This fake account takes bodies of {_LARGEST_BODY} bytes")
        if not message.get("more_body"):
            return b"".join(pieces)


async def _answer(response: Response, send: _Send) -> None:
    body = b"" if response.status in _BODILESS else response.body
    headers = {**response.headers, "content-length": str(len(body))}
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _check_host(given: str, served: str) -> None:
    """
    Refuse a request that was sent to another host.

    A web page may make its own name point to this machine and let the browser that shows it call us. The browser
    then names that page's host, so only addresses, localhost and the host that was asked for are let in.

    Raises:
        Refusal: *given* is none of these.
    """
    name = given.rpartition(":")[0] if given.rpartition(":")[2].isdigit() else given
    name = name.strip("[]").lower()
    if name not in ("localhost", served.lower()) and not _is_address(name):
        raise Refusal(
            421, 10000, f"This fake account is not served as {given or 'a nameless host'}"
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _listening(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=128)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
