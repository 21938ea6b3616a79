"""The account: one object that answers requests."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import weakref
from collections import deque
from pathlib import Path
from typing import Any

from pytest_alchemy import forks
from pytest_alchemy.cloudflare.fake import (
    d1,
    d1_bookmarks,
    d1_transfer,
    documents,
    identity,
    kv,
    queues,
    r2,
    worker_observability,
    worker_routes,
    workers,
)
from pytest_alchemy.cloudflare.fake.faults import LEFT_OUT, Fault, Faults, fault_response
from pytest_alchemy.cloudflare.fake.jail import TIME_LIMIT
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.routes import Call, RouteTable
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import (
    BASE_PATH,
    SIGNED_PATH,
    Refusal,
    Request,
    Response,
    enveloped,
    refused,
)

PRODUCTS: tuple[Product, ...] = (
    identity.PRODUCT,
    worker_routes.PRODUCT,
    workers.PRODUCT,
    worker_observability.PRODUCT,
    queues.PRODUCT,
    r2.PRODUCT,
    d1.PRODUCT,
    d1_transfer.PRODUCT,
    d1_bookmarks.PRODUCT,
    kv.PRODUCT,
)
"""All products, in the order in which their things can be removed."""

_ROUTES = RouteTable(route for product in PRODUCTS for route in product.routes)
_TABLES = (
    documents.TABLE,
    documents.INDEX,
    *(table for product in PRODUCTS for table in product.tables),
)
_BY_KIND = {product.kind: product for product in PRODUCTS}

_MOST_REQUESTS = 1000
_MOST_BYTES = 16 * 1024 * 1024
_LAST_REQUEST = 2.0
"""How long the end of a process waits for a request that another thread is in, in seconds."""


class FakeAccount:
    """
    A Cloudflare account that answers like the real one; usable from several threads.

    Each request is one transaction. With a *path* several processes share the account and it outlives them; only
    faults and the list of requests belong to this object alone.

    Args:
        path: File that holds the account, made if it is missing; None for memory.
        account_id: 32 hexadecimal digits; by default the file's own or random ones.
        api_token: Token that callers have to send; by default the file's own or a random one.
        time_limit: Longest that one D1 request may compute, in seconds.

    Raises:
        FakeAccountError: The file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        account_id: str | None = None,
        api_token: str | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        if account_id is not None and not re.fullmatch("[0-9a-f]{32}", account_id):
            raise ValueError(f"an account id is 32 hexadecimal digits, not {account_id!r}")
        self._path = None if path is None else Path(path).absolute()
        self._time_limit = time_limit
        self._lock = threading.RLock()
        self._faults = Faults()
        self._requests: deque[Request] = deque()
        self._bytes_kept = 0
        self._open(account_id, api_token)

    def __repr__(self) -> str:
        return f"<FakeAccount {self.account_id} in {self._path or 'memory'}>"

    @property
    def path(self) -> Path | None:
        """The file that holds the account, None if it is in memory."""
        return self._path

    @property
    def account_id(self) -> str:
        """The account's id: 32 hexadecimal digits."""
        return self._storage.identity.account_id

    @property
    def api_token(self) -> str:
        """The token that callers have to send."""
        return self._storage.identity.api_token

    @property
    def world(self) -> str:
        """What tells this account from every other: ``memory:<pid>``, or ``file:<id kept in the file>``."""
        return self._storage.identity.world

    @property
    def requests(self) -> list[Request]:
        """What was asked of this object, oldest first: the last 1000 requests, less if they are large."""
        with self._lock:
            return list(self._requests)

    def handle(self, request: Request) -> Response:
        """Answer *request*; never raises for anything that a client may send."""
        with self._lock:
            self._keep(request)
            fault = self._faults.take(request)
            if fault is None:
                return self._answer(request)
            return fault.answer(lambda: self._answer(request))

    def visit(self, host: str) -> Response | None:
        """
        Answer a request to *host* if it is below the account's subdomain of workers.dev, None if it is not.

        Scripts are not run: a worker that is there answers 501, with the reason.
        """
        if not self._close.alive:
            return None
        with self._lock, self._current_storage().transaction(writes=False):
            return workers.visited(self._storage, host)

    def inventory(self) -> list[InventoryItem]:
        """Return everything that is alive in the account, oldest first within each product."""
        with self._lock, self._current_storage().transaction(writes=False):
            return [item for product in PRODUCTS for item in product.inventory(self._storage)]

    def discard(self, item: InventoryItem) -> None:
        """Remove *item* with all it holds, without a request; gone already is fine."""
        with self._lock, self._current_storage().transaction(writes=True):
            _BY_KIND[item.kind].discard(self._storage, item.id)

    def fail(
        self,
        *,
        method: str = "",
        path: str = "",
        status: int | None = 500,
        times: int | None = 1,
        retry_after: float | None = None,
        code: int | None = None,
        message: str = "",
        body: Any = LEFT_OUT,
        acts: bool = False,
        delay: float = 0.0,
        drop: bool = False,
    ) -> None:
        """
        Answer the next matching requests with an error, or late, or not at all.

        Rules that were made first answer first.

        Args:
            method: Method to match; empty for all.
            path: Regular expression to find in the raw path; empty for all.
            status: HTTP status to answer; None for the account's own answer, which only its *delay* changes.
            times: How many requests get it; None for all until `clear_faults` (in a test, until it ends).
            retry_after: What the header ``Retry-After`` says, in seconds; None leaves it out.
            code: Cloudflare's error code; by default one that goes with the status.
            message: Cloudflare's words.
            body: What to send instead of an error in the envelope: text, bytes, or data for JSON, None among it.
            acts: True if the request shall take effect all the same: only its own answer is lost.
            delay: How long the client waits for the answer, in seconds.
            drop: True if the request shall take effect, but its client's connection breaks instead of an answer.
        """
        if times is not None and times < 1:
            raise ValueError(f"times has to be at least 1, or None for all, not {times}")
        response = None
        if status is not None:
            response = fault_response(
                status, retry_after=retry_after, code=code, message=message, body=body
            )
        fault = Fault(method.upper(), re.compile(path), response, times, acts, delay, drop)
        with self._lock:
            self._faults.add(fault)

    def clear_faults(self) -> None:
        """Answer like the real account again."""
        with self._lock:
            self._faults.clear()

    def forget_requests(self) -> None:
        """Empty `requests`."""
        with self._lock:
            self._requests.clear()
            self._bytes_kept = 0

    def close(self) -> None:
        """Close the account; what is in memory is gone. Closing twice is quiet."""
        with self._lock:
            self._close()

    def _open(self, account_id: str | None, api_token: str | None) -> None:
        self._pid = forks.process_id()
        self._storage = Storage(
            self._path,
            _TABLES,
            account_id=account_id,
            api_token=api_token,
            time_limit=self._time_limit,
        )
        self._storage.remove_strays(d1.database_ids)
        self._close = weakref.finalize(self, _close_in, self._pid, self._lock, self._storage)

    def _current_storage(self) -> Storage:
        if self._path is not None and forks.process_id() != self._pid:
            # A connection may not cross a fork. The old one is left as it is: it belongs to the parent.
            self._open(None, None)
        return self._storage

    def _answer(self, request: Request) -> Response:
        storage = self._current_storage()
        try:
            if not _HAS_OWN_SECRET.match(request.path):
                identity.authorize(request, storage.identity)
            route, parts = _ROUTES.find(request.method, request.path)
            if parts and request.path.startswith(_ACCOUNTS):
                identity.check_account(parts[0], storage.identity)
                parts = parts[1:]
            with storage.transaction(writes=route.writes):
                reply = route.handler(Call(request, parts, storage))
            return reply if isinstance(reply, Response) else enveloped(reply)
        except Refusal as refusal:
            return refused(refusal)
        except UnicodeEncodeError:
            return refused(Refusal(400, 10026, "The request holds text that is not valid Unicode"))
        except OverflowError:
            return refused(Refusal(400, 10026, "The request holds a number that is too large"))
        except RecursionError:
            return refused(Refusal(400, 10026, "The request is nested too deeply"))
        except sqlite3.Error as error:
            return refused(Refusal(500, 10001, f"The fake account's storage failed: {error}"))

    def _keep(self, request: Request) -> None:
        self._requests.append(request)
        self._bytes_kept += len(request.body)
        while len(self._requests) > _MOST_REQUESTS or self._bytes_kept > _MOST_BYTES:
            self._bytes_kept -= len(self._requests.popleft().body)


_ACCOUNTS = "/client/v4/accounts/"
# A signed address is a secret itself; an upload of assets carries the token of its session.
_HAS_OWN_SECRET = re.compile(rf"{BASE_PATH}{SIGNED_PATH}|{_ACCOUNTS}[^/]+/workers/assets/upload\Z")


def _close_in(pid: int, lock: threading.RLock, storage: Storage) -> None:
    # A process that ends may have daemon threads that still call: SQLite crashes if it is closed under one of them.
    if pid == forks.process_id() and lock.acquire(timeout=_LAST_REQUEST):
        try:
            storage.close()
        finally:
            lock.release()
