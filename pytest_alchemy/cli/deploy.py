"""``alchemy deploy`` and ``alchemy run``: a program makes a stage what it declares, or reads what there is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from pytest_alchemy.cli.frame import (
    Verb,
    is_debugging,
    is_quiet,
    json_option,
    print_json,
    progress,
    say,
    sentence,
)
from pytest_alchemy.cli.program import (
    Run,
    Told,
    adopt_option,
    force_option,
    profile_option,
    program_argument,
    run_program,
    where_it_failed,
)
from pytest_alchemy.cli.stages import app_option, lock_timeout_option, program_root_option
from pytest_alchemy.cli.streams import kept_for_document, show
from pytest_alchemy.plan import Step
from pytest_alchemy.programs.commandline import CommandLine
from pytest_alchemy.report.texts import one_line

_DONE: Final = {
    Step.CREATE: "created",
    Step.REMAKE: "made again",
    Step.ADOPT: "adopted",
    Step.UPDATE: "updated",
    Step.REPLACE: "replaced",
    Step.DESTROY: "destroyed",
    Step.KEEP: "kept",
}
_DOING: Final = {
    Step.CREATE: "Creating",
    Step.REMAKE: "Making again",
    Step.ADOPT: "Adopting",
    Step.UPDATE: "Updating",
    Step.REPLACE: "Replacing",
}
_COLOURS: Final = {Step.DESTROY: "red", Step.REPLACE: "yellow", Step.UPDATE: "yellow"}


def _program_options(function: Callable[..., Any]) -> Callable[..., Any]:
    stage = click.option(
        "--stage",
        metavar="NAME",
        help="The stage.  [default: the program's, else $ALCHEMY_STAGE, else the user's name]",
    )
    options = (
        lock_timeout_option,
        program_root_option,
        app_option,
        profile_option,
        stage,
        program_argument,
    )
    for option in options:
        function = option(function)
    return function


@click.command(
    cls=Verb,
    short_help="Make a stage what a program declares.",
    example="alchemy deploy --stage pr-123 --profile ci\n"
    "alchemy deploy infra.py --stage prod --plan   # what would be done, without doing it",
)
@_program_options
@adopt_option
@force_option
@click.option("--plan", "plan_only", is_flag=True, help="Only say what would be done.")
@json_option
def deploy(
    program: Path,
    stage: str | None,
    profile: str | None,
    app: str | None,
    root: Path | None,
    lock_timeout: float,
    adopt: bool,
    force: bool,
    plan_only: bool,
    as_json: bool,
) -> None:
    """
    Run PROGRAM, alchemy_run.py by default, and make its stage what it declares.

    What is recorded and no longer declared is destroyed when the program finalizes its application. A program that
    fails or is interrupted destroys nothing for being undeclared; what it made is recorded, and the next run goes on
    from there.

    With --plan nothing is called and nothing is written. What exists already without being recorded is not looked
    for, and what resources make inside themselves is not listed.

    Exit code 0: it is done. 1: the program failed. 130: it was interrupted.
    """
    given = CommandLine(
        app,
        stage,
        profile,
        phase="up",
        adopt=adopt,
        force=force,
        plan_only=plan_only,
        root=root,
        lock_timeout=lock_timeout,
    )
    with progress(f"Running {program}") as status, kept_for_document(as_json):
        told = _telling(status, plan_only=plan_only, as_json=as_json)
        run = run_program(program, given, save=not plan_only, tell=told)
    if as_json:
        print_json(_document(run, plan_only=plan_only))
    else:
        _summarize(run, plan_only=plan_only)
    _end(program, run)


@click.command(
    "run",
    cls=Verb,
    short_help="Run a program that reads what is deployed.",
    example="alchemy run show_urls.py --stage prod",
)
@_program_options
def run(
    program: Path,
    stage: str | None,
    profile: str | None,
    app: str | None,
    root: Path | None,
    lock_timeout: float,
) -> None:
    """
    Run PROGRAM, alchemy_run.py by default, in the read phase.

    What it declares is given back as it is recorded; nothing is made, changed or destroyed, and what is not recorded
    is an error.
    """
    given = CommandLine(app, stage, profile, phase="read", root=root, lock_timeout=lock_timeout)
    done = run_program(program, given, save=False, tell=lambda _: None)
    _end(program, done)


def _telling(
    status: Callable[[str], object], *, plan_only: bool, as_json: bool
) -> Callable[[Told], object]:
    """Return what tells of each thing: on a screen what is going on, and what is done as a line."""
    context = click.get_current_context()

    def tell(told: Told) -> None:
        with context.scope(cleanup=False):  # a thread has no context of its own
            if told.done or plan_only:
                if not as_json and not is_quiet() and told.planned.step is not Step.KEEP:
                    _print(told, plan_only=plan_only)
            elif sys.stderr.isatty():
                status(f"{_DOING[told.planned.step]} {one_line(told.planned.resource)}")

    return tell


def _print(told: Told, *, plan_only: bool) -> None:
    said = told.planned
    word = said.step.value if plan_only else _DONE[said.step]
    changed = f": {', '.join(said.changed)}" if said.changed else ""
    # A deferred call has no name of its own.
    name = f" ({one_line(said.name)})" if said.name != said.resource else ""
    show(
        f"{word.upper()} {one_line(said.resource)}{name} in {one_line(said.scope)}{changed}",
        fg=_COLOURS.get(said.step, "green"),
    )


def _summarize(run: Run, *, plan_only: bool) -> None:
    """Tell how much was done; also of a program that failed, as that much is true."""
    if not run.applications:
        return
    number = dict.fromkeys(_DONE, 0)
    for told in run.told:
        number[told.planned.step] += told.done or plan_only
    said = [
        f"{count} to {step.value}" if plan_only else f"{count} {_DONE[step]}"
        for step, count in number.items()
        if count
    ]
    if said or not run.failure:
        say(f"{one_line(run.title)}: {', '.join(said) or 'nothing is declared'}")


def _end(program: Path, run: Run) -> None:
    """
    End as the program did.

    Raises:
        click.ClickException: It failed, or never opened a stage.
        KeyboardInterrupt: It was interrupted.
    """
    if isinstance(run.failure, KeyboardInterrupt):
        raise run.failure
    if run.failure is not None:
        if is_debugging():
            raise run.failure
        raise click.ClickException(where_it_failed(program, run.failure)) from run.failure
    if not run.applications and not run.code:
        raise click.ClickException(
            f"{program} ended without calling alchemy(): there is no stage to work on.\n"
            'Open one in it: with alchemy("my-app") as app: ...'
        )
    sys.exit(run.code)


def _document(run: Run, *, plan_only: bool) -> dict[str, Any]:
    first = run.applications[0] if run.applications else None
    return {
        "app": first.app if first else None,
        "stage": first.stage if first else None,
        "plan": plan_only,
        "resources": [
            {
                "step": told.planned.step.value,
                "resource": told.planned.resource,
                "name": told.planned.name,
                "scope": told.planned.scope,
                "changed": list(told.planned.changed),
                "done": told.done and not plan_only,
            }
            for told in run.told
        ],
        "error": sentence(run.failure) if run.failure else None,
        "exit_code": 130
        if isinstance(run.failure, KeyboardInterrupt)
        else int(bool(run.failure)) or run.code,
    }
