"""``alchemy state``: what is recorded, as a list, as a tree, in full, and compared with what exists."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from pytest_alchemy import clock
from pytest_alchemy.cli.frame import Verb, VerbGroup, json_option, print_json, progress, say
from pytest_alchemy.cli.stages import (
    app_option,
    ask,
    naming_backups,
    root_option,
    stages_under,
    the_stage,
    title_of,
    with_backup,
)
from pytest_alchemy.cli.streams import kept_for_document
from pytest_alchemy.cli.sweepreport import (
    outcome_data,
    shown,
    tell_outcome,
    thing_data,
    time_data,
)
from pytest_alchemy.cli.words import ago, count
from pytest_alchemy.deferred import shown_call
from pytest_alchemy.recovery.byhand import forget_by_hand
from pytest_alchemy.recovery.check import Checked, check_stage
from pytest_alchemy.recovery.found import FoundStage, Thing
from pytest_alchemy.recovery.outcome import Outcome
from pytest_alchemy.recovery.reapable import is_living
from pytest_alchemy.report.texts import one_line
from pytest_alchemy.state.document import Sheet
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.locks import read_holder
from pytest_alchemy.state.stagestate import load_stage

_INDENT: Final = " " * 7
_DIFFERENT: Final = {
    "gone": "does not exist",
    "changed": "is not as recorded",
    "half-made": "exists, and its create is recorded as failed",
    "failed": "could not be read",
}


class _ListByDefault(VerbGroup):
    """A group whose first command is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not {*self.commands, *ctx.help_option_names}.intersection(args):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def _stage_options(function: Callable[..., Any]) -> Callable[..., Any]:
    stage = click.option("--stage", metavar="NAME", help="Only this stage.")
    for option in (json_option, root_option, app_option, stage):
        function = option(function)
    return function


@click.group(
    cls=_ListByDefault,
    short_help="Show what is recorded.",
    example="alchemy state\nalchemy state --stage prod --json",
)
def state() -> None:
    """Show what is recorded of stages; without a command the list of everything."""


@state.command("list", cls=Verb, example="alchemy state list --stage prod")
@_stage_options
def list_(stage: str | None, app: str | None, root: Path | None, as_json: bool) -> None:
    """List every stage and what it owns."""
    stages = _chosen(root, app, stage)
    if as_json:
        print_json({"stages": [_stage_data(each) for each in stages]})
    else:
        _print(line for each in stages for line in (_head(each), *map(_listed, each.things)))
    _end(stages)


@state.command(cls=Verb, example="alchemy state tree --stage prod")
@_stage_options
def tree(stage: str | None, app: str | None, root: Path | None, as_json: bool) -> None:
    """Show every stage as a tree: scopes, and what each owns."""
    stages = _chosen(root, app, stage)
    if as_json:
        print_json({"stages": [_tree_data(each) for each in stages]})
    else:
        _print(line for each in stages for line in (_head(each), *_branches(_scopes(each), 1)))
    _end(stages)


@state.command(cls=Verb, example="alchemy state show d1-orders --stage prod")
@click.argument("id")
@_stage_options
def show(id: str, stage: str | None, app: str | None, root: Path | None, as_json: bool) -> None:
    """
    Show everything that is recorded of one resource.

    ID is its id, its physical name, or its key in the state file (d1-orders). Secrets are shown as they are recorded:
    encrypted.
    """
    with naming_backups(root):
        found = _called(id, [said for each in _chosen(root, app, stage) for said in _details(each)])
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{name + ':':<12} {one_line(text)}")


@state.command(cls=Verb, example="alchemy state check --stage prod")
@_stage_options
def check(stage: str | None, app: str | None, root: Path | None, as_json: bool) -> None:
    """
    Compare what is recorded of a stage with what exists; nothing is changed.

    Exit code 0: everything is as recorded, as far as its kind can be read. 1: something could not be read. 2: something
    is gone, or is not as recorded.
    """
    with naming_backups(root):
        found = _one(root, app, stage)
        checked = []
        with progress(f"Reading {title_of(found)}") as status, kept_for_document(as_json):
            for each in check_stage(found.folder, user_key()):
                checked.append(each)
                if sys.stderr.isatty():
                    status(f"Reading {title_of(found)}: {len(checked)} of {len(found.things)}")
    verdicts = Counter(each.verdict for each in checked)
    code = 1 if verdicts["failed"] else 2 if _DIFFERENT.keys() & verdicts.keys() else 0
    if as_json:
        resources = [_checked_data(each) for each in checked]
        told = {"app": found.app, "stage": found.stage, "resources": resources, "exit_code": code}
        print_json(told)
    else:
        _print(line for each in checked for line in _difference(each))
        said = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())
        blind = sorted({each.facts["kind"] for each in checked if each.verdict == "unchecked"})
        said += f" (no read: {', '.join(blind)})" if blind else ""
        say(f"{title_of(found)}: {said or 'nothing is recorded'}")
    sys.exit(code)


@state.command(cls=Verb, example="alchemy state rm d1-orders --stage prod")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--stage", metavar="NAME", required=True, help="The stage that owns them.")
@app_option
@click.option("--force", is_flag=True, help="Forget without asking.")
@root_option
@json_option
def rm(
    ids: tuple[str, ...],
    stage: str,
    app: str | None,
    force: bool,
    root: Path | None,
    as_json: bool,
) -> None:
    """
    Forget resources without destroying them: for what nothing can destroy any more, because its class is gone, say.

    ID is as for show. Nothing is called, so what exists goes on existing: what it is called and where it lives is told,
    to remove it by hand. You are asked to type the stage's name first; without a terminal to ask on, --force is needed.
    What is recorded is copied before.

    Exit code 0: all of them are forgotten, and the stage's folder is gone if nothing else was in it. 1: none is.
    """
    with naming_backups(root):
        found = the_stage(root, app, stage)
        details = list(_details(found))
        doomed = [_called(id, details) for id in dict.fromkeys(ids)]
        if not force:
            names = [shown(*_names(said)) for said in doomed]
            ask(found, names, verb="forget", done="forgotten")
        numbers = {(said["journal"], said["number"]): said for said in doomed}
        copy = forget_by_hand(found.folder, user_key(), numbers)
    outcomes = [
        Outcome("forgotten", *_names(said), said["scope"], _where_it_is(said))
        for said in numbers.values()
    ]
    if as_json:
        told = {"app": found.app, "stage": found.stage, "backup": str(copy)}
        print_json(told | {"outcomes": [outcome_data(outcome) for outcome in outcomes]})
        return
    for outcome in outcomes:
        tell_outcome(outcome)
    say(f"What was recorded is copied to {copy}")


def _chosen(root: Path | None, app: str | None, stage: str | None) -> list[FoundStage]:
    if stage is not None:
        return [the_stage(root, app, stage)]
    return stages_under(root, app)


def _one(root: Path | None, app: str | None, stage: str | None) -> FoundStage:
    stages = _chosen(root, app, stage)
    if len(stages) != 1:
        known = ", ".join(map(title_of, stages)) or "nothing"
        raise click.ClickException(f"Name the stage with --stage. Recorded here: {known}.")
    return stages[0]


def _print(lines: Iterator[str]) -> None:
    for_all = "\n".join(lines)  # a line each would be a flush each
    if for_all:
        click.echo(for_all)


def _end(stages: list[FoundStage]) -> None:
    if not stages:
        say("Nothing is recorded here.")
    sys.exit(any(stage.damaged for stage in stages))


def _head(stage: FoundStage) -> str:
    if stage.damaged:
        return f"{title_of(stage)}: {with_backup(stage.why_not, stage.folder)}"
    parts = [count(len(stage.things), "resource")]
    if stage.used:
        parts.append(f"last used {ago(stage.used, clock.now())}")
    if owner := _owner(stage):
        parts.append(f"held by {owner}")
    if stage.foreign:
        parts.append(f"recorded by {one_line(stage.by)}")
    return f"{title_of(stage)}: {', '.join(parts)}"


def _owner(stage: FoundStage) -> str | None:
    """Return who holds a stage now, None if nobody does."""
    if stage.damaged or not is_living(stage.folder):
        return None
    return str(read_holder(stage.folder / LOCK) or "another process")


def _place(stage: FoundStage, thing: Thing) -> str:
    """Return the scope of a thing below its stage; empty for the stage itself."""
    return thing.scope[len(f"{stage.app}/{stage.stage}/") :]


def _listed(thing: Thing) -> str:
    return f"{_INDENT}{shown(thing.kind, thing.id, thing.name)} in {one_line(thing.scope)}"


def _scopes(stage: FoundStage) -> dict[str, Any]:
    """Return the scopes of a stage, each in the one around it, with what it owns under an empty name."""
    tree: dict[str, Any] = {}
    for thing in stage.things:
        here = tree
        for name in filter(None, _place(stage, thing).split("/")):
            here = here.setdefault(name, {})
        here.setdefault("", []).append(thing)
    return tree


def _branches(scope: dict[str, Any], depth: int) -> Iterator[str]:
    for thing in scope.get("", ()):
        yield f"{'  ' * depth}{shown(thing.kind, thing.id, thing.name)}"
    for name, inside in scope.items():
        if name:
            yield f"{'  ' * depth}{one_line(name)}/"
            yield from _branches(inside, depth + 1)


def _stage_data(stage: FoundStage) -> dict[str, Any]:
    return {**_about(stage), "resources": [thing_data(thing) for thing in stage.things]}


def _tree_data(stage: FoundStage) -> dict[str, Any]:
    def inside(scope: dict[str, Any]) -> dict[str, Any]:
        return {
            "resources": [thing_data(thing) for thing in scope.get("", ())],
            "scopes": {name: inside(each) for name, each in scope.items() if name},
        }

    return {**_about(stage), **inside(_scopes(stage))}


def _about(stage: FoundStage) -> dict[str, Any]:
    return {
        "app": stage.app,
        "stage": stage.stage,
        "folder": str(stage.folder),
        "last_used": time_data(stage.used),
        "owner": _owner(stage),
        "recorded_by": stage.by,
        "foreign": stage.foreign,
        "damaged": stage.damaged,
        "reason": stage.why_not if stage.damaged else "",
    }


def _details(stage: FoundStage) -> Iterator[dict[str, Any]]:
    """Yield all that is recorded of each thing in a stage, as its state file says it."""
    recorded = load_stage(FileStore(stage.folder, user_key()))
    for lineage, book in recorded.books.items():
        for live in book.live.values():
            sheet = Sheet({})
            sheet.put(lineage, live, book.kinds.get(getattr(live.entry, "kind", "")))
            [(key, said)] = [each for group in sheet.groups().values() for each in group.items()]
            path = [part.strip(":") for part in live.entry.path]
            scope = "/".join((stage.app, stage.stage, *path))
            yield {"key": key, "scope": scope, **said}


def _called(id: str, details: list[dict[str, Any]]) -> dict[str, Any]:
    """
    Return the one of *details* that is called *id*.

    Raises:
        click.ClickException: There is none, or there are several.
    """
    found = [said for said in details if id in _ids(said)]
    if len(found) != 1:
        places = ", ".join(said["scope"] for said in found)
        raise click.ClickException(
            f"{len(found)} resources are called {id!r}: in {places}.\n"
            "Name one by its physical name, or narrow it down with --stage and --app."
            if found
            else f"Nothing that is recorded is called {id!r}.\nalchemy state list shows what is."
        )
    return found[0]


def _names(said: dict[str, Any]) -> tuple[str, str, str]:
    """Return what a thing is called: kind, id and physical name."""
    if "function" in said:
        call = _call(said)
        return "deferred", call, call
    return said["type"], said["id"], said["name"]


def _where_it_is(said: dict[str, Any]) -> str:
    place = f" in {said['world']}" if said.get("world") else ""
    return f"Nothing was called. If it still exists{place}, remove it by hand."


def _ids(said: dict[str, Any]) -> tuple[Any, ...]:
    if "function" not in said:
        return said["key"], said["id"], said["name"]
    return said["key"], said["function"], _call(said)


def _call(said: dict[str, Any]) -> str:
    """Return a deferred call as reports call it."""
    if not said["module"]:
        return str(said["function"]).removeprefix("deferred ")
    return shown_call(said["function"], said["args"], said["kwargs"])


def _checked_data(checked: Checked) -> dict[str, Any]:
    facts = checked.facts
    return {
        "verdict": checked.verdict,
        **{field: facts[field] for field in ("kind", "id", "name", "scope", "world", "where")},
        "reason": checked.reason,
    }


def _difference(checked: Checked) -> Iterator[str]:
    if checked.verdict not in _DIFFERENT:
        return
    facts = checked.facts
    title = shown(facts["kind"], facts["id"], facts["name"])
    yield (
        f"{checked.verdict.upper()} {title} in {one_line(facts['scope'])} {_DIFFERENT[checked.verdict]}"
    )
    if checked.reason:
        yield _INDENT + one_line(checked.reason, 600)
