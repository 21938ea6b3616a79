"""A lasting stage on a real server, whose databases nobody can look for."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pytest_alchemy import Env, Resource, alchemy


class Database(Resource, kind="database"):
    """A database as the README has it, without a ``read``."""

    server: Env

    def create(self) -> None:
        execute(self.server.value, "CREATE DATABASE {}", self.name)

    def destroy(self) -> None:
        execute(self.server.value, "DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)


def execute(server: str, command: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL(command).format(Identifier(name)))


def test_a_database_that_was_there_before_is_never_dropped(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVER", postgres_url)
    database = Database("orders", server=alchemy.env("PGSERVER"))
    with alchemy("my-app", stage="lost") as app:
        name = app.create(database).name
    with pytest.raises(SystemExit), alchemy("my-app", stage="lost", phase="destroy"):
        pass
    execute(postgres_url, "CREATE DATABASE {}", name)  # somebody else's, or the state was lost
    with psycopg.connect(postgres_url, dbname=name, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int)")

    for _ in range(2):
        with (
            pytest.raises(psycopg.errors.DuplicateDatabase),
            alchemy("my-app", stage="lost") as app,
        ):
            app.create(Database("orders", server=alchemy.env("PGSERVER")))

    with psycopg.connect(postgres_url, dbname=name, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM orders").fetchall() == []
    execute(postgres_url, "DROP DATABASE {}", name)
