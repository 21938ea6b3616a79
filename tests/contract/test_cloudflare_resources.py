"""What D1 databases and KV namespaces promise, in blocking code and with asyncio, in memory and in a file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy.ambient import current
from pytest_alchemy.cloudflare import (
    CloudflareError,
    D1Database,
    FakeAccount,
    KVNamespace,
    Queue,
    R2Bucket,
)
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.cloudflare.errors import FixedPropertyError
from pytest_alchemy.driver import AsyncDriver, BlockingDriver, run_blocking
from pytest_alchemy.errors import BlockingCallError, NoScopeError
from pytest_alchemy.names import new_run
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from tests.unit.cloudflare.scopes import ListJournal, open_scope


@pytest.fixture(params=["memory", "file"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    file = str(tmp_path / "account.db") if request.param == "file" else None
    return Settings(app="shop", stage="test", fake_account=file)


@pytest.fixture
def scope(settings: Settings) -> Iterator[Scope]:
    scope = open_scope(settings)
    yield scope
    scope.destroy()


@pytest.fixture
def fake(settings: Settings) -> FakeAccount:
    fake = account_for(settings).fake
    assert fake is not None
    fake.forget_requests()
    return fake


def names(fake: FakeAccount, kind: str) -> set[str]:
    return {item.name for item in fake.inventory() if item.kind == kind}


def test_a_database_is_made_used_and_destroyed(scope: Scope, fake: FakeAccount) -> None:
    db = scope.create(D1Database("orders"))
    db.exec("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB); INSERT INTO t VALUES (1, x'00ff')")

    inserted = db.query("INSERT INTO t VALUES (?, ?)", 2, b"\x01")
    results = db.batch(["DELETE FROM t WHERE a = 1", ("SELECT * FROM t WHERE a = ?", 2)])

    assert inserted.meta["changes"] == 1
    assert results[1].rows == [{"a": 2, "b": [1]}]
    assert db.name in names(fake, "d1")
    scope.destroy()
    assert db.name not in names(fake, "d1")


def test_a_namespace_is_made_used_and_destroyed(scope: Scope, fake: FakeAccount) -> None:
    kv = scope.create(KVNamespace("cache"))
    kv.put("a/b", "ü", metadata={"m": 1}, expiration_ttl=60)
    kv.put("b", b"\xff")

    assert (kv.get("a/b"), kv.get("missing")) == ("ü", None)
    assert kv.get_bytes("b") == b"\xff"
    assert kv.get_with_metadata("a/b") == ("ü", {"m": 1})
    assert kv.get_with_metadata("missing") == (None, None)
    assert (kv.list(), kv.list("a")) == (["a/b", "b"], ["a/b"])
    for _ in range(2):
        kv.delete("b")
    assert kv.list() == ["a/b"]
    assert kv.name in names(fake, "kv")
    scope.destroy()
    assert kv.name not in names(fake, "kv")


def test_a_bucket_is_made_used_and_destroyed_with_all_in_it(
    scope: Scope, fake: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.cloudflare.r2._PER_PAGE", 2)
    bucket = scope.create(R2Bucket("uploads", location="weur"))
    for key in ("a/b", "a", "c", "d e", "ü"):
        bucket.put(key, key)
    bucket.put("a", b"\xff", content_type="image/png")

    assert (bucket.get("a"), bucket.get("ü"), bucket.get("z")) == (b"\xff", "ü".encode(), None)
    assert (bucket.list(), bucket.list("a")) == (["a", "a/b", "c", "d e", "ü"], ["a", "a/b"])
    for _ in range(2):
        bucket.delete("c")
    assert bucket.list() == ["a", "a/b", "d e", "ü"]
    assert bucket.name in names(fake, "r2")
    scope.destroy()
    assert bucket.name not in names(fake, "r2")


def test_a_queue_is_made_used_and_destroyed(scope: Scope, fake: FakeAccount) -> None:
    queue = scope.create(Queue("jobs"))
    queue.send({"a": [1, None]})
    queue.send_batch(["ü", b"\xff"])

    messages = queue.pull()

    assert [message.body for message in messages] == [{"a": [1, None]}, "ü", b"\xff"]
    assert [message.attempts for message in messages] == [1, 1, 1]
    queue.ack(messages)
    assert queue.pull() == []
    assert queue.name in names(fake, "queue")
    scope.destroy()
    assert queue.name not in names(fake, "queue")


def test_the_same_works_with_asyncio(scope: Scope, fake: FakeAccount) -> None:
    async def program() -> tuple[object, ...]:
        db = await scope.acreate(D1Database("orders"))
        kv = await scope.acreate(KVNamespace("cache"))
        await db.aexec("CREATE TABLE t (a)")
        await db.abatch([("INSERT INTO t VALUES (?)", 5)])
        await kv.aput("a", "1", metadata=[2])
        await kv.aput("b", "")
        await kv.adelete("b")
        found = (
            (await db.aquery("SELECT a FROM t WHERE a = ?", 5)).rows,
            await kv.aget("a"),
            await kv.aget_bytes("a"),
            await kv.aget_with_metadata("a"),
            await kv.alist(),
        )
        await scope.adestroy()
        return (*found, db.name in names(fake, "d1"))

    assert asyncio.run(program()) == ([{"a": 5}], "1", b"1", ("1", [2]), ["a"], False)


def test_what_one_loop_made_another_one_can_use(scope: Scope) -> None:
    db = asyncio.run(scope.acreate(D1Database("orders")))

    async def rows() -> list[dict[str, object]]:
        return (await db.aquery("SELECT 1 AS a")).rows

    assert (
        asyncio.run(rows()) == asyncio.run(rows()) == db.query("SELECT 1 AS a").rows == [{"a": 1}]
    )


@pytest.mark.parametrize("concurrency", [20])
def test_many_calls_at_once_get_their_own_answers(scope: Scope, concurrency: int) -> None:
    async def program() -> list[int]:
        db = await scope.acreate(D1Database("orders"))
        answers = await asyncio.gather(*(db.aquery("SELECT ? AS a", n) for n in range(concurrency)))
        return [answer.rows[0]["a"] for answer in answers]

    assert asyncio.run(program()) == list(range(concurrency))


BLOCKING: tuple[tuple[str, list[Any]], ...] = (
    ("query", ["SELECT 1"]),
    ("exec", ["SELECT 1"]),
    ("batch", [["SELECT 1"]]),
    ("get", ["a"]),
    ("get_bytes", ["a"]),
    ("get_with_metadata", ["a"]),
    ("put", ["a", "1"]),
    ("delete", ["a"]),
    ("list", []),
)


@pytest.mark.parametrize(("method", "arguments"), BLOCKING)
def test_a_blocking_call_in_a_coroutine_names_its_twin(
    scope: Scope, method: str, arguments: list[Any]
) -> None:
    db, kv = scope.create(D1Database("orders")), scope.create(KVNamespace("cache"))
    resource = db if method in vars(D1Database) else kv

    async def program() -> None:
        getattr(resource, method)(*arguments)

    with pytest.raises(BlockingCallError) as raised:
        asyncio.run(program())

    assert (raised.value.method, raised.value.twin) == (method, f"a{method}")
    assert callable(getattr(resource, raised.value.twin))


@pytest.mark.parametrize("cls", [D1Database, KVNamespace])
def test_a_thing_is_destroyed_by_its_name_alone(
    scope: Scope, fake: FakeAccount, cls: type[D1Database | KVNamespace]
) -> None:
    fake.fail(method="POST", status=502, acts=True)  # the answer with its id is lost
    fake.fail(method="GET", status=502, times=3)  # and it cannot be looked for
    with pytest.raises(CloudflareError):
        scope.create(cls("orders"))
    (lost,) = (item for item in fake.inventory() if scope.physical_name("x")[:8] in item.name)

    scope.destroy()

    assert lost not in fake.inventory()


@pytest.mark.parametrize("cls", [D1Database, KVNamespace])
def test_after_a_lost_answer_the_thing_is_found_not_made_again(
    scope: Scope, fake: FakeAccount, cls: type[D1Database | KVNamespace]
) -> None:
    fake.fail(method="POST", status=502, acts=True)

    made = scope.create(cls("orders"))

    assert [request.method for request in fake.requests] == ["POST", "GET"]
    (item,) = (item for item in fake.inventory() if item.name == made.name)
    assert item.id in vars(made).values()
    scope.destroy()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("cls", [D1Database, KVNamespace])
def test_a_refused_create_is_made_again_once_its_name_was_looked_up(
    scope: Scope, fake: FakeAccount, cls: type[D1Database | KVNamespace], status: int
) -> None:
    fake.fail(method="POST", status=status, times=2)

    made = scope.create(cls("orders"))

    posted_or_asked = [request.method for request in fake.requests]
    assert re.fullmatch("P(G+P){2}", "".join(method[0] for method in posted_or_asked))
    assert [item.name for item in fake.inventory()].count(made.name) == 1
    scope.destroy()


@pytest.mark.parametrize("cls", [D1Database, KVNamespace])
def test_a_create_is_given_up_after_three_tries(
    scope: Scope, fake: FakeAccount, cls: type[D1Database | KVNamespace]
) -> None:
    fake.fail(method="POST", status=503, times=3)

    with pytest.raises(CloudflareError) as raised:
        scope.create(cls("orders"))

    assert raised.value.status == 503
    assert [request.method for request in fake.requests].count("POST") == 3
    scope.destroy()


@pytest.mark.parametrize("cls", [D1Database, KVNamespace])
def test_destroying_what_is_gone_already_is_quiet(
    scope: Scope, fake: FakeAccount, cls: type[D1Database | KVNamespace]
) -> None:
    made = scope.create(cls("orders"))
    for item in fake.inventory():
        if item.name == made.name:
            fake.discard(item)

    scope.destroy()

    assert made.name not in names(fake, "d1") | names(fake, "kv")


def test_a_namespace_is_found_on_any_page(scope: Scope, fake: FakeAccount) -> None:
    made = [scope.create(KVNamespace(f"n{number}")) for number in range(101)]
    last = max(made, key=lambda namespace: namespace.name)
    del last.__dict__["namespace_id"]

    scope.remove(last)

    assert last.name not in names(fake, "kv")
    scope.destroy()


@pytest.mark.parametrize(("cls", "code"), [(D1Database, 7502), (KVNamespace, 10014)])
def test_a_thing_of_the_same_name_is_not_taken_over(
    settings: Settings, cls: type[D1Database | KVNamespace], code: int
) -> None:
    run = new_run(600.0)
    first, second = open_scope(settings, run=run), open_scope(settings, run=run)
    first.create(cls("orders"))

    with pytest.raises(CloudflareError) as raised:
        second.create(cls("orders"))

    assert (raised.value.status, raised.value.code) == (400, code)
    first.destroy()


def test_an_update_changes_what_can_be_changed_and_refuses_the_rest(
    scope: Scope, fake: FakeAccount
) -> None:
    db = scope.create(D1Database("orders", primary_location_hint="weur"))

    scope.create(D1Database("orders", primary_location_hint="weur", read_replication="auto"))
    with pytest.raises(FixedPropertyError) as raised:
        scope.create(D1Database("orders", primary_location_hint="enam"))

    assert [request.method for request in fake.requests] == ["POST", "PATCH"]
    assert str(raised.value) == (
        "D1Database 'orders': primary_location_hint cannot be changed once it exists.\n"
        "Remove it first with scope.remove(...), or give the new one an id of its own."
    )
    assert db.query("SELECT 1 AS a").rows == [{"a": 1}]
    scope.destroy()


def test_the_world_is_the_account(settings: Settings, fake: FakeAccount) -> None:
    journal = ListJournal()
    scope = open_scope(settings, journal)

    db = scope.create(D1Database("orders"))

    worlds = {getattr(record, "world", None) for record in journal.records} - {None}
    assert worlds == ({fake.world} if settings.fake_account else set())
    assert db.uuid
    scope.destroy()


def test_a_value_that_cannot_be_sent_says_what_to_do(scope: Scope) -> None:
    db, kv = scope.create(D1Database("orders")), scope.create(KVNamespace("cache"))

    with pytest.raises(TypeError, match="Pass text, a number"):
        db.query("SELECT ?", object())
    with pytest.raises(TypeError, match="Turn it into text"):
        kv.put("a", {"a": 1})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="may not be empty"):
        kv.get("")
    scope.destroy()


def test_a_missing_namespace_is_an_error_and_a_missing_key_is_none(
    scope: Scope, fake: FakeAccount
) -> None:
    kv = scope.create(KVNamespace("cache"))
    (item,) = (item for item in fake.inventory() if item.name == kv.name)
    fake.discard(item)

    with pytest.raises(CloudflareError) as raised:
        kv.get("a")

    assert raised.value.status == 404
    scope.destroy()


def test_all_keys_are_listed_however_many_there_are(scope: Scope) -> None:
    kv = scope.create(KVNamespace("cache"))
    wanted = [f"key-{number:04}" for number in range(1001)]
    from pytest_alchemy.cloudflare.client import run

    items = [{"key": key, "value": ""} for key in wanted]
    run(
        scope.settings,
        lambda api: api.call("PUT", f"/storage/kv/namespaces/{kv.namespace_id}/bulk", items),
    )

    assert kv.list() == wanted
    scope.destroy()


@pytest.mark.parametrize("kind", [D1Database, KVNamespace])
def test_the_names_of_all_that_exist_are_listed(
    scope: Scope, kind: type[D1Database | KVNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("d1", "kv"):
        monkeypatch.setattr(f"pytest_alchemy.cloudflare.{room}._PER_PAGE", 2)
    made = [scope.create(kind(f"number-{number}")).name for number in range(5)]

    with scope_as_current(scope):
        blocking, _ = run_blocking(BlockingDriver().call(kind.list))
        awaited, _ = asyncio.run(AsyncDriver().call(kind.list))

    assert set(made) <= set(blocking)
    assert sorted(awaited) == sorted(blocking)
    assert len(blocking) == len(set(blocking))


@pytest.mark.parametrize("kind", [D1Database, KVNamespace])
def test_without_a_scope_nobody_knows_which_account_to_list(
    kind: type[D1Database | KVNamespace],
) -> None:
    with pytest.raises(NoScopeError):
        kind.list()


@contextmanager
def scope_as_current(scope: Scope) -> Iterator[None]:
    before = current.set(scope)
    yield
    current.reset(before)
