"""Which stage a command is about, and what is said when its state cannot be read."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from pytest_alchemy.cli.words import count
from pytest_alchemy.errors import JournalCorruptError, StateFileError, StateForeignError
from pytest_alchemy.recovery.found import Choice, FoundStage, find_stages
from pytest_alchemy.recovery.roots import nearest_root
from pytest_alchemy.report.texts import one_line
from pytest_alchemy.state.backup import backups_of
from pytest_alchemy.state.folders import JOURNALS
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.statefile import STATE

_SHOWN: Final = 20
"""How many things are named in a question."""

ANYBODYS: Final = Choice(foreign=True)


def _root_option(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--root",
        type=click.Path(file_okay=False, path_type=Path),
        callback=lambda _ctx, _param, value: Path(os.path.abspath(value)) if value else None,
        help=f"The folder of the stages.  [default: {default}]",
    )


root_option = _root_option("the nearest .alchemy that holds any, here or above")
"""The option ``--root``; the verb's function takes it as *root*, absolute, None if it was not given."""

program_root_option = _root_option(".alchemy in the working directory")
"""The same where a program is run, which keeps its stages where it works."""

app_option = click.option(
    "--app", metavar="NAME", help="The application, where the folder holds several."
)
"""The option ``--app``."""

lock_timeout_option = click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0.0),
    default=0.0,
    metavar="SECONDS",
    help="How long to wait for whoever is using the stage.  [default: not at all]",
)
"""The option ``--lock-timeout``, in seconds."""


def stages_under(root: Path | None, app: str | None = None) -> list[FoundStage]:
    """Return all stages under *root*, else under the nearest root, of one application or of all."""
    choice = Choice(app, foreign=True)
    return find_stages(root or nearest_root(Path.cwd()), user_key(), choice)


def the_stage(root: Path | None, app: str | None, stage: str) -> FoundStage:
    """
    Return the one stage called *stage*.

    Raises:
        click.ClickException: There is none, or several applications have one.
    """
    root = root or nearest_root(Path.cwd())
    known = find_stages(root, user_key(), ANYBODYS)
    found = [each for each in known if each.stage == stage and app in (None, each.app)]
    if len(found) > 1:
        apps = ", ".join(one_line(each.app) for each in found)
        raise click.ClickException(
            f"Several applications have a stage {stage!r}: {apps}.\nName one: --app {found[0].app}"
        )
    if not found:
        asked = f"{app}/{stage}" if app else f"stage {stage!r}"
        titles = ", ".join(title_of(each) for each in known)
        raise click.ClickException(
            f"Nothing is recorded of {asked} under {root}.\n"
            + (f"Recorded there: {titles}." if known else "Nothing at all is recorded there.")
        )
    return found[0]


def title_of(stage: FoundStage) -> str:
    """Return a stage as messages call it: ``my-app/prod``."""
    return one_line(f"{stage.app}/{stage.stage}")


def ask(found: FoundStage, names: Sequence[str], *, verb: str, done: str) -> None:
    """
    Have the name of a stage typed before something is done for good.

    Args:
        found: The stage.
        names: What the things in it are called to which it is done.
        verb: What is about to be done: ``destroy``.
        done: The same when it is done: ``destroyed``.

    Raises:
        click.ClickException: Nobody can be asked, or another name was typed.
    """
    title = title_of(found)
    if not sys.stdin.isatty():
        raise click.ClickException(
            f"Nothing in {title} was {done}: nobody can be asked without a terminal.\n"
            f"Say --force to {verb} without asking."
        )
    click.echo(f"{count(len(names), 'resource')} in {title} to be {done}:", err=True)
    for name in names[:_SHOWN]:
        click.echo(f"       {name}", err=True)
    if len(names) > _SHOWN:
        click.echo(f"       and {len(names) - _SHOWN} more: alchemy state list", err=True)
    typed = click.prompt(
        f"Type the name of the stage to {verb} this", err=True, default="", show_default=False
    )
    if typed != found.stage:
        raise click.ClickException(f"Nothing in {title} was {done}: that is not its name.")


@contextmanager
def naming_backups(root: Path | None) -> Iterator[None]:
    """
    Tell with a state that cannot be used where its last copy is, and how to put that back.

    Raises:
        click.ClickException: A state file or a journal under *root* is damaged or was edited.
    """
    try:
        yield
    except (StateFileError, StateForeignError, JournalCorruptError) as error:
        folder = _stage_of(Path(error.file), root or nearest_root(Path.cwd()))
        text = with_backup(str(error), folder)
        if folder and text == str(error) and type(error) is StateFileError:  # no newer version's
            text += "\n" + _way_on(Path(error.file), folder)
        raise click.ClickException(text) from error


def with_backup(text: str, folder: Path | None) -> str:
    """Return *text*, and where the last copy of the stage in *folder* is, if there is one."""
    copies = backups_of(folder) if folder else []
    if not copies:
        return text
    copy, place = (shlex.quote(str(path)) for path in (copies[-1], folder))
    # All of what it says goes first: beside the copy, what was recorded since would speak of things unknown to it.
    command = f"find {place} -name {STATE} -delete && rm -rf {place}/{JOURNALS} && cp -r {copy}/. {place}/"
    return f"{text}\nIts last copy is {copies[-1]}; put it back with: {command}"


def _way_on(file: Path, folder: Path) -> str:
    # The state of the stage itself is what those of its nested scopes refer to.
    whole = file == folder / STATE
    place = shlex.quote(str(folder if whole else file))
    command = f"find {place} -name {STATE} -delete" if whole else f"rm {place}"
    return (
        f"There is no copy. To go on without what it says: {command}\n"
        "Then take over what exists: alchemy deploy --adopt"
    )


def _stage_of(file: Path, root: Path) -> Path | None:
    try:
        app, stage, *_ = file.relative_to(root).parts
    except ValueError:  # it lies elsewhere
        return None
    return root / app / stage
