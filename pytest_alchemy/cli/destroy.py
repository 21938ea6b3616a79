"""``alchemy destroy``: a whole stage, from what is recorded of it."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pytest_alchemy.cli.frame import Verb, json_option, print_json, progress, say
from pytest_alchemy.cli.stages import (
    app_option,
    ask,
    lock_timeout_option,
    naming_backups,
    root_option,
    the_stage,
    title_of,
)
from pytest_alchemy.cli.streams import kept_for_document, show
from pytest_alchemy.cli.sweepreport import outcome_data, shown, tell_outcome, totals
from pytest_alchemy.programs.choice import default_stage
from pytest_alchemy.recovery.access import check_kept
from pytest_alchemy.recovery.byhand import destroy_by_hand
from pytest_alchemy.recovery.deadstage import DeadStage
from pytest_alchemy.recovery.finding import Finding
from pytest_alchemy.recovery.footing import take_footing
from pytest_alchemy.recovery.found import FoundStage
from pytest_alchemy.recovery.outcome import Outcome
from pytest_alchemy.recovery.sweep import outcome_of
from pytest_alchemy.state.keys import user_key


@click.command(
    cls=Verb,
    short_help="Destroy a whole stage.",
    example="alchemy destroy --stage pr-123\n"
    "alchemy destroy --stage pr-123 --force        # ask nothing, as in CI",
)
@click.argument("program", required=False, expose_value=False)
@click.option(
    "--stage",
    metavar="NAME",
    help="The stage to destroy.  [default: $ALCHEMY_STAGE, else the user's name]",
)
@app_option
@click.option("--force", is_flag=True, help="Destroy without asking.")
@click.option(
    "--profile",
    metavar="NAME",
    help="The credentials to use; the stage may say which may touch it.  [default: $ALCHEMY_PROFILE, else those it "
    "was deployed with]",
)
@root_option
@lock_timeout_option
@json_option
def destroy(
    stage: str | None,
    app: str | None,
    force: bool,
    profile: str | None,
    root: Path | None,
    lock_timeout: float,
    as_json: bool,
) -> None:
    """
    Destroy everything in a stage, from what is recorded of it; the program that made it may be gone. PROGRAM may be
    named as for deploy, and is not run.

    You are asked to type the stage's name first; without a terminal to ask on, --force is needed. What is recorded is
    copied before anything is called. What fails keeps its record, the rest is destroyed all the same, and the same
    command goes on from there.

    Exit code 0: all is gone, and so is the stage's folder. 1: something is left, or the stage is unknown. 2: the
    command was not understood. 130: it was interrupted.
    """
    with naming_backups(root):
        found = the_stage(root, app, default_stage() if stage is None else stage)
        # Says at once what is damaged, not ours, or not for this profile.
        state = DeadStage(found.folder, user_key()).read()
        check_kept(state, profile)
        if not force:
            names = [shown(thing.kind, thing.id, thing.name) for thing in found.things]
            ask(found, names, verb="destroy", done="destroyed")
        if state.header is not None:
            take_footing(state.header, found.folder)
        destruction = _Destruction(
            found, profile=profile, lock_timeout=lock_timeout, as_json=as_json
        )
        with kept_for_document(as_json):
            destruction.run()
    sys.exit(destruction.end())


class _Destruction:
    """
    Destroys a stage and tells it.

    Args:
        found: The stage.
        profile: The credentials in use, None if nobody said.
        lock_timeout: How long to wait for whoever uses the stage, in seconds.
        as_json: Whether to tell it as one JSON document at the end.
    """

    def __init__(
        self, found: FoundStage, *, profile: str | None, lock_timeout: float, as_json: bool
    ) -> None:
        self._found, self._profile, self._as_json = found, profile, as_json
        self._lock_timeout = lock_timeout
        self._outcomes: list[Outcome] = []
        self._told: Counter[Outcome] = Counter()
        self._copy = ""
        self._guard = threading.Lock()

    def run(self) -> None:
        """Destroy everything that can be."""
        title = title_of(self._found)
        try:
            with progress(f"Destroying {title}") as status:
                findings = destroy_by_hand(
                    self._found.folder,
                    user_key(),
                    tell=self._happening(status),
                    saved=self._saved,
                    profile=self._profile,
                    lock_timeout=self._lock_timeout,
                )
                for finding in findings:
                    self._found_out(finding, status)
        except KeyboardInterrupt:
            gone = sum(self._told.values())
            show(
                f"{gone} of {len(self._found.things)} are destroyed, the rest of {title} is still recorded: "
                "the same command goes on from there.",
                err=True,
            )
            raise

    def end(self) -> int:
        """Tell how it ended, and return the exit code."""
        left = sum(outcome.what == "left" for outcome in self._outcomes)
        is_gone = not self._found.folder.exists()
        code = 0 if is_gone and not left else 1
        if self._as_json:
            print_json(self._document(is_gone=is_gone, code=code))
            return code
        said = totals(Counter(outcome.what for outcome in self._outcomes)) or "Nothing was in it"
        title = title_of(self._found)
        say(
            f"{said}; {title} is gone"
            if is_gone
            else f"{said}; what is left of {title} is recorded"
        )
        if not is_gone and not left:
            click.echo(
                f"Error: Nothing is left of {title}, but its folder {self._found.folder} holds files of others.",
                err=True,
            )
        return code

    def _saved(self, copy: Path) -> None:
        self._copy = str(copy)
        say(f"What was recorded is copied to {copy}")

    def _happening(self, status: Callable[[str], object]) -> Callable[[Finding], None]:
        context = click.get_current_context()

        def tell(finding: Finding) -> None:
            with self._guard, context.scope(cleanup=False):  # a thread has no context of its own
                if finding.what == "destroying":
                    facts = finding.facts
                    if sys.stderr.isatty():
                        status(f"Destroying {shown(facts['kind'], facts['id'], facts['name'])}")
                else:
                    outcome = outcome_of(finding.what, finding.facts, finding.reason)
                    self._told[outcome] += 1
                    self._tell(outcome)

        return tell

    def _found_out(self, finding: Finding, status: Callable[[str], object]) -> None:
        if finding.what == "unfinished":
            facts = finding.facts
            status(f"{shown(facts['kind'], facts['id'], facts['name'])}: {finding.reason}")
            return
        outcome = outcome_of(finding.what, finding.facts, finding.reason)
        self._outcomes.append(outcome)
        if self._told[outcome] and outcome.what == "destroyed":
            self._told[outcome] -= 1
        else:
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        if not self._as_json:
            tell_outcome(outcome)

    def _document(self, *, is_gone: bool, code: int) -> dict[str, Any]:
        return {
            "app": self._found.app,
            "stage": self._found.stage,
            "folder": str(self._found.folder),
            "gone": is_gone,
            "backup": self._copy,
            "outcomes": [outcome_data(outcome) for outcome in self._outcomes],
            "exit_code": code,
        }
