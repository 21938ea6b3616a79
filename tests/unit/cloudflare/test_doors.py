"""httpx clients of this process, the official SDK among them, against a fake account."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import cloudflare
import httpx
import pytest
import respx

from pytest_alchemy.cloudflare import Worker
from pytest_alchemy.cloudflare.fake import FakeAccount, FakeCloudflare
from pytest_alchemy.cloudflare.fake.respx_door import (
    answering,
    go_first,
    keep_at_home,
    transport_for,
)
from pytest_alchemy.settings import Settings
from tests.unit.cloudflare.api import Api
from tests.unit.cloudflare.scopes import open_scope

USER = "https://api.cloudflare.com/client/v4/user"


@pytest.fixture
def account() -> Iterator[FakeAccount]:
    account = FakeAccount()
    yield account
    account.close()


def bearer(account: FakeAccount) -> dict[str, str]:
    return {"authorization": f"Bearer {account.api_token}"}


def use_d1(client: cloudflare.Cloudflare, account_id: str) -> list[Any]:
    """Make, fill, list and delete a database through the SDK; return the rows found."""
    made = client.d1.database.create(account_id=account_id, name="orders")
    assert made.uuid is not None
    client.d1.database.query(made.uuid, account_id=account_id, sql="CREATE TABLE t (a)")
    client.d1.database.query(
        made.uuid, account_id=account_id, sql="INSERT INTO t VALUES (?)", params=["1"]
    )
    (answer,) = client.d1.database.query(made.uuid, account_id=account_id, sql="SELECT a FROM t")
    assert [database.name for database in client.d1.database.list(account_id=account_id)] == [
        "orders"
    ]
    client.d1.database.delete(made.uuid, account_id=account_id)
    return list(answer.results or [])


def use_kv(client: cloudflare.Cloudflare, account_id: str) -> bytes:
    """Make, fill, list and delete a namespace through the SDK; return the value found."""
    namespaces = client.kv.namespaces
    made = namespaces.create(account_id=account_id, title="cache")
    assert made is not None
    namespaces.values.update(
        "a/b",
        account_id=account_id,
        namespace_id=made.id,
        value=b"\xff1",
        metadata={"m": 1},
    )
    assert [key.name for key in namespaces.keys.list(made.id, account_id=account_id)] == ["a/b"]
    assert namespaces.metadata.get("a/b", account_id=account_id, namespace_id=made.id) == {"m": 1}
    value = namespaces.values.get("a/b", account_id=account_id, namespace_id=made.id).read()
    assert [namespace.title for namespace in namespaces.list(account_id=account_id)] == ["cache"]
    namespaces.bulk_delete(made.id, account_id=account_id, body=["a/b"])
    namespaces.delete(made.id, account_id=account_id)
    return value


def test_the_sdk_works_unmodified(account: FakeAccount) -> None:
    before = cloudflare.Cloudflare(api_token=account.api_token)

    with answering(account):
        during = cloudflare.Cloudflare(api_token=account.api_token)
        rows, value = use_d1(before, account.account_id), use_kv(during, account.account_id)

    assert (rows, value) == ([{"a": "1"}], b"\xff1")
    assert account.inventory() == []


async def use_d1_async(client: cloudflare.AsyncCloudflare, account_id: str) -> list[Any]:
    made = await client.d1.database.create(account_id=account_id, name="orders")
    assert made.uuid is not None
    pages = client.d1.database.query(made.uuid, account_id=account_id, sql="SELECT 1 AS a")
    rows = [row async for answer in pages for row in answer.results or []]
    names = [database.name async for database in client.d1.database.list(account_id=account_id)]
    assert names == ["orders"]
    await client.d1.database.delete(made.uuid, account_id=account_id)
    return rows


def test_the_asyncio_sdk_works_unmodified(account: FakeAccount) -> None:
    async def program() -> list[Any]:
        async with cloudflare.AsyncCloudflare(api_token=account.api_token) as client:
            with answering(account):
                return await use_d1_async(client, account.account_id)

    assert asyncio.run(program()) == [{"a": 1}]


def test_the_sdk_sees_its_own_errors(account: FakeAccount) -> None:
    client = cloudflare.Cloudflare(api_token=account.api_token, max_retries=0)

    with answering(account):
        with pytest.raises(cloudflare.NotFoundError) as missing:
            client.d1.database.get("nowhere", account_id=account.account_id)
        account.fail(status=429, retry_after=30)
        with pytest.raises(cloudflare.RateLimitError):
            client.user.get()

    assert missing.value.errors[0].code == 7404


def test_the_sdk_works_through_the_transport(account: FakeAccount) -> None:
    http = httpx.Client(transport=transport_for(account))

    client = cloudflare.Cloudflare(api_token=account.api_token, http_client=http)

    assert use_kv(client, account.account_id) == b"\xff1"


def test_an_asyncio_client_works_through_the_transport(account: FakeAccount) -> None:
    async def program() -> int:
        async with httpx.AsyncClient(transport=transport_for(account)) as client:
            return (await client.get(USER, headers=bearer(account))).status_code

    assert asyncio.run(program()) == 200


def test_the_transport_does_not_remember_every_call(account: FakeAccount) -> None:
    transport = transport_for(account)

    for _ in range(600):
        transport.handle_request(httpx.Request("GET", USER))

    router = transport._router
    assert len(router.calls) == len(router.routes[0].calls) == 101


def test_a_mock_for_another_host_works_whether_it_started_before_or_after(
    account: FakeAccount,
) -> None:
    with respx.mock(assert_all_called=True) as early:
        early.get("https://early.example/").respond(201)
        with answering(account), respx.mock(assert_all_called=True) as late:
            late.get("https://late.example/").respond(202)

            answers = [
                httpx.get("https://early.example/").status_code,
                httpx.get("https://late.example/").status_code,
                httpx.get(USER, headers=bearer(account)).status_code,
            ]

    assert answers == [201, 202, 200]
    assert len(account.requests) == 1


def test_a_mock_for_another_host_works_with_asyncio(account: FakeAccount) -> None:
    async def program() -> list[int]:
        async with httpx.AsyncClient() as client, respx.mock as mock:
            mock.get("https://other.example/").respond(202)
            with answering(account):
                other = await client.get("https://other.example/")
                ours = await client.post(USER, headers=bearer(account), content=b"{}")
            return [other.status_code, ours.status_code]

    assert asyncio.run(program()) == [202, 405]


def test_for_cloudflare_itself_the_account_goes_before_a_mock(account: FakeAccount) -> None:
    with respx.mock(assert_all_called=False) as mock:
        route = mock.get(USER).respond(299)
        with answering(account):
            during = httpx.get(USER, headers=bearer(account)).status_code
        after = httpx.get(USER).status_code

    assert (during, after) == (200, 299)
    assert route.call_count == 1


def worker_url(account: FakeAccount, name: str = "api") -> str:
    """Deploy a worker, show it, and return its address."""
    api = Api(account)
    api.worker(name, "export default { fetch() {} }")
    api.result("POST", f"@/workers/scripts/{name}/subdomain", {"enabled": True})
    return f"https://{name}.{api.result('GET', '@/workers/subdomain')['subdomain']}.workers.dev/"


def test_a_fake_worker_answers_that_it_is_not_run_and_others_are_left_alone(
    account: FakeAccount,
) -> None:
    url = worker_url(account)
    before = httpx.Client()

    async def program() -> int:
        async with httpx.AsyncClient() as client:
            return (await client.post(url, content=b"x")).status_code

    with before, answering(account), respx.mock as mock:
        mock.get("https://api.somebody.workers.dev/").respond(202)
        answers = [
            before.get(url).status_code,
            httpx.get(url.replace("api", "missing", 1)).status_code,
            httpx.get("https://api.somebody.workers.dev/").status_code,
            asyncio.run(program()),
        ]

    assert answers == [501, 404, 202, 501]


def test_a_worker_made_in_a_scope_never_leaves_the_machine_even_without_the_fixture() -> None:
    scope = open_scope(Settings(app="shop", stage="test"))
    worker = scope.create(Worker("api", script="export default { fetch() {} }"))

    there = httpx.get(f"{worker.url}/path?query")
    scope.destroy()
    gone = httpx.get(worker.url)

    assert (there.status_code, gone.status_code) == (501, 404)
    assert "keeps its script but does not run it" in there.text
    assert "No Worker of this fake account is shown at" in gone.text


def test_the_workers_of_a_closed_account_are_nobody_s(account: FakeAccount) -> None:
    url = worker_url(account)
    keep_at_home(account)
    account.close()

    with respx.mock as mock:
        mock.get(url).respond(202)

        assert httpx.get(url).status_code == 202


def test_blocks_nest_and_the_innermost_answers(account: FakeAccount) -> None:
    inner = FakeAccount()
    original = (httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request)

    with answering(account):
        with answering(inner), answering(inner):
            assert httpx.get(USER, headers=bearer(inner)).status_code == 200
        assert httpx.get(USER, headers=bearer(account)).status_code == 200

    assert (
        httpx.HTTPTransport.handle_request,
        httpx.AsyncHTTPTransport.handle_async_request,
    ) == original


def test_blocks_may_end_in_any_order(account: FakeAccount) -> None:
    other, original = FakeAccount(), httpx.HTTPTransport.handle_request
    first, second = answering(account), answering(other)
    first.__enter__()
    second.__enter__()

    first.__exit__(None, None, None)
    status = httpx.get(USER, headers=bearer(other)).status_code
    second.__exit__(None, None, None)

    assert status == 200
    assert httpx.HTTPTransport.handle_request is original


def test_a_patch_made_over_ours_is_left_in_place(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = httpx.HTTPTransport.handle_request
    block = answering(account)
    block.__enter__()
    ours = httpx.HTTPTransport.handle_request

    def theirs(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.url.host == "theirs.example":
            return httpx.Response(203)
        return ours(self, request)

    httpx.HTTPTransport.handle_request = theirs  # type: ignore[method-assign]
    try:
        block.__exit__(None, None, None)
        with respx.mock as mock:
            mock.get(USER).respond(299)
            statuses = httpx.get("https://theirs.example/").status_code, httpx.get(USER).status_code
    finally:
        httpx.HTTPTransport.handle_request = original  # type: ignore[method-assign]

    assert statuses == (203, 299)


class Neighbour:
    """A library that stands where the account does, and puts back what it found there, as pytest-httpx does."""

    def __init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        found = httpx.HTTPTransport.handle_request

        def theirs(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
            return found(self, request) if request.url.host == "real" else httpx.Response(203)

        self.patch.setattr(httpx.HTTPTransport, "handle_request", theirs)

    def end(self) -> None:
        self.patch.undo()


def test_the_account_answers_again_after_a_library_took_ours_away_with_its_own(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = worker_url(account)
    with answering(account):
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *_: httpx.Response(203))
        keep_at_home(account)
        at_home = httpx.get(url).status_code
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *_: httpx.Response(203))

        with answering(account):
            called = httpx.get(USER, headers=bearer(account)).status_code

    assert (at_home, called) == (501, 200)


def test_the_account_goes_first_again_when_it_is_asked_to(account: FakeAccount) -> None:
    with answering(account):
        neighbour = Neighbour()
        go_first()
        statuses = (
            httpx.get(USER, headers=bearer(account)).status_code,
            httpx.get("https://theirs.example/").status_code,
        )
        neighbour.end()

    assert statuses == (200, 203)


def test_nothing_piles_up_in_the_transports_where_a_library_ends_after_the_account(
    account: FakeAccount,
) -> None:
    for _ in range(sys.getrecursionlimit()):
        with answering(account):
            neighbour = Neighbour()
        neighbour.end()

    with answering(account), respx.mock as mock:
        mock.get("https://other.example/").respond(202)

        assert httpx.get("https://other.example/").status_code == 202


def test_a_visit_ends_with_its_faults_and_its_requests() -> None:
    settings = Settings(app="shop", stage="test", live=True)

    with FakeCloudflare.opened(settings) as fake:
        httpx.get(USER, headers={"authorization": f"Bearer {fake.api_token}"})
        fake.fail(times=None)
        asked = [request.path for request in fake.requests]

    assert asked == ["/client/v4/user"]
    with FakeCloudflare.opened(settings) as later:
        assert later.requests == []
        assert (
            httpx.get(USER, headers={"authorization": f"Bearer {later.api_token}"}).status_code
            == 200
        )


def test_a_visit_tells_what_others_made_and_left() -> None:
    with FakeCloudflare.opened(Settings(app="shop", stage="test")) as fake:
        client = cloudflare.Cloudflare(api_token=fake.api_token)
        client.d1.database.create(account_id=fake.account_id, name="left-behind")
        (item,) = fake.untracked()

        fake.discard(item)

        assert (item.kind, item.name) == ("d1", "left-behind")
        assert fake.untracked() == []


def test_a_test_can_begin_anew() -> None:
    settings = Settings(app="shop", stage="test")
    with (
        FakeCloudflare.opened(settings) as fake,
        httpx.Client(headers=bearer(fake.account)) as client,
    ):
        url = f"https://api.cloudflare.com/client/v4/accounts/{fake.account_id}"
        before = fake.inventory()
        client.post(f"{url}/d1/database", json={"name": "made-by-the-code-under-test"})
        client.post(f"{url}/r2/buckets", json={"name": "uploads"})
        client.put(f"{url}/r2/buckets/uploads/objects/a", content=b"1")
        client.post(f"{url}/queues", json={"queue_name": "jobs"})
        client.post(f"{url}/storage/kv/namespaces", json={"title": "cache"})
        during = fake.untracked()
        fake.fail(times=None)

        fake.reset()

        assert sorted(item.kind for item in during) == ["d1", "kv", "queue", "r2"]
        assert fake.inventory() == before
        assert fake.requests == []
        assert client.get(USER).status_code == 200


@pytest.mark.parametrize("through", ["transport", "patch"])
def test_a_client_gives_up_on_what_comes_later_than_it_waits(
    account: FakeAccount, through: str
) -> None:
    account.fail(delay=60.0, times=2)
    transport = transport_for(account) if through == "transport" else None

    async def program() -> None:
        async with httpx.AsyncClient(transport=transport, timeout=0.01) as client:
            await client.get(USER)

    with answering(account), httpx.Client(transport=transport, timeout=0.01) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get(USER)
        with pytest.raises(httpx.ReadTimeout):
            asyncio.run(program())


def test_others_go_on_while_one_answer_is_late(account: FakeAccount) -> None:
    account.fail(status=None, delay=0.2)

    async def program() -> list[str]:
        order = []
        async with httpx.AsyncClient(transport=transport_for(account)) as client:

            async def ask(name: str) -> None:
                await client.get(USER, headers=bearer(account))
                order.append(name)

            await asyncio.gather(ask("late"), ask("prompt"))
        return order

    assert asyncio.run(program()) == ["prompt", "late"]
