"""The fake account as one test sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from msgspec.structs import replace

from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.cloudflare.fake.account import FakeAccount
from pytest_alchemy.cloudflare.fake.product import InventoryItem
from pytest_alchemy.cloudflare.fake.wire import Request
from pytest_alchemy.physicalnames import parse
from pytest_alchemy.settings import Settings


class FakeCloudflare:
    """
    A test's view of the fake account: what is alive in it, what was asked of it, and faults to inject.

    Args:
        account: The account, which other tests may use before and after.

    Attributes:
        account: The account.
        fail: Makes it fail; see `FakeAccount.fail`.
    """

    def __init__(self, account: FakeAccount) -> None:
        self.account = account
        self.fail = account.fail
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
            if (item.kind, item.id) not in self._before and parse(item.name) is None
        ]

    def reset(self) -> None:
        """Be as when the test began: no faults, no requests, and gone is what it made outside of its scopes."""
        for item in self.untracked():
            self.discard(item)
        self.account.clear_faults()
        self.account.forget_requests()

    def discard(self, item: InventoryItem) -> None:
        """Remove *item* with all it holds; gone already is fine."""
        self.account.discard(item)
