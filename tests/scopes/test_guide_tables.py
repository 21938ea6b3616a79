"""The tables and lists of the guide to scopes, a test for each line that no other file has one for."""

from __future__ import annotations

import asyncio
import getpass
import json
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pytest_alchemy import Scope, alchemy
from pytest_alchemy.cli import main
from pytest_alchemy.errors import AlreadyExistsError, StageDestroyed, StageLockedError
from pytest_alchemy.programs.application import Application
from pytest_alchemy.programs.commandline import CommandLine, commanded

from .things import Fixed, Stack, Thing, World, here


class Turnstile:
    """
    Counts what is being destroyed at once.

    Attributes:
        most: How many there were at most.
        awaited: How many each one waits for.
        limit: How long it waits for them, in seconds.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside = self.most = 0
        self.awaited, self.limit = 1, 0.0

    def enter(self) -> None:
        with self.changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.most >= self.awaited, self.limit)

    def leave(self) -> None:
        with self.changed:
            self.inside -= 1


class Watched(Fixed, kind="watched"):
    """It is destroyed through the turnstile of its world."""

    def destroy(self) -> None:
        turnstile: Turnstile = here().turnstile  # type: ignore[attr-defined]  # the tests that have these have one
        turnstile.enter()
        super().destroy()
        turnstile.leave()


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")


@pytest.fixture
def turnstile(world: World) -> Turnstile:
    turnstile = Turnstile()
    world.turnstile = turnstile  # type: ignore[attr-defined]  # for the things in it
    return turnstile


def deploy(*things: str, stage: str = "prod", nested: str = "", **options: Any) -> None:
    """Deploy things to a stage, and one more to a nested scope if there is one."""
    with alchemy("my-app", stage=stage, **options) as app:
        for thing in things:
            app.create(Thing(thing))
        if nested:
            with app.run(nested) as scope:
                scope.create(Thing("api"))


def destroy(stage: str, **options: Any) -> None:
    with (
        pytest.raises(StageDestroyed),
        alchemy("my-app", stage=stage, phase="destroy", **options),
    ):
        pass


def states(folder: Path) -> dict[str, str]:
    """Return the state files, by their places under the application's folder."""
    top = folder / ".alchemy" / "my-app"
    return {
        str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("state.json"))
    }


# The three guarantees.


def test_every_name_begins_with_the_path_of_its_scope(world: World) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        web, api = app.create(Thing("web")), backend.create(Thing("api"))

    assert web.name.startswith("alc-my-app-prod-web-")
    assert api.name.startswith("alc-my-app-prod-backend-api-")


# The scope of an application.


def test_the_application_is_the_top_level_scope() -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        assert (app.parent, app.path) == (None, ())
        assert backend.parent is app


def test_the_folder_of_an_application_contains_all_its_stages(world: World, folder: Path) -> None:
    for stage in ("prod", "pr-123"):
        deploy("web", stage=stage)

    stages = [path.name for path in (folder / ".alchemy" / "my-app").iterdir()]
    assert sorted(stages) == ["pr-123", "prod"]


def test_an_application_lives_until_it_is_finalized_by_hand(world: World) -> None:
    async def program() -> None:
        app = await alchemy("my-app", stage="prod")
        await Thing("web")
        assert world.took() == []
        assert alchemy.current() is app
        await app.afinalize()
        assert alchemy.current() is None

    deploy("web", "old")
    world.took()

    asyncio.run(program())

    assert world.took() == ["destroy old"]


# The scope of a stage.


def test_each_stage_has_state_files_of_its_own(world: World, folder: Path) -> None:
    deploy("web", stage="prod", nested="backend")
    deploy("web", stage="pr-123", nested="backend")

    said = states(folder)
    assert len(said) == 4
    assert all(json.loads(text)["stage"] == place.split("/")[0] for place, text in said.items())


def test_no_stage_interferes_with_another(world: World, folder: Path) -> None:
    deploy("web", "db", stage="prod")
    before, production = states(folder), dict(world.alive)
    deploy("web", "db", stage="pr-123")
    deploy("web", stage="pr-123")
    destroy("pr-123")

    assert (states(folder), world.alive) == (before, production)


def test_a_stage_lasts_until_the_command_destroys_it(world: World, folder: Path) -> None:
    deploy("web", nested="backend")
    assert len(world.alive) == 2

    result = CliRunner().invoke(main, ["destroy", "--stage", "prod", "--force"])

    assert result.exit_code == 0, result.output
    assert (world.alive, states(folder)) == ({}, {})


def test_a_stage_is_a_scope_but_a_nested_scope_is_no_stage(world: World, folder: Path) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        backend.create(Thing("api"))

    assert isinstance(app, Scope)
    assert isinstance(app, Application)
    assert isinstance(backend, Scope)
    assert not isinstance(backend, Application)
    assert app.stage == backend.stage == "prod"


# Nested scopes.


def test_nested_scopes_are_organized_as_folders_in_folders(world: World, folder: Path) -> None:
    with (
        alchemy("my-app", stage="prod") as app,
        app.run("backend") as backend,
        backend.run("jobs") as jobs,
    ):
        jobs.create(Thing("mail"))

    assert jobs.path == ("backend", "jobs")
    assert "prod/backend/jobs/state.json" in states(folder)


def test_components_use_the_same_ids_for_different_things(world: World) -> None:
    with alchemy("my-app", stage="prod") as app:
        for component in ("backend", "frontend"):
            with app.run(component) as scope:
                scope.create(Thing("worker"))

    assert world.took() == ["create worker", "create worker"]
    assert len(world.alive) == 2


# The scope of a resource.


def test_children_live_as_long_as_their_resource(world: World) -> None:
    def program(*, stack: bool) -> list[str]:
        with alchemy("my-app", stage="prod") as app:
            app.create(Thing("web"))
            if stack:
                app.create(Stack("stack", parts=["db", "cache"]))
        return world.took()

    program(stack=True)

    assert program(stack=True) == []
    assert program(stack=False) == ["destroy stack", "destroy cache", "destroy db"]


def test_a_resource_and_its_children_go_when_the_scope_around_it_is_finalized(
    world: World,
) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        backend.create(Stack("stack"))
        backend.create(Thing("api"))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        with app.run("backend") as backend:
            backend.create(Thing("api"))
        assert world.took() == ["destroy stack", "destroy db"]


def test_a_resource_has_its_folder_inside_that_of_the_scope_around_it(
    world: World, folder: Path
) -> None:
    with alchemy("my-app", stage="prod") as app, app.run("backend") as backend:
        backend.create(Stack("mine"))

    (place,) = (folder / ".alchemy/my-app/prod/backend").glob("stack-mine+*/state.json")
    assert list(json.loads(place.read_text())["resources"]) == ["thing-db"]


# The scope of a test.


def test_a_test_scope_leaves_no_state_and_no_folder(world: World, folder: Path) -> None:
    with alchemy.test("integration") as scope:
        scope.create(Thing("db"))
        assert list(folder.rglob(scope.stage))

    assert not (folder / ".alchemy").exists()


def test_a_test_scope_is_isolated_from_all_others(world: World, folder: Path) -> None:
    deploy("db")
    before, production = states(folder), dict(world.alive)

    with alchemy.test("one") as one, alchemy.test("other") as other:
        names = {one.create(Thing("db")).name, other.create(Thing("db")).name, *production}
        assert len(names) == 3

    assert (states(folder), world.alive) == (before, production)


def test_a_test_scope_is_destroyed_when_its_block_ends(world: World) -> None:
    with alchemy.test("integration") as scope:
        scope.create(Thing("db"))
        assert world.took() == ["create db"]

    assert world.took() == ["destroy db"]


# Strategies.


def test_a_sequential_destroy_takes_one_after_the_other(world: World, turnstile: Turnstile) -> None:
    with alchemy("my-app", stage="prod") as app:
        for id in "abcd":
            app.create(Watched(id))
    world.took()
    turnstile.awaited, turnstile.limit = 2, 0.1  # the second must not come

    destroy("prod")

    assert turnstile.most == 1
    assert world.took() == ["destroy d", "destroy c", "destroy b", "destroy a"]


def test_a_parallel_destroy_takes_several_at_once(world: World, turnstile: Turnstile) -> None:
    with alchemy("my-app", stage="prod", destroy_strategy="parallel") as app:
        for id in "abcd":
            app.create(Watched(id))
    turnstile.awaited, turnstile.limit = 4, 5

    destroy("prod")

    assert turnstile.most == 4
    assert world.alive == {}


@pytest.mark.parametrize(
    ("deployed", "said", "at_once"),
    [("sequential", "parallel", 3), ("parallel", "sequential", 1), ("parallel", None, 3)],
)
def test_a_program_destroys_as_it_says_itself_and_else_as_it_was_deployed(
    world: World, turnstile: Turnstile, deployed: Any, said: Any, at_once: int
) -> None:
    with alchemy("my-app", stage="prod", destroy_strategy=deployed) as app:
        for id in "abc":
            app.create(Watched(id))
    turnstile.awaited, turnstile.limit = max(2, at_once), 5 if at_once > 1 else 0.1

    destroy("prod", destroy_strategy=said)

    assert turnstile.most == at_once
    assert world.alive == {}


@pytest.mark.parametrize("strategy", ["sequential", "parallel"])
def test_what_needs_something_goes_before_it_under_both_strategies(
    world: World, strategy: str
) -> None:
    options: Any = {"destroy_strategy": strategy}
    with alchemy("my-app", stage="prod", **options) as app:
        db = app.create(Thing("db"))
        api = app.create(Thing("api", uses=[db]))
        app.create(Thing("web", uses=[api]))
    world.took()

    destroy("prod", **options)

    assert world.took() == ["destroy web", "destroy api", "destroy db"]


# State files.


def test_the_state_files_lie_as_the_scopes_do(world: World, folder: Path) -> None:
    deploy("web", stage="alice", nested="backend")
    deploy("web", stage="pr-123")
    deploy("web", stage="prod", nested="backend")

    assert list(states(folder)) == [
        "alice/backend/state.json",
        "alice/state.json",
        "pr-123/state.json",
        "prod/backend/state.json",
        "prod/state.json",
    ]


def test_a_state_file_says_its_version_and_when_it_was_written(world: World, folder: Path) -> None:
    deploy("web")

    state = json.loads(states(folder)["prod/state.json"])
    written = datetime.fromisoformat(state["last_updated"])
    assert state["version"] == "1.0"
    assert written >= datetime.fromisoformat(state["resources"]["thing-web"]["created_at"])


def test_a_state_file_says_of_each_resource_type_id_name_and_when_it_was_created(
    world: World, folder: Path
) -> None:
    deploy("web")

    said = json.loads(states(folder)["prod/state.json"])["resources"]["thing-web"]
    assert (said["type"], said["id"], [said["name"]]) == ("Thing", "web", list(world.alive))
    assert datetime.fromisoformat(said["created_at"]).utcoffset() is not None


def test_the_state_files_are_deleted_along_with_the_resources(world: World, folder: Path) -> None:
    deploy("web", nested="backend")
    before = states(folder)

    destroy("prod")

    assert (len(before), states(folder), world.alive) == (2, {}, {})


# Contexts.


@pytest.mark.parametrize(
    ("words", "stage", "profile"),
    [
        pytest.param({}, "alice", "default", id="local"),
        pytest.param({"stage": "pr-123", "profile": "ci"}, "pr-123", "ci", id="preview"),
        pytest.param({"stage": "prod", "profile": "prod"}, "prod", "prod", id="production"),
    ],
)
def test_each_context_has_its_stage_its_profile_and_its_folder(
    world: World, folder: Path, words: dict[str, str], stage: str, profile: str
) -> None:
    with commanded(CommandLine(**words)), alchemy("my-app") as app:  # type: ignore[arg-type]  # two of its words
        app.create(Thing("web"))

    assert (app.stage, app.settings.profile) == (stage, profile)
    assert list(states(folder)) == [f"{stage}/state.json"]


# Troubles.


def test_two_jobs_that_share_a_stage_are_kept_apart_by_its_lock(world: World) -> None:
    with alchemy("my-app", stage="pr-123", state_locking=True) as app:
        with pytest.raises(StageLockedError, match="State of stage 'pr-123' is locked"):
            deploy("other", stage="pr-123")
        app.create(Thing("web"))

    assert world.took() == ["create web"]


def test_two_jobs_with_stages_of_their_own_need_not_wait(world: World) -> None:
    with alchemy("my-app", stage="pr-123-1") as app:
        deploy("web", stage="pr-123-2")
        app.create(Thing("web"))

    assert len(world.alive) == 2


def test_orphans_of_a_lost_state_are_taken_over_by_adopt(world: World, folder: Path) -> None:
    deploy("web")
    (orphan,) = world.alive
    (folder / ".alchemy").rename(folder / "lost")
    with pytest.raises(AlreadyExistsError):
        deploy("web")

    with commanded(CommandLine(adopt=True)):
        deploy("web")

    assert list(world.alive) == [orphan]
    destroy("prod")
    assert here().alive == {}


def test_nothing_leaks_from_a_test_that_fails(world: World) -> None:
    with suppress(ZeroDivisionError), alchemy.test("integration") as scope:
        scope.create(Thing("db"))
        raise ZeroDivisionError

    assert world.took() == ["create db", "destroy db"]


def test_a_test_may_clean_up_by_hand_and_nothing_is_destroyed_twice(world: World) -> None:
    with alchemy.test("integration") as scope:
        db = scope.create(Thing("db"))
        scope.create(Thing("kv"))
        try:
            assert db.url
        finally:
            scope.remove(db)

    assert world.took() == ["create db", "create kv", "destroy db", "destroy kv"]


# Questions.


def test_one_nested_scope_is_finalized_without_the_others(world: World) -> None:
    deploy("web", "old", nested="backend")
    world.took()

    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("web"))
        app.finalize_nested("backend")
        assert world.took() == ["destroy api"]

    assert world.took() == ["destroy old"]
