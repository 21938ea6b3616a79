"""A profile of a resource's own: it goes before the program's, and whoever meets the resource uses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from pytest_alchemy import Resource, alchemy
from pytest_alchemy.cli import main
from pytest_alchemy.cloudflare import D1Database, FakeAccount
from pytest_alchemy.cloudflare.fake.wire import Request, Response
from pytest_alchemy.errors import (
    ChangedWithinRunError,
    DestroyError,
    InvalidNameError,
    ProfileDeniedError,
    ProfileMovedError,
    StageDestroyed,
)
from pytest_alchemy.programs.commandline import CommandLine, commanded
from pytest_alchemy.recovery.laststage import destroy_stage
from pytest_alchemy.settings import Settings
from tests.unit.cloudflare.api import served
from tests.unit.cloudflare.scopes import open_scope

from .things import Refused, World, here

MAPPING = {"prod": ["prod", "backup"], "pr-*": ["ci"]}


class Note(Resource, kind="note"):
    """It writes down which profile each of its hooks is called with."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy

    def create(self) -> None:
        self.note("create")

    def read(self) -> bool:
        return self.name in here().alive

    def update(self, previous: Note) -> None:
        self.note("update")

    def destroy(self) -> None:
        self.note("destroy")

    def note(self, verb: str) -> None:
        here().act(verb, self)
        here().called[-1] += f" as {self.profile}"
        assert self.scope.settings.profile == self.profile


class Housed(Note, kind="housed"):
    """It lives in the account of its profile: `team` and `crew` are names for the same one."""

    def world(self) -> str:
        return f"account:{self.profile.replace('crew', 'team')}"


class Pair(Resource, kind="pair"):
    """It makes a note inside itself, and one inside a scope of its own."""

    size: int = 1

    def create(self) -> None:
        self.fill()

    def update(self, previous: Pair) -> None:
        self.fill()

    def fill(self) -> None:
        self.scope.create(Housed("inside"))
        with self.scope.run("deep") as deep:
            deep.create(Housed("deeper"))
        if "fill pair" in here().broken:
            raise Refused

    def destroy(self) -> None: ...


class Owner(Resource, kind="owner"):
    """It has a property that is called like the credentials."""

    profile: str

    def create(self) -> None:
        here().called.append(f"create {self.profile}")

    def destroy(self) -> None: ...


def deploy(*resources: Resource, stage: str = "prod", profile: str = "prod", **more: Any) -> None:
    with alchemy("my-app", stage=stage, profile=profile, **more) as app:
        for resource in resources:
            app.create(resource)


def test_what_a_resource_says_goes_before_what_its_program_says(world: World) -> None:
    deploy(Note("a", profile="backup"), Note("b"))

    assert world.took() == ["create a as backup", "create b as prod"]


@pytest.mark.parametrize("program", ["prod", None])
def test_it_goes_before_the_command_line_and_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    monkeypatch.setenv("ALCHEMY_PROFILE", "from-environment")
    said: dict[str, Any] = {} if program is None else {"profile": program}

    with commanded(CommandLine(profile="prod")), alchemy("my-app", stage="prod", **said) as app:
        app.create(Note("a", profile="backup"))
        app.create(Note("b"))

    assert world.took() == ["create a as backup", "create b as prod"]


def test_it_goes_before_that_of_a_test(world: World) -> None:
    scope = open_scope(Settings("my-app", "test", profile="ci"))

    scope.create(Note("a", profile="backup"))
    scope.create(Note("b"))
    scope.destroy()

    assert world.took() == [
        "create a as backup",
        "create b as ci",
        "destroy b as ci",
        "destroy a as backup",
    ]


def test_a_resource_tells_its_profile(world: World) -> None:
    named = Note("a", profile="backup")
    assert named.profile == "backup"

    with alchemy("my-app", stage="prod", profile="prod") as app:
        assert (app.create(named).profile, app.create(Note("b")).profile) == ("backup", "prod")

    stray = Note("c")
    with pytest.raises(AttributeError, match="once it is created"):
        _ = stray.profile
    with pytest.warns(match="neither created nor awaited"):
        del stray


@pytest.mark.parametrize("name", ["", None, "a/b"])
def test_what_is_no_name_is_no_profile(name: Any) -> None:
    with pytest.raises(InvalidNameError, match="is not a name for a profile"):
        Note("a", profile=name)


def test_a_class_may_have_a_property_of_that_name(world: World) -> None:
    deploy(Owner("a", profile="of a user"))

    assert world.took() == ["create of a user"]


def test_a_changed_resource_is_updated_and_destroyed_with_its_own_profile(world: World) -> None:
    deploy(Note("a", profile="backup"))
    deploy(Note("a", size=2, profile="backup"))
    deploy(Note("b"))

    assert world.took() == [
        "create a as backup",
        "update a as backup",
        "create b as prod",
        "destroy a as backup",
    ]


def test_the_command_destroy_uses_it_although_it_is_given_another_one(world: World) -> None:
    deploy(Note("a", profile="backup"), Note("b"))
    world.took()

    done = CliRunner().invoke(main, ["destroy", "--stage", "prod", "--force", "--profile", "other"])

    assert done.exit_code == 0, done.output
    assert world.took() == ["destroy b as other", "destroy a as backup"]


def test_the_destroy_phase_uses_it(world: World) -> None:
    deploy(Note("a", profile="backup"))
    world.took()

    with pytest.raises(StageDestroyed):
        deploy(phase="destroy")

    assert world.took() == ["destroy a as backup"]


def test_a_half_made_resource_is_cleaned_up_and_made_again_with_it(world: World) -> None:
    world.broken.add("create a")
    with pytest.raises(NotImplementedError):
        deploy(Note("a", profile="backup"))
    world.broken.clear()
    [intent] = recorded("prod")
    world.alive = {intent["name"]: 1}
    world.took()

    deploy(Note("a", profile="backup"))

    assert world.took() == ["destroy a as backup", "create a as backup"]


def test_the_state_names_the_profile_of_whoever_has_its_own(world: World) -> None:
    deploy(Note("a", profile="backup"), Note("b"))

    assert {said["id"]: said.get("profile") for said in recorded("prod")} == {
        "a": "backup",
        "b": None,
    }


def test_the_read_phase_gives_it_back(world: World) -> None:
    deploy(Note("a", profile="backup"))

    with alchemy("my-app", stage="prod", profile="prod", phase="read") as app:
        assert app.create(Note("a", profile="backup")).profile == "backup"
    with alchemy("my-app", stage="prod", profile="prod", phase="read") as app:
        assert app.create(Note("a")).profile == "prod"  # what is declared now goes before what was


def test_what_is_made_inside_is_used_with_the_profile_of_what_it_is_inside_of(
    world: World,
) -> None:
    deploy(Pair("a", profile="team"))
    deploy(Pair("a", size=2, profile="team"))
    deploy(Note("b"))

    assert world.took() == [
        "create inside as team",
        "create deeper as team",
        "create b as prod",
        "destroy deeper as team",
        "destroy inside as team",
    ]


def test_what_is_made_inside_again_after_a_failure_has_it_too(world: World) -> None:
    world.broken = {"fill pair"}
    with pytest.raises(Refused):
        deploy(Pair("a", profile="team"))
    world.broken.clear()
    world.took()

    deploy(Pair("a", profile="team"))

    assert world.took()[-2:] == ["create inside as team", "create deeper as team"]


def test_what_is_inside_of_a_class_that_is_gone_is_still_destroyed_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    deploy(Pair("a", profile="team"))
    world.took()
    monkeypatch.delitem(globals(), "Pair")

    told = {f.facts["id"]: f for f in destroy_stage(folder / ".alchemy", "my-app", "prod")}

    assert world.took() == ["destroy deeper as team", "destroy inside as team"]
    assert told["inside"].facts["profile"] == told["a"].facts["profile"] == "team"
    assert told["a"].what == "unrecoverable"


# Another profile than before.


@pytest.mark.parametrize(
    ("before", "after"), [("team", "crew"), ("team", None), (None, "team"), ("crew", "team")]
)
def test_another_profile_for_the_same_account_is_used_from_then_on(
    world: World, before: str | None, after: str | None
) -> None:
    said: list[dict[str, Any]] = [
        {} if each is None else {"profile": each} for each in (before, after)
    ]
    used = after or "team"
    deploy(Housed("a", **said[0]), Pair("p", **said[0]), profile="team")
    world.took()

    deploy(Housed("a", **said[1]), Pair("p", **said[1]), profile="team")
    assert world.took() == []
    deploy(Housed("a", **said[1]), Pair("p", **said[1]), profile="team")  # it is recorded
    deploy(Note("b"), profile="team")

    assert world.took() == [
        "create b as team",
        f"destroy deeper as {used}",
        f"destroy inside as {used}",
        f"destroy a as {used}",
    ]


def test_a_profile_of_another_account_is_an_error_that_names_both(world: World) -> None:
    deploy(Housed("a", profile="team"))
    world.took()
    moved = Housed("a", profile="prod")

    with pytest.raises(ProfileMovedError) as caught:
        deploy(moved)

    line = moved._alchemy.where
    assert str(caught.value) == (
        "Housed 'a' was made with profile 'team' in account:team, and profile 'prod', declared at "
        f"{line}, leads to account:prod.\n"
        "Nothing was called for it. Declare it with profile='team' again, or move it: under another id it is made "
        "anew, and this one is destroyed as undeclared."
    )
    assert world.took() == []
    deploy(Housed("moved", profile="prod"))
    assert world.took() == ["create moved as prod", "destroy a as team"]


def test_what_is_made_inside_has_to_stay_in_its_account_as_well(world: World) -> None:
    deploy(Pair("a", profile="team"))
    world.took()

    with alchemy("my-app", stage="prod", profile="prod") as app:
        with pytest.raises(ProfileMovedError, match="Housed 'inside' was made with profile 'team'"):
            app.create(Pair("a", profile="prod"))
        app.destroy()

    assert world.took() == ["destroy deeper as team", "destroy inside as team"]


def test_two_profiles_for_one_id_in_one_run_are_an_error(world: World) -> None:
    first = Note("a", profile="backup")
    second = Note("a")

    with pytest.raises(ChangedWithinRunError) as caught:
        deploy(first, second)

    assert str(caught.value) == (
        "Note 'a' is declared twice in one scope with different profile:\n"
        f"first at {first._alchemy.where}, then at {second._alchemy.where}.\n"
        "Give the second one an id of its own."
    )


def test_two_profiles_for_one_id_in_one_test_are_an_error(world: World) -> None:
    scope = open_scope(Settings("my-app", "test"))
    scope.create(Note("a", profile="backup"))

    with pytest.raises(ChangedWithinRunError, match="with different profile"):
        scope.create(Note("a", profile="other"))

    scope.destroy()


# Which may touch the stage.


@pytest.mark.parametrize("phase", ["up", "read"])
def test_the_mapping_binds_it_before_anything_is_called(world: World, phase: Any) -> None:
    with pytest.raises(ProfileDeniedError) as caught:
        deploy(Note("a", profile="ci"), stage_profile_mapping=MAPPING, phase=phase)

    assert str(caught.value) == (
        "Profile 'ci' of Note 'a' may not touch stage 'prod': stage_profile_mapping keeps 'prod' for prod and "
        "backup.\n"
        "Nothing was called for it: give it profile='prod', or give it profile='backup', or let the mapping allow "
        "'ci'."
    )
    assert world.took() == []


def test_a_mapping_that_is_kept_with_the_stage_binds_it(world: World) -> None:
    deploy(Note("a", profile="backup"), stage_profile_mapping=MAPPING)
    world.took()

    with pytest.raises(ProfileDeniedError):
        deploy(Note("a", profile="backup"), Note("b", profile="ci"))
    deploy(Note("a", profile="backup"), Note("b", profile="prod"))

    assert world.took() == ["create b as prod"]


def test_what_the_mapping_allows_no_longer_is_not_touched_with_it(world: World) -> None:
    deploy(Note("a", profile="backup"), stage_profile_mapping=MAPPING)
    world.took()

    with pytest.raises(ExceptionGroup) as caught:
        deploy(Note("b"), stage_profile_mapping={"prod": ["prod"]})

    [error] = caught.value.exceptions
    assert isinstance(error, DestroyError)
    assert "Profile 'backup' of Note 'a' may not touch stage 'prod'" in str(error)
    assert "tried" not in str(error)
    assert world.took() == ["create b as prod"]
    deploy(Note("b"), Note("a", profile="prod"))  # what is allowed takes its place
    deploy(Note("b"))
    assert world.took() == ["destroy a as prod"]


def test_no_command_touches_it_either(world: World) -> None:
    deploy(Note("a", profile="backup"), stage_profile_mapping=MAPPING)
    deploy(
        Note("a", profile="backup"), Note("b"), stage_profile_mapping={"prod": ["prod", "backup"]}
    )
    with suppress(ExceptionGroup):
        deploy(Note("b"), stage_profile_mapping={"prod": ["prod"]})
    world.took()

    for command in (["state", "check"], ["destroy", "--force"]):
        done = CliRunner().invoke(main, [*command, "--stage", "prod"])
        assert done.exit_code == 1
        assert "Profile 'backup' of Note 'a' may not touch stage 'prod'" in done.output
        told = "       Profile" if command[0] == "state" else "ProfileDeniedError: Profile"
        assert told in done.output

    assert world.took() == ["destroy b as prod"]


# With accounts that tell who calls them.


class Accounts(NamedTuple):
    """Two accounts behind one address; each takes its own token only."""

    prod: FakeAccount
    backup: FakeAccount

    def handle(self, request: Request) -> Response:
        """Let the account answer that the request names."""
        return next(each for each in self if each.account_id in request.path).handle(request)

    def names(self) -> list[list[str]]:
        """Return the readable part of what is alive in each."""
        return [[item.name.rsplit("-", 2)[1] for item in each.inventory()] for each in self]


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accounts]:
    """Return two accounts, for which the profiles of the same names have credentials."""
    both = Accounts(FakeAccount(account_id="a" * 32), FakeAccount(account_id="b" * 32))
    address: Any = both  # it is asked for `handle` alone
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", served(address))
    monkeypatch.setenv("ALCHEMY_HOME", str(tmp_path / "home"))
    for name in ("CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    for profile, account in both._asdict().items():
        file = tmp_path / "home" / "credentials" / profile / "cloudflare.json"
        file.parent.mkdir(parents=True)
        said = {"api_token": account.api_token, "account_id": account.account_id}
        file.write_text(json.dumps(said))
        file.chmod(0o600)
    yield both
    for account in both:
        account.close()


def test_two_databases_live_in_two_accounts(accounts: Accounts) -> None:
    with alchemy("my-app", stage="prod", profile="prod") as app:
        orders = app.create(D1Database("orders"))
        copies = app.create(D1Database("copies", profile="backup"))
        for database in (orders, copies):
            database.exec("CREATE TABLE t (id INTEGER)")
        assert accounts.names() == [["orders"], ["copies"]]

    with alchemy("my-app", stage="prod", profile="prod") as app:
        app.create(D1Database("orders"))

    assert accounts.names() == [["orders"], []]


def test_two_databases_live_in_two_accounts_with_asyncio_too(accounts: Accounts) -> None:
    async def program() -> None:
        async with alchemy("my-app", stage="prod", profile="prod"):
            orders, copies = (
                await D1Database("orders"),
                await D1Database("copies", profile="backup"),
            )
            for database in (orders, copies):
                await database.aexec("CREATE TABLE t (id INTEGER)")

    asyncio.run(program())

    assert accounts.names() == [["orders"], ["copies"]]


def test_each_is_destroyed_in_its_account_from_what_is_recorded(accounts: Accounts) -> None:
    with alchemy("my-app", stage="prod", profile="prod") as app:
        app.create(D1Database("orders"))
        app.create(D1Database("copies", profile="backup"))

    done = CliRunner().invoke(main, ["destroy", "--stage", "prod", "--force"])

    assert done.exit_code == 0, done.output
    assert accounts.names() == [[], []]


def test_each_is_compared_with_what_exists_in_its_account(accounts: Accounts) -> None:
    with alchemy("my-app", stage="prod", profile="prod") as app:
        app.create(D1Database("orders"))
        app.create(D1Database("copies", profile="backup"))

    done = CliRunner().invoke(main, ["state", "check", "--stage", "prod"])

    assert done.exit_code == 0, done.output


def test_a_database_cannot_be_moved_to_another_account_by_its_profile(accounts: Accounts) -> None:
    with alchemy("my-app", stage="prod", profile="prod") as app:
        app.create(D1Database("orders", profile="backup"))

    with (
        pytest.raises(
            ProfileMovedError, match=r"D1Database 'orders' .* 'backup' in cloudflare:bbb"
        ),
        alchemy("my-app", stage="prod", profile="prod") as app,
    ):
        app.create(D1Database("orders"))

    assert accounts.names() == [[], ["orders"]]


def recorded(stage: str) -> list[dict[str, Any]]:
    """Return what the document of *stage* says of its resources."""
    said = json.loads(Path(".alchemy", "my-app", stage, "state.json").read_text())
    return list(said["resources"].values())
