"""What is declared no longer is destroyed, and nothing else is."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.errors import BlockEndedError, NothingDeclaredWarning, ScopeClosedError
from pytest_alchemy.programs.application import Application
from pytest_alchemy.programs.commandline import CommandLine, commanded

from .things import AsyncThing, Fixed, Refused, Stack, Thing, World, here

Nest = dict[str, list[str]]


def deploy(scopes: Nest) -> None:
    """Deploy an application with these things in these nested scopes; ``""`` is the application's own."""
    with alchemy("my-app", stage="prod") as app:
        for thing in scopes.get("", ()):
            app.create(Thing(thing))
        for name, things in scopes.items():
            if name:
                with app.run(name) as scope:
                    for thing in things:
                        scope.create(Thing(thing))


@pytest.fixture
def deployed(world: World) -> World:
    deploy({"": ["a", "b"], "one": ["c", "d"], "two": ["e"]})
    world.took()
    return world


def test_an_application_destroys_what_is_declared_no_longer_when_it_is_finalized(
    deployed: World,
) -> None:
    asyncio.run(reopened())

    assert deployed.took() == []
    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))
        assert deployed.took() == []

    assert deployed.sizes == {"a": 1}


async def reopened() -> None:
    app = await alchemy("my-app", stage="prod")
    await Thing("a")
    app.give_up()  # as at the end of a process


def test_a_nested_scope_destroys_what_is_declared_no_longer_at_the_end_of_its_block(
    deployed: World,
) -> None:
    with alchemy("my-app", stage="prod") as app:
        with app.run("one") as one:
            one.create(Thing("c"))
        assert deployed.took() == ["destroy d"]
        app.create(Thing("a"))
        app.create(Thing("b"))
        with app.run("two") as two:
            two.create(Thing("e"))

    assert deployed.took() == []


def test_a_nested_scope_can_be_finalized_by_hand(deployed: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        app.run("one").create(Thing("c"))
        app.finalize_nested("one")
        assert deployed.took() == ["destroy d"]
        app.finalize_nested("two")
        assert deployed.took() == ["destroy e"]


def test_a_coroutine_finalizes_a_nested_scope_by_hand(deployed: World) -> None:
    async def program() -> None:
        app = await alchemy("my-app", stage="prod")
        await app.run("one").acreate(Thing("c"))
        await app.afinalize_nested("one")
        app.give_up()

    asyncio.run(program())

    assert deployed.took() == ["destroy d"]


def test_a_block_that_has_ended_is_not_opened_again(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        with app.run("one") as one:
            one.create(Thing("a"))
        with pytest.raises(BlockEndedError) as caught, app.run("one"):
            pass

    assert str(caught.value) == (
        "Scope my-app/prod/one was finalized at the end of its block, so it cannot be opened again.\n"
        "Declare all of it in one block: what only a second one declares, the end of the first one destroys."
    )
    assert world.sizes == {"a": 1}


def test_a_block_that_raised_may_be_tried_again(deployed: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        with suppress(ZeroDivisionError), app.run("one"):
            raise ZeroDivisionError
        with app.run("one") as one:
            one.create(Thing("c"))
            one.create(Thing("d"))

    assert deployed.sizes == {"c": 1, "d": 1}


def test_the_read_phase_opens_a_block_as_often_as_it_likes(deployed: World) -> None:
    with alchemy("my-app", stage="prod", phase="read") as app:
        for thing in ("c", "d"):
            with app.run("one") as one:
                one.create(Thing(thing))

    assert deployed.took() == []


def test_the_last_of_several_open_blocks_of_one_scope_finalizes_it(deployed: World) -> None:
    async def declare(app: Application, thing: str, after: asyncio.Event) -> None:
        async with app.run("one") as one:
            await after.wait()
            await one.acreate(Thing(thing))

    async def program() -> None:
        async with alchemy("my-app", stage="prod") as app:
            first, second = asyncio.Event(), asyncio.Event()
            tasks = [
                asyncio.create_task(declare(app, "c", first)),
                asyncio.create_task(declare(app, "new", second)),
            ]
            await asyncio.sleep(0)  # both blocks are open
            first.set()
            await tasks[0]
            assert deployed.took() == []
            second.set()
            await tasks[1]
            assert deployed.took() == ["create new", "destroy d"]

    asyncio.run(program())


def test_what_is_declared_while_the_application_is_finalized_is_refused(world: World) -> None:
    async def program(*things: str, late: str = "") -> None:
        app = await alchemy("my-app", stage="prod")
        for thing in things:
            await Slow(thing)
        finalizing = asyncio.create_task(app.afinalize())
        if late:
            await Slow.begun.wait()
            with pytest.raises(ScopeClosedError):
                await app.acreate(Slow(late))
            Slow.goes_on.set()
        await finalizing

    asyncio.run(program("a", "b", "c"))
    asyncio.run(program("a", late="b"))

    assert world.sizes == {"a": 1}


class Slow(AsyncThing, kind="slow"):
    """It waits in the middle of its destroy."""

    begun: ClassVar[asyncio.Event] = asyncio.Event()
    goes_on: ClassVar[asyncio.Event] = asyncio.Event()

    async def destroy(self) -> None:  # type: ignore[override]  # hooks may be either
        self.begun.set()
        await self.goes_on.wait()
        here().act("destroy", self)


def test_siblings_are_not_touched(deployed: World) -> None:
    app = alchemy("my-app", stage="prod").__enter__()
    with app.run("one") as one:
        one.create(Thing("new"))
    app.give_up()

    assert set(deployed.took()) == {"create new", "destroy c", "destroy d"}


def test_an_undeclared_nested_scope_goes_with_everything_in_it(
    deployed: World, folder: Path
) -> None:
    deploy({"": ["a", "b"], "one": ["c", "d"]})

    assert deployed.took() == ["destroy e"]
    assert sorted(p.name for p in (folder / ".alchemy/my-app/prod").iterdir() if p.is_dir()) == [
        ".journal",
        "one",
    ]


def test_an_undeclared_scope_inside_a_nested_one_goes_at_the_end_of_its_block(
    world: World,
) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("one") as one, one.run("inner") as inner:
        inner.create(Thing("x"))
        one.create(Thing("y"))
    world.took()

    with alchemy("my-app", stage="prod") as app, app.run("one") as one:
        one.create(Thing("y"))

    assert world.took() == ["destroy x"]


def test_children_of_a_removed_composite_go_with_it(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        app.create(Stack("stack", parts=["db", "cache"]))
        app.create(Thing("a"))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))

    assert world.took() == ["destroy stack", "destroy cache", "destroy db"]


def test_a_body_that_raises_destroys_nothing(deployed: World) -> None:
    with suppress(ZeroDivisionError), alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))
        raise ZeroDivisionError

    assert deployed.took() == []


def test_a_nested_body_that_raises_destroys_nothing_of_its_own_even_if_the_program_goes_on(
    deployed: World,
) -> None:
    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))
        with suppress(ZeroDivisionError), app.run("one") as one:
            one.create(Thing("c"))
            raise ZeroDivisionError

    assert sorted(deployed.took()) == ["destroy b", "destroy e"]


def test_a_program_that_declares_nothing_does_not_wipe_its_stage(deployed: World) -> None:
    with pytest.warns(NothingDeclaredWarning) as caught:
        deploy({})

    assert deployed.took() == []
    assert str(caught[0].message) == (
        "The program declared nothing in my-app/prod, so nothing of what is recorded there was destroyed.\n"
        "Run it with --force if nothing is to be left, or destroy the stage: alchemy destroy --stage prod"
    )


def test_an_empty_block_in_a_program_that_declares_nothing_wipes_nothing(deployed: World) -> None:
    with pytest.warns(NothingDeclaredWarning):
        deploy({"one": []})

    assert deployed.took() == []


def test_a_program_that_declares_nothing_wipes_its_stage_if_it_is_forced(deployed: World) -> None:
    with commanded(CommandLine(force=True)):
        deploy({})

    assert deployed.alive == {}


def test_a_block_that_is_empty_now_is_emptied(deployed: World) -> None:
    deploy({"": ["a", "b"], "one": [], "two": ["e"]})

    assert deployed.took() == ["destroy d", "destroy c"]


def test_what_still_needs_something_keeps_it_until_it_is_declared_anew(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        with app.run("data") as data:
            db = data.create(Thing("db"))
        app.create(Thing("user", uses=[db]))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        with app.run("data") as data:
            data.create(Thing("other"))
        assert world.took() == ["create other"]  # the user needs the db until it is changed
        app.create(Thing("user"))

    assert world.took() == ["update user", "destroy db"]


def test_what_is_older_than_the_part_that_it_needs_goes_before_it(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("user"))
    with alchemy("my-app", stage="prod") as app:
        stack = app.create(Stack("stack"))
        app.create(Thing("user", uses=[stack.first]))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("other"))

    assert world.took() == ["create other", "destroy stack", "destroy user", "destroy db"]


def test_what_failed_to_change_keeps_what_it_needed(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        db = app.create(Thing("db"))
        app.create(Thing("user", uses=[db]))
    world.broken = {"update user"}
    world.took()

    with alchemy("my-app", stage="prod") as app, suppress(Refused):
        app.create(Thing("user"))

    assert world.took() == ["update user"]
    world.broken.clear()
    deploy({"": ["user"]})
    assert world.took() == ["update user", "destroy db"]


def test_all_failures_come_together_and_what_failed_is_tried_by_the_next_run(
    deployed: World,
) -> None:
    deployed.broken = {"destroy b", "destroy e"}

    with pytest.raises(ExceptionGroup) as caught:
        deploy({"": ["a"], "one": ["c", "d"]})

    assert sorted(str(error) for error in caught.value.exceptions) == [
        "Thing 'b' could not be destroyed: Refused: destroy b",
        "Thing 'e' could not be destroyed: Refused: destroy e",
    ]
    deployed.broken.clear()
    deployed.took()
    deploy({"": ["a"], "one": ["c", "d"]})
    assert sorted(deployed.took()) == ["destroy b", "destroy e"]


def test_a_kind_that_is_gone_is_reported_and_the_rest_goes_on(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = folder / "kinds_of_mine.py"
    module.write_text("from tests.scopes.things import Fixed\nclass Odd(Fixed): pass\n")
    monkeypatch.syspath_prepend(str(folder))
    from kinds_of_mine import Odd  # type: ignore[import-not-found]

    with alchemy("my-app", stage="prod") as app:
        base, free = app.create(Thing("base")), app.create(Thing("free"))
        app.create(Odd("odd", uses=[base]))
        app.create(Thing("kept"))
    assert free.name in world.alive
    module.unlink()
    monkeypatch.delitem(sys.modules, "kinds_of_mine")
    world.took()

    with pytest.raises(ExceptionGroup) as caught:
        deploy({"": ["kept"]})

    assert world.took() == ["destroy free"]  # not the base, which what is left needs
    assert len(caught.value.exceptions) == 1
    assert str(caught.value.exceptions[0]).startswith("odd 'odd' could not be destroyed: ")


def test_one_that_is_replaced_waits_for_the_applications_end(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        with app.run("data") as data:
            db = data.create(Fixed("db"))
        app.create(Thing("user", uses=[db]))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        with app.run("data") as data:
            db = data.create(Fixed("db", size=2))
        app.create(Thing("user", uses=[db]))

    assert world.took() == ["create db", "update user", "destroy db"]
