"""Hooks that the engine could not call or whose result it could not use."""

from __future__ import annotations

from pytest_alchemy import Env, Resource, alchemy


class Wrong(Resource):
    server: Env

    def create(self, size: int) -> None:  # error
        ...

    async def read(self) -> str:  # error
        return "yes"

    def destroy(self) -> None:
        self.server.value + 1  # error

    def world(self) -> int:  # error
        return 1


Wrong("w", server="postgresql://localhost")  # error
Wrong("w", server=alchemy.env(7))  # error
