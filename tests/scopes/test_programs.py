"""Programs that declare, change, remove, nest, fail, crash and run again: in the end the world is what they declare."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pytest_alchemy import Resource
from pytest_alchemy.app import alchemy
from pytest_alchemy.programs.application import Application
from pytest_alchemy.programs.commandline import CommandLine, commanded
from pytest_alchemy.records import Intent
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import Root
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.stagestate import load_stage

from .things import AsyncThing, Fixed, Picky, Refused, Stack, Thing, World, begin

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Fixed, Thing, AsyncThing, Picky, Stack)
}
PLACES = st.sampled_from(["", "one", "two", "one/inner"])
IDS = st.sampled_from(["a", "b"])


class Crash(BaseException):
    """The process dies here."""


class StrictWorld(World):
    """
    A world that refuses to lose what is in use, and in which something goes wrong.

    Attributes:
        used: Names of what each thing uses, by name.
        wrong: What no provider would have put up with.
        trouble: In how many calls something goes wrong, what, and when; None for never.
        dying: Called in the moment of a crash.
    """

    def __init__(self, dying: Callable[[], None]) -> None:
        super().__init__()
        self.used: dict[str, set[str]] = {}
        self.wrong: list[str] = []
        self.trouble: tuple[int, str, str] | None = None
        self.dying = dying
        self.dead = False

    def act(self, verb: str, resource: Resource) -> None:
        if self.dead:
            raise Crash
        what, moment = self._next()
        if moment == "before":
            self._break(what)
        users = [name for name, used in self.used.items() if resource.name in used]
        if verb == "destroy" and users:
            self.wrong.append(f"{resource.name} was destroyed while {users} used it")
        if verb == "create" and resource.name in self.alive:
            self.wrong.append(f"{resource.name} was made twice")
        super().act(verb, resource)
        self.used.pop(resource.name, None)
        if verb != "destroy":
            self.alive[resource.name] = said_of(resource)
            uses: list[Resource] = getattr(resource, "uses", [])
            self.used[resource.name] = {other.name for other in uses}
        if moment == "after":
            self._break(what)

    def _next(self) -> tuple[str, str]:
        if self.trouble is None:
            return "", ""
        left, what, moment = self.trouble
        self.trouble = (left - 1, what, moment) if left else None
        return ("", "") if left else (what, moment)

    def _break(self, what: str) -> None:
        if what == "fail":
            raise Refused
        self.dying()
        self.dead = True
        raise Crash


def said_of(resource: Resource) -> tuple[Any, ...]:
    """Return what is to be seen of *resource* in the world."""
    place = resource.scope.parent.path if resource.scope.parent else ()
    return place, type(resource).__name__, resource.id, resource.size  # type: ignore[attr-defined]  # all have one


class Programs(RuleBasedStateMachine):
    """One application, and the programs that are written for it one after the other."""

    @initialize(data=st.data(), size=st.integers(2, 6))
    def begin(self, data: st.DataObject, size: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.root, self.copy = self.folder / ".alchemy", self.folder / "copy"
        self.world = begin(StrictWorld(self.copy_state))
        # By place and key: kind, size, keys of what it uses, parts of a composite.
        self.declared: dict[tuple[str, str], dict[str, Any]] = {}
        for _ in range(size):
            self.declare(data)
        self.deploy(asynchronous=False)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(data=st.data())
    def declare(self, data: st.DataObject) -> None:
        """Declare something, or change what is declared."""
        kind, id = data.draw(st.sampled_from(sorted(KINDS))), data.draw(IDS)
        key = data.draw(PLACES), f"{kind} {id}"
        earlier = [other for other in sorted(self.declared) if other < key]
        self.declared[key] = {
            "kind": kind,
            "id": id,
            "size": data.draw(st.integers(1, 3)),
            "parts": data.draw(st.sampled_from([["x"], ["y"], ["x", "y"]])),
            "uses": data.draw(st.lists(st.sampled_from(earlier), max_size=2)) if earlier else [],
        }

    @precondition(lambda self: self.declared)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Declare something no longer, and use it nowhere."""
        key = data.draw(st.sampled_from(sorted(self.declared)))
        del self.declared[key]
        for said in self.declared.values():
            said["uses"] = [other for other in said["uses"] if other != key]

    @rule(
        after=st.integers(0, 4),
        asynchronous=st.booleans(),
        moment=st.sampled_from(["before", "after"]),
    )
    def run_and_fail(self, after: int, asynchronous: bool, moment: str) -> None:
        """Run a program in which one call to the provider fails."""
        self.world.trouble = (after, "fail", moment)
        with suppress(Refused, ExceptionGroup):
            self.deploy(asynchronous=asynchronous)
        self.world.trouble = None

    @rule(
        after=st.integers(0, 6),
        asynchronous=st.booleans(),
        moment=st.sampled_from(["before", "after"]),
    )
    def run_and_crash(self, after: int, asynchronous: bool, moment: str) -> None:
        """Run a program whose process dies in a call to the provider."""
        self.world.trouble = (after, "crash", moment)
        with suppress(Crash, ExceptionGroup):  # a destroy tells what ended it, whatever that was
            self.deploy(asynchronous=asynchronous)
        self.world.trouble = None
        if self.world.dead:
            shutil.rmtree(self.root)
            self.copy.rename(self.root)
            self.world.dead = False

    @rule(asynchronous=st.booleans())
    def run(self, asynchronous: bool) -> None:
        """Run the program to its end."""
        self.deploy(asynchronous=asynchronous)

        assert sorted(self.world.alive.values()) == self.expected()
        self.world.called.clear()
        self.deploy(asynchronous=asynchronous)
        assert self.world.called == []  # nothing has changed

    @invariant()
    def nothing_exists_that_no_record_names(self) -> None:
        if hasattr(self, "folder"):
            assert set(self.world.alive) <= self.recorded()

    @invariant()
    def no_provider_is_asked_for_the_impossible(self) -> None:
        if hasattr(self, "folder"):
            assert self.world.wrong == []

    def deploy(self, *, asynchronous: bool) -> None:
        with commanded(CommandLine(root=self.root, force=not self.declared)):
            if asynchronous:
                asyncio.run(self.program_of_coroutines())
            else:
                with alchemy("shop", stage="prod") as app:
                    self.program(app)

    def program(self, app: Application) -> None:
        made: dict[tuple[str, str], Resource] = {}
        for place in self.places():
            if not place:
                self.fill(app, place, made)
            elif "/" not in place:
                with app.run(place) as scope:
                    self.fill(scope, place, made)
                    if f"{place}/inner" in self.places():
                        with scope.run("inner") as inner:
                            self.fill(inner, f"{place}/inner", made)

    def fill(self, scope: Any, place: str, made: dict[tuple[str, str], Resource]) -> None:
        for key, said in self.said_in(place):
            made[key] = scope.create(self.resource(said, made))

    async def program_of_coroutines(self) -> None:
        made: dict[tuple[str, str], Resource] = {}
        async with alchemy("shop", stage="prod"):
            for place in self.places():
                if not place:
                    await self.afill(place, made)
                elif "/" not in place:
                    async with alchemy.run(place):
                        await self.afill(place, made)
                        if f"{place}/inner" in self.places():
                            async with alchemy.run("inner"):
                                await self.afill(f"{place}/inner", made)

    async def afill(self, place: str, made: dict[tuple[str, str], Resource]) -> None:
        for key, said in self.said_in(place):
            made[key] = await self.resource(said, made)

    def places(self) -> list[str]:
        """Return the scopes that the program opens."""
        used = {place for place, _ in self.declared}
        return sorted(used | {"one"} if "one/inner" in used else used)

    def said_in(self, place: str) -> list[tuple[tuple[str, str], dict[str, Any]]]:
        return [(key, self.declared[key]) for key in sorted(self.declared) if key[0] == place]

    def resource(self, said: dict[str, Any], made: dict[tuple[str, str], Resource]) -> Any:
        kind = KINDS[said["kind"]]
        if kind is Stack:
            return Stack(said["id"], size=said["size"], parts=said["parts"])
        return kind(said["id"], size=said["size"], uses=[made[key] for key in said["uses"]])

    def expected(self) -> list[tuple[Any, ...]]:
        """Return what the world looks like that the program declares."""
        found: list[tuple[Any, ...]] = []
        for (place, _), said in self.declared.items():
            path = tuple(filter(None, place.split("/")))
            found.append((path, said["kind"], said["id"], said["size"]))
            if said["kind"] == "Stack":
                inside = (*path, said["id"])
                found += [(inside, "Thing", part, 1) for part in said["parts"]]
        return sorted(found)

    def recorded(self) -> set[str]:
        """Return the names that the records of the stage tell of."""
        store = FileStore(Root(self.root).stage_path("shop", "prod"), user_key())
        books = load_stage(store).books.values()
        entries = [live.entry for book in books for live in book.live.values()]
        return {entry.name for entry in entries if isinstance(entry, Intent)}

    def copy_state(self) -> None:
        shutil.copytree(self.root, self.copy)


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(max_examples=20, stateful_step_count=8, deadline=None)
