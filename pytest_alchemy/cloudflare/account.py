"""Which account a scope talks to: the real one, or a fake."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_alchemy import forks
from pytest_alchemy.cloudflare.credentials import find_credentials
from pytest_alchemy.errors import NoScopeError
from pytest_alchemy.settings import Settings

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake.account import FakeAccount

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"


@dataclass(frozen=True, eq=False)
class Account:
    """
    One account, real or fake.

    Attributes:
        account_id: The account's id.
        api_token: The token to call it with; never printed.
        base_url: Address of its API, without a slash at the end.
        world: What tells it from every other account; recorded with each resource.
        fake: The fake account itself; None for the real one.
    """

    account_id: str
    api_token: str = field(repr=False)
    base_url: str
    world: str
    fake: FakeAccount | None = None


def account_for(settings: Settings) -> Account:
    """
    Return the account that scopes with *settings* talk to; the same object each time.

    Live scopes talk to the real API, scopes with a file to the fake account in it, all others to the one fake
    account in this process's memory.

    Raises:
        CredentialsError: The scope is live and there are no credentials.
        FakeAccountError: The fake account's file cannot be used.
    """
    if settings.live:
        return _accounts.live(settings.profile)
    return _accounts.fake(settings.fake_account)


def current_settings(asker: str) -> Settings:
    """
    Return the settings of the scope that is current here; for what has no scope of its own.

    Raises:
        NoScopeError: No scope is open.
    """
    from pytest_alchemy.scope import (
        current,  # brings the engine, which an account alone does not need
    )

    scope = current()
    if scope is None:
        raise NoScopeError(asker)
    return scope.settings


class _Accounts:
    """The accounts of this process; a forked child gets its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = forks.process_id()
        self._live: dict[tuple[str, str, str], Account] = {}
        self._fakes: dict[str, tuple[_FileId, Account]] = {}

    def live(self, profile: str) -> Account:
        credentials = find_credentials(profile)
        base_url = (os.environ.get("CLOUDFLARE_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
        world = f"cloudflare:{credentials.account_id}"
        if base_url != DEFAULT_BASE_URL:
            world += f"@{base_url}"
        key = (base_url, credentials.account_id, credentials.api_token)
        with self._locked():
            if key not in self._live:
                self._live[key] = Account(
                    credentials.account_id, credentials.api_token, base_url, world
                )
            return self._live[key]

    def fake(self, path: str | None) -> Account:
        key = "" if path is None else os.path.abspath(path)
        with self._locked():
            known = self._fakes.get(key)
            # A file that was removed and made again is another account.
            if known is None or (path is not None and known[0] != _file_id(key)):
                known = self._open(key)
                self._fakes[key] = known
            return known[1]

    def _open(self, path: str) -> tuple[_FileId, Account]:
        from pytest_alchemy.cloudflare.fake.account import FakeAccount

        fake = FakeAccount(path or None)
        account = Account(fake.account_id, fake.api_token, DEFAULT_BASE_URL, fake.world, fake)
        return _file_id(path) if path else None, account

    def _locked(self) -> threading.Lock:
        if self._pid != forks.process_id():
            self.__init__()  # type: ignore[misc]  # nothing of the parent's may be shared, its lock least of all
        return self._lock


_FileId = tuple[int, int] | None


def _file_id(path: str) -> _FileId:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


_accounts = _Accounts()
