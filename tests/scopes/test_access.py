"""Which profile may touch which stage: kept with the stage, and enforced by whoever comes to it."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_alchemy import alchemy
from pytest_alchemy.cli import main
from pytest_alchemy.errors import ProfileDeniedError
from pytest_alchemy.recovery.laststage import destroy_stage

from .things import Thing, World

MAPPING = {"pr-*": ["ci"], "prod": ["prod"], "$USER": ["default"]}


def deploy(stage: str, profile: str, mapping: dict[str, list[str]] | None = None) -> None:
    with alchemy("my-app", stage=stage, profile=profile, stage_profile_mapping=mapping) as app:
        app.create(Thing("a"))


@pytest.mark.parametrize(
    ("stage", "profile"), [("pr-123", "ci"), ("prod", "prod"), ("alice", "default")]
)
def test_a_profile_may_touch_the_stages_that_are_mapped_to_it(
    world: World, monkeypatch: pytest.MonkeyPatch, stage: str, profile: str
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")

    deploy(stage, profile, MAPPING)

    assert world.took() == ["create a"]


def test_the_ci_profile_may_not_touch_production(world: World) -> None:
    with pytest.raises(ProfileDeniedError):
        deploy("prod", "ci", MAPPING)

    assert world.took() == []


def test_a_program_that_says_nothing_is_bound_by_what_is_kept_with_the_stage(world: World) -> None:
    deploy("prod", "prod", MAPPING)
    world.took()

    with pytest.raises(ProfileDeniedError):
        deploy("prod", "ci")
    deploy("prod", "prod")
    with pytest.raises(ProfileDeniedError):  # it is still kept
        deploy("prod", "ci")

    assert world.took() == []


def test_a_program_that_only_changes_the_mapping_changes_what_is_kept(world: World) -> None:
    deploy("prod", "prod", MAPPING)
    deploy("prod", "prod", {"prod": ["prod", "ci"]})

    deploy("prod", "ci")

    assert world.took() == ["create a"]


def test_the_destroy_and_read_phases_are_bound_as_well(world: World) -> None:
    deploy("prod", "prod", MAPPING)
    world.took()

    for phase in ("destroy", "read"):
        with (
            pytest.raises(ProfileDeniedError),
            alchemy("my-app", stage="prod", profile="ci", phase=phase),
        ):
            pass

    assert world.took() == []


def test_what_destroys_a_stage_without_its_program_is_bound_as_well(
    world: World, folder: Path
) -> None:
    deploy("prod", "prod", MAPPING)
    world.took()

    with pytest.raises(ProfileDeniedError):
        list(destroy_stage(folder / ".alchemy", "my-app", "prod", profile="ci"))

    assert world.took() == []
    assert [finding.what for finding in destroy_stage(folder / ".alchemy", "my-app", "prod")] == [
        "reaped"
    ]


def test_the_command_destroy_is_bound_as_well(world: World) -> None:
    deploy("prod", "prod", MAPPING)
    world.took()
    command = ["destroy", "--stage", "prod", "--force"]

    denied = CliRunner().invoke(main, [*command, "--profile", "ci"])
    assert denied.exit_code == 1
    assert "Profile 'ci' may not touch stage 'prod'" in denied.output
    assert world.took() == []
    allowed = CliRunner().invoke(main, command)

    assert allowed.exit_code == 0, allowed.output
    assert world.alive == {}
