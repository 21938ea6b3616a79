"""``alchemy unlock``: make sure that nobody holds a stage any more."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_alchemy.cli.frame import Verb, json_option, print_json, say
from pytest_alchemy.cli.stages import app_option, root_option, the_stage, title_of
from pytest_alchemy.recovery.deadstage import lock_of
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.locks import read_holder


@click.command(
    cls=Verb,
    short_help="Make sure that nobody holds a stage any more.",
    example="alchemy unlock --stage pr-123",
)
@click.option("--stage", metavar="NAME", required=True, help="The stage.")
@app_option
@root_option
@json_option
def unlock(stage: str, app: str | None, root: Path | None, as_json: bool) -> None:
    """
    Make sure that nobody holds a stage any more.

    A lock ends with its process, however that ends, so there is never one to break: this tells whose it was, or
    refuses while that process lives and names it.

    Exit code 0: nobody holds the stage. 1: its owner lives, or the stage is unknown.
    """
    found = the_stage(root, app, stage)
    holder = read_holder(found.folder / LOCK)
    lock_of(found.folder, timeout=0.0).release()
    last = str(holder) if holder else None
    if as_json:
        print_json({"app": found.app, "stage": found.stage, "locked": False, "last_owner": last})
        return
    gone = f": its last owner, {last}, is gone" if last else ""
    say(f"Nobody holds {title_of(found)}{gone}.")
