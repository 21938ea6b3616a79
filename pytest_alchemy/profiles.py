"""
Which profiles may touch which stages. Decides by names alone; nothing is looked up.

The mapping is a guard rail: it checks labels, not what a token can do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from pytest_alchemy.errors import InvalidNameError, ProfileDeniedError, StageMappingError
from pytest_alchemy.names import check_name

USER: Final = "$USER"
"""Stands in a mapping for the stage that has the user's own name."""


def check_mapping(mapping: object) -> dict[str, list[str]]:
    """
    Return the mapping from stages to profiles as plain data, to be kept with the stage.

    Args:
        mapping: Stage names, patterns (``pr-*``) or ``$USER``, each with a list of profiles.

    Raises:
        StageMappingError: It is something else.
    """
    if not isinstance(mapping, Mapping):
        raise StageMappingError(f"it is of type {type(mapping).__name__}, not a dict")
    found = {}
    for pattern, profiles in mapping.items():
        if not isinstance(pattern, str) or not pattern:
            raise StageMappingError(f"{pattern!r} is no stage and no pattern")
        if isinstance(profiles, str) or not isinstance(profiles, Sequence):
            raise StageMappingError(f"{pattern!r} maps to {profiles!r}, not to a list of profiles")
        try:
            found[pattern] = [check_name("a profile", profile) for profile in profiles]
        except InvalidNameError as error:
            raise StageMappingError(
                f"{pattern!r} maps to {error.name!r}, which is no profile"
            ) from None
    return found


def check_access(
    mapping: Mapping[str, Sequence[str]], *, stage: str, profile: str, user: str, resource: str = ""
) -> None:
    """
    Make sure that *profile* may touch *stage*; to be called before any provider is.

    A stage belongs to the entry with its very name (``$USER`` is *user*), else to the first pattern that it fits. One
    that fits none belongs to nobody.

    Args:
        mapping: What `check_mapping` returned.
        stage: Name of the stage.
        profile: The profile in use.
        user: The stage that ``$USER`` stands for.
        resource: The resource whose own profile it is; empty if it is that of the program or command.

    Raises:
        ProfileDeniedError: It may not.

    >>> check_access({"pr-*": ["ci"], "prod": ["prod"]}, stage="pr-123", profile="ci", user="ada")
    """
    pattern = _entry_of(mapping, stage, user)
    allowed = () if pattern is None else mapping[pattern]
    if profile not in allowed:
        stages = [each for each, profiles in mapping.items() if profile in profiles]
        raise ProfileDeniedError(stage, profile, pattern or "", allowed, stages, resource)


def _entry_of(mapping: Mapping[str, Sequence[str]], stage: str, user: str) -> str | None:
    if stage in mapping:
        return stage
    if stage == user and USER in mapping:
        return USER
    return next((pattern for pattern in mapping if fnmatchcase(stage, pattern)), None)
