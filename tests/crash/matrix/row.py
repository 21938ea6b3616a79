"""What one row of the matrix says: how a run is started, what dies and how, and what is expected then."""

from __future__ import annotations

import re
import signal
import textwrap
import zlib
from dataclasses import dataclass
from typing import Literal

Mode = Literal["serial", "n2"]
Style = Literal["sync", "async"]
Target = Literal["session", "group", "worker", "everybody"]

MODES: tuple[Mode, ...] = ("serial", "n2")
STYLES: tuple[Style, ...] = ("sync", "async")

HEAD = """
import asyncio, ctypes, os, pathlib, signal, sys, threading, time
import pytest
from pytest_alchemy import alchemy
from things import *
"""

TEST = """
{marks}
async def test_dies_{number}(alchemy_stage, alchemy_module, alchemy_scope{fixtures}):
    await alchemy_stage.acreate(File("stage"))
    await alchemy_module.acreate(AsyncFile("module"))
    await alchemy_scope.acreate({third}("own"))
    {body}

{mark}
async def test_fine_{number}(alchemy_scope):
    await alchemy_scope.acreate(File("fine"))
"""

NEXT = """
{mark}
async def test_next(alchemy_scope):
    await alchemy_scope.acreate(File("next"))
"""
"""What a second run does."""

# From a program for an asyncio test to the same for a plain one.
_SYNC = (
    ("async def ", "def "),
    ("async with ", "with "),
    ("await asyncio.sleep(", "time.sleep("),
    ("await ", ""),
    ("areach(", "reach("),
    ("acreate(", "create("),
    ("aremove(", "remove("),
    ("AsyncStopping(", "Stopping("),
    ("AsyncSlowToGo(", "SlowToGo("),
)


@dataclass(frozen=True, slots=True)
class Step:
    """
    What the outer test does when the inner one is somewhere.

    Attributes:
        word: Where the inner test is; it waits there.
        do: A signal to send, ``answer`` to let it go on, ``hang up`` to close its terminal, or ``run another`` to let
            a second run begin and end beside it.
        to: Who gets the signal; ``worker`` is the process that told the word, ``everybody`` the watchdogs as well.
        everywhere: True to wait until each worker has told the word.
        census: True if something has to be in the world by then: so the census is known to see it.
        after: How long to let the run go on before acting, in seconds.
    """

    word: str
    do: signal.Signals | Literal["answer", "hang up", "run another"]
    to: Target = "session"
    everywhere: bool = True
    census: bool = True
    after: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One way for a run to end.

    Attributes:
        name: What happens.
        body: What the test does once its things exist, written for asyncio.
        head: What stands before the tests.
        program: All tests, where the usual ones do not fit.
        conftest: Text of the inner ``conftest.py``.
        marks: Decorators of the test.
        fixtures: Further arguments of the test.
        steps: What the outer test does meanwhile.
        codes: Exit codes that are right, serial.
        codes_n2: The same with two workers; None for the same ones.
        lines: Expressions that the output has to match.
        options: Further options.
        options_n2: Further options with two workers.
        plugins: Modules to load as plugins besides ours.
        autoload: True to load every installed plugin, as most people do.
        before: Options of a run before this one, in the same place; None for no such run.
        heir: True if nobody survives who could clean up, so that the next run has to.
        variables: Further environment variables.
        modes: How it is started: by one process, or by two workers.
        styles: Plain or asyncio tests.
        within: How long after the last process the world has to be empty, in seconds.
        left: What each test leaves on purpose, as the census tells it, without its name; the output has to tell of it.
        notes: What the things have to have noted down.
        stage_gone: True if no state of ours may be left.
        limit: How long the run may take, in seconds.
        may_hang: True if pytest itself may hang: then it is killed after *limit*, and what is left is counted.
        soak: True if it is too slow for every day.
        thin: True if every day one variant is enough; else each mode is run, in one style.
        needs: Module without which it cannot run.
        needs_program: Program without which it cannot run.
        cleaners: How long after the world is as it should be the last process that cleans up may run, in seconds.
        postgres: True if it needs a PostgreSQL server.
        fails: Why it is known to fail: for each variant that does (`name[mode-style]` without the name, or ``*``).
    """

    name: str
    body: str = ""
    head: str = ""
    program: str = ""
    conftest: str = ""
    marks: str = ""
    fixtures: str = ""
    steps: tuple[Step, ...] = ()
    codes: tuple[int, ...] = (1,)
    codes_n2: tuple[int, ...] | None = None
    lines: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    options_n2: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    autoload: bool = False
    before: tuple[str, ...] | None = None
    heir: bool = False
    variables: tuple[tuple[str, str], ...] = ()
    modes: tuple[Mode, ...] = MODES
    styles: tuple[Style, ...] = STYLES
    within: float = 5.0
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stage_gone: bool = True
    limit: float = 60.0
    soak: bool = False
    thin: bool = False
    may_hang: bool = False
    needs: str = ""
    needs_program: str = ""
    cleaners: float = 10.0
    postgres: bool = False
    fails: tuple[tuple[str, str], ...] = ()


def _fill(text: str, values: dict[str, str]) -> str:
    """Return *text* with the words in braces that *values* knows replaced; the others are the program's own."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)


@dataclass(frozen=True, slots=True)
class Case:
    """One row, one way to start it, one style of test."""

    row: Row
    mode: Mode
    style: Style

    @property
    def id(self) -> str:
        """The name of the case: ``segfault[n2-async]``."""
        return f"{self.row.name}[{self.mode}-{self.style}]"

    @property
    def workers(self) -> int:
        """How many processes run tests."""
        return 2 if self.mode == "n2" else 1

    @property
    def codes(self) -> tuple[int, ...]:
        """Exit codes that are right."""
        row = self.row
        return row.codes if self.mode == "serial" or row.codes_n2 is None else row.codes_n2

    @property
    def left(self) -> list[str]:
        """What is left on purpose."""
        return sorted(self.row.left * (1 if self.row.program else self.workers))

    @property
    def fails(self) -> str:
        """Why it is known to fail, empty if it is not."""
        return dict(self.row.fails).get(
            f"{self.mode}-{self.style}", dict(self.row.fails).get("*", "")
        )

    @property
    def options(self) -> list[str]:
        """The options of the run, plugins included."""
        row, plugins = self.row, [*self.row.plugins]
        if not row.autoload:
            plugins += ["alchemy"]
            plugins += ["xdist"] if self.mode == "n2" else []
            plugins += ["pytest_asyncio.plugin"] if self.style == "async" else []
        options = [word for plugin in plugins for word in ("-p", plugin)]
        if self.style == "async":
            options += ["-o", "asyncio_default_fixture_loop_scope=function"]
        if self.mode == "n2":
            options += ["-n2", *row.options_n2]
        return [*options, *row.options]

    def next_program(self) -> str:
        """Return the tests of a second run."""
        return self._written(HEAD + _fill(NEXT, {"mark": "@pytest.mark.asyncio"}))

    def program(self) -> str:
        """Return the inner tests."""
        row = self.row
        tests = row.program or TEST
        values = {
            "marks": f"{row.marks}\n@pytest.mark.asyncio".strip(),
            "mark": "@pytest.mark.asyncio",
            "fixtures": f", {row.fixtures}" if row.fixtures else "",
            "third": "D1Database" if self.style == "async" else "Process",
            "body": textwrap.dedent(row.body).strip().replace("\n", "\n    ") or "pass",
        }
        numbers = range(self.workers) if not row.program else range(1)
        text = HEAD
        if self.style == "async" and "{third}" in tests:
            text += "from pytest_alchemy.cloudflare import D1Database\n"
        text += textwrap.dedent(row.head)
        for number in numbers:
            text += _fill(textwrap.dedent(tests), {**values, "number": str(number)})
        return self._written(text)

    def _written(self, text: str) -> str:
        """Return *text*, which is written for asyncio tests, in the style of this case."""
        if self.style == "sync":
            for asynchronous, plain in _SYNC:
                text = text.replace(asynchronous, plain)
            text = re.sub(r" *@pytest\.mark\.asyncio\n", "", text)
        return text


def cases(rows: tuple[Row, ...]) -> list[Case]:
    """Return every case of *rows*."""
    return [Case(row, mode, style) for row in rows for mode in row.modes for style in row.styles]


def daily(row: Row) -> list[Case]:
    """Return the cases of *row* that are run every day; its name decides, so that the rows share the variants."""
    if row.soak:
        return []
    chance = zlib.crc32(row.name.encode())
    variants = cases((row,))
    if row.thin:
        return [variants[chance % len(variants)]]
    modes = [[case for case in variants if case.mode == mode] for mode in row.modes]
    return [styles[(chance + place) % len(styles)] for place, styles in enumerate(modes)]
