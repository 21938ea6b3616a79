"""Which application, stage, profile and phase a program is for."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.errors import (
    ContradictionError,
    InvalidChoiceError,
    InvalidNameError,
    ProfileDeniedError,
    StageMappingError,
    StageMissingError,
)
from pytest_alchemy.programs.choice import choose
from pytest_alchemy.programs.commandline import CommandLine, commanded

from .things import Thing, World


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")


def test_the_stage_of_who_names_none_is_the_users() -> None:
    assert choose("my-app").settings.stage == "alice"


def test_a_users_name_that_is_no_stages_name_is_made_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: r"CORP\alice smith")

    assert choose("my-app").settings.stage == "CORP-alice-smith"


def test_the_environment_names_the_stage_before_the_user_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALCHEMY_STAGE", "staging")

    assert choose("my-app").settings.stage == "staging"


def test_in_ci_no_stage_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")

    with pytest.raises(StageMissingError) as caught:
        alchemy("my-app")

    assert str(caught.value) == (
        "No stage was named, and in CI (the variable CI is set) none is guessed: a wrong guess would change somebody "
        "else's environment.\n"
        'Name it: alchemy("my-app", stage="pr-123"), --stage pr-123, or ALCHEMY_STAGE=pr-123.'
    )


@pytest.mark.parametrize("stage", [None, "", "a/b", ".hidden"])
def test_a_stage_that_is_said_has_to_be_one(stage: Any) -> None:
    with pytest.raises(InvalidNameError, match="is not a name for a stage"):
        alchemy("my-app", stage=stage)


def test_a_stage_that_the_environment_leaves_empty_is_no_silent_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALCHEMY_STAGE", "")

    with pytest.raises(InvalidNameError, match="it is empty"):
        alchemy("my-app")


@pytest.mark.parametrize("profile", [None, ""])
def test_a_profile_that_is_said_has_to_be_one(profile: Any) -> None:
    with pytest.raises(InvalidNameError, match="is not a name for a profile"):
        alchemy("my-app", stage="prod", profile=profile)


def test_the_profile_comes_from_program_command_line_and_environment_in_this_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert choose("my-app").settings.profile == "default"
    monkeypatch.setenv("ALCHEMY_PROFILE", "environment")
    assert choose("my-app").settings.profile == "environment"
    with commanded(CommandLine(profile="line")):
        assert choose("my-app").settings.profile == "line"
    assert choose("my-app", profile="program").settings.profile == "program"


def test_the_command_line_says_what_the_program_leaves_open() -> None:
    with commanded(CommandLine(stage="pr-1", profile="ci", phase="read", adopt=True, force=True)):
        chosen = choose("my-app")

    assert (chosen.settings.stage, chosen.settings.profile) == ("pr-1", "ci")
    assert (chosen.wishes.phase, chosen.wishes.adopt, chosen.wishes.force) == ("read", True, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (CommandLine(app="other"), {}),
        (CommandLine(stage="pr-1"), {"stage": "prod"}),
        (CommandLine(profile="ci"), {"profile": "prod"}),
        (CommandLine(phase="up"), {"phase": "read"}),
    ],
)
def test_command_line_and_program_may_not_contradict_each_other(
    given: CommandLine, said: dict[str, Any]
) -> None:
    with commanded(given), pytest.raises(ContradictionError):
        alchemy("my-app", **said)


def test_a_contradiction_names_both_before_anything_is_called(world: World) -> None:
    with (
        commanded(CommandLine(stage="pr-1")),
        pytest.raises(ContradictionError) as caught,
        alchemy("my-app", stage="prod") as app,
    ):
        app.create(Thing("a"))

    assert str(caught.value) == (
        "The command line says --stage pr-1, and the program stage='prod'.\n"
        "Nothing was called. Leave one of the two out, or let them agree."
    )
    assert world.called == []


def test_a_contradiction_about_the_phase_names_no_option_that_there_is_not() -> None:
    with commanded(CommandLine(phase="up")), pytest.raises(ContradictionError) as caught:
        alchemy("my-app", stage="prod", phase="destroy")

    assert str(caught.value) == (
        "The command runs the program in phase 'up', and it says phase='destroy'.\n"
        "Nothing was called. Leave that out of it, or run it without the command: python PROGRAM"
    )


def test_a_program_that_says_up_is_run_for_what_the_command_line_says() -> None:
    with commanded(CommandLine(phase="destroy")):
        assert choose("my-app", phase="up").wishes.phase == "destroy"


def test_a_strategy_that_there_is_not_is_refused() -> None:
    strategy: Any = "fast"

    with pytest.raises(InvalidChoiceError) as caught:
        alchemy("my-app", stage="prod", destroy_strategy=strategy)

    assert str(caught.value) == (
        "destroy_strategy='fast' is not valid. Use 'sequential' or 'parallel'."
    )


MAPPING = {"pr-*": ["ci"], "prod": ["prod"], "$USER": ["default"]}


def test_a_profile_that_the_mapping_denies_ends_the_program_before_anything_is_called(
    world: World, folder: Path
) -> None:
    with (
        commanded(CommandLine(profile="ci")),
        pytest.raises(ProfileDeniedError, match="'ci' may not touch stage 'prod'"),
        alchemy("my-app", stage="prod", stage_profile_mapping=MAPPING) as app,
    ):
        app.create(Thing("a"))

    assert world.called == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "profile"), [("pr-123", "ci"), ("prod", "prod"), ("alice", "default")]
)
def test_a_profile_that_the_mapping_allows_is_used(stage: str, profile: str) -> None:
    chosen = choose("my-app", stage=stage, profile=profile, stage_profile_mapping=MAPPING)

    assert (chosen.settings.profile, chosen.mapping) == (profile, MAPPING)


def test_the_mapping_holds_for_what_is_not_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("my-app", stage_profile_mapping=MAPPING).settings.stage == "alice"
    monkeypatch.setenv("ALCHEMY_PROFILE", "prod")

    with pytest.raises(ProfileDeniedError, match="'prod' may not touch stage 'alice'"):
        choose("my-app", stage_profile_mapping=MAPPING)


def test_a_mapping_that_is_none_is_refused() -> None:
    with pytest.raises(StageMappingError):
        choose("my-app", stage="prod", stage_profile_mapping={"prod": "prod"})


@pytest.mark.parametrize("password", [b"correct horse", alchemy.secret("correct horse")])
def test_a_password_that_is_no_text_is_refused_and_not_shown(password: Any) -> None:
    with pytest.raises(TypeError) as caught:
        alchemy("my-app", password=password)

    assert str(caught.value) == (
        f"password has to be str, not {type(password).__name__}.\n"
        'Pass the text itself: password=os.environ["ALCHEMY_PASSWORD"].'
    )
