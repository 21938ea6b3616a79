"""Which profiles may touch which stages."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pytest_alchemy.errors import ProfileDeniedError, StageMappingError
from pytest_alchemy.profiles import check_access, check_mapping

MAPPING = {"pr-*": ["ci"], "prod": ["prod"], "$USER": ["default", "dev"]}


def may(stage: str, profile: str, mapping: dict[str, list[str]] = MAPPING) -> bool:
    try:
        check_access(mapping, stage=stage, profile=profile, user="ada")
    except ProfileDeniedError:
        return False
    return True


@pytest.mark.parametrize(
    ("stage", "profile", "allowed"),
    [
        ("pr-123", "ci", True),
        ("prod", "ci", False),
        ("prod", "prod", True),
        ("pr-123", "prod", False),
        ("ada", "default", True),
        ("ada", "dev", True),
        ("ada", "ci", False),
        ("bob", "default", False),  # somebody else's
        ("staging", "prod", False),  # fits nothing
        ("PR-123", "ci", False),
        ("pr", "ci", False),
    ],
)
def test_a_profile_touches_the_stages_that_the_mapping_gives_it(
    stage: str, profile: str, allowed: bool
) -> None:
    assert may(stage, profile) is allowed


def test_a_name_goes_before_a_pattern_and_the_first_pattern_before_the_next() -> None:
    mapping = {"*": ["ops"], "pr-*": ["ci"], "pr-1": ["one"], "$USER": ["me"]}

    assert may("pr-1", "one", mapping)
    assert may("ada", "me", mapping)
    assert may("pr-2", "ops", mapping)
    assert not may("pr-1", "ops", mapping)
    assert not may("pr-2", "ci", mapping)


@pytest.mark.parametrize(
    ("stage", "profile", "message"),
    [
        (
            "prod",
            "ci",
            "Profile 'ci' may not touch stage 'prod': stage_profile_mapping keeps 'prod' for prod.\n"
            "Nothing was called. Use --profile prod, or a stage that ci may touch (pr-*).",
        ),
        (
            "ada",
            "stranger",
            "Profile 'stranger' may not touch stage 'ada': stage_profile_mapping keeps '$USER' for default and dev.\n"
            "Nothing was called. Use --profile default, or --profile dev.",
        ),
        (
            "staging",
            "prod",
            "Profile 'prod' may not touch stage 'staging': stage_profile_mapping has no entry that it fits.\n"
            "Nothing was called. Use a stage that prod may touch (prod).",
        ),
    ],
)
def test_a_denied_profile_is_told_what_is_allowed(stage: str, profile: str, message: str) -> None:
    with pytest.raises(ProfileDeniedError) as caught:
        check_access(MAPPING, stage=stage, profile=profile, user="ada")

    assert str(caught.value) == message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_a_mapping_is_kept_as_plain_data() -> None:
    assert check_mapping({"pr-*": ("ci",), "prod": []}) == {"pr-*": ["ci"], "prod": []}


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ([("prod", ["prod"])], "it is of type list, not a dict"),
        ({"prod": "prod"}, "'prod' maps to 'prod', not to a list of profiles"),
        ({"prod": None}, "'prod' maps to None, not to a list of profiles"),
        ({"prod": ["a/b"]}, "'prod' maps to 'a/b', which is no profile"),
        ({"": ["prod"]}, "'' is no stage and no pattern"),
        ({7: ["prod"]}, "7 is no stage and no pattern"),
    ],
)
def test_a_mapping_that_is_none_is_refused(mapping: Any, reason: str) -> None:
    with pytest.raises(StageMappingError) as caught:
        check_mapping(mapping)

    assert str(caught.value) == (
        f"stage_profile_mapping cannot be understood: {reason}.\n"
        'Write it like {"pr-*": ["ci"], "prod": ["prod"], "$USER": ["default"]}.'
    )
