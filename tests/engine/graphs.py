"""Random graphs of things that need each other, and a provider that notes in which order they go."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import Any

from pytest_alchemy import Resource
from pytest_alchemy.scope import Scope


class TooMany(Exception):
    """The provider is called too often."""

    status_code = 429

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many calls")
        self.headers = {"Retry-After": str(retry_after)}


class Denied(Exception):
    """The provider never does it."""

    status_code = 403


class Ledger:
    """
    What exists, who needs it, and what went wrong.

    Attributes:
        alive: Ids of what exists.
        needed_by: Ids of what needs each.
        wrong: Ids of what was destroyed while something still needed it.
        refuse: Ids of what is refused once.
        deny: Ids of what is never destroyed.
        most: How many destroys ran at once, at most.
    """

    def __init__(self, seed: int = 0, *, retry_after: float = 0.01) -> None:
        self.alive: set[str] = set()
        self.needed_by: dict[str, list[str]] = {}
        self.wrong: list[str] = []
        self.calls: Counter[str] = Counter()
        self.refuse: set[str] = set()
        self.deny: set[str] = set()
        self.retry_after = retry_after
        self.running = self.most = 0
        self.random = random.Random(seed)
        self._lock = threading.Lock()

    def begin(self, id: str) -> None:
        with self._lock:
            self.calls[id] += 1
            self.running += 1
            self.most = max(self.most, self.running)
            if any(other in self.alive for other in self.needed_by.get(id, ())):
                self.wrong.append(id)
            if id in self.refuse:
                self.refuse.remove(id)
                self.running -= 1
                raise TooMany(self.retry_after)
            if id in self.deny:
                self.running -= 1
                raise Denied

    def end(self, id: str) -> None:
        with self._lock:
            self.running -= 1
            self.alive.discard(id)


ledger = Ledger()


def new_ledger(seed: int, *, retry_after: float = 0.01) -> Ledger:
    """Begin a new ledger."""
    ledger.__init__(seed, retry_after=retry_after)  # type: ignore[misc]  # as it was
    return ledger


class Node(Resource):
    """One thing in a graph; plain hooks."""

    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy

    def create(self) -> None:
        ledger.alive.add(self.id)

    def destroy(self) -> None:
        ledger.begin(self.id)
        ledger.end(self.id)

    def world(self) -> str:
        return "graph"


class AsyncNode(Node, kind="asyncnode"):
    """The same with coroutine hooks."""

    async def create(self) -> None:  # type: ignore[override]  # hooks may be either
        ledger.alive.add(self.id)

    async def destroy(self) -> None:  # type: ignore[override]  # as above
        ledger.begin(self.id)
        await asyncio.sleep(0)
        ledger.end(self.id)


async def grow(
    scope: Scope, kinds: list[type[Any]], *, size: int = 300, depth: int = 6, refused: float = 0.05
) -> None:
    """
    Create *size* things in *depth* layers, each of which needs up to three of the layer below.

    Args:
        scope: Where.
        kinds: Classes to choose from.
        size: How many.
        depth: How many layers; each thing but those of the first needs one of the layer before.
        refused: Part of them whose destroy is refused once.
    """
    layers: list[list[Resource]] = [[] for _ in range(depth)]
    for number in range(size):
        depth_here = number * depth // size
        below = layers[depth_here - 1] if depth_here else []
        needs = ledger.random.sample(below, min(len(below), ledger.random.randint(1, 3)))
        kind = ledger.random.choice(kinds)
        made = await scope.acreate(kind(f"n{number}", uses=needs))
        layers[depth_here].append(made)
        for need in needs:
            ledger.needed_by.setdefault(need.id, []).append(made.id)
    ids = sorted(ledger.alive)
    ledger.refuse = set(ledger.random.sample(ids, int(size * refused)))
