"""Runs one case: starts it, lets it die, waits until all of its processes are gone, and counts what is left."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .census import Census
from .processes import RUN, SERVER, THING, kill_all, processes, wait_for_end
from .row import Case, Step

ROOT = Path(__file__).parents[3]
INNER = Path(__file__).parent / "inner" / "things.py"
POSTGRES = ROOT / "examples" / "postgres" / "postgres_database.py"

LOOK_AGAIN = 0.02
"""How long to wait before counting again, in seconds."""

_DEFAULTS = [
    "env",
    "--default-signal=HUP,INT,QUIT,TERM",
]  # whoever starts us may ignore some of them
# No coverage: it would double the time, and what is killed says nothing of what it ran.
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")


@dataclass(slots=True)
class Ending:
    """
    How a case ended.

    Attributes:
        code: Exit code of the run, negative for a signal.
        output: What it printed.
        left: What was left in the world at last.
        seconds: How long after the last process of the run the world was as it should be.
        problems: What went otherwise than the row says; empty if all is well.
    """

    code: int
    output: str
    left: list[str]
    seconds: float
    problems: list[str]


PATIENCE = 30.0
"""How long the workers of a run may live after it, in seconds."""


class StuckError(Exception):
    """The inner run is not where it should be by now."""


def play(case: Case, folder: Path, postgres: str | None = None) -> Ending:
    """
    Run *case* in *folder*, which is empty, and tell how it ended.

    Args:
        case: What to run.
        folder: Where to run it.
        postgres: libpq URL of a server on which databases may be made, None if there is none.
    """
    with _Run(case, folder, postgres) as run:
        return run.play()


def missing(case: Case) -> str:
    """Return why *case* cannot run here, empty if it can."""
    needs = [case.row.needs, *(("xdist",) if case.mode == "n2" else ())]
    lacking = [name for name in needs if name and importlib.util.find_spec(name) is None]
    program = case.row.needs_program
    lacking += [program] if program and shutil.which(program) is None else []
    return f"{', '.join(lacking)} is not installed" if lacking else ""


class _Run:
    def __init__(self, case: Case, folder: Path, postgres: str | None) -> None:
        self._case, self._row, self._folder = case, case.row, folder
        self._marker, self._app = uuid.uuid4().hex, f"m{uuid.uuid4().hex[:6]}"
        self._postgres = postgres if case.row.postgres else None
        self._problems: list[str] = []
        self._terminal: int | None = None
        self._hung = False
        self._process: subprocess.Popen[bytes]
        self._write_files()
        self._census = Census(folder, self._marker, self._app, self._postgres)
        # Open for writing as well: so it never has an end.
        self._events = os.open(folder / "events", os.O_RDWR | os.O_NONBLOCK)
        self._told = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        kill_all(self._marker)
        self._process.wait(PATIENCE)
        self._hang_up()
        os.close(self._events)
        self._census.close()

    def play(self) -> Ending:
        row = self._row
        if row.before is not None:
            self._start(row.before)
            self._process.wait(row.limit)
        until = time.monotonic() + row.limit
        self._start(row.options)
        code = -1
        try:
            for step in row.steps:
                self._take(step, until)
            code = self._end(until)
            self._wait_for_tests(until + PATIENCE)
            if row.heir:
                self._inherit()
        except (StuckError, subprocess.TimeoutExpired) as error:
            self._problems.append(f"stuck: {error}")
            return Ending(code, self._output(), self._census.take(), row.limit, self._problems)
        seconds = self._wait_for_world()
        self._wait_for_cleaners()
        left = self._census.take()
        self._check(code, left)
        return Ending(code, self._output(), left, seconds, self._problems)

    def _inherit(self) -> None:
        """Let a second run find what the first one left."""
        if not self._census.take():
            self._problems.append("nothing was left for the next run")
        output = self._run_another()
        self._problems += [
            f"the next run did not tell {word!r}\n{output}"
            for word in ("REAPED", "left behind by an earlier run", "0 leaked")
            if word not in output
        ]

    def _run_another(self) -> str:
        """Let a second run begin and end, and return what it printed."""
        command = [sys.executable, "-m", "pytest", *self._case.options, "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "--alchemy-fake-account=account.sqlite", "test_next.py"],
            cwd=self._folder,
            env={**self._environment(), "MATRIX_NEXT": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self._row.limit,
            check=False,
        )
        if done.returncode:
            self._problems.append(f"exit code {done.returncode} of the next run\n{done.stdout}")
        return done.stdout

    def _end(self, until: float) -> int:
        """Wait for the end of the run; one that may hang is killed when its time is over."""
        try:
            return self._process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            if not self._row.may_hang:
                raise
        self._hung = True
        self._process.kill()
        return self._process.wait(PATIENCE)

    def _write_files(self) -> None:
        folder = self._folder
        (folder / "world").mkdir(parents=True)
        (folder / "home").mkdir()
        (folder / "marker").write_text(self._marker)
        (folder / "pytest.ini").write_text(f"[pytest]\nalchemy_app = {self._app}\n")
        shutil.copy(INNER, folder)
        shutil.copy(POSTGRES, folder)
        (folder / "conftest.py").write_text(self._row.conftest)
        (folder / "test_row.py").write_text(self._case.program())
        (folder / "test_next.py").write_text(self._case.next_program())
        os.mkfifo(folder / "events")

    def _start(self, options: tuple[str, ...]) -> None:
        terminal = any(step.do == "hang up" for step in self._row.steps)
        command = [*_DEFAULTS, *(["setsid", "--ctty"] if terminal else [])]
        command += [sys.executable, "-m", "pytest", *self._case.options]
        command += ["--alchemy-fake-account=account.sqlite", "test_row.py"]
        if options is not self._row.options:
            command += [*options]
        stdin = subprocess.DEVNULL
        if terminal:
            self._terminal, stdin = pty.openpty()
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment(),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=not terminal,
            )
        if terminal:
            os.close(stdin)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        chosen = {
            RUN: self._marker,
            "HOME": str(self._folder / "home"),
            **dict(self._row.variables),
        }
        if not self._row.autoload:
            chosen["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        if self._postgres:
            chosen["PGSERVER"] = self._postgres
        return {**kept, **chosen}

    # What the outer test does.

    def _take(self, step: Step, until: float) -> None:
        crowd = self._case.workers if step.everywhere else 1
        tellers = [self._next(step.word, until) for _ in range(crowd)]
        if step.census and not self._census.take():
            self._problems.append(f"nothing was in the world at {step.word!r}")
        if step.after:
            threading.Event().wait(step.after)  # an instant that nothing announces
        if step.do == "answer":
            self._answer(step.word, tellers)
        elif step.do == "hang up":
            self._hang_up()
        elif step.do == "run another":
            self._run_beside(step.word, tellers)
        elif step.to == "everybody":
            self._stop_everybody(step.do)
        else:
            self._send(step, tellers[0])
            if step.to == "worker" and not step.after:
                self._answer(step.word, tellers[1:])

    def _send(self, step: Step, teller: int) -> None:
        assert isinstance(step.do, signal.Signals)
        with contextlib.suppress(ProcessLookupError):
            if step.to == "group":
                os.killpg(self._process.pid, step.do)
            else:
                os.kill(teller if step.to == "worker" else self._process.pid, step.do)

    def _run_beside(self, word: str, tellers: list[int]) -> None:
        before = self._census.take()
        self._run_another()
        if self._census.take() != before:
            self._problems.append("the next run touched what a living one has")
        self._answer(word, tellers)

    def _stop_everybody(self, number: signal.Signals) -> None:
        """Send a signal to every process of ours; first they are stopped, so that nobody can act on another's end."""
        ours = [
            p.pid for p in processes(self._marker) if not {THING, SERVER} & p.environment.keys()
        ]
        for each in (signal.SIGSTOP, number):
            for pid in ours:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, each)

    def _answer(self, word: str, tellers: list[int]) -> None:
        for pid in tellers:
            # It may not wait for an answer, or be dead by now: neither keeps us waiting.
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(self._folder / f"answer-{word}-{pid}", os.O_RDWR | os.O_NONBLOCK)
                os.write(fd, b".")
                os.close(fd)

    def _hang_up(self) -> None:
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None

    def _next(self, word: str, until: float) -> int:
        """Return the id of the next process that tells *word*."""
        while "\n" not in self._told:
            ready, _, _ = select.select(
                [self._events], [], [], min(0.5, max(0.0, until - time.monotonic()))
            )
            if ready:
                self._told += os.read(self._events, 4096).decode()
            elif time.monotonic() > until or self._process.poll() is not None:
                raise StuckError(f"nobody came to {word!r}")
        line, _, self._told = self._told.partition("\n")
        told, _, pid = line.partition(" ")
        if told != word:
            raise StuckError(f"{told!r} came before {word!r}")
        return int(pid)

    # Waiting for ends.

    def _wait_for_tests(self, until: float) -> None:
        """Wait until every process of the run itself is gone, and every server at work has done it."""
        session = self._process.pid
        while pids := [
            process.pid
            for process in processes(self._marker)
            if (process.session == session or SERVER in process.environment)
            and THING not in process.environment
        ]:
            if not wait_for_end(pids, until):
                raise StuckError(f"{len(pids)} processes of the run are still there")

    def _wait_for_world(self) -> float:
        """Return how long it took until the world was as the row says."""
        start = time.monotonic()
        for _ in _moments(start + self._row.within):
            if self._is_right(self._census.take()):
                return time.monotonic() - start
        self._problems.append(f"after {self._row.within} s there was still {self._census.take()}")
        return time.monotonic() - start

    def _wait_for_cleaners(self) -> None:
        """Wait for whoever cleans up: none may stay for long, or come back to make anything."""
        until = time.monotonic() + self._row.cleaners
        while cleaners := [p.pid for p in processes(self._marker) if THING not in p.environment]:
            if not wait_for_end(cleaners, until):
                self._problems.append(
                    f"{len(cleaners)} processes were still there after the world was empty"
                )
                return

    def _is_right(self, left: list[str]) -> bool:
        words = [re.sub(r" alt-.*-(\w+)-[a-z0-9]+-.*", r" \1", thing) for thing in left]
        wanted = self._case.left
        return len(left) == len(wanted) and all(map(re.match, wanted, words))

    def _check(self, code: int, left: list[str]) -> None:
        row, output = self._row, self._output()
        if self._hung:
            if not self._is_right(left):
                self._problems.append(f"left at last: {left}, not {self._case.left}")
            return
        if code not in self._case.codes:
            self._problems.append(f"exit code {code}, not {self._case.codes}")
        if not self._is_right(left):
            self._problems.append(f"left at last: {left}, not {self._case.left}")
        self._problems += [
            f"no line matches {line!r}" for line in row.lines if not re.search(line, output)
        ]
        notes = self._folder / "notes"
        noted = notes.read_text().splitlines() if notes.exists() else []
        self._problems += [f"nobody noted {note!r}" for note in row.notes if note not in noted]
        state = self._folder / ".alchemy"
        if row.stage_gone and state.exists():
            paths = sorted(str(path.relative_to(self._folder)) for path in state.rglob("*"))
            self._problems.append(f"state is left: {paths}")

    def _output(self) -> str:
        return (self._folder / "output").read_text(errors="replace")


def _moments(until: float) -> Iterator[None]:
    """Yield now and then, and for the last time at *until* on the monotonic clock."""
    pause = threading.Event()
    while time.monotonic() < until:
        yield
        pause.wait(LOOK_AGAIN)
    yield
