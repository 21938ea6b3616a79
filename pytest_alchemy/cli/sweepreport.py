"""What a sweep found and did, for people and for programs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

import click

from pytest_alchemy import clock
from pytest_alchemy.cli.frame import console, is_quiet, print_json
from pytest_alchemy.cli.streams import show
from pytest_alchemy.cli.words import ago, count, moment
from pytest_alchemy.recovery.byname import FoundName
from pytest_alchemy.recovery.found import FoundStage, Thing
from pytest_alchemy.recovery.outcome import Outcome
from pytest_alchemy.recovery.sweep import Findings
from pytest_alchemy.report.texts import one_line, scrub

_INDENT = " " * 7
_COLOURS = {
    "destroyed": "green",
    "gone": "green",
    "kept": "cyan",
    "spared": "cyan",
    "forgotten": "yellow",
    "left": "red",
}


class SweepReport(Protocol):
    """Tells what a sweep found, and what became of it."""

    def found(self, findings: Findings, *, yes: bool, command: str) -> None:
        """
        Tell what was found.

        Args:
            findings: What was found.
            yes: Whether it is about to be destroyed.
            command: The command that destroys it.
        """

    def became(self, outcome: Outcome) -> None:
        """Tell what became of one thing."""

    def refused(self, reason: str) -> None:
        """Tell that nothing was destroyed, and why."""

    def end(self) -> int:
        """Tell what remains to be told, and return the exit code."""


class TextReport:
    """Lines of text; on a screen what was found is a table."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._findings: Findings
        self._yes = self._is_refused = False
        self._command = ""

    def found(self, findings: Findings, *, yes: bool, command: str) -> None:
        self._findings, self._yes, self._command = findings, yes, command
        if sys.stdout.isatty() and not yes:
            _show_tables(findings)
        else:
            for line in _lines(findings, yes=yes):
                click.echo(line)
        for error in findings.errors:
            click.secho(f"Error: {one_line(scrub(error))}", fg="red", err=True)

    def became(self, outcome: Outcome) -> None:
        self._outcomes[outcome.what] += 1
        tell_outcome(outcome)

    def refused(self, reason: str) -> None:
        self._is_refused = True
        click.secho(f"Error: {reason}", fg="red", err=True)

    def end(self) -> int:
        found = self._findings
        if self._yes and not self._is_refused and not is_quiet():
            click.echo(totals(self._outcomes) or _nothing(found))
        elif not self._yes:
            for line in _summary(found, self._command):
                click.echo(line)
        return _exit_code(found, left=self._outcomes["left"], refused=self._is_refused)


class JsonReport:
    """One JSON document at the end."""

    def __init__(self) -> None:
        self._document: dict[str, Any] = {}
        self._outcomes: list[Outcome] = []
        self._findings: Findings
        self._is_refused = False

    def found(self, findings: Findings, *, yes: bool, command: str) -> None:
        self._findings = findings
        self._document = {
            "root": str(findings.sweep.root),
            "yes": yes,
            "stages": [_stage_data(stage) for stage in findings.stages],
            "names": [_name_data(name) for name in findings.names],
            "names_of_others": findings.others,
            "errors": [scrub(error) for error in findings.errors],
        }

    def became(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)

    def refused(self, reason: str) -> None:
        self._is_refused = True
        self._document["errors"].append(reason)

    def end(self) -> int:
        left = sum(outcome.what == "left" for outcome in self._outcomes)
        code = _exit_code(self._findings, left=left, refused=self._is_refused)
        self._document["outcomes"] = [outcome_data(outcome) for outcome in self._outcomes]
        self._document["exit_code"] = code
        print_json(self._document)
        return code


def tell_outcome(outcome: Outcome) -> None:
    """Print what became of one thing, and why it is still there; under ``--quiet`` only what is left or forgotten."""
    if is_quiet() and outcome.what not in ("left", "forgotten"):
        return
    show(
        f"{outcome.what.upper()} {shown(outcome.kind, outcome.id, outcome.name)}"
        + (f" in {one_line(outcome.place)}" if outcome.place else ""),
        fg=_COLOURS[outcome.what],
    )
    if outcome.reason:
        show(_INDENT + _sentence(scrub(outcome.reason), 600))


def totals(outcomes: Counter[str]) -> str:
    """
    Return how much became of what; empty if nothing did.

    >>> totals(Counter(left=1, destroyed=2))
    '2 destroyed, 1 left'
    """
    return ", ".join(f"{outcomes[what]} {what}" for what in _COLOURS if outcomes[what])


def outcome_data(outcome: Outcome) -> dict[str, str]:
    """Return what became of one thing as plain data."""
    fields = ("what", "kind", "id", "name", "place")
    said = {field: getattr(outcome, field) for field in fields}
    return said | {"reason": scrub(outcome.reason)}


def _exit_code(findings: Findings, *, left: int, refused: bool) -> int:
    return 1 if left or refused or findings.errors else 0


def _lines(findings: Findings, *, yes: bool) -> Iterator[str]:
    """Yield a line or more for each stage and name; for what is destroyed at once the outcomes say it."""
    for stage in findings.stages:
        if not yes or stage.why_not or stage.foreign:
            yield _head(stage)
            yield from (f"{_INDENT}it {one_line(line)}" for line in stage.imports)
        if not yes:
            yield from (_INDENT + _bullet(thing) for thing in stage.doomed)
    if not yes:
        yield from (_name_line(name) for name in findings.doomed_names)
    for reason, number in _left_names(findings).items():
        yield f"{count(number, 'name')} left alone: {reason}"


def _show_tables(findings: Findings) -> None:
    from rich.table import Table
    from rich.text import Text

    screen = console(sys.stdout)
    if findings.stages:
        table = Table("stage", "holds", "last used", "what happens to it")
        for stage in findings.stages:
            holds = [_bullet(thing) for thing in stage.doomed] or [_holds(stage)]
            fate = "\n".join([_fate(stage), *(f"it {one_line(line)}" for line in stage.imports)])
            used = ago(stage.used, clock.now()) if stage.used else ""
            words = (_title(stage), "\n".join(holds), used, fate)
            table.add_row(*map(Text, words), end_section=True)
        screen.print(table)
    if findings.doomed_names:
        table = Table("found by name", "name", "was wanted until", "lives in")
        for name in findings.doomed_names:
            row = (name.kind.title, name.name, moment(name.expires), name.world)
            table.add_row(*(Text(one_line(word)) for word in row))
        screen.print(table)
    for reason, number in _left_names(findings).items():
        screen.print(f"{count(number, 'name')} left alone: {reason}")


def _head(stage: FoundStage) -> str:
    used = f", last used {ago(stage.used, clock.now())}" if stage.used else ""
    return f"STAGE {_title(stage)}, {_holds(stage)}{used}: {_fate(stage)}"


def _title(stage: FoundStage) -> str:
    return one_line(f"{stage.app}/{stage.stage}")


def _holds(stage: FoundStage) -> str:
    if stage.damaged:
        return "unknown contents"
    kept = 0 if stage.why_not else len(stage.things) - len(stage.doomed)
    more = f" ({kept} of them kept)" if kept else ""
    return count(len(stage.things), "resource") + more


def _fate(stage: FoundStage) -> str:
    if stage.damaged:
        return f"cannot be read. {_sentence(stage.why_not)}"
    if stage.why_not:
        return f"left alone, {one_line(stage.why_not)}"
    return (
        f"to be destroyed, recorded by {one_line(stage.by)}" if stage.foreign else "to be destroyed"
    )


def _sentence(text: str, limit: int | None = None) -> str:
    # Errors of ours have several lines.
    return one_line(" ".join(text.split()), limit)


def _bullet(thing: Thing) -> str:
    made = f" made by {one_line(thing.test or thing.where)}" if thing.test or thing.where else ""
    return shown(thing.kind, thing.id, thing.name) + made


def shown(kind: str, id: str, name: str) -> str:
    """Return how a thing is called, with its physical name: ``D1Database orders (my-app-prod-orders-x7)``."""
    title = f"{one_line(kind)} {one_line(id)}"
    return title if kind == "deferred" or name in ("", id) else f"{title} ({one_line(name)})"


def _name_line(name: FoundName) -> str:
    place = f" in {one_line(name.world)}" if name.world else ""
    until = moment(name.expires)
    return f"NAME {name.kind.title} {one_line(name.name)}{place}, wanted until {until}: to be destroyed"


def _left_names(findings: Findings) -> Counter[str]:
    reasons = Counter(name.why_not for name in findings.names if name.why_not)
    if findings.others:
        reasons["not provably of this application's tests"] += findings.others
    return reasons


def _nothing(findings: Findings) -> str:
    by_name = " or by name" if findings.sweep.kinds else ""
    return f"Nothing to destroy under {one_line(str(findings.sweep.root))}{by_name}."


def _summary(findings: Findings, command: str) -> Iterator[str]:
    stages, names = findings.doomed_stages, findings.doomed_names
    if not stages and not names:
        yield _nothing(findings)
        return
    parts = []
    if stages:
        things = sum(len(stage.doomed) for stage in stages)
        parts.append(f"{count(things, 'resource')} in {count(len(stages), 'stage')}")
    if names:
        parts.append(f"{len(names)} found by name")
    yield f"{' and '.join(parts)} to be destroyed; nothing was changed."
    if findings.too_many:
        yield f"At most {findings.sweep.most} found by name are destroyed at once: --max {len(names)} allows it."
    yield f"Destroy: {one_line(command)}"


def _stage_data(stage: FoundStage) -> dict[str, Any]:
    doomed = set(stage.doomed)
    return {
        "app": stage.app,
        "stage": stage.stage,
        "folder": str(stage.folder),
        "destroy": not stage.why_not,
        "reason": stage.why_not,
        "last_used": time_data(stage.used),
        "recorded_by": stage.by,
        "foreign": stage.foreign,
        "damaged": stage.damaged,
        "imports": list(stage.imports),
        "resources": [{**thing_data(thing), "destroy": thing in doomed} for thing in stage.things],
    }


def thing_data(thing: Thing) -> dict[str, Any]:
    """Return what is recorded of a thing as plain data."""
    return {
        "kind": thing.kind,
        "id": thing.id,
        "name": thing.name,
        "scope": thing.scope,
        "test": thing.test,
        "where": thing.where,
        "world": thing.world,
        "made": time_data(thing.at),
        "kept_until": time_data(thing.kept_until),
    }


def _name_data(name: FoundName) -> dict[str, Any]:
    return {
        "kind": name.kind.title,
        "name": name.name,
        "world": name.world,
        "run": name.run,
        "wanted_until": time_data(name.expires),
        "destroy": not name.why_not,
        "reason": name.why_not,
    }


def time_data(at: float) -> str | None:
    """Return a moment, in seconds since the epoch, in ISO format; None for 0."""
    return clock.instant(at).isoformat(timespec="seconds") if at else None
