"""Opening and closing an application."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.errors import (
    BlockingCallError,
    NoScopeError,
    NotRecordedError,
    ScopeClosedError,
    StageDestroyed,
    StageGivenUpError,
    StageLockedError,
    StateFolderError,
    UnknownScopeError,
    UnknownStageError,
)
from pytest_alchemy.programs.commandline import CommandLine, commanded

from .things import AsyncThing, Thing, World, here


def deploy(*things: str, stage: str = "prod") -> None:
    with alchemy("my-app", stage=stage) as app:
        for id in things:
            app.create(Thing(id))


def test_a_program_of_blocking_code_deploys_an_application(world: World, folder: Path) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        assert alchemy.current() is backend
        thing = backend.create(Thing("api"))

    assert alchemy.current() is None
    assert thing.url == f"thing://{thing.name}"
    assert world.sizes == {"api": 1}


def test_a_program_of_coroutines_deploys_an_application(world: World) -> None:
    async def program() -> None:
        app = await alchemy("my-app", stage="prod")
        assert alchemy.current() is app
        async with alchemy.run("backend") as backend:
            assert await AsyncThing("api") in backend.resources
        await Thing("web")
        await app.afinalize()
        assert alchemy.current() is None

    asyncio.run(program())

    assert world.sizes == {"api": 1, "web": 1}


def test_an_async_block_finalizes_the_application_at_its_end(world: World) -> None:
    async def program(*things: str) -> None:
        async with alchemy("my-app", stage="prod"):
            for thing in things:
                await Thing(thing)

    asyncio.run(program("a", "b"))
    asyncio.run(program("b"))

    assert world.sizes == {"b": 1}


def test_an_application_tells_who_it_is() -> None:
    with alchemy("my-app", stage="prod", destroy_strategy="parallel") as app:
        backend = app.run("backend")

    assert (app.app, app.stage, app.path, app.name, app.phase) == (
        "my-app",
        "prod",
        (),
        "my-app",
        "up",
    )
    assert (backend.path, backend.parent, backend.destroy_strategy) == (
        ("backend",),
        app,
        "parallel",
    )


def test_each_scope_has_a_state_file_of_its_own(world: World, folder: Path) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        app.create(Thing("web"))
        backend.create(Thing("api"))

    stage = folder / ".alchemy" / "my-app" / "prod"
    web = json.loads((stage / "state.json").read_text())
    api = json.loads((stage / "backend" / "state.json").read_text())
    assert {key: said["type"] for key, said in web["resources"].items()} == {"thing-web": "Thing"}
    assert api["resources"]["thing-api"]["name"] in world.alive
    assert {"resources", "version", "last_updated"} <= api.keys()


def test_a_stage_that_another_program_owns_is_refused_and_nothing_is_called(world: World) -> None:
    with (
        alchemy("my-app", stage="prod"),
        pytest.raises(StageLockedError),
        alchemy("my-app", stage="prod") as second,
    ):
        second.create(Thing("a"))

    assert world.called == []
    deploy("a")  # it is free again


def test_a_stage_without_locking_is_open_to_whoever_says_so(world: World) -> None:
    with (
        alchemy("my-app", stage="prod"),
        alchemy("my-app", stage="prod", state_locking=False) as second,
    ):
        second.create(Thing("a"))

    deploy("a")

    assert world.took() == ["create a"]


def test_different_stages_do_not_wait_for_each_other(world: World) -> None:
    with alchemy("my-app", stage="prod") as prod, alchemy("my-app", stage="pr-1") as preview:
        one, other = prod.create(Thing("a")), preview.create(Thing("a"))

    assert one.name != other.name
    assert len(world.alive) == 2


def test_a_program_that_ends_without_finalizing_gives_its_stage_up(
    world: World, folder: Path
) -> None:
    program = (
        "from pytest_alchemy import alchemy\n"
        "import asyncio\n"
        "async def main():\n"
        "    app = await alchemy('my-app', stage='prod')\n"
        "    app.defer  # it is used\n"
        "    await app.acreate(__import__('tests.scopes.things', fromlist=['']).Thing('a'))\n"
        "asyncio.run(main())\n"
    )
    repository = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=60, env={"PYTHONPATH": repository}
    )

    state = json.loads((folder / ".alchemy/my-app/prod/state.json").read_text())

    assert list(state["resources"]) == ["thing-a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("end", ["sys.exit(0)", "pass"])
def test_a_fork_of_a_program_ends_without_its_stage(folder: Path, end: str) -> None:
    program = (
        "import os, sys\n"
        "from pytest_alchemy import alchemy\n"
        "from tests.scopes.things import Thing\n"
        "with alchemy('my-app', stage='prod') as app, app.run('data') as data:\n"
        "    data.create(Thing('a'))\n"
        "    if (child := os.fork()) == 0:\n"
        f"        {end}\n"
        "    else:\n"
        "        print(os.waitpid(child, 0)[1])\n"
        "        data.create(Thing('b'))\n"
    )
    repository = str(Path(__file__).parents[2])

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": repository},
    )

    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
    state = json.loads((folder / ".alchemy/my-app/prod/data/state.json").read_text())
    assert list(state["resources"]) == ["thing-a", "thing-b"]


def test_a_finalized_application_makes_nothing_any_more(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))

    with pytest.raises(ScopeClosedError):
        app.create(Thing("b"))
    app.finalize()  # quiet


def test_a_blocking_block_inside_a_coroutine_names_its_twin() -> None:
    async def program() -> None:
        with alchemy("my-app", stage="prod"):
            pass

    with pytest.raises(BlockingCallError) as caught:
        asyncio.run(program())

    assert str(caught.value) == (
        "A `with` block that ends by finalizing was entered inside a coroutine, where it would stop the event loop.\n"
        "Use `async with`."
    )


def test_a_nested_scope_needs_one_around_it() -> None:
    with pytest.raises(NoScopeError):
        alchemy.run("backend")


def test_a_function_that_is_bound_works_in_its_scope_in_another_thread(world: World) -> None:
    found: list[object] = []

    def look() -> None:
        found.append(alchemy.current())

    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        thread = threading.Thread(target=backend.bind(look))
        thread.start()
        thread.join()

    assert found == [backend]


def test_the_read_phase_gives_back_what_is_recorded_and_calls_nothing(world: World) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        url = backend.create(Thing("api", size=3)).url
    world.took()

    with alchemy("my-app", stage="prod", phase="read") as app, app.run("backend") as backend:
        found = backend.create(Thing("api"))
        with pytest.raises(NotRecordedError) as caught:
            backend.create(Thing("new"))

    assert (found.url, found.size, world.took()) == (url, 3, [])
    assert str(caught.value) == (
        "Thing 'new' is not recorded in my-app/prod/backend, and the read phase creates nothing.\n"
        "Deploy the stage first (alchemy deploy), or read another one (--stage)."
    )
    assert len(world.alive) == 1


def test_the_read_phase_waits_for_nobody(world: World) -> None:
    deploy("a")

    with (
        alchemy("my-app", stage="prod") as owner,
        alchemy("my-app", stage="prod", phase="read") as reader,
    ):
        owner.create(Thing("a"))
        assert reader.create(Thing("a")).name in world.alive


def test_the_destroy_phase_destroys_the_stage_and_ends_the_program(
    world: World, folder: Path
) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        app.create(Thing("a"))
        backend.create(AsyncThing("b"))
    deploy("a", stage="other")

    with pytest.raises(StageDestroyed) as caught, alchemy("my-app", stage="prod", phase="destroy"):
        raise AssertionError("the program goes on")

    assert caught.value.code == 0
    assert caught.value.destroyed == 2
    assert len(world.alive) == 1
    assert [path.name for path in (folder / ".alchemy/my-app").iterdir()] == ["other"]


def test_the_destroy_phase_copies_what_is_recorded_first(world: World, folder: Path) -> None:
    deploy("a")
    said = (folder / ".alchemy/my-app/prod/state.json").read_bytes()

    with pytest.raises(StageDestroyed), alchemy("my-app", stage="prod", phase="destroy"):
        pass

    (copy,) = (folder / ".alchemy/.backups/my-app/prod").glob("*/state.json")
    assert copy.read_bytes() == said


def test_the_destroy_phase_uses_the_profile_of_its_program(world: World) -> None:
    with alchemy("my-app", stage="prod", profile="one") as app:
        app.create(Profiled("a"))

    with (
        pytest.raises(StageDestroyed),
        alchemy("my-app", stage="prod", profile="two", phase="destroy"),
    ):
        pass

    assert world.took() == ["create a", "destroy a", "with two"]


class Profiled(Thing, kind="profiled"):
    """It tells whose credentials it is destroyed with."""

    def destroy(self) -> None:
        super().destroy()
        here().called.append(f"with {self.scope.settings.profile}")


def test_what_cannot_be_destroyed_is_told_together_and_stays_recorded(world: World) -> None:
    deploy("a", "b", "c")
    world.broken = {"destroy b", "destroy c"}

    with pytest.raises(ExceptionGroup) as caught, alchemy("my-app", stage="prod", phase="destroy"):
        pass

    assert len(caught.value.exceptions) == 2
    assert str(caught.value) == (
        "2 of 3 resources of my-app/prod could not be destroyed (2 sub-exceptions)"
    )
    world.broken.clear()
    with pytest.raises(StageDestroyed), alchemy("my-app", stage="prod", phase="destroy"):
        pass
    assert world.alive == {}


def test_a_stage_of_which_nothing_is_recorded_is_not_destroyed_silently(world: World) -> None:
    deploy("a")

    with (
        pytest.raises(UnknownStageError) as caught,
        alchemy("my-app", stage="prd", phase="destroy"),
    ):
        pass

    assert str(caught.value) == (
        "Nothing is recorded of my-app/prd, so nothing was destroyed.\n"
        "Recorded here: prod. Check the name, and that this is the folder in which it was deployed."
    )


def test_an_application_can_be_destroyed_by_hand(world: World, folder: Path) -> None:
    deploy("a", "b")

    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("b"))
        app.destroy()

    assert world.alive == {}
    assert not (folder / ".alchemy/my-app").exists()


def test_an_application_that_is_destroyed_by_hand_copies_what_is_recorded_first(
    world: World, folder: Path
) -> None:
    deploy("a")
    said = (folder / ".alchemy/my-app/prod/state.json").read_bytes()

    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))
        app.destroy()

    (copy,) = (folder / ".alchemy/.backups/my-app/prod").glob("*/state.json")
    assert copy.read_bytes() == said


def test_the_copy_has_what_the_program_itself_made(world: World, folder: Path) -> None:
    with alchemy("my-app", stage="prod") as app:
        made = app.create(Thing("a"))
        app.destroy()

    (copy,) = (folder / ".alchemy/.backups/my-app/prod").glob("*/.journal/*")
    assert made.name in copy.read_text()


def test_an_application_of_which_no_copy_can_be_made_is_not_destroyed(
    world: World, folder: Path
) -> None:
    deploy("a")
    (folder / ".alchemy/.backups").write_text("not a folder")
    world.took()

    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))
        with pytest.raises(StateFolderError):
            app.destroy()

    assert world.took() == []


def test_nothing_is_copied_where_nothing_is_recorded_or_destroyed(
    world: World, folder: Path
) -> None:
    with alchemy("my-app", stage="prod") as app:
        app.destroy()
    deploy("a")
    with alchemy("my-app", stage="prod", phase="read") as app:
        app.destroy()

    assert not (folder / ".alchemy/.backups").exists()
    assert world.sizes == {"a": 1}


def test_one_nested_scope_can_be_destroyed_by_hand(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        for name in ("backend", "frontend"):
            with app.run(name) as scope:
                scope.create(Thing(name))

    with alchemy("my-app", stage="prod") as app:
        with app.run("frontend") as scope:
            scope.create(Thing("frontend"))
        app.run("backend").destroy()

    assert world.sizes == {"frontend": 1}


def test_a_nested_scope_that_nobody_knows_cannot_be_finalized() -> None:
    with alchemy("my-app", stage="prod") as app:
        app.run("backend")
        with pytest.raises(UnknownScopeError) as caught:
            app.finalize_nested("backnd")

    assert str(caught.value) == (
        "Scope my-app/prod has no nested scope 'backnd': nothing was finalized.\nIt has backend."
    )


def test_the_read_phase_destroys_nothing_either(world: World) -> None:
    deploy("a", "b")
    world.took()

    with alchemy("my-app", stage="prod", phase="read") as app:
        app.remove(app.create(Thing("a")))
        app.destroy()

    assert world.took() == []


def test_a_plan_destroys_nothing_by_hand_either(world: World) -> None:
    deploy("a", "b")
    world.took()

    with commanded(CommandLine(plan_only=True)), alchemy("my-app", stage="prod") as app:
        app.remove(app.create(Thing("new")))
        app.destroy()

    assert world.took() == []


def test_an_application_that_was_given_up_destroys_nothing_any_more(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))
    world.took()

    with pytest.raises(StageGivenUpError) as caught:
        app.destroy()

    assert world.took() == []
    assert str(caught.value) == (
        "my-app/prod was finalized or destroyed by this program already, which gave it up with that: "
        "nothing was destroyed now.\n"
        "Call destroy() in the place of finalize(), or run: alchemy destroy --app my-app --stage prod"
    )
    deploy("a")  # it is still recorded
    assert world.took() == []
