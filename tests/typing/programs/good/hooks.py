"""Every hook may be plain or async, in any mixture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self, assert_type

from pytest_alchemy import Env, Resource, alchemy, output
from pytest_alchemy.cloudflare import D1Database


class Plain(Resource):
    server: Env
    host: str = output()

    def create(self) -> None:
        self.host = self.server.value

    def read(self) -> bool:
        return True

    def update(self, previous: Self) -> None:
        assert_type(previous.server, Env)

    def destroy(self) -> None:
        assert_type(self.host, str)

    def world(self) -> str:
        return self.server.value

    @classmethod
    def list(cls) -> Iterable[str]:
        return []


class Awaited(Resource):
    server: Env

    async def create(self) -> None:
        await self.scope.acreate(Plain("inner", server=self.server))

    async def read(self) -> bool:
        return True

    async def update(self, previous: Self) -> None:
        assert_type(previous.server, Env)

    async def destroy(self) -> None:
        pass

    @classmethod
    async def list(cls) -> Iterable[str]:
        return []


class Mixed(Resource):
    """A child may be kept as an output, a dependency as a property."""

    needs: Plain
    db: D1Database = output()

    async def create(self) -> None:
        self.db = await self.scope.acreate(D1Database("inner"))

    def destroy(self) -> None:
        assert_type(self.db, D1Database)


plain = Plain("p", server=alchemy.env("SERVER"))
mixed = Mixed("m", needs=plain)
assert_type(mixed.needs, Plain)
