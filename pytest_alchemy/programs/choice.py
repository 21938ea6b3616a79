"""What was chosen for a program: by itself, on the command line, and in the environment."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_alchemy.errors import ContradictionError, InvalidChoiceError, StageMissingError
from pytest_alchemy.names import check_name
from pytest_alchemy.profiles import check_access, check_mapping
from pytest_alchemy.programs.commandline import command_line
from pytest_alchemy.programs.recorded import Wishes
from pytest_alchemy.settings import PHASES, STRATEGIES, Phase, Settings, Strategy

UNSET: Any = object()
"""Stands for what a program does not say; ``None`` is something that it says by mistake."""

FAKE_ACCOUNT: Final = "ALCHEMY_FAKE_ACCOUNT"
"""Variable with the file of a fake account that programs use instead of the real one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """
    What was chosen for one program.

    Attributes:
        settings: Its names, credentials, and how it destroys.
        wishes: What it is run for.
        root: The folder of all stages.
        password: What secrets are encrypted with.
        locking: Whether the stage is locked for others.
        lock_timeout: How long to wait for another owner, in seconds.
        mapping: Which profiles may touch which stages; None if the program does not say.
        strategy: How the program says that it destroys; None if it does not.
    """

    settings: Settings
    wishes: Wishes
    root: Path
    password: str | None = None
    locking: bool = True
    lock_timeout: float = 0.0
    mapping: Mapping[str, Sequence[str]] | None = None
    strategy: Strategy | None = None


def choose(
    app: str,
    *,
    stage: Any = UNSET,
    profile: Any = UNSET,
    phase: Phase | None = None,
    destroy_strategy: Strategy | None = None,
    password: str | None = None,
    adopt: bool = False,
    state_locking: bool = True,
    stage_profile_mapping: Mapping[str, Sequence[str]] | None = None,
) -> Choice:
    """
    Return what holds for a program that says all this; nothing is called, read or made.

    Raises:
        InvalidNameError: A name is none; also a stage or profile that is None or empty.
        InvalidChoiceError: Phase or strategy are none that there is.
        StageMissingError: In CI nobody says which stage.
        ContradictionError: The command line says something else.
        StageMappingError: The mapping is none.
        ProfileDeniedError: The mapping does not let the profile touch the stage.
        TypeError: The password is no text.
    """
    if not isinstance(password, str | None):
        raise TypeError(
            f"password has to be str, not {type(password).__name__}.\n"
            'Pass the text itself: password=os.environ["ALCHEMY_PASSWORD"].'
        )
    given = command_line()
    given.agree("app", check_name("an application", app))
    strategy = _one_of("destroy_strategy", destroy_strategy, STRATEGIES)
    settings = _settings(app, stage, profile, strategy or "sequential")
    mapping = None if stage_profile_mapping is None else check_mapping(stage_profile_mapping)
    if mapping is not None:
        names = {"stage": settings.stage, "profile": settings.profile}
        check_access(mapping, **names, user=user_stage())
    wishes = Wishes(
        _phase(_one_of("phase", phase, PHASES), given.phase),
        adopt=adopt or given.adopt,
        force=given.force,
        plan_only=given.plan_only,
    )
    return Choice(
        settings,
        wishes,
        root=given.root or Path(".alchemy").absolute(),
        password=password,
        locking=state_locking,
        lock_timeout=given.lock_timeout,
        mapping=mapping,
        strategy=strategy,
    )


def default_stage() -> str:
    """
    Return the stage of who does not name one: ``--stage``, else ``ALCHEMY_STAGE``, else the user's name.

    Raises:
        StageMissingError: In CI neither is given.
        InvalidNameError: What is given is no name.
    """
    given = command_line().stage
    if given is None:
        given = os.environ.get("ALCHEMY_STAGE")
    if given is not None:
        return check_name("a stage", given)
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise StageMissingError
    return user_stage()


def user_stage() -> str:
    """
    Return the stage that is the user's own.

    Raises:
        InvalidNameError: Nothing of the user's name can be part of one.
    """
    words = re.sub(r"[^\w.-]+", "-", getpass.getuser())
    return check_name("a stage", words.strip("-_.")[:100])


def default_profile(otherwise: str | None = None) -> str:
    """Return the profile of who does not name one: ``--profile``, else ``ALCHEMY_PROFILE``, else *otherwise*."""
    given = command_line().profile or os.environ.get("ALCHEMY_PROFILE") or otherwise or "default"
    return check_name("a profile", given)


def _settings(app: str, stage: Any, profile: Any, strategy: Strategy) -> Settings:
    """Return the settings of a program that says this; of stage and profile those that hold if it does not."""
    given = command_line()
    fake = os.environ.get(FAKE_ACCOUNT) or None
    return Settings(
        app,
        given.agree("stage", check_name("a stage", stage))
        if stage is not UNSET
        else default_stage(),
        given.agree("profile", check_name("a profile", profile))
        if profile is not UNSET
        else default_profile(),
        live=fake is None,
        destroy=strategy,
        fake_account=os.path.abspath(fake) if fake else None,
    )


def _phase(said: Phase | None, commanded: Phase | None) -> Phase:
    if commanded is None:
        return said or "up"
    # `up` is what a program says that means nothing special.
    if said not in (None, "up", commanded):
        raise ContradictionError("phase", commanded, str(said))
    return commanded


def _one_of(what: str, said: Any, valid: Sequence[str]) -> Any:
    if said is not None and said not in valid:
        raise InvalidChoiceError(what, repr(said), valid)
    return said
