"""The official SDK, blocking and with asyncio, through both doors: every method of its five products."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import cloudflare
import pytest

from pytest_alchemy.cloudflare.fake import FakeAccount
from pytest_alchemy.cloudflare.fake.respx_door import answering
from tests.clients.queues import use_queues
from tests.clients.sdk import Sdk, methods
from tests.clients.storage import use_d1, use_kv, use_r2
from tests.clients.workers import use_workers
from tests.unit.cloudflare.api import served

# The SDK warns of those of its methods that it will drop; until then they have to work.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:cloudflare", "ignore:Please use"
)


@pytest.fixture
def account() -> Iterator[FakeAccount]:
    account = FakeAccount()
    yield account
    account.close()


@pytest.fixture(params=["httpx", "http"])
def base_url(request: pytest.FixtureRequest, account: FakeAccount) -> Iterator[str | None]:
    if request.param == "http":
        yield served(account)
    else:
        with answering(account):
            yield None


@pytest.fixture(params=["blocking", "asyncio"])
def sdk(
    request: pytest.FixtureRequest, account: FakeAccount, base_url: str | None
) -> Iterator[Sdk]:
    given: dict[str, Any] = {
        "api_token": account.api_token,
        "base_url": base_url,
        "max_retries": 0,
    }
    if request.param == "blocking":
        with cloudflare.Cloudflare(**given) as client:
            yield Sdk(client, account.account_id, None)
    else:
        with asyncio.Runner() as runner:
            async_client = cloudflare.AsyncCloudflare(**given)
            yield Sdk(async_client, account.account_id, runner)
            runner.run(async_client.close())


def test_every_method_of_the_sdk_works(sdk: Sdk, account: FakeAccount) -> None:
    for use in (use_d1, use_kv, use_r2, use_queues, use_workers):
        use(sdk)

    assert sdk.not_called() == set()
    assert account.inventory() == []


def test_a_method_that_nobody_calls_is_missed(sdk: Sdk) -> None:
    use_kv(sdk)

    of_kv = {method for method in methods() if method.startswith("kv.")}
    assert sdk.not_called() == set(methods()) - of_kv
    assert {"d1.database.time_travel.restore", "workers.routes.list"} < sdk.not_called()


def test_what_the_account_does_not_have_says_so(sdk: Sdk) -> None:
    with pytest.raises(cloudflare.NotFoundError) as raised:
        sdk("pages.projects.list")

    (error,) = raised.value.errors
    assert error.code == 7003
    assert "This fake account has no endpoint for GET" in str(error.message)
