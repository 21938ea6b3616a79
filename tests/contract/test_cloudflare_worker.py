"""What the resource Worker promises, in blocking code and with asyncio, in memory, in a file and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.ambient import current
from pytest_alchemy.cloudflare import (
    CloudflareError,
    D1Database,
    FakeAccount,
    KVNamespace,
    Queue,
    R2Bucket,
    Worker,
)
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.errors import InvalidPropertyError
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from tests.unit.cloudflare.api import Api, served
from tests.unit.cloudflare.scopes import ListJournal, open_scope

SCRIPT = "export default { fetch() { return new Response('hello') } }"
LISTENER = "addEventListener('fetch', e => e.respondWith(new Response('hello')))"


@pytest.fixture(params=["memory", "file", "http"])
def fake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FakeAccount, Settings]]:
    if request.param == "http":  # as a live account, whose API happens to be here
        account = FakeAccount()
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", served(account))
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", account.account_id)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", account.api_token)
        yield account, Settings(app="shop", stage="test", live=True)
        account.close()
        return
    file = str(tmp_path / "account.db") if request.param == "file" else None
    settings = Settings(app="shop", stage="test", fake_account=file)
    known = account_for(settings).fake
    assert known is not None
    known.forget_requests()
    yield known, settings


@pytest.fixture
def account(fake: tuple[FakeAccount, Settings]) -> FakeAccount:
    return fake[0]


@pytest.fixture
def settings(fake: tuple[FakeAccount, Settings]) -> Settings:
    return fake[1]


@pytest.fixture
def scope(settings: Settings) -> Iterator[Scope]:
    scope = open_scope(settings)
    yield scope
    scope.destroy()


def names(account: FakeAccount) -> set[str]:
    return {item.name for item in account.inventory() if item.kind == "worker"}


def ask(account: FakeAccount, path: str) -> Any:
    """Return the result of a GET as the account's owner."""
    return Api(account).result("GET", f"@/workers/scripts{path}")


def test_a_worker_is_deployed_with_its_bindings_and_destroyed_before_them(
    scope: Scope, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "s3cret")
    db, kv = scope.create(D1Database("orders")), scope.create(KVNamespace("cache"))
    bucket, queue = scope.create(R2Bucket("pictures")), scope.create(Queue("jobs"))
    other = scope.create(Worker("other", script=LISTENER))

    api = scope.create(
        Worker(
            "api",
            script=SCRIPT,
            bindings={
                "DB": db,
                "CACHE": kv,
                "FILES": bucket,
                "JOBS": queue,
                "OTHER": other,
                "KEY": alchemy.env("API_KEY"),
                "TOKEN": alchemy.secret("correct horse"),
                "GREETING": "hello",
                "LIMITS": {"most": 3},
            },
            compatibility_date="2026-01-01",
            compatibility_flags=("nodejs_compat",),
        )
    )

    settings = ask(account, f"/{api.name}/settings")
    assert settings["bindings"] == [
        {"name": "DB", "type": "d1", "id": db.uuid},
        {"name": "CACHE", "type": "kv_namespace", "namespace_id": kv.namespace_id},
        {"name": "FILES", "type": "r2_bucket", "bucket_name": bucket.name},
        {"name": "JOBS", "type": "queue", "queue_name": queue.name},
        {"name": "OTHER", "type": "service", "service": other.name},
        {"name": "KEY", "type": "secret_text"},
        {"name": "TOKEN", "type": "secret_text"},
        {"name": "GREETING", "type": "plain_text", "text": "hello"},
        {"name": "LIMITS", "type": "json", "json": {"most": 3}},
    ]
    assert settings["compatibility_date"] == "2026-01-01"
    assert settings["compatibility_flags"] == ["nodejs_compat"]
    assert api.url == f"https://{api.name}.fake-{account.account_id}.workers.dev"
    scope.destroy()  # the account refuses to part with queue and namespace while the worker is there
    ours = {api.name, other.name, db.name, kv.name, bucket.name, queue.name}
    assert not ours & {item.name for item in account.inventory()}


def test_the_same_works_with_asyncio_and_in_parallel(scope: Scope, account: FakeAccount) -> None:
    async def program() -> str:
        kv = await scope.acreate(KVNamespace("cache"))
        api = await scope.acreate(Worker("api", script=SCRIPT, bindings={"CACHE": kv}))
        there = names(account)
        await scope.adestroy("parallel")
        assert api.name in there
        return api.name

    assert asyncio.run(program()) not in names(account)


@pytest.mark.parametrize(("text", "has_modules"), [(SCRIPT, True), (LISTENER, False)])
def test_a_script_may_be_a_file(
    scope: Scope, account: FakeAccount, tmp_path: Path, text: str, has_modules: bool
) -> None:
    file = tmp_path / "index.mjs"
    file.write_text(text)

    api = scope.create(Worker("api", script=file))

    (worker,) = [worker for worker in ask(account, "") if worker["id"] == api.name]
    assert worker["has_modules"] is has_modules


def test_a_changed_worker_is_deployed_anew_under_its_name(
    scope: Scope, account: FakeAccount
) -> None:
    first = scope.create(Worker("api", script=SCRIPT, bindings={"A": "1"}))
    tag = [w["tag"] for w in ask(account, "") if w["id"] == first.name]

    second = scope.create(Worker("api", script=SCRIPT, bindings={"A": "2"}))

    assert (second.name, second.url) == (first.name, first.url)
    assert ask(account, f"/{first.name}/settings")["bindings"][0]["text"] == "2"
    assert [w["tag"] for w in ask(account, "") if w["id"] == first.name] == tag


def test_a_worker_is_destroyed_by_its_name_alone_and_quietly_if_it_is_gone(
    scope: Scope, account: FakeAccount
) -> None:
    account.fail(method="GET", path="/workers/subdomain$", status=400, times=1)
    with pytest.raises(CloudflareError):  # deployed already, but its address is not known
        scope.create(Worker("api", script=SCRIPT))
    gone = scope.create(Worker("gone", script=SCRIPT))
    (item,) = [item for item in account.inventory() if item.name == gone.name]
    account.discard(item)

    scope.destroy()

    assert scope.physical_name("api") not in names(account)
    assert not [name for name in names(account) if name.startswith(gone.name[:12])]


def test_a_secret_is_bound_and_neither_recorded_nor_shown_in_clear(
    settings: Settings, account: FakeAccount
) -> None:
    journal = ListJournal()
    scope = open_scope(settings, journal)

    api = scope.create(
        Worker("api", script=SCRIPT, bindings={"KEY": alchemy.secret("very-hidden")})
    )

    assert ask(account, f"/{api.name}/settings")["bindings"] == [
        {"name": "KEY", "type": "secret_text"}
    ]
    assert "very-hidden" not in repr(journal.records)
    scope.destroy()


def test_a_script_that_the_api_refuses_leaves_nothing(scope: Scope, account: FakeAccount) -> None:
    other = open_scope(scope.settings).create(KVNamespace("cache"))
    item = next(item for item in account.inventory() if item.name == other.name)
    account.discard(item)

    with pytest.raises(CloudflareError) as raised:
        scope.create(Worker("api", script=SCRIPT, bindings={"CACHE": other}))

    assert (raised.value.status, raised.value.code) == (400, 10041)


@contextmanager
def scope_as_current(scope: Scope) -> Iterator[None]:
    token = current.set(scope)
    yield
    current.reset(token)


def test_the_names_that_exist_are_listed(scope: Scope) -> None:
    api = scope.create(Worker("api", script=SCRIPT))

    with scope_as_current(scope):
        listed = list(Worker.list())  # type: ignore[arg-type]  # blocking code gets the names themselves

    assert api.name in listed


@pytest.mark.parametrize("name", ["worker.js", "src/worker.mjs", "worker.ts", "script"])
def test_a_path_that_is_written_as_text_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script").write_text(SCRIPT)

    with pytest.raises(InvalidPropertyError) as caught:
        Worker("api", script=name)

    assert str(caught.value) == (
        f"Worker 'api': property 'script' is no JavaScript but the path of a file: {name!r}.\n"
        f"Write script=Path({name!r}), with pathlib.Path: a str is the script itself."
    )


@pytest.mark.parametrize("script", ["", LISTENER, f"{SCRIPT}\n// worker.js", "a" * 5000])
def test_text_that_is_no_path_is_a_script(scope: Scope, script: str) -> None:
    worker = Worker("api", script=script)

    scope.create(worker)

    assert worker.script == script


def test_a_script_that_is_not_there_is_named_with_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidPropertyError) as caught:
        Worker("api", script=Path("worker.js"))

    assert str(caught.value) == (
        "Worker 'api': property 'script' is a file that cannot be read: [Errno 2] No such file or directory: "
        "'worker.js'.\n"
        f"Relative paths begin at {tmp_path}; a file beside the program is Path(__file__).with_name('worker.js')."
    )
