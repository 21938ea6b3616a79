"""A resource: one database on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import AsyncConnection, Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Composed, Identifier

from pytest_alchemy import Env, NameRule, Resource, alchemy, output

SERVER = "PGSERVER"


class PostgresDatabase(
    Resource, kind="postgres", name_rule=NameRule(max=63, alphabet="a-z0-9_"), create_timeout=10.0
):
    """
    A database on a PostgreSQL server.

    Properties:
        server: The variable with the server's libpq URL, of a user who may create databases.
        template: What to start as a copy of; nobody may be connected to it then. None for an empty database.

    Outputs:
        oid: The server's own number for it.
    """

    server: Env
    template: PostgresDatabase | None = None

    oid: int = output()

    # Coroutine hooks serve sync and async tests alike, and hold up neither.

    async def create(self) -> None:
        template = Identifier(self.template.name if self.template else "template1")
        await self._on_server(
            SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(self.name), template)
        )
        await self.read()

    async def read(self) -> bool:
        # Needed after a crash: the server finishes a CREATE DATABASE whose client has died, and until it has, there
        # is nothing to drop. Whoever cleans up looks again until `create_timeout` is over.
        async with await AsyncConnection.connect(self.server.value, autocommit=True) as server:
            found = await server.execute(
                "SELECT oid::bigint FROM pg_database WHERE datname = %s", [self.name]
            )
            row = await found.fetchone()
        if row is not None:
            self.oid = row[0]
        return row is not None

    async def destroy(self) -> None:
        # Gone already is fine, and so is a connection that a test forgot to close.
        await self._on_server(
            SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(self.name))
        )

    def world(self) -> str:
        where = conninfo_to_dict(self.server.value)
        return f"postgres://{where.get('host', 'localhost')}:{where.get('port', 5432)}"

    @classmethod
    async def list(cls) -> Iterable[str]:
        async with await AsyncConnection.connect(alchemy.env(SERVER).value) as server:
            found = await server.execute("SELECT datname FROM pg_database WHERE NOT datistemplate")
            return [name for (name,) in await found.fetchall()]

    def connect(self) -> Connection[TupleRow]:
        """Return a new connection to the database."""
        return Connection.connect(self.server.value, dbname=self.name)

    async def aconnect(self) -> AsyncConnection[TupleRow]:
        """Return a new connection to the database; asyncio twin of `connect`."""
        return await AsyncConnection.connect(self.server.value, dbname=self.name)

    async def _on_server(self, command: Composed) -> None:
        async with await AsyncConnection.connect(self.server.value, autocommit=True) as server:
            await server.execute(command)
