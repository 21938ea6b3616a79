"""A world, programs that make and unmake things in it, and crashes that leave nothing of them but their files."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from pytest_alchemy import Resource, output
from pytest_alchemy.outcome import Outcome
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.records import Deferred, Intent
from pytest_alchemy.recovery.deadstage import DeadStage, lock_of
from pytest_alchemy.recovery.finding import Finding
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings, Strategy
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.stagefiles import StageFiles
from pytest_alchemy.state.stagestate import load_stage
from tests.unit.support.scopes import AsyncHand, BlockingHand, Hand


class Crash(BaseException):
    """The process dies here."""


class Refused(Exception):
    """A hook fails."""


class World:
    """
    What exists, and what is to go wrong next.

    Attributes:
        alive: Names of what exists.
        uses: What each of them uses, by name.
        missed: Which of them was used by what, when it was unmade.
        plan: Words like ``create before``: what the hooks of the next things do, by id.
        stubborn: How often the destroy of a name still fails.
        dying: Called when the process dies: takes down what is on the disk in that moment.
    """

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.uses: dict[str, set[str]] = {}
        self.missed: set[str] = set()
        self.plan: dict[str, str] = {}
        self.stubborn: Counter[str] = Counter()
        self.dead = False
        self.dying: Any = None

    def make(self, resource: Resource) -> None:
        plan = self.plan.pop(resource.id, "")
        self._maybe(plan, "before")
        if not self.dead:
            assert resource.name not in self.alive, f"{resource.name} was made twice"
            self.alive.add(resource.name)
            self.uses[resource.name] = _names_used(resource)
        self._maybe(plan, "after")

    def change(self, resource: Resource) -> None:
        plan = self.plan.pop(resource.id, "")
        self._maybe(plan, "before")
        assert self.dead or resource.name in self.alive, f"{resource.name} is changed but not there"
        if not self.dead:
            self.uses[resource.name] = _names_used(resource)
        self._maybe(plan, "after")

    def unmake(self, name: str) -> None:
        if self.dead:
            return
        if self.stubborn[name] > 0:
            self.stubborn[name] -= 1
            raise Refused("still in use")
        if self.plan.get(name) == "crash at destroy":
            del self.plan[name]
            self._remove(name)
            self.die()
        self._remove(name)

    def _remove(self, name: str) -> None:
        if name in self.alive:
            self.alive.discard(name)
            users = {user for user in self.alive if name in self.uses.get(user, ())}
            self.missed |= {f"{user} misses {name}" for user in users - self._used_by(name)}

    def _used_by(self, name: str) -> set[str]:
        """Return everything that *name* uses, directly or through others; what uses it back has no order."""
        found: set[str] = set()
        more = {name}
        while more:
            found |= more
            more = {used for user in more for used in self.uses.get(user, ())} - found
        return found

    def die(self) -> None:
        """End the process: from here on nothing that it does has any effect."""
        self.dying()
        self.dead = True
        raise Crash

    def _maybe(self, plan: str, moment: str) -> None:
        if plan == f"fail {moment}":
            raise Refused(plan)
        if plan == f"lose {moment}":
            raise ConnectionError(plan)
        if plan == f"crash {moment}":
            self.die()


def _names_used(resource: Any) -> set[str]:
    return {other.name for other in resource.uses}


_worlds = [World()]


def here() -> World:
    """Return the world of the test that runs now."""
    return _worlds[-1]


def new_world() -> World:
    """Begin a new world."""
    _worlds[:] = [World()]
    return here()


def unmake_by_name(name: str) -> None:
    """Remove what was made by hand."""
    here().unmake(name)


class Plain(Resource, create_timeout=0.0):
    """Plain hooks; it can be looked for."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    url: str = output()

    def create(self) -> None:
        here().make(self)
        self.url = f"thing://{self.name}"

    def read(self) -> bool:
        return self.name in here().alive

    def destroy(self) -> None:
        here().unmake(self.name)


class Blind(Resource):
    """Plain hooks; whether it exists cannot be asked."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy

    def create(self) -> None:
        here().make(self)

    def destroy(self) -> None:
        here().unmake(self.name)


class Coroutine(Resource, create_timeout=0.0):
    """Coroutine hooks; it can be changed."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    url: str = output()

    async def create(self) -> None:
        await asyncio.sleep(0)
        here().make(self)
        self.url = f"thing://{self.name}"

    async def read(self) -> bool:
        return self.name in here().alive

    async def update(self, previous: Coroutine) -> None:
        here().change(self)

    async def destroy(self) -> None:
        await asyncio.sleep(0)
        here().unmake(self.name)


class Composite(Resource, create_timeout=0.0):
    """Makes two others inside itself, one before and one after its own thing."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    first: Plain = output()

    async def create(self) -> None:
        self.first = await Plain(f"{self.id}-first", size=self.size)
        here().make(self)
        await Coroutine(f"{self.id}-second", uses=[self.first])

    async def read(self) -> bool:
        return self.name in here().alive

    async def destroy(self) -> None:
        here().unmake(self.name)


KINDS: tuple[type[Any], ...] = (Plain, Blind, Coroutine, Composite)


class Process:
    """
    A program that runs: a stage with its files, and the scope of a test.

    Args:
        root: Where its state is.
        asynchronous: Whether it works with asyncio.
    """

    def __init__(self, root: Path, *, asynchronous: bool) -> None:
        run = new_run(3600)
        self.files = StageFiles(root, "main")
        self.stage = Stage(
            Settings("shop", "test"), f"test-main-{run.id}", run, Program(), self.files.open
        )
        self.scope = Scope(self.stage, parent=Scope(self.stage), name="t", place=(":t",))
        self.runner = asyncio.Runner() if asynchronous else None
        self.hand: Hand = AsyncHand(self.runner) if self.runner else BlockingHand()
        self.scopes = [self.scope]
        self.made: list[Resource] = []

    @property
    def names(self) -> set[str]:
        """Return the names that its records tell of."""
        return recorded(self.files.folder) if self.files.folder else set()

    def close(self, strategy: Strategy) -> Outcome:
        self.scope._strategy = strategy
        return self.hand.close(self.scope)

    def end(self, *, clean: bool) -> None:
        """Give up the stage, as a process does that ends by itself."""
        self.files.end(clean=clean)
        self.stop()

    def stop(self) -> None:
        """Free what the real end of a process frees."""
        self.files.end(clean=False)
        if self.runner is not None:
            self.runner.close()


def recorded(folder: Path) -> set[str]:
    """Return the names that the records in the stage *folder* tell of."""
    books = load_stage(FileStore(folder, user_key())).books.values()
    return {name for book in books for live in book.live.values() for name in _names(live.entry)}


def _names(entry: Intent | Deferred) -> list[str]:
    return [entry.name] if isinstance(entry, Intent) else [*entry.args]


def copied(folder: Path, to: Path) -> Path:
    """Copy the stage *folder* as it is now: what a process leaves that dies in this moment."""
    target = to / "shop" / folder.name
    shutil.copytree(folder, target)
    return target


def reap(folder: Path) -> list[Finding]:
    """Recover the stage in *folder*."""
    lock = lock_of(folder, timeout=0.0)
    try:
        return list(DeadStage(folder, user_key()).reap(lock))
    finally:
        lock.release()
