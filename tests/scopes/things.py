"""A world in which programs make, change and unmake things that outlive them."""

from __future__ import annotations

from typing import Any, TypeVar

from pytest_alchemy import Resource, output
from pytest_alchemy.errors import MustReplaceError


class Refused(NotImplementedError):
    """The provider does not do it, and trying again does not help."""


class World:
    """
    What exists, and what was called.

    Attributes:
        alive: Size of each thing that exists, by physical name.
        called: Hooks in order: ``create a``.
        previous: Sizes that updates were told were applied before, in order.
        broken: What is refused, by the same words.
    """

    def __init__(self) -> None:
        self.alive: dict[str, Any] = {}
        self.called: list[str] = []
        self.previous: list[Any] = []
        self.broken: set[str] = set()

    def act(self, verb: str, resource: Resource) -> None:
        self.called.append(f"{verb} {resource.id}")
        if f"{verb} {resource.id}" in self.broken:
            raise Refused(f"{verb} {resource.id}")
        if verb == "create":
            assert resource.name not in self.alive, f"{resource.name} was made twice"
        if verb == "destroy":
            self.alive.pop(resource.name, None)
        else:
            self.alive[resource.name] = resource.size  # type: ignore[attr-defined]  # all things have one

    @property
    def sizes(self) -> dict[str, Any]:
        """Sizes of what exists, by the last words of the names, which are the ids."""
        return {name.rsplit("-", 2)[1]: size for name, size in sorted(self.alive.items())}

    def took(self) -> list[str]:
        """Return what was called since the last time that this was asked."""
        called, self.called = self.called, []
        return called


_worlds = [World()]


def here() -> World:
    """Return the world of the test that runs now."""
    return _worlds[-1]


W = TypeVar("W", bound=World)


def begin(world: W) -> W:
    """Let *world* be the one that everything lives in."""
    _worlds[:] = [world]
    return world


def new_world() -> World:
    """Begin a new world."""
    return begin(World())


class Fixed(Resource, create_timeout=60.0):
    """It cannot be changed."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    url: str = output()

    def create(self) -> None:
        here().act("create", self)
        self.url = f"thing://{self.name}"

    def read(self) -> bool:
        self.url = f"thing://{self.name}"
        return self.name in here().alive

    def destroy(self) -> None:
        here().act("destroy", self)


class Thing(Fixed, kind="thing"):
    """It can be changed."""

    def update(self, previous: Thing) -> None:
        here().previous.append(previous.size)
        here().act("update", self)


class AsyncThing(Fixed, kind="asyncthing"):
    """The same with coroutine hooks."""

    async def create(self) -> None:  # type: ignore[override]  # hooks may be either
        here().act("create", self)
        self.url = f"thing://{self.name}"

    async def read(self) -> bool:  # type: ignore[override]  # as above
        self.url = f"thing://{self.name}"
        return self.name in here().alive

    async def update(self, previous: AsyncThing) -> None:
        here().previous.append(previous.size)
        here().act("update", self)

    async def destroy(self) -> None:  # type: ignore[override]  # as above
        here().act("destroy", self)


class Picky(Fixed, kind="picky"):
    """It can grow, but not shrink."""

    def update(self, previous: Picky) -> None:
        if self.size < previous.size:
            raise MustReplaceError("Picky", "it cannot shrink")
        here().act("update", self)


class Stack(Resource, kind="stack"):
    """Makes others inside itself and keeps one of them as an output."""

    size: int = 1
    parts: list[str] = ["db"]  # noqa: RUF012  # as above
    first: Thing = output()

    async def create(self) -> None:
        await self.fill()
        here().act("create", self)

    async def update(self, previous: Stack) -> None:
        await self.fill()
        here().act("update", self)

    async def fill(self) -> None:
        made = [await Thing(part) for part in self.parts]
        self.first = made[0]

    def destroy(self) -> None:
        here().act("destroy", self)


class Tower(Stack, kind="tower"):
    """Makes a stack inside itself, and keeps that as an output."""

    stack: Stack = output()

    async def fill(self) -> None:
        self.stack = await Stack("stack", parts=self.parts)
        self.first = self.stack.first
