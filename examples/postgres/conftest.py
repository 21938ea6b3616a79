from __future__ import annotations

import pytest
from orders import SCHEMA
from postgres_database import SERVER, PostgresDatabase

from pytest_alchemy import Scope, alchemy


@pytest.fixture(scope="session")
def template(alchemy_stage: Scope) -> PostgresDatabase:
    """A database with the schema, made once in each worker: copying it is faster than migrating again."""
    database = alchemy_stage.create(PostgresDatabase("template", server=alchemy.env(SERVER)))
    with database.connect() as connection:
        connection.execute(SCHEMA)
    return database


@pytest.fixture
def database(alchemy_scope: Scope, template: PostgresDatabase) -> PostgresDatabase:
    """A migrated database that is this test's alone; nothing to tear down."""
    return alchemy_scope.create(
        PostgresDatabase("orders", server=template.server, template=template)
    )
