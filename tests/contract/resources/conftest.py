"""An account for each test, through every door, driven in both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_alchemy.cloudflare import FakeAccount
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from tests.contract.resources.doors import DOORS, Caller, Door
from tests.unit.cloudflare.api import served
from tests.unit.cloudflare.scopes import open_scope


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "door" in metafunc.fixturenames:
        live = metafunc.config.getoption("alchemy_live")
        metafunc.parametrize("door", ["live"] if live else DOORS, indirect=True)


@pytest.fixture
def door(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Door]:
    if request.param == "live":
        scope: Scope = request.getfixturevalue("alchemy_scope")
        yield Door(scope.settings, None)
    elif request.param == "http":
        account = FakeAccount()
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", served(account))
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", account.api_token)
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", account.account_id)
        yield Door(Settings("shop", "test", live=True), account)
        account.close()
    else:
        file = str(tmp_path / "account.db") if request.param == "file" else None
        settings = Settings("shop", "test", fake_account=file)
        fake = account_for(settings).fake
        assert fake is not None
        yield Door(settings, fake)
        fake.clear_faults()
        if file:
            fake.close()


@pytest.fixture(params=["blocking", "asyncio"])
def do(request: pytest.FixtureRequest) -> Iterator[Caller]:
    if request.param == "blocking":
        yield Caller(None)
    else:
        with asyncio.Runner() as runner:
            yield Caller(runner)


@pytest.fixture
def scope(request: pytest.FixtureRequest, door: Door, do: Caller) -> Iterator[Scope]:
    if door.is_real:  # a scope whose resources go even if this process is killed
        yield request.getfixturevalue("alchemy_scope")
    else:
        scope = open_scope(door.settings)
        door.needs_fake("it remembers what it was asked").forget_requests()
        yield scope
        do(scope, "destroy")
