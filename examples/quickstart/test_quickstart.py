from __future__ import annotations

import pytest

from pytest_alchemy import Scope
from pytest_alchemy.cloudflare import D1Database, KVNamespace


@pytest.fixture
def test_db(alchemy_scope: Scope) -> D1Database:  # a fixture needs no teardown of its own
    return alchemy_scope.create(D1Database("test-db"))


def test_users(test_db: D1Database) -> None:  # sync test: blocking methods
    test_db.exec("CREATE TABLE users (id INTEGER PRIMARY KEY)")

    assert test_db.query("SELECT * FROM users").rows == []


def test_every_test_has_a_database_of_its_own(test_db: D1Database) -> None:
    assert test_db.query("SELECT name FROM sqlite_master WHERE name = 'users'").rows == []


def test_a_failed_batch_changes_nothing(test_db: D1Database) -> None:
    test_db.exec("CREATE TABLE users (name TEXT UNIQUE)")

    with pytest.raises(Exception, match="UNIQUE"):
        test_db.batch(
            [("INSERT INTO users VALUES (?)", "Ada"), ("INSERT INTO users VALUES (?)", "Ada")]
        )

    assert test_db.query("SELECT count(*) AS users FROM users").rows == [{"users": 0}]


def test_sessions(alchemy_scope: Scope) -> None:
    sessions = alchemy_scope.create(KVNamespace("sessions"))

    sessions.put("token", "Ada", metadata={"role": "admin"})

    assert sessions.get_with_metadata("token") == ("Ada", {"role": "admin"})


@pytest.mark.alchemy(stage="test", destroy="parallel")
async def test_worker(alchemy_scope: Scope) -> None:  # async test: the same names with an a-prefix
    db = await D1Database("test-db")  # awaiting makes it in the current scope
    kv = await alchemy_scope.acreate(KVNamespace("cache"))
    await db.aexec("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
    await db.aquery("INSERT INTO users (name) VALUES (?)", "Ada")

    user = (await db.aquery("SELECT name FROM users WHERE id = 1")).rows[0]
    await kv.aput("user:1", user["name"])

    assert await kv.aget("user:1") == "Ada"


async def test_the_same_id_in_two_scopes_is_two_databases(alchemy_scope: Scope) -> None:
    here = await D1Database("test-db")
    again = await D1Database("test-db")

    async with alchemy_scope.run("elsewhere"):
        elsewhere = await D1Database("test-db")

    assert again is here
    assert elsewhere.name != here.name
