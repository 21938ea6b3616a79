"""
The report where GitHub shows it: annotations on the lines that made what leaked, and the summary of the step.

GitHub shows about ten annotations of a level for each step, and drops a summary of more than 1 MiB without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Final

from pytest_alchemy.report import words
from pytest_alchemy.report.facts import below
from pytest_alchemy.report.fates import LEAKS, WHATS, LeaksMode

MOST_ANNOTATIONS: Final = 10
MOST_ROWS: Final = 200
MOST_BYTES: Final = 256 * 2**10

_LEVELS: Final[dict[LeaksMode, str]] = {"fail": "error", "warn": "warning"}
_LONGEST_MESSAGE: Final = 1000
_LONGEST_CELL: Final = 300
# Inside a table, none of these may be taken for markup.
_MARKUP: Final = {ord(sign): f"&#{ord(sign)};" for sign in "&<>\"'`|*_[]()~#@\\:!+-"}


def commands(
    document: dict[str, Any], *, leaks_mode: LeaksMode, workspace: PurePath
) -> Iterator[str]:
    """
    Yield workflow commands, one line each, that mark where each leak was made.

    Args:
        document: The report.
        leaks_mode: ``fail`` makes them errors, ``warn`` warnings; ``off`` gives none.
        workspace: The checkout: files are named relative to it, and those outside not at all.
    """
    level = _LEVELS.get(leaks_mode)
    if level is None:
        return
    leaks = [entry for entry in document["facts"] if words.is_leak(entry)]
    total = sum(document["counts"][what] for what in LEAKS)
    shown = leaks if total <= MOST_ANNOTATIONS else leaks[: MOST_ANNOTATIONS - 1]
    for entry in shown:
        place = _place(entry, document["rootdir"], workspace)
        title = f"{entry['what'].capitalize()} {words.thing(entry)}"
        lines = [entry["reason"], f"in {entry['scope']}", words.origin(entry), entry["hint"]]
        if document["clean_up"] and entry["what"] == "leaked":
            lines.append(f"clean up: {document['clean_up']}")
        text = "\n".join(line for line in lines if line)[:_LONGEST_MESSAGE]
        yield f"::{level} {place}title={_property(title[:_LONGEST_CELL])}::{_message(text)}"
    if hidden := total - len(shown):
        yield f"::{level} title=and {hidden} more leaks::{_message(words.counts(document))}"


def summary(document: dict[str, Any]) -> str:
    """Return the report in Markdown, for the summary of a step; of bounded length."""
    head = f"### alchemy scopes\n\n{_cell(words.counts(document))}\n"
    told = words.problems(document)
    if not told:
        return head + "\n"
    if document["clean_up"]:
        # An indented block cannot be closed by what stands in it.
        head += f"\nClean up:\n\n    {_one_line(document['clean_up'])}\n"
    text = head + "\n| | what | made by | why |\n|---|---|---|---|\n"
    rows = 0
    for entry in told[:MOST_ROWS]:
        cells = (entry["what"], words.thing(entry), words.origin(entry), entry["reason"])
        row = f"| {' | '.join(_cell(cell) for cell in cells)} |\n"
        if len(text.encode()) + len(row.encode()) > MOST_BYTES:
            break
        text += row
        rows += 1
    hidden = sum(document["counts"][what] for what in WHATS) - rows
    return text + (f"\n... and {hidden} more\n\n" if hidden else "\n")


def _place(entry: dict[str, Any], rootdir: str, workspace: PurePath) -> str:
    if not entry["file"]:
        return ""
    file = below(workspace, str(PurePath(rootdir) / entry["file"]))
    if PurePath(file).is_absolute():
        return ""
    line = "" if entry["line"] is None else f"line={entry['line']},"
    return f"file={_property(file)},{line}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _one_line(text)[:_LONGEST_CELL].translate(_MARKUP)


def append_summary(document: dict[str, Any], file: str) -> None:
    """
    Append `summary` to *file*, which the steps of a job share; quiet if there is none.

    Raises:
        OSError: The system refused.
    """
    if file:
        with open(file, "a", encoding="utf-8", newline="\n") as output:
            output.write(summary(document))
