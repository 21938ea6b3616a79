"""
What all verbs have in common: help with an example, ``--quiet`` and ``--debug``, how failures are told.

Standard output gets what was asked for, standard error everything else: progress, questions, errors. A verb that has
``--json`` prints one JSON document and nothing more on standard output. ``NO_COLOR`` takes the colours away.
Exit codes: 0 it is done, 1 it is not, 2 the command was not understood, 130 it was interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from pytest_alchemy.cli.streams import show
from pytest_alchemy.errors import AlchemyError, AlchemyWarning
from pytest_alchemy.report.texts import scrub

if TYPE_CHECKING:
    from rich.console import Console

_QUIET: Final = "pytest_alchemy.quiet"
_DEBUG: Final = "pytest_alchemy.debug"

# Click tells these itself.
_CLICKS_OWN = (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
"""The option ``--json``; the verb's function takes it as *as_json* and ends with `print_json`."""


class Verb(click.Command):
    """
    A command with ``--quiet``, ``--debug`` and an example in its help.

    Args:
        example: One or more lines of shell that show how it is called.
    """

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.params += _common_options()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        with formatter.section("Example" if "\n" not in self.example else "Examples"):
            for line in self.example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class VerbGroup(Verb, click.Group):
    """A verb with verbs of its own (``alchemy profile list``)."""

    command_class = Verb
    group_class = type


def is_quiet() -> bool:
    """Tell whether ``--quiet`` was given."""
    return bool(click.get_current_context().meta.get(_QUIET))


def is_debugging() -> bool:
    """Tell whether ``--debug`` was given."""
    return bool(click.get_current_context().meta.get(_DEBUG))


def say(text: str, *, fg: str | None = None) -> None:
    """Tell a person how it goes, on standard error; nothing under ``--quiet``."""
    if not is_quiet():
        show(text, fg=fg, err=True)


def print_json(document: Any) -> None:
    """Print *document*, plain data, as the one JSON document of the command."""
    click.echo(json.dumps(document, indent=2))


def console(stream: TextIO) -> Console:
    """Return a rich console on *stream*; into a pipe or a log it draws nothing that moves."""
    from rich.console import Console

    live = None if stream.isatty() else False
    return Console(file=stream, markup=False, highlight=False, force_interactive=live)


@contextmanager
def progress(title: str) -> Iterator[Callable[[str], object]]:
    """
    Yield what is to be told before something takes long, on standard error; it says nothing under ``--quiet``.

    A screen shows *title* and then what was told last while it lasts; a log gets a line for each.
    """
    if is_quiet() or not sys.stderr.isatty():
        yield say
        return
    with console(sys.stderr).status(title) as status:
        yield status.update


@contextmanager
def telling_failures() -> Iterator[None]:
    """
    Tell what fails inside as sentences on standard error, and our warnings as well.

    Under ``--debug`` a failure leaves as it is, with its traceback.

    Raises:
        click.ClickException: Something failed; the exit code is 1.
        click.exceptions.Exit: It was interrupted; the exit code is 130.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default", AlchemyWarning)
        warnings.showwarning = _showing_warnings(warnings.showwarning)
        try:
            yield
        except BaseException as error:
            if _is_interrupt(error):
                with suppress(KeyboardInterrupt):  # a second one
                    show("Interrupted.", err=True)
                raise click.exceptions.Exit(130) from None
            if is_debugging() or not isinstance(error, Exception) or isinstance(error, _CLICKS_OWN):
                raise
            raise click.ClickException(sentence(error)) from error


def _is_interrupt(error: BaseException) -> bool:
    """Tell whether *error* is Ctrl-C: as it is, at a prompt, or where Python 3.11 met it in the body of a class."""
    behind = error.__context__ if isinstance(error, click.Abort) else error.__cause__
    return isinstance(error, KeyboardInterrupt) or isinstance(behind, KeyboardInterrupt)


def sentence(error: BaseException) -> str:
    """
    Return what *error* says, without the place it comes from and without passwords.

    >>> print(sentence(ExceptionGroup("2 resources are left", [OSError(28, "No space left", "/a"), ValueError("x")])))
    2 resources are left
      * /a: No space left
      * ValueError: x (--debug shows where it comes from)
    >>> print(sentence(ConnectionError("no answer of postgres://ada:pw@db")))
    ConnectionError: no answer of postgres://ada:***@db (--debug shows where it comes from)
    """
    if isinstance(error, BaseExceptionGroup):
        parts = [sentence(each).replace("\n", "\n    ") for each in error.exceptions]
        return "\n  * ".join([error.message, *parts])
    if isinstance(error, AlchemyError):
        return scrub(str(error))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{scrub(told)} (--debug shows where it comes from)"


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_remember(_QUIET),
            help="No progress and no summary; only results, questions and errors.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_remember(_DEBUG),
            help="Show the traceback of a failure.",
        ),
    ]


def _remember(key: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:  # said once, before or after the verb, it holds
            ctx.meta[key] = True

    return remember


def _showing_warnings(others: Callable[..., None]) -> Callable[..., None]:
    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, AlchemyWarning):
            show(f"Warning: {message}", fg="yellow", err=True)
        else:
            others(message, category, *where, **more)

    return tell


def uncoloured() -> bool | None:
    """Return False if ``NO_COLOR`` asks for no colours, None to let the terminal decide."""
    return False if os.environ.get("NO_COLOR") else None
