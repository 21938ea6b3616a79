"""What was being destroyed when a program or a command ended, and is declared again."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from pytest_alchemy import Resource, alchemy

from .things import Fixed, Refused, Stack, Thing, Tower, World, here


class Cut(Fixed, kind="cut"):
    """Its destroy can be interrupted, or lose its answer."""

    def read(self) -> bool:
        here().called.append(f"read {self.id}")
        return super().read()

    def destroy(self) -> None:
        if "before" in here().broken:
            raise KeyboardInterrupt
        here().act("destroy", self)
        if "after" in here().broken:
            raise KeyboardInterrupt
        if "no answer" in here().broken:
            raise Refused("no answer")


class BlindCut(Resource, kind="blindcut"):
    """The same, and nobody can look whether it exists."""

    size: int = 1

    def create(self) -> None:
        here().act("create", self)

    def destroy(self) -> None:
        Cut.destroy(self)  # type: ignore[arg-type]  # nothing of it is used that is not here


def deploy(*resources: Resource) -> list[Any]:
    with alchemy("my-app", stage="prod") as app:
        return [app.create(resource) for resource in resources]


def give_up(world: World, how: str) -> None:
    """Deploy without what is to go, and be cut off while it is destroyed."""
    world.broken = {how}
    with suppress(KeyboardInterrupt, ExceptionGroup):
        deploy(Thing("b"))
    world.broken = set()
    world.took()


@pytest.mark.parametrize("how", ["after", "no answer"])
def test_what_is_gone_is_made_again(world: World, how: str) -> None:
    (made, _) = deploy(Cut("a"), Thing("b"))
    give_up(world, how)
    assert made.name not in world.alive

    deploy(Cut("a"), Thing("b"))

    assert world.sizes == {"a": 1, "b": 1}


def test_what_is_still_there_is_kept_and_looked_at_once(world: World) -> None:
    deploy(Cut("a"), Thing("b"))
    give_up(world, "before")

    deploy(Cut("a"), Thing("b"))
    deploy(Cut("a"), Thing("b"))

    assert world.took() == ["read a"]
    assert world.sizes == {"a": 1, "b": 1}


@pytest.mark.parametrize("how", ["before", "after"])
def test_what_nobody_can_look_for_is_made_again(world: World, how: str) -> None:
    deploy(BlindCut("a"), Thing("b"))
    give_up(world, how)

    deploy(BlindCut("a"), Thing("b"))

    assert world.sizes == {"a": 1, "b": 1}
    assert world.took()[-1] == "create a"
    deploy(BlindCut("a"), Thing("b"))
    assert world.took() == []


def test_what_is_declared_with_other_properties_is_made_with_those(world: World) -> None:
    deploy(Cut("a"), Thing("b"))
    give_up(world, "after")

    deploy(Cut("a", size=2), Thing("b"))

    assert world.sizes == {"a": 2, "b": 1}


def test_a_part_that_an_update_declared_no_longer_goes_although_its_program_failed(
    world: World,
) -> None:
    deploy(Stack("s", parts=["a", "b"]))
    with suppress(RuntimeError), alchemy("my-app", stage="prod") as app:
        app.create(Stack("s", parts=["b"], size=2))
        raise RuntimeError("later")
    assert world.sizes == {"a": 1, "b": 1, "s": 2}

    deploy(Stack("s", parts=["b"], size=2))

    assert world.sizes == {"b": 1, "s": 2}
    world.took()
    deploy(Stack("s", parts=["b"], size=2))
    assert world.took() == []


def test_a_part_of_a_part_that_an_update_declared_no_longer_goes_although_that_failed(
    world: World,
) -> None:
    deploy(Tower("t", parts=["a", "b"]))
    world.broken = {"update t"}
    with pytest.raises(Refused), alchemy("my-app", stage="prod") as app:
        app.create(Tower("t", parts=["b"]))
    world.broken.clear()
    assert world.sizes == {"a": 1, "b": 1, "stack": 1, "t": 1}

    deploy(Tower("t", parts=["b"]))

    assert world.sizes == {"b": 1, "stack": 1, "t": 1}
    world.took()
    deploy(Tower("t", parts=["b"]))
    assert world.took() == []


class CutStack(Stack, kind="cutstack"):
    """Its destroy can be interrupted when it is over."""

    def destroy(self) -> None:
        super().destroy()
        if "after" in here().broken:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("broken", "called", "again"),
    [
        ("destroy user", ["destroy stack", "destroy user"], []),
        ("after", ["destroy stack"], ["destroy stack"]),  # nobody knows that it is gone
    ],
)
def test_what_still_needs_a_part_of_a_composite_that_is_gone_is_changed_before_that_part_goes(
    world: World, broken: str, called: list[str], again: list[str]
) -> None:
    deploy(Thing("user"), Thing("other"))
    with alchemy("my-app", stage="prod") as app:
        stack = app.create(CutStack("stack"))
        for thing in Thing("user", uses=[stack.first]), Thing("other"):
            app.create(thing)
    world.took()
    world.broken = {broken}
    with suppress(ExceptionGroup, KeyboardInterrupt):
        deploy(Thing("other"))
    assert world.took() == called
    world.broken.clear()

    for _ in range(2):
        deploy(CutStack("stack"), Thing("user"), Thing("other"))

    assert world.took() == ["create db", "create stack", "update user", *again, "destroy db"]
    assert world.sizes == {"db": 1, "other": 1, "stack": 1, "user": 1}
