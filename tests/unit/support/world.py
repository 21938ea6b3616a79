"""A world that resources of tests live in: what exists in it, what was done to it, and what goes wrong there."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import ClassVar

from pytest_alchemy import Resource, output


class Broken(NotImplementedError):
    """An error against which trying again does not help."""


class World:
    """
    Everything that exists, by physical name.

    Attributes:
        alive: Id of each thing that exists, by physical name.
        done: What was called, in order: ``create a``.
        threads: Threads in which it was called, by the same words.
        broken: Errors to be raised by calls, by the same words.
    """

    def __init__(self) -> None:
        self.alive: dict[str, str] = {}
        self.done: list[str] = []
        self.threads: dict[str, threading.Thread] = {}
        self.broken: dict[str, BaseException] = {}

    def act(self, verb: str, resource: Resource) -> None:
        """Note that a hook was called; make or unmake its thing."""
        self.note(f"{verb} {resource.id}")
        if verb in ("create", "update"):
            self.alive[resource.name] = resource.id
        elif verb == "destroy":
            self.alive.pop(resource.name, None)

    def note(self, call: str) -> None:
        """Note *call*, and let it fail if it is to."""
        self.done.append(call)
        self.threads[call] = threading.current_thread()
        if call in self.broken:
            raise self.broken[call]

    @property
    def ids(self) -> list[str]:
        """Ids of what exists, in alphabetical order."""
        return sorted(self.alive.values())

    def times(self, call: str) -> int:
        """Return how often *call* was made."""
        return Counter(self.done)[call]


_worlds = [World()]


def world() -> World:
    """Return the world of the test that runs now."""
    return _worlds[-1]


def new_world() -> World:
    """Begin a new world."""
    _worlds[:] = [World()]
    return world()


class Thing(Resource):
    """A thing with plain hooks."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    url: str = output()

    def create(self) -> None:
        world().act("create", self)
        self.url = f"thing://{self.name}"

    def destroy(self) -> None:
        world().act("destroy", self)


class AsyncThing(Resource):
    """A thing with coroutine hooks."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    url: str = output()

    async def create(self) -> None:
        world().act("create", self)
        self.url = f"thing://{self.name}"

    async def destroy(self) -> None:
        world().act("destroy", self)


class ReadableThing(Thing):
    """A thing that can be looked for."""

    def read(self) -> bool:
        world().note(f"read {self.id}")
        return self.name in world().alive


class ChangingThing(Thing):
    """A thing that can be changed."""

    def update(self, previous: ChangingThing) -> None:
        world().act("update", self)
        world().done.append(f"size {previous.size} -> {self.size}")


class Group(Resource):
    """A thing that makes two others inside itself, and keeps one of them."""

    size: int = 1
    first: Thing = output()

    def create(self) -> None:
        world().act("create", self)
        self.first = self.scope.create(Thing("first", size=self.size))
        self.scope.create(Thing("second"))
        world().note(f"complete {self.id}")

    def destroy(self) -> None:
        world().act("destroy", self)


class AsyncGroup(Resource):
    """The same with coroutine hooks; awaiting makes its children inside it."""

    size: int = 1
    first: AsyncThing = output()

    async def create(self) -> None:
        world().act("create", self)
        self.first = await AsyncThing("first", size=self.size)
        await AsyncThing("second")
        world().note(f"complete {self.id}")

    async def destroy(self) -> None:
        world().act("destroy", self)


class Slow(Resource):
    """Is being created until it is let go."""

    size: int = 1
    begun: ClassVar[asyncio.Event]
    go_on: ClassVar[asyncio.Event]

    async def create(self) -> None:
        type(self).begun.set()
        await type(self).go_on.wait()
        world().act("create", self)

    async def destroy(self) -> None:
        world().act("destroy", self)


class Meeting(Resource):
    """Is created by several threads at once."""

    begun: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    def create(self) -> None:
        type(self).begun.set()
        assert type(self).go_on.wait(10.0)
        world().act("create", self)

    def destroy(self) -> None:
        world().act("destroy", self)
