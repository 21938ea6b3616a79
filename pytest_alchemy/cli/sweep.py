"""``alchemy sweep``: list, and with ``--yes`` destroy, what dead runs left."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from pytest_alchemy.cli.frame import Verb, json_option, progress
from pytest_alchemy.cli.providers import kinds_of
from pytest_alchemy.cli.streams import kept_for_document
from pytest_alchemy.cli.sweepreport import JsonReport, SweepReport, TextReport
from pytest_alchemy.cli.words import Duration
from pytest_alchemy.errors import InvalidNameError, TooManyToSweepError
from pytest_alchemy.names import check_name
from pytest_alchemy.recovery.found import Choice
from pytest_alchemy.recovery.roots import nearest_root
from pytest_alchemy.recovery.sweep import MOST, Sweep, destroy, find
from pytest_alchemy.settings import Settings


@click.command(
    cls=Verb,
    short_help="List, and with --yes destroy, what dead runs left.",
    example="alchemy sweep                     # list; changes nothing\n"
    "alchemy sweep --yes               # destroy what is listed\n"
    "alchemy sweep --yes --provider cloudflare --app my-app --live",
)
@click.option("--yes", is_flag=True, help="Destroy what is listed; without it nothing is changed.")
@click.option(
    "--older-than",
    type=Duration(),
    default=0.0,
    metavar="DURATION",
    help="Spare stages in which something was made within that time (45s, 90m, 2h, 1d), and names whose time "
    "is over for less. It can only spare more.",
)
@click.option("--app", metavar="NAME", help="Only what belongs to this application.")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the stages.  [default: the nearest .alchemy that holds any, here or above]",
)
@click.option(
    "--foreign",
    is_flag=True,
    help="Take stages that another user or machine recorded, too. Destroying them imports and runs the code that "
    "they name: the list says which.",
)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="KIND",
    help="Also find by name alone what no stage here records: cloudflare, package.module:Class or "
    "path/to/file.py:Class. Needs --app.",
)
@click.option("--live", is_flag=True, help="With --provider: look into the real account.")
@click.option(
    "--profile",
    metavar="NAME",
    help="With --provider: the credentials to use.  [default: $ALCHEMY_PROFILE, else default]",
)
@click.option(
    "--fake-account",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="With --provider: look into the offline account in this file.",
)
@click.option(
    "--max",
    "most",
    type=click.IntRange(min=0),
    default=MOST,
    show_default=True,
    help="How much that was found by name may be destroyed at once; if it is more, nothing is.",
)
@json_option
def sweep(
    yes: bool,
    older_than: float,
    app: str | None,
    root: Path | None,
    foreign: bool,
    providers: tuple[str, ...],
    live: bool,
    profile: str | None,
    fake_account: str | None,
    most: int,
    as_json: bool,
) -> None:
    """
    List, and with --yes destroy, what dead runs left.

    Stages on this machine are swept by what they record. A stage whose owner lives, or that outlives its programs, is
    left alone, and what is kept on purpose is until its time is over. With --provider, names that a provider lists are
    swept, too: those that are provably of tests of the application, whose time is over, and whose run does not go on.

    What no process can ever undo (a deferred lambda) is told once more and then forgotten.

    Exit code 0: everything is gone or forgotten, or nothing was to be destroyed, or it was only listed. 1: something
    that should be gone is left, or could not be listed. 2: the command was not understood.
    """
    if app is not None:
        _check_app(app)
    settings = _settings(app, providers, live=live, profile=profile, fake_account=fake_account)
    report: SweepReport = JsonReport() if as_json else TextReport()
    with kept_for_document(as_json):
        wanted = Sweep(
            root=Path(os.path.abspath(root)) if root else nearest_root(Path.cwd()),
            choice=Choice(app, older_than, foreign),
            kinds=kinds_of(providers),
            settings=settings,
            most=most,
        )
        with progress("Looking at stages") as say:
            findings = find(wanted, say)
        report.found(findings, yes=yes, command=_command())
        try:
            for outcome in destroy(findings) if yes else ():
                report.became(outcome)
        except TooManyToSweepError as error:
            report.refused(str(error))
    sys.exit(report.end())


def _settings(
    app: str | None,
    providers: tuple[str, ...],
    *,
    live: bool,
    profile: str | None,
    fake_account: str | None,
) -> Settings | None:
    """Return what names are looked for with, None if none are."""
    if not providers:
        given = {"--live": live, "--profile": profile, "--fake-account": fake_account}
        for option, value in given.items():
            if value:
                raise click.UsageError(
                    f"{option} says where to look for names, but no --provider says which. "
                    "What a stage records is destroyed where it was made, without it."
                )
        return None
    if app is None:
        raise click.UsageError("--provider needs --app NAME: whose names are to be destroyed.")
    if live and fake_account:
        raise click.UsageError("--live and --fake-account name two accounts: sweep one at a time.")
    chosen = profile or os.environ.get("ALCHEMY_PROFILE") or "default"
    return Settings(app, "sweep", profile=chosen, live=live, fake_account=fake_account)


def _check_app(app: str) -> None:
    try:
        check_name("an application", app)
    except InvalidNameError as error:
        raise click.BadParameter(str(error), param_hint="--app") from error


def _command() -> str:
    """Return the command that destroys what this one lists."""
    context = click.get_current_context()
    words = ["--yes"]
    for option in context.command.params:
        value = context.params.get(option.name or "")
        source = context.get_parameter_source(option.name or "")
        if source != click.core.ParameterSource.COMMANDLINE or option.name in ("yes", "as_json"):
            continue
        flag = option.opts[0]
        if isinstance(value, bool):
            words.append(flag)
        elif isinstance(value, tuple):
            words += [word for each in value for word in (flag, each)]
        else:
            words += [flag, _said(value)]
    return shlex.join(["alchemy", "sweep", *words])


def _said(value: object) -> str:
    return f"{value:.0f}s" if isinstance(value, float) else str(value)
