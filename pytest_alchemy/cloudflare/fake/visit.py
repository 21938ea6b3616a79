"""The fake account as one test sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from pytest_alchemy import names
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.cloudflare.fake.account import FakeAccount
from pytest_alchemy.cloudflare.fake.product import InventoryItem
from pytest_alchemy.cloudflare.fake.wire import Request
from pytest_alchemy.settings import Settings


class FakeCloudflare:
    """
    A test's view of the fake account: what is alive in it, what was asked of it, and faults to inject.

    Args:
        account: The account, which other tests may use before and after.
    """

    def __init__(self, account: FakeAccount) -> None:
        self.account = account
        self._before = {(item.kind, item.id) for item in account.inventory()}

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings) -> Iterator[Self]:
        """
        Open the fake account that offline scopes with *settings* use, for a test.

        Inside the block every httpx client of this process that calls the Cloudflare API gets its answer from the
        account. Faults and requests end with the block.
        """
        from pytest_alchemy.cloudflare.fake.respx_door import answering

        account = account_for(replace(settings, live=False)).fake
        assert account is not None
        account.clear_faults()
        account.forget_requests()
        try:
            with answering(account):
                yield cls(account)
        finally:
            account.clear_faults()
            account.forget_requests()

    @property
    def account_id(self) -> str:
        """The account's id: 32 hexadecimal digits."""
        return self.account.account_id

    @property
    def api_token(self) -> str:
        """The token that callers have to send."""
        return self.account.api_token

    @property
    def requests(self) -> list[Request]:
        """What was asked in this test, oldest first; the scopes' own requests are among them."""
        return self.account.requests

    def inventory(self) -> list[InventoryItem]:
        """Return everything that is alive in the account."""
        return self.account.inventory()

    def untracked(self) -> list[InventoryItem]:
        """Return what appeared since the test began and was not made through a scope."""
        return [
            item
            for item in self.account.inventory()
            if (item.kind, item.id) not in self._before and names.parse(item.name) is None
        ]

    def discard(self, item: InventoryItem) -> None:
        """Remove *item* with all it holds; gone already is fine."""
        self.account.discard(item)

    def fail(
        self,
        *,
        method: str = "",
        path: str = "",
        status: int = 500,
        times: int | None = 1,
        retry_after: float | None = None,
        code: int | None = None,
        message: str = "",
        body: Any = None,
        acts: bool = False,
    ) -> None:
        """
        Answer the next matching requests with an error.

        Args:
            method: Method to match; empty for all.
            path: Regular expression to find in the raw path; empty for all.
            status: HTTP status to answer.
            times: How many requests get it; None for all until the test ends.
            retry_after: What the header ``Retry-After`` says, in seconds; None leaves it out.
            code: Cloudflare's error code; by default one that goes with the status.
            message: Cloudflare's words.
            body: What to send instead of an error in the envelope: text, bytes, or data for JSON.
            acts: True if the request shall take effect all the same: only its own answer is lost.
        """
        self.account.fail(
            method=method,
            path=path,
            status=status,
            times=times,
            retry_after=retry_after,
            code=code,
            message=message,
            body=body,
            acts=acts,
        )
