"""A world in a folder, and resources of many shapes in it: what they meet there that must not be is noted down."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_alchemy import Resource, output


class Boom(NotImplementedError):
    """A hook that fails; trying again at once does not help."""


class World:
    """
    A folder with a file for each thing, which tells its id, its size and what it uses.

    Args:
        folder: Where it is, for this process and those that it forks.
        fault: Before (or, negative, after) which call of a hook something happens, counted from 1; 0 for never.
        dies: Whether the process ends then; else the hook fails.
    """

    def __init__(self, folder: Path, fault: int = 0, *, dies: bool = False) -> None:
        self._things, self._log = folder / "things", folder / "log"
        self._things.mkdir(parents=True, exist_ok=True)
        self._fault, self._dies, self._calls = fault, dies, 0
        self._guard = threading.RLock()

    @property
    def things(self) -> dict[str, dict[str, Any]]:
        """What exists, by physical name."""
        with self._guard:  # or a thread meets what another one is just removing
            return {file.name: json.loads(file.read_text()) for file in self._things.iterdir()}

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Ids and sizes of what exists."""
        return sorted((thing["id"], thing["size"]) for thing in self.things.values())

    @property
    def story(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def note(self, *words: object) -> None:
        with self._log.open("a") as file:
            print(*words, file=file)

    def has(self, thing: Resource) -> bool:
        return (self._things / thing.name).exists()

    def put(self, thing: Sized, *, new: bool) -> None:
        uses = [other.name for other in thing.uses]
        if self.has(thing) is new:
            self.note("WRONG:", thing, "is there" if new else "is not there", thing.name)
        for name in set(uses) - self.things.keys():
            self.note("WRONG:", thing, "uses what is not there:", name)
        said = {"id": thing.id, "size": thing.size, "uses": uses}
        with self._guard:
            (self._things / thing.name).write_text(json.dumps(said))

    def drop(self, thing: Resource) -> None:
        for user in self.things.values():
            if thing.name in user["uses"]:
                self.note("WRONG:", thing, "is destroyed, which is used by", user["id"], thing.name)
        with self._guard:
            (self._things / thing.name).unlink(missing_ok=True)

    def act(self, verb: str, thing: Resource, effect: Callable[[], object]) -> None:
        self._calls += 1
        self._happens(self._fault == self._calls)
        effect()
        self.note(verb, thing.id, thing.name)
        self._happens(-self._fault == self._calls)

    def _happens(self, now: bool) -> None:
        if now:
            self.note("dies" if self._dies else "fails")
            if self._dies:
                os._exit(77)
            raise Boom


_worlds: list[World] = []


def here() -> World:
    return _worlds[-1]


def enter(world: World) -> World:
    _worlds[:] = [world]
    return world


class Sized(Resource, create_timeout=0.0):
    """It cannot be changed, nor be looked for."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy

    def create(self) -> Any:
        here().act("create", self, lambda: here().put(self, new=True))

    def destroy(self) -> Any:
        here().act("destroy", self, lambda: here().drop(self))


class Fixed(Sized):
    def read(self) -> bool:
        return here().has(self)


class Changing(Fixed):
    def update(self, previous: Any) -> Any:
        here().act("update", self, lambda: here().put(self, new=False))


class Stack(Fixed):
    """Makes others inside itself, each of which uses the one before, and keeps the first."""

    parts: list[str] = []  # noqa: RUF012  # as above
    first: Resource = output()

    def create(self) -> Any:
        super().create()
        self.fill(self.scope.create)

    def fill(self, create: Callable[[Any], Any]) -> None:
        made: list[Resource] = []
        for number, part in enumerate(self.parts):
            kind = (Fixed, Changing, Sized)[number % 3]
            size = self.size if number % 2 else 1
            made.append(create(kind(part, size=size, uses=made[-1:])))
        self.first = made[0]


class ChangingStack(Stack):
    def update(self, previous: Any) -> Any:
        Changing.update(self, previous)  # type: ignore[arg-type]  # it needs no more than a stack has
        self.fill(self.scope.create)


class Nest(ChangingStack):
    """The same in a scope inside its own."""

    def fill(self, create: Callable[[Any], Any]) -> None:
        with self.scope.run("nested") as nested:
            super().fill(nested.create)


class Tower(ChangingStack):
    """Makes a stack inside itself, and what uses a part of that."""

    def fill(self, create: Callable[[Any], Any]) -> None:
        stack = create(ChangingStack("stack", size=self.size, parts=self.parts))
        create(Fixed("beside", uses=[stack.first, stack]))
        self.first = stack


class Async(Resource, create_timeout=0.0):
    """The hooks of what can be changed, as coroutines."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # as above

    async def create(self) -> None:
        await asyncio.sleep(0)
        Sized.create(self)  # type: ignore[arg-type]  # it has all that this needs

    async def read(self) -> bool:
        return here().has(self)

    async def update(self, previous: Any) -> None:
        await asyncio.sleep(0)
        Changing.update(self, previous)  # type: ignore[arg-type]  # as above

    async def destroy(self) -> None:
        await asyncio.sleep(0)
        Sized.destroy(self)  # type: ignore[arg-type]  # as above


PLAIN = (Sized, Fixed, Changing, Async)
COMPOSITE = (Stack, ChangingStack, Nest, Tower)
