"""Programs that outlive each other, and fail or are killed anywhere: the last one leaves what it declares, in order."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.recovery.laststage import destroy_stage
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.stagestate import load_stage

from .deployed import COMPOSITE, PLAIN, Boom, Tower, World, enter

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

SEEDS = 400 if os.environ.get("ALCHEMY_SOAK") else 40
KILLED = 77
SCOPES = ("", "x", "y")


class Declared(NamedTuple):
    kind: Any
    id: str
    scope: str
    size: int
    uses: list[str]
    parts: list[str]


Program = list[Declared]


class Chance:
    """Draws programs in which an id always has the same kind, and nearly always the same scope."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.kinds = {id: random.choice((*PLAIN, *COMPOSITE)) for id in "abcdefgh"}
        self.scopes = {id: random.choice(SCOPES) for id in self.kinds}
        self.strategy: Any = random.choice(("sequential", "parallel"))
        self.uses_parts = random.random() < 0.3

    def program(self, least: int) -> Program:
        random, declared = self.random, list[Declared]()
        for id in random.sample(sorted(self.kinds), random.randint(least, 6)):
            scope = self.scopes[id] if random.random() < 0.9 else random.choice(SCOPES)
            earlier = [each.id for each in declared]
            uses = random.sample(earlier, min(len(earlier), random.choice((0, 0, 1, 2))))
            kind = self.kinds[id]
            parts = random.sample("pqrs", random.randint(1, 3)) if kind in COMPOSITE else []
            declared.append(Declared(kind, id, scope, random.randint(1, 2), uses, parts))
        return declared

    def fault(self) -> tuple[int, bool]:
        random = self.random
        if random.random() < 0.4:
            return 0, False
        return random.choice((-1, 1)) * random.randint(1, 8), random.random() < 0.5


def run(program: Program, chance: Chance) -> None:
    made: dict[str, Any] = {}

    def used(id: str) -> Any:
        part = chance.uses_parts and chance.kinds[id] in COMPOSITE
        return made[id].first if part else made[id]

    with alchemy("my-app", stage="prod", destroy_strategy=chance.strategy) as app:
        for scope in SCOPES:
            here = [each for each in program if each.scope == scope]
            block = app.run(scope) if scope and here else None
            if block:
                block.__enter__()
            for each in here:
                more = {"parts": each.parts} if each.parts else {}
                uses = [used(id) for id in each.uses if id in made]
                thing = each.kind(each.id, size=each.size, uses=uses, **more)
                made[each.id] = (block or app).create(thing)
            if block:
                block.__exit__(None, None, None)


def wanted(program: Program) -> list[tuple[str, int]]:
    found = []
    for each in program:
        found.append((each.id, each.size))
        found += [(part, each.size if n % 2 else 1) for n, part in enumerate(each.parts)]
        if each.kind is Tower:
            found += [("stack", each.size), ("beside", 1)]
    return sorted(found)


def in_child(act: Callable[[], object], world: World) -> int:
    """Do *act* in a forked child and return its exit code: 0, `KILLED`, 1 if a hook failed, 2 for anything else."""
    if (child := os.fork()) == 0:
        code = 2
        try:
            act()
            code = 0
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            code = 1 if Boom.__name__ in text else 2
            if code == 2:
                world.note(text)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def unrecorded(world: World) -> set[str]:
    folder = Path(".alchemy/my-app/prod")
    books = load_stage(FileStore(folder, user_key())).books.values() if folder.exists() else ()
    known = {getattr(live.entry, "name", "") for book in books for live in book.live.values()}
    return world.things.keys() - known


def destroy() -> None:
    findings = destroy_stage(Path(".alchemy").absolute(), "my-app", "prod")
    assert {finding.what for finding in findings} <= {"reaped"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happened_before_a_program_leaves_what_it_declares_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CI", "ALCHEMY_STAGE", "ALCHEMY_PROFILE", "ALCHEMY_FAKE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    chance = Chance(seed)
    world = enter(World(tmp_path / "world"))

    faults = [chance.fault() for _ in range(chance.random.randint(2, 6))]
    for fault, dies in (*faults, (0, False)):
        is_last = (fault, dies) == (0, False)
        program = chance.program(least=1)
        world.note("---", fault, dies, program)
        enter(World(tmp_path / "world", fault, dies=dies))
        code = in_child(lambda: run(program, chance), world)  # noqa: B023 # called at once
        assert code in ((0,) if is_last else (0, 1, KILLED)), world.story
        assert unrecorded(world) == set(), world.story
        assert code or world.sizes == wanted(program), world.story
    enter(world)
    assert in_child(destroy, world) == 0, world.story

    assert world.things == {}, world.story
    assert not Path(".alchemy/my-app").exists()
    assert "WRONG" not in world.story, world.story
