"""A verb that does what a test tells it to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from unittest import mock

import click

from pytest_alchemy.cli.frame import Verb, console, json_option, print_json, progress, say
from pytest_alchemy.errors import AlchemyWarning, StageLockedError


def raise_(error: BaseException) -> None:
    raise error


def show_colours() -> None:
    say("red", fg="red")
    console(sys.stdout).print("bold", style="bold red")


def ask_and_be_interrupted() -> None:
    with mock.patch("click.termui.visible_prompt_func", side_effect=KeyboardInterrupt):
        click.prompt("Name")


def work() -> None:
    with progress("Working") as tell:
        tell("half done")
    say("1 destroyed")
    print_json({"left": 0})


DEEDS: dict[str, Callable[[], object]] = {
    "ours": lambda: raise_(StageLockedError("my-app/prod", "ada on build-7, pid 12")),
    "disk": lambda: raise_(OSError(28, "No space left on device", "/state")),
    "several": lambda: raise_(
        ExceptionGroup("2 resources are left", [OSError(5, "I/O error"), ValueError("odd\nvalue")])
    ),
    "bug": lambda: raise_(ZeroDivisionError()),
    "interrupt": lambda: raise_(KeyboardInterrupt()),
    "interrupted-prompt": ask_and_be_interrupted,
    "warning": lambda: warnings.warn(AlchemyWarning("A password is in plain text."), stacklevel=1),
    "colours": show_colours,
    "work": work,
}


@click.command(cls=Verb, example="alchemy act work")
@click.argument("deed", type=click.Choice(list(DEEDS)))
@json_option
def act(deed: str, as_json: bool) -> None:
    """Do DEED."""
    DEEDS[deed]()
