"""
The options of a run: one table, from which the flags, the ini options and their values are made.

This module is loaded by every pytest run, also by those that use no scope: it imports nothing that pytest has not
imported already, and its classes are written out because making a dataclass takes longer than all the rest of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import pytest

if TYPE_CHECKING:
    from pytest_alchemy.settings import Keep, Strategy

    Kind = Literal["choice", "name", "text", "path", "switch", "number"]
    Leaks = Literal["fail", "warn", "off"]


class Option:
    """
    One option of a run, as a flag and as an ini option.

    Attributes:
        name: As in an ini file: ``alchemy_leaks``; with dashes it is the flag.
        kind: What its value is.
        help: What it is for.
        default: As the help shows it; empty where there is nothing to show.
        choices: Every value that is valid, for a choice.
        metavar: What stands for the value in the help.
        what: What a name names, with its article.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        help: str,  # noqa: A002 # as argparse calls it
        default: str = "",
        *,
        choices: tuple[str, ...] = (),
        metavar: str | None = None,
        what: str = "",
    ) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.help: Final = help
        self.default: Final = default
        self.choices: Final = choices
        self.metavar: Final = metavar
        self.what: Final = what

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def full_help(self) -> str:
        """What ``--help`` says."""
        return f"{self.help} (default: {self.default})" if self.default else self.help


OPTIONS: tuple[Option, ...] = (
    Option(
        "alchemy_app",
        "name",
        "Name of the application that the run's resources belong to.",
        "[project].name of pyproject.toml, else the name of rootdir",
        metavar="NAME",
        what="an application",
    ),
    Option(
        "alchemy_stage",
        "name",
        "Name of the stage of every test.",
        "test",
        metavar="NAME",
        what="a stage",
    ),
    Option(
        "alchemy_destroy",
        "choice",
        "How a scope destroys its resources.",
        "sequential",
        choices=("sequential", "parallel"),
    ),
    Option(
        "alchemy_profile",
        "text",
        "Name of the credentials to use.",
        "$ALCHEMY_PROFILE, else default",
        metavar="NAME",
    ),
    Option("alchemy_live", "switch", "Talk to the real API instead of the offline fake account."),
    Option(
        "alchemy_keep",
        "choice",
        "Whose resources outlive their test.",
        "never",
        choices=("never", "failed", "always"),
    ),
    Option(
        "alchemy_leaks",
        "choice",
        "What a resource that could not be destroyed does to the run.",
        "fail where CI is set, else warn",
        choices=("fail", "warn", "off"),
    ),
    Option(
        "alchemy_report",
        "path",
        "Write the run's report into this folder: index.html, leaks.json and leaks.xml.",
        metavar="DIR",
    ),
    Option(
        "alchemy_durations",
        "number",
        "Show the N slowest creates and the N slowest destroys (0 for all).",
        metavar="N",
    ),
    Option(
        "alchemy_root",
        "path",
        "Folder that holds the state of every scope.",
        ".alchemy under rootdir",
        metavar="DIR",
    ),
    Option(
        "alchemy_no_sigterm",
        "switch",
        "Leave SIGTERM alone: by default a run that uses scopes ends on it as on Ctrl-C, with exit code 143.",
    ),
    Option(
        "alchemy_fake_account",
        "path",
        "Keep the offline fake account in this file: it outlives the run and is shared by workers.",
        metavar="FILE",
    ),
)

_USERS_FOLDERS = (
    "ALCHEMY_STATE_HOME",
    "XDG_STATE_HOME",
    "HOME",
    "USERPROFILE",
    "LOCALAPPDATA",
)
"""The variables from which the place of the user's key follows."""

_BY_NAME = {option.name: option for option in OPTIONS}


class Options:
    """
    What was chosen for a run: the command line beats ini, ini beats the default.

    Attributes:
        project_name: Gives the name of the application where none was chosen; called once at most, by :attr:`app`.
        root: Folder that holds the state of every scope, absolute.
        chosen_app: Name of the application from the command line or ini, or None.
        stage: Name of the stage of tests that choose none themselves.
        destroy: How scopes destroy unless told otherwise.
        profile: Name of the credentials in use.
        live: True if providers talk to the real API, False if to the fake.
        keep: Whose resources outlive their test.
        leaks: What a leak does to the run.
        report: Folder for the report, absolute, or None. (A path in ini counts from rootdir, one on the command
            line from the folder that pytest was called in.)
        durations: How many of the slowest creates and destroys to show, 0 for all, or None.
        fake_account: Path of the file-backed fake account, absolute, or None for one in memory.
        no_sigterm: True if SIGTERM is to be left alone.
        environment: Where the user's own folders are, as it was before the first test (`state.keys.remember`).
    """

    def __init__(
        self,
        *,
        project_name: Callable[[], str],
        root: Path,
        chosen_app: str | None = None,
        stage: str = "test",
        destroy: Strategy = "sequential",
        profile: str = "default",
        live: bool = False,
        keep: Keep = "never",
        leaks: Leaks = "warn",
        report: Path | None = None,
        durations: int | None = None,
        fake_account: Path | None = None,
        no_sigterm: bool = False,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.project_name: Final = project_name
        self.root: Final = root
        self.chosen_app: Final = chosen_app
        self.stage: Final = stage
        self.destroy: Final[Strategy] = destroy
        self.profile: Final = profile
        self.live: Final = live
        self.keep: Final[Keep] = keep
        self.leaks: Final[Leaks] = leaks
        self.report: Final = report
        self.durations: Final = durations
        self.fake_account: Final = fake_account
        self.no_sigterm: Final = no_sigterm
        self.environment: Final = environment or {}

    @property
    def app(self) -> str:
        """
        Name of the application; the first call may read ``pyproject.toml``.

        Raises:
            pytest.UsageError: No name was chosen, and ``pyproject.toml`` cannot be read for one.
        """
        return self.chosen_app or self.project_name()

    @property
    def wants_history(self) -> bool:
        """Whether it matters when each resource was made and unmade, not only how many were."""
        return self.report is not None or self.durations is not None

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """
        Return what was chosen for the run of *config*; reads no file.

        Raises:
            pytest.UsageError: A value is wrong; the message names the option, the value, and what is valid.
        """
        return cls(
            project_name=cache(partial(project_name, config.rootpath)),
            root=_path(config, "alchemy_root") or config.rootpath / ".alchemy",
            chosen_app=_text(config, "alchemy_app"),
            stage=_text(config, "alchemy_stage") or "test",
            destroy=cast("Strategy", _text(config, "alchemy_destroy") or "sequential"),
            profile=_text(config, "alchemy_profile")
            or os.environ.get("ALCHEMY_PROFILE")
            or "default",
            live=_switch(config, "alchemy_live"),
            keep=cast("Keep", _text(config, "alchemy_keep") or "never"),
            leaks=cast(
                "Leaks",
                _text(config, "alchemy_leaks") or ("fail" if os.environ.get("CI") else "warn"),
            ),
            report=_path(config, "alchemy_report"),
            durations=_number(config, "alchemy_durations"),
            fake_account=_path(config, "alchemy_fake_account"),
            no_sigterm=_switch(config, "alchemy_no_sigterm"),
            environment={name: _absolute(os.environ.get(name)) for name in _USERS_FOLDERS},
        )


def _absolute(folder: str | None) -> str | None:
    """Return *folder* as it is meant here: a test may change the working directory."""
    return os.path.abspath(os.path.expanduser(folder)) if folder else folder


def add_options(parser: pytest.Parser) -> None:
    """Add every option of :data:`OPTIONS` to *parser*, as a flag and as an ini option."""
    group = parser.getgroup("alchemy", "scopes for resources (pytest-alchemy)")
    for option in OPTIONS:
        group.addoption(option.flag, **_argument(option))
        # None tells "not given" from every value that can be given.
        ini_type: Literal["bool", "string"] = "bool" if option.kind == "switch" else "string"
        parser.addini(option.name, option.full_help, type=ini_type, default=None)


def _argument(option: Option) -> dict[str, Any]:
    shared: dict[str, Any] = {"help": option.full_help, "default": None}
    if option.kind == "switch":
        return shared | {"action": "store_true"}
    if option.kind == "choice":
        return shared | {"choices": option.choices}
    return shared | {"metavar": option.metavar}


def _given(config: pytest.Config, option: Option) -> tuple[str, Any]:
    """Return where *option* was given and its value, which is None if it was not given at all."""
    value = config.getoption(option.name)
    if value is not None:
        return option.flag, value
    source = f"ini option {option.name}"
    try:
        return source, config.getini(option.name)
    except (ValueError, TypeError, pytest.UsageError) as error:
        # pytest 8 raises ValueError and pytest 9 UsageError, neither of which names the option in every case.
        valid = ". Write true or false" if option.kind == "switch" else ""
        raise pytest.UsageError(f"{source}: {error}{valid}") from None


def _switch(config: pytest.Config, name: str) -> bool:
    return bool(_given(config, _BY_NAME[name])[1])


def _text(config: pytest.Config, name: str) -> str | None:
    option = _BY_NAME[name]
    source, value = _given(config, option)
    if value is None:
        return None
    if option.kind == "choice" and value not in option.choices:
        raise pytest.UsageError(f"{source}: {value!r} is not one of: {', '.join(option.choices)}")
    if not isinstance(value, str):
        raise pytest.UsageError(f"{source}: {value!r} is not a text")
    if option.kind == "name":
        _check_name(source, option, value)
    elif not value:
        raise pytest.UsageError(f"{source}: the value is empty. Give one, or leave the option out")
    return value


def _number(config: pytest.Config, name: str) -> int | None:
    text = _text(config, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        source, _ = _given(config, _BY_NAME[name])
        raise pytest.UsageError(f"{source}: {text!r} is not a whole number from 0")
    return int(text)


def _check_name(source: str, option: Option, value: str) -> None:
    if re.fullmatch(r"[a-zA-Z0-9][\w.-]{0,99}", value, re.ASCII):
        return  # as nearly all are: what knows all names, and words for the rest, takes long to import
    from pytest_alchemy.errors import InvalidNameError
    from pytest_alchemy.names import check_name

    try:
        check_name(option.what, value)
    except InvalidNameError as error:
        raise pytest.UsageError(f"{source}: {error}") from None


def _path(config: pytest.Config, name: str) -> Path | None:
    value = _text(config, name)
    if value is None:
        return None
    is_flag = config.getoption(name) is not None
    base = config.invocation_params.dir if is_flag else config.rootpath
    return Path(os.path.abspath(base / Path(value).expanduser()))


def project_name(rootdir: Path) -> str:
    """
    Return ``[project].name`` of the ``pyproject.toml`` in *rootdir*, else the name of *rootdir*, as a legal name.

    Raises:
        pytest.UsageError: There is a ``pyproject.toml`` with a name that cannot be read.
    """
    import tomllib

    file = rootdir / "pyproject.toml"
    try:
        declared = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("name")
    except OSError:
        declared = None
    except (ValueError, AttributeError) as error:
        raise pytest.UsageError(
            f"[project].name of {file} cannot be read: {error}.\n"
            "Mend the file, or name the application with --alchemy-app or the ini option alchemy_app"
        ) from None
    return legal_name(str(declared or rootdir.name))


def legal_name(text: str) -> str:
    """
    Return *text* with what may not stand in a name made into dashes.

    >>> legal_name("My App (2)"), legal_name("/")
    ('My-App-2', 'app')
    """
    words = re.sub(r"[^\w.-]+", "-", text)
    return words.strip("-_.")[:100] or "app"
