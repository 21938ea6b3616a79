"""Declared against recorded: what is created, kept, changed, replaced and taken over."""

from __future__ import annotations

import asyncio
import errno
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from pytest_alchemy import Resource, alchemy, lifecycle, output
from pytest_alchemy.cli import main
from pytest_alchemy.errors import (
    AlreadyExistsError,
    ChangedWithinRunError,
    DeclaredInItselfError,
    InvalidPropertyError,
    MustReplaceError,
    NotInOtherProcessError,
    OtherWorldError,
)
from pytest_alchemy.kinds import kind_of
from pytest_alchemy.plan import Step
from pytest_alchemy.programs.application import Application
from pytest_alchemy.programs.commandline import CommandLine, commanded

from .things import AsyncThing, Fixed, Picky, Refused, Stack, Thing, Tower, World, here

Deploy = Callable[..., list[Any]]


class Strict(Picky, kind="strict"):
    """It is never what is wanted."""

    def update(self, previous: Picky) -> None:
        raise MustReplaceError("Strict 'a'", "it is another one")


class Before(Fixed, kind="evolving"):
    """A class as it was."""

    gone: str = "x"


class After(Fixed, kind="evolving"):
    """The same class as it became."""

    added: int | None = None


class Placed(Thing, kind="placed"):
    """It lives in an account."""

    account: ClassVar[str] = "one"

    def world(self) -> str:
        return self.account


class Elsewhere(Thing, kind="elsewhere"):
    """Lives in an account, and makes another one inside itself."""

    weight: float = 0.0
    account: ClassVar[str] = "one"

    def create(self) -> None:
        super().create()
        self.scope.create(Thing("inner"))

    def world(self) -> str:
        return self.account


class Conflict(Exception):
    """The provider says that the name is taken."""

    status = 409


class Blind(Resource, kind="blind"):
    """Nobody can look whether it exists; with a part in it, which it makes first."""

    size: int = 1
    part: str | None = None

    def create(self) -> None:
        if self.part:
            self.scope.create(Thing(self.part))
        if f"taken {self.id}" in here().broken:
            here().called.append(f"refused {self.id}")
            raise Conflict
        here().act("create", self)

    def destroy(self) -> None:
        here().act("destroy", self)


class Silent(Blind, kind="silent"):
    """Its first create gets no answer, although it succeeds."""

    def create(self) -> None:
        if f"silent {self.id}" in here().broken:
            here().called.append(f"silent {self.id}")
            raise TimeoutError
        super().create()


class Around(Resource, kind="around"):
    """What it makes first has a part inside whose name is taken."""

    size: int = 1

    def create(self) -> None:
        here().act("create", self)
        self.scope.create(Blind("inner"))

    def destroy(self) -> None:
        here().act("destroy", self)


class Flagged(Fixed, kind="flagged"):
    """It has a value of any kind of JSON."""

    value: dict[str, Any] = {}  # noqa: RUF012 # every object gets a copy

    def update(self, previous: Flagged) -> None:
        here().act("update", self)


class Wrapped(Blind, kind="wrapped"):
    """It translates the errors of its provider."""

    def create(self) -> None:
        try:
            super().create()
        except Conflict as conflict:
            raise RuntimeError("it could not be made") from conflict


class Folder(Blind, kind="folder"):
    """It is on a disk."""

    def create(self) -> None:
        try:
            super().create()
        except Conflict:
            raise FileExistsError(errno.EEXIST, "File exists", f"/things/{self.name}") from None


def deploy_blocking(*resources: Resource, **options: Any) -> list[Any]:
    with alchemy("my-app", stage="prod", **options) as app:
        return [app.create(resource) for resource in resources]


def deploy_with_asyncio(*resources: Resource, **options: Any) -> list[Any]:
    async def program() -> list[Any]:
        async with alchemy("my-app", stage="prod", **options):
            return [await resource for resource in resources]

    return asyncio.run(program())


@pytest.fixture(params=[deploy_blocking, deploy_with_asyncio], ids=["blocking", "asyncio"])
def deploy(request: pytest.FixtureRequest, world: World) -> Deploy:
    found: Deploy = request.param
    return found


@pytest.fixture(params=[Thing, AsyncThing], ids=["plain", "async"])
def kind(request: pytest.FixtureRequest) -> type[Any]:
    found: type[Any] = request.param
    return found


@contextmanager
def steps(expected: list[Step]) -> Iterator[Application]:
    with alchemy("my-app", stage="prod") as app:
        yield app
    assert [planned.step for planned in app.planned] == expected


def test_what_is_not_recorded_is_created(world: World, deploy: Deploy, kind: type[Any]) -> None:
    (thing,) = deploy(kind("a"))

    assert world.took() == ["create a"]
    assert thing.name in world.alive


def test_what_has_not_changed_is_kept_with_its_outputs_and_nothing_is_called(
    world: World, deploy: Deploy, kind: type[Any]
) -> None:
    (first,) = deploy(kind("a", size=2))
    world.took()

    (second,) = deploy(kind("a", size=2))

    assert world.took() == []
    assert (second.name, second.url) == (first.name, first.url)


def test_what_has_changed_is_changed_in_place(
    world: World, deploy: Deploy, kind: type[Any]
) -> None:
    (first,) = deploy(kind("a", size=1))
    world.took()

    (second,) = deploy(kind("a", size=2))

    assert world.took() == ["update a"]
    assert world.previous == [1]
    assert second.name == first.name
    assert list(world.alive.values()) == [2]


def test_after_a_failed_update_the_next_one_is_told_what_was_really_applied(
    world: World, deploy: Deploy, kind: type[Any]
) -> None:
    deploy(kind("a", size=1))
    world.broken = {"update a"}
    for size in (2, 3):
        with pytest.raises(Refused):
            deploy(kind("a", size=size))
    world.broken.clear()

    deploy(kind("a", size=4))

    assert world.previous == [1, 1, 1]
    assert list(world.alive.values()) == [4]


def test_a_program_that_goes_back_after_a_failed_update_updates_all_the_same(
    world: World, deploy: Deploy, kind: type[Any]
) -> None:
    deploy(kind("a", size=1))
    world.broken = {"update a"}
    with pytest.raises(Refused):
        deploy(kind("a", size=2))
    world.broken.clear()
    world.took()

    deploy(kind("a", size=1))

    assert world.took() == ["update a"]


def test_what_cannot_be_changed_is_replaced_new_before_old(world: World, deploy: Deploy) -> None:
    (old,) = deploy(Fixed("a", size=1))
    world.took()

    (new,) = deploy(Fixed("a", size=2))

    assert world.took() == ["create a", "destroy a"]
    assert new.name != old.name
    assert world.alive == {new.name: 2}


def test_what_was_replaced_is_no_resource_of_its_scope_any_more(world: World) -> None:
    deploy_blocking(Fixed("a", size=1), Fixed("b"))

    with alchemy("my-app", stage="prod") as app:
        app.create(Fixed("b"))
        with suppress(Refused):
            world.broken = {"create a"}
            app.create(Fixed("a", size=2))
        failed: list[Any] = app.resources
        world.broken = set()
        made = app.create(Fixed("a", size=2))
        replaced = app.resources

    assert [resource.size for resource in failed] == [1, 1]
    assert [resource.id for resource in replaced] == ["b", "a"]
    assert replaced[1] is made


def test_a_replacement_that_succeeds_the_second_time_ends_the_old_one_in_the_same_program(
    world: World,
) -> None:
    deploy_blocking(Fixed("a", size=1))

    with alchemy("my-app", stage="prod") as app:
        world.broken = {"create a"}
        with suppress(Refused):
            app.create(Fixed("a", size=2))
        world.broken = set()
        made = app.create(Fixed("a", size=2))

    assert world.alive == {made.name: 2}


def test_an_update_may_ask_for_a_replacement(world: World, deploy: Deploy) -> None:
    deploy(Picky("a", size=5))
    world.took()

    deploy(Picky("a", size=6))
    assert world.took() == ["update a"]
    (new,) = deploy(Picky("a", size=1))

    assert world.took() == ["create a", "destroy a"]
    assert world.alive == {new.name: 1}


def test_what_was_replaced_can_be_replaced_again_and_again(world: World, deploy: Deploy) -> None:
    names = [deploy(Fixed("a", size=size))[0].name for size in range(4)]

    assert len(set(names)) == 4
    assert world.alive == {names[-1]: 3}


def test_what_uses_a_replaced_thing_is_changed_before_the_old_one_goes(
    world: World, deploy: Deploy
) -> None:
    base = Fixed("base", size=1)
    deploy(base, Thing("user", uses=[base]))
    world.took()

    base = Fixed("base", size=2)
    deploy(base, Thing("user", uses=[base]))

    assert world.took() == ["create base", "update user", "destroy base"]


def test_an_old_generation_stays_while_its_successor_does_not_exist(
    world: World, deploy: Deploy
) -> None:
    (old,) = deploy(Fixed("a", size=1))
    world.broken = {"create a"}

    with alchemy("my-app", stage="prod") as app:
        with suppress(Refused):
            app.create(Fixed("a", size=2))
        app.create(Thing("b"))

    assert old.name in world.alive
    world.broken.clear()
    (new,) = deploy(Fixed("a", size=2), Thing("b"))[:1]
    assert world.sizes == {"a": 2, "b": 1}
    assert old.name not in world.alive
    assert new.name in world.alive


def test_a_replacement_that_was_cut_off_is_finished_by_the_next_run(
    world: World, deploy: Deploy
) -> None:
    deploy(Fixed("a", size=1))
    world.broken = {"create a"}
    with pytest.raises(Refused):
        deploy(Fixed("a", size=2))
    world.broken.clear()

    with alchemy("my-app", stage="prod") as app:
        app.create(Fixed("a", size=2))
        assert sorted(world.alive.values()) == [1, 2]

    assert list(world.alive.values()) == [2]


def test_a_create_that_failed_is_made_again_under_its_name(world: World, deploy: Deploy) -> None:
    world.broken = {"create a"}
    failed = Fixed("a")
    with pytest.raises(Refused):
        deploy(failed)
    here().alive[failed.name] = "half made"
    world.broken.clear()
    world.took()

    (made,) = deploy(Fixed("a"))

    assert world.took() == ["destroy a", "create a"]
    assert made.name == failed.name
    assert world.alive == {made.name: 1}


@pytest.mark.parametrize("blind", [Blind, Wrapped, Folder])
def test_what_has_the_name_of_a_refused_create_is_not_ours_although_nobody_can_look(
    world: World, deploy: Deploy, blind: type[Any]
) -> None:
    world.broken = {"taken a"}
    refused = blind("a")
    with pytest.raises((Conflict, RuntimeError, FileExistsError)) as caught:
        deploy(refused)
    name = refused.name
    world.alive[name] = "somebody else's"
    assert caught.value.__notes__[1] == f"{name} exists already and is not ours: it is not recorded"

    with pytest.raises((Conflict, RuntimeError, FileExistsError)):
        deploy(blind("a"))
    deploy(Thing("b"))

    assert world.took() == ["refused a", "refused a", "create b"]
    assert world.alive[name] == "somebody else's"


def test_what_has_the_name_of_a_create_without_an_answer_may_well_be_ours(
    world: World, deploy: Deploy
) -> None:
    world.broken = {"silent a"}
    with pytest.raises(TimeoutError):
        deploy(Silent("a"))
    world.broken = {"taken a"}  # it has arrived by now, and the provider refuses to make it again
    with pytest.raises(Conflict):
        deploy(Silent("a"))
    world.broken.clear()

    deploy(Silent("a"))

    assert world.took() == [
        "silent a", "destroy a", "refused a", "destroy a", "create a"
    ]  # fmt: skip


def test_a_name_that_is_taken_inside_a_resource_makes_it_nobody_else_s(
    world: World, deploy: Deploy
) -> None:
    world.broken = {"taken inner"}
    with pytest.raises(Conflict):
        deploy(Around("a"))
    world.broken.clear()

    deploy(Thing("b"))

    assert world.sizes == {"b": 1}
    assert world.took() == ["create a", "refused inner", "create b", "destroy a"]


@pytest.mark.parametrize(
    ("before", "after"), [({"on": True}, {"on": 1}), ({"on": [0]}, {"on": [False]})]
)
def test_a_flag_is_no_number(
    world: World, deploy: Deploy, before: dict[str, Any], after: dict[str, Any]
) -> None:
    deploy(Flagged("a", value=before))

    deploy(Flagged("a", value=after))
    deploy(Flagged("a", value=after))

    assert world.took() == ["create a", "update a"]


def test_what_a_replaced_resource_made_inside_itself_goes_after_it_with_the_stage(
    world: World,
) -> None:
    deploy_blocking(Blind("a", part="inner"))
    deploy_blocking(Blind("a", part="inner", size=2))
    world.took()

    done = CliRunner().invoke(main, ["destroy", "--stage=prod", "--force"])

    assert done.exit_code == 0, done.output
    assert world.took() == ["destroy a", "destroy inner"]


def test_a_user_without_a_name_can_deploy_and_destroy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nameless)

    deploy_blocking(Thing("a"))
    done = CliRunner().invoke(main, ["destroy", "--stage=prod", "--force"])

    assert done.exit_code == 0, done.output
    assert world.took() == ["create a", "destroy a"]


def test_a_wrong_account_is_refused_each_time_that_it_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_blocking(Placed("a"))
    monkeypatch.setattr(Placed, "account", "two")

    with alchemy("my-app", stage="prod") as app:
        for _ in range(2):
            with pytest.raises(OtherWorldError):
                app.create(Placed("a", size=2))

    assert world.took() == ["create a"]


def test_a_name_that_became_free_is_taken_by_the_next_run(world: World, deploy: Deploy) -> None:
    world.broken = {"taken a"}
    with pytest.raises(Conflict):
        deploy(Blind("a"))
    world.broken.clear()

    deploy(Blind("a"))

    assert world.took() == ["refused a", "create a"]


def test_any_other_error_of_a_create_may_have_made_something(world: World, deploy: Deploy) -> None:
    world.broken = {"create a"}
    with pytest.raises(Refused):
        deploy(Blind("a"))
    world.broken.clear()

    deploy(Blind("a"))

    assert world.took() == ["create a", "destroy a", "create a"]


def test_a_refused_create_that_made_something_inside_itself_before_is_still_ours(
    world: World, deploy: Deploy
) -> None:
    world.broken = {"taken a"}
    with pytest.raises(Conflict):
        deploy(Blind("a", part="inner"))
    assert world.sizes == {"inner": 1}
    world.broken.clear()

    deploy(Thing("b"))

    assert world.sizes == {"b": 1}
    assert world.took() == ["create inner", "refused a", "create b", "destroy a", "destroy inner"]


def test_a_replacement_whose_name_is_taken_leaves_the_old_one_as_it_is(
    world: World, deploy: Deploy
) -> None:
    deploy(Blind("a", size=1))
    world.broken = {"taken a"}
    with pytest.raises(Conflict):
        deploy(Blind("a", size=2))
    assert world.took() == ["create a", "refused a"]

    with alchemy("my-app", stage="prod") as app:
        with pytest.raises(Conflict):
            app.create(Blind("a", size=2))
        app.create(Blind("a", size=1))

    assert world.took() == ["refused a"]
    deploy(Blind("a", size=1))
    assert world.took() == []


def test_in_a_test_nobody_else_has_the_name_of_a_refused_create(world: World) -> None:
    world.broken = {"taken a"}

    with alchemy.test("integration") as scope, suppress(Conflict):
        scope.create(Blind("a"))

    assert world.took() == ["refused a", "destroy a"]


def test_an_old_thing_is_read_where_its_replacement_failed(world: World, deploy: Deploy) -> None:
    (old,) = deploy(Fixed("a", size=1))
    world.broken = {"create a"}
    with pytest.raises(Refused):
        deploy(Fixed("a", size=2))

    with alchemy("my-app", stage="prod", phase="read") as app:
        assert app.create(Fixed("a")).name == old.name


def test_what_exists_already_is_named_and_not_touched(world: World, deploy: Deploy) -> None:
    (ours,) = deploy(Thing("a"))
    forget_the_state()
    world.took()

    with pytest.raises(AlreadyExistsError) as caught:
        deploy(Thing("a", size=2))

    assert str(caught.value) == (
        f"Thing 'a' was not created: {ours.name} exists already, and nothing that is recorded of my-app/prod says that "
        "it is yours.\n"
        "Take it over with --adopt or alchemy(..., adopt=True), or remove it."
    )
    assert world.took() == []
    deploy(Thing("b"))  # what was refused does not look like ours
    assert world.sizes == {"a": 1, "b": 1}


def test_what_exists_already_is_adopted_and_made_to_fit(
    world: World, deploy: Deploy, kind: type[Any]
) -> None:
    (ours,) = deploy(kind("a"))
    forget_the_state()
    world.took()

    (adopted,) = deploy(kind("a", size=2), adopt=True)

    assert world.took() == ["update a"]
    assert adopted.url == ours.url
    deploy(kind("b"))
    assert world.sizes == {"b": 1}


def test_what_is_adopted_and_cannot_be_made_to_fit_is_not_ours(
    world: World, deploy: Deploy
) -> None:
    (theirs,) = deploy(Strict("a"))
    forget_the_state()

    with pytest.raises(MustReplaceError):
        deploy(Strict("a", size=2), adopt=True)
    deploy(Thing("b"))

    assert theirs.name in world.alive


class Misread(Thing, kind="misread"):
    """It reads what it should not."""

    def read(self) -> bool:
        self.url = 7  # type: ignore[assignment]  # that is what is wrong
        return self.name in here().alive


def test_what_is_adopted_with_outputs_of_the_wrong_type_is_not_ours(
    world: World, deploy: Deploy
) -> None:
    (theirs,) = deploy(Misread("a"))
    forget_the_state()
    world.took()

    with pytest.raises(InvalidPropertyError, match="'url' has to be str, not int"):
        deploy(Misread("a", size=2), adopt=True)
    deploy(Thing("b"))

    assert world.took() == ["create b"]
    assert theirs.name in world.alive


@pytest.mark.parametrize("size", [1, 2], ids=["default", "other"])
def test_an_adoption_that_failed_goes_on_in_the_next_run_and_nothing_is_known_of_what_was(
    world: World, deploy: Deploy, kind: type[Any], size: int
) -> None:
    (ours,) = deploy(kind("a"))
    forget_the_state()
    world.broken = {"update a"}
    with pytest.raises(Refused):
        deploy(kind("a", size=size), adopt=True)
    world.broken.clear()
    world.took()
    world.previous.clear()

    (adopted,) = deploy(kind("a", size=size))

    assert world.took() == ["update a"]
    assert world.previous == [1]  # the default of a stranger: not what failed to be applied
    assert adopted.url == ours.url
    deploy(kind("a", size=size))
    assert world.took() == []


def test_an_adoption_that_failed_and_cannot_be_made_to_fit_later_is_not_ours(
    world: World, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs,) = deploy(Thing("a"))
    forget_the_state()
    world.broken = {"update a"}
    with pytest.raises(Refused):
        deploy(Thing("a", size=2), adopt=True)
    world.took()
    monkeypatch.setitem(kind_of(Thing).hooks, "update", Strict.update)

    with pytest.raises(MustReplaceError):
        deploy(Thing("a", size=2))
    deploy(Thing("b"))

    assert world.took() == ["create b"]
    assert theirs.name in world.alive


def test_what_is_adopted_and_cannot_be_updated_is_kept_by_the_next_run_after_a_death(
    world: World, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs,) = deploy(Fixed("a", size=2))
    forget_the_state()
    world.took()
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "made", die)  # after the intent, before the line that settles it
        with pytest.raises(Refused):
            deploy(Fixed("a", size=2), adopt=True)

    (kept,) = deploy(Fixed("a", size=2))

    assert world.took() == []
    assert kept.url == theirs.url


def die(*_: Any) -> None:
    raise Refused("made")


def test_force_updates_what_has_not_changed(world: World, deploy: Deploy) -> None:
    deploy(Thing("a"), Fixed("b"))
    world.took()

    with commanded(CommandLine(force=True)):
        deploy(Thing("a"), Fixed("b"))

    assert world.took() == ["update a"]


def test_declared_twice_in_one_run_gives_the_first_instance(world: World, deploy: Deploy) -> None:
    deploy(Thing("a"))
    world.took()

    first, second = deploy(Thing("a"), Thing("a"))

    assert first is second
    assert world.took() == []


def test_declared_differently_in_one_run_is_an_error_that_names_both_lines(
    world: World, deploy: Deploy
) -> None:
    deploy(Fixed("a"))
    again = Fixed("a", size=2)
    and_again = Fixed("a", size=3)

    with pytest.raises(ChangedWithinRunError) as caught:
        deploy(again, and_again)

    assert str(caught.value).count("test_declared.py:") == 2


def test_a_property_that_is_new_in_the_class_changes_nothing_by_its_default(
    world: World, deploy: Deploy
) -> None:
    (old,) = deploy(Before("a", gone="y"))
    world.took()

    (new,) = deploy(After("a"))
    assert world.took() == []
    assert new.name == old.name
    deploy(After("a", added=1))

    assert world.took() == ["create a", "destroy a"]


def test_what_was_replaced_is_what_it_was_again_once_its_successor_is_removed(
    world: World, deploy: Deploy
) -> None:
    deploy(Fixed("a"))
    with alchemy("my-app", stage="prod") as app:
        successor = app.create(Fixed("a", size=2))
        app.remove(successor)
        app.create(Fixed("a"))
        assert world.sizes == {"a": 1}
        world.took()

        app.destroy()

    assert world.took() == ["destroy a"]
    assert world.alive == {}


def test_what_needs_what_is_recorded_anew_for_unchanged_resources(
    world: World, deploy: Deploy
) -> None:
    one, other = Thing("base"), Thing("user")
    deploy(one, other)
    one = Thing("base")
    deploy(one, Thing("user", uses=[one]))
    with alchemy("my-app", stage="prod") as app:
        base = app.create(Thing("base"))
        app.remove(base)
        base = app.create(Thing("base"))  # another thing of the same name
        app.create(Thing("user", uses=[base]))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        app.destroy()

    assert world.took() == ["destroy user", "destroy base"]


def test_children_that_are_kept_as_outputs_are_there_again_on_an_unchanged_run(
    world: World, deploy: Deploy
) -> None:
    (first,) = deploy(Stack("stack", parts=["db", "cache"]))
    world.took()

    (again,) = deploy(Stack("stack", parts=["db", "cache"]))

    assert world.took() == []
    assert again.first.url == first.first.url
    assert again.first.name == first.first.name
    assert len(world.alive) == 3


def test_a_child_that_was_kept_can_be_used_by_others(world: World, deploy: Deploy) -> None:
    for _ in range(2):
        with alchemy("my-app", stage="prod") as app:
            stack = app.create(Stack("stack"))
            app.create(Thing("user", uses=[stack.first]))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        app.create(Stack("stack"))

    assert world.took() == ["destroy user"]


def test_a_composite_that_is_changed_says_itself_what_is_inside_it(
    world: World, deploy: Deploy
) -> None:
    deploy(Stack("stack", parts=["db", "cache"]))
    world.took()

    deploy(Stack("stack", parts=["db"]))

    assert world.took() == ["update stack", "destroy cache"]
    assert world.sizes == {"db": 1, "stack": 1}


def test_a_composite_inside_another_says_itself_what_is_inside_it(
    world: World, deploy: Deploy
) -> None:
    deploy(Tower("tower", parts=["db", "cache"]))
    world.took()

    deploy(Tower("tower", parts=["db"]))

    assert world.took() == ["update stack", "update tower", "destroy cache"]
    assert world.sizes == {"db": 1, "stack": 1, "tower": 1}


def test_a_child_that_a_changed_composite_still_has_as_an_output_stays(
    world: World, deploy: Deploy
) -> None:
    deploy(Pair("pair"))
    world.took()

    for _ in range(2):
        (pair,) = deploy(Pair("pair", size=2))
        assert pair.first.name in world.alive

    assert world.took() == ["update second", "update pair"]


class Pair(Stack, kind="pair"):
    """When it is changed, it declares anew only what changes."""

    second: Thing = output()

    async def create(self) -> None:
        await super().create()
        self.second = await Thing("second")

    async def update(self, previous: Stack) -> None:
        self.second = await Thing("second", size=self.size)
        here().act("update", self)


def test_a_deferred_call_is_made_once_it_is_declared_no_longer(world: World) -> None:
    for _ in range(2):
        with alchemy("my-app", stage="prod") as app:
            app.create(Thing("a"))
            app.defer(note, "gone")
    assert world.took() == ["create a"]

    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))

    assert world.took() == ["gone"]
    with alchemy("my-app", stage="prod") as app:
        app.create(Thing("a"))
    assert world.took() == []


def test_a_call_that_is_deferred_twice_is_not_made_while_it_is_declared(world: World) -> None:
    for _ in range(3):
        with alchemy("my-app", stage="prod") as app:
            app.create(Thing("a"))
            for _ in range(2):
                app.defer(note, "gone")

    assert world.took() == ["create a"]


def test_a_call_that_no_later_process_could_make_is_refused(world: World) -> None:
    with alchemy("my-app", stage="prod") as app, pytest.raises(NotInOtherProcessError) as caught:
        app.defer(lambda: None)

    assert "cannot be deferred in my-app/prod, which outlives this process" in str(caught.value)


def test_a_thing_of_another_world_is_neither_kept_nor_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_blocking(Placed("a"))
    monkeypatch.setattr(Placed, "account", "two")
    world.took()

    with pytest.raises(OtherWorldError):
        deploy_blocking(Placed("a"))

    assert world.took() == []


def test_what_a_thing_of_another_world_is_made_of_stays_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_blocking(Elsewhere("a"))
    monkeypatch.setattr(Elsewhere, "account", "two")
    world.took()

    for size in (1, 2):
        with alchemy("my-app", stage="prod") as app, suppress(OtherWorldError):
            app.create(Elsewhere("a", size=size))

    assert world.took() == []


def test_what_was_declared_wrongly_and_then_rightly_keeps_what_it_is_made_of(world: World) -> None:
    deploy_blocking(Elsewhere("a"))
    world.took()

    with alchemy("my-app", stage="prod") as app:
        with pytest.raises(InvalidPropertyError):
            app.create(Elsewhere("a", weight=math.nan))
        first = Elsewhere("a")
        assert app.create(first) is first

    assert world.took() == []


def test_a_plan_calls_nothing_that_changes_anything(world: World, deploy: Deploy) -> None:
    deploy(Thing("a"), Thing("b"), Fixed("c"), Thing("d"))
    world.took()
    planned: list[Any] = []

    for _ in range(2):
        with (
            commanded(CommandLine(plan_only=True)),
            alchemy("my-app", stage="prod") as app,
        ):
            app.create(Thing("a"))
            app.create(Thing("b", size=2))
            app.create(Fixed("c", size=2))
            new = app.create(Thing("new"))
            app.create(Thing("user", uses=[new]))
        planned = [(said.step.value, said.resource, said.changed) for said in app.planned]

    assert world.took() == []
    assert planned == [
        ("keep", "Thing 'a'", ()),
        ("update", "Thing 'b'", ("size",)),
        ("replace", "Fixed 'c'", ("size",)),
        ("create", "Thing 'new'", ()),
        ("create", "Thing 'user'", ()),
        ("destroy", "Thing 'd'", ()),
    ]


def note(word: str) -> None:
    here().called.append(word)


def forget_the_state() -> None:
    shutil.rmtree(".alchemy")


class Selfish(Resource):
    """Wants to exist already when it is created, and when it is changed."""

    size: int = 1
    calm: ClassVar[bool] = False

    def create(self) -> None:
        if not self.calm:
            self._declare_itself()

    def update(self, previous: Selfish) -> None:
        self._declare_itself()

    def destroy(self) -> None: ...

    def _declare_itself(self) -> None:
        outer = self.scope.parent
        assert outer is not None
        outer.create(Selfish(self.id))


@pytest.mark.parametrize("hook", ["create", "update"])
def test_what_would_wait_for_the_end_of_its_own_hook_is_told_so(
    world: World, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.setattr(Selfish, "calm", hook == "update")
    if hook == "update":
        deploy_blocking(Selfish("bird"))

    with pytest.raises(DeclaredInItselfError):
        deploy_blocking(Selfish("bird", size=2))
