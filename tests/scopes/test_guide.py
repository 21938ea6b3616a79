"""The examples of the guide to scopes, as programs against the fake account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import Resource, alchemy, output
from pytest_alchemy.cloudflare import D1Database, KVNamespace, Queue, R2Bucket, Worker
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.errors import StageDestroyed
from pytest_alchemy.settings import Settings

SCRIPT = "export default { async fetch() { return new Response('ok') } }"


class ApiStack(Resource, kind="apistack"):
    """A worker with its database and its cache."""

    db: D1Database = output()
    kv: KVNamespace = output()
    worker: Worker = output()

    async def create(self) -> None:
        self.db = await D1Database("api-db")
        self.kv = await KVNamespace("api-cache")
        bindings: Any = {"DB": self.db, "CACHE": self.kv}
        self.worker = await Worker("api-worker", script=SCRIPT, bindings=bindings)

    def destroy(self) -> None:
        """Its children go by themselves."""


@pytest.fixture(autouse=True)
def account(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = str(folder / "account.sqlite")
    monkeypatch.setenv("ALCHEMY_FAKE_ACCOUNT", file)
    return file


@pytest.fixture
def alive(account: str) -> Callable[[], list[str]]:
    """Return what tells the names of everything that is in the account."""

    def names() -> list[str]:
        fake = account_for(Settings("x", "x", fake_account=account)).fake
        assert fake is not None
        return sorted(str(thing.name) for thing in fake.inventory())

    return names


async def multi_service(*, jobs: bool = True, **options: Any) -> None:
    app = await alchemy("my-app", **options)
    async with alchemy.run("api"):
        await Worker("api-worker", script=SCRIPT)
        await D1Database("api-db")
        await KVNamespace("api-cache")
    async with alchemy.run("frontend"):
        await Worker("site-worker", script=SCRIPT)
        await R2Bucket("site-assets")
    if jobs:
        async with alchemy.run("jobs"):
            await Queue("job-queue")
            await Worker("job-worker", script=SCRIPT)
    await app.afinalize()


def test_a_multi_service_application_is_deployed_changed_and_destroyed(
    folder: Path, alive: Callable[[], list[str]]
) -> None:
    asyncio.run(multi_service(stage="prod"))
    first = alive()
    asyncio.run(multi_service(stage="prod"))
    assert alive() == first
    assert len(first) == 7
    stage = folder / ".alchemy" / "my-app" / "prod"
    assert {path.parent.name for path in stage.glob("*/state.json")} == {"api", "frontend", "jobs"}

    asyncio.run(multi_service(stage="prod", jobs=False))
    assert len(alive()) == 5
    with pytest.raises(StageDestroyed):
        asyncio.run(multi_service(stage="prod", phase="destroy"))

    assert alive() == []
    assert not stage.exists()


def test_a_preview_is_destroyed_without_touching_production(
    alive: Callable[[], list[str]],
) -> None:
    asyncio.run(multi_service(stage="prod", profile="prod"))
    production = alive()
    preview: Any = {"stage": "pr-123", "profile": "ci", "destroy_strategy": "parallel"}
    asyncio.run(multi_service(**preview))
    assert len(alive()) == 14

    with pytest.raises(StageDestroyed):
        asyncio.run(multi_service(**preview, phase="destroy"))

    assert alive() == production


def test_a_composite_is_managed_as_a_single_unit(alive: Callable[[], list[str]]) -> None:
    async def program(*, stack: bool) -> None:
        async with alchemy("my-app", stage="prod"):
            await KVNamespace("other")
            if stack:
                made = await ApiStack("api-stack")
                assert made.db.uuid
                assert made.worker.name in alive()

    for _ in range(2):
        asyncio.run(program(stack=True))
        assert len(alive()) == 4
    asyncio.run(program(stack=False))

    assert len(alive()) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_test_scope_destroys_everything_whatever_ends_it(
    folder: Path, alive: Callable[[], list[str]], fails: bool
) -> None:
    async def program() -> None:
        async with alchemy.test("integration", stage="test", destroy_strategy="parallel") as scope:
            db = await D1Database("test-db")
            await KVNamespace("test-kv")
            await db.aexec("CREATE TABLE users (id INTEGER PRIMARY KEY)")
            assert (await db.aquery("SELECT * FROM users")).rows == []
            assert len(alive()) == 2
            await scope.afinalize()  # has no effect in a test's scope
            assert len(alive()) == 2
            assert scope.stage.startswith("test-")
            if fails:
                raise ZeroDivisionError

    if fails:
        with pytest.raises(ZeroDivisionError):
            asyncio.run(program())
    else:
        asyncio.run(program())

    assert alive() == []
    assert not (folder / ".alchemy").exists()


@pytest.mark.parametrize(
    ("level", "place"), [("stage", ""), ("nested", "backend"), ("resource", "apistack-mine+*")]
)
def test_each_level_of_the_hierarchy_has_a_folder_of_its_own(
    folder: Path, level: str, place: str
) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        backend.create(KVNamespace("cache"))
        app.create(ApiStack("mine"))

    stage = folder / ".alchemy" / "my-app" / "prod"
    assert len(list(stage.glob(f"{place}/state.json" if place else "state.json"))) == 1


def test_a_sequential_strategy_is_the_default_and_a_nested_scope_may_have_its_own() -> None:
    with alchemy("my-app", stage="prod") as app:
        assert app.destroy_strategy == "sequential"
        assert app.run("fast", destroy_strategy="parallel").destroy_strategy == "parallel"
        assert app.run("plain").destroy_strategy == "sequential"


def test_a_test_scope_of_blocking_code_does_the_same(alive: Callable[[], list[str]]) -> None:
    with alchemy.test("blocking") as scope:
        scope.create(R2Bucket("files"))
        assert len(alive()) == 1

    assert alive() == []
