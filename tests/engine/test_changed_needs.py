"""What a resource needs after a change is known to whoever destroys it, the process that changed it or another one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pytest_alchemy import Resource

from .programs import Composite, Coroutine, Crash, Plain, Process, World, copied, new_world, reap


@pytest.fixture
def world() -> World:
    return new_world()


@pytest.fixture(params=[False, True], ids=["blocking", "asyncio"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Process:
    return Process(tmp_path / "state", asynchronous=request.param)


def crash(process: Process, to: Path) -> Path:
    """Return the stage as the process leaves it."""
    assert process.files.folder is not None
    folder = copied(process.files.folder, to)
    process.stop()
    return folder


def change(process: Process, *uses: Resource) -> None:
    process.hand.create(process.scope, Coroutine("changed", uses=list(uses)))


def test_a_crash_after_the_change_destroys_it_before_what_it_needs_now(
    process: Process, world: World, tmp_path: Path
) -> None:
    old = process.hand.create(process.scope, Plain("old"))
    change(process, old)
    new = process.hand.create(process.scope, Plain("new"))
    change(process, new)

    found = reap(crash(process, tmp_path / "dead"))

    assert [finding.what for finding in found] == ["reaped"] * 3
    assert (world.alive, world.missed) == (set(), set())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_within_the_change_destroys_it_before_what_it_may_need(
    process: Process, world: World, tmp_path: Path, moment: str
) -> None:
    old = process.hand.create(process.scope, Plain("old"))
    change(process, old)
    new = process.hand.create(process.scope, Plain("new"))
    dead: list[Path] = []
    assert process.files.folder is not None
    folder = process.files.folder
    world.dying = lambda: dead.append(copied(folder, tmp_path / "dead"))
    world.plan = {"changed": f"crash {moment}"}
    with contextlib.suppress(Crash):
        change(process, new)
    process.stop()
    world.dead = False

    found = reap(dead[0])

    assert [finding.what for finding in found] == ["reaped"] * 3
    assert (world.alive, world.missed) == (set(), set())


def test_what_is_no_longer_needed_does_not_wait_for_what_cannot_be_destroyed(
    process: Process, world: World, tmp_path: Path
) -> None:
    old = process.hand.create(process.scope, Plain("old"))
    change(process, old)
    new = process.hand.create(process.scope, Plain("new"))
    change(process, new)
    world.stubborn[_name(world, "changed")] = 99

    found = reap(crash(process, tmp_path / "dead"))

    assert {f.facts["id"]: f.what for f in found} == {
        "old": "reaped",
        "new": "leaked",
        "changed": "leaked",
    }


def test_a_change_may_need_what_was_made_later_inside_another_one(
    process: Process, world: World, tmp_path: Path
) -> None:
    change(process)
    group = process.hand.create(process.scope, Composite("group"))
    change(process, group.first)

    found = reap(crash(process, tmp_path / "dead"))

    assert [finding.what for finding in found] == ["reaped"] * 4
    assert (world.alive, world.missed) == (set(), set())


def test_things_that_were_changed_to_need_each_other_are_destroyed_all_the_same(
    process: Process, world: World, tmp_path: Path
) -> None:
    change(process)
    other = process.hand.create(process.scope, Coroutine("other", uses=process.scope.resources))
    change(process, other)

    found = reap(crash(process, tmp_path / "dead"))

    assert [finding.what for finding in found] == ["reaped"] * 2
    assert world.alive == set()


def _name(world: World, id: str) -> str:
    [name] = (name for name in world.alive if id in name)
    return name
