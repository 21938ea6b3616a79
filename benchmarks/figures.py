"""What was measured, next to its goal; and how things that differ by little are compared."""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DRAWS = 1000
LIMIT = 300.0  # seconds that one process may take


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One figure.

    Attributes:
        what: What was measured.
        result: The result, in *unit*.
        unit: ``x`` for a ratio.
        goal: The greatest result that is good; None for what is only told.
        low: Lower end of the 95 % interval; None if there is none.
        high: Upper end of it.
        note: What else a reader should know.
    """

    what: str
    result: float
    unit: str
    goal: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        return self.goal is None or self.result <= self.goal

    def cells(self) -> tuple[str, str, str, str]:
        """Return what a table says of it: verdict, what, result, goal."""
        verdict = "" if self.goal is None else "ok" if self.met else "MISS"
        result = _number(self.result, self.unit)
        if self.low is not None and self.high is not None:
            result += f" ({self.low:.3f} to {self.high:.3f})"
        goal = "" if self.goal is None else f"<= {_amount(f'{self.goal:g}', self.unit)}"
        return verdict, self.what, result, goal

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "met": self.met}


def tell(figure: Figure) -> Figure:
    """Print *figure* as soon as it is known, and return it."""
    verdict, what, result, goal = figure.cells()
    note = f"  [{figure.note}]" if figure.note else ""
    print(f"{verdict or '-':4}  {what}: {result} {goal}{note}", flush=True)
    return figure


def table(figures: list[Figure]) -> str:
    """Return *figures* as a Markdown table."""
    rows = [("", "what", "result", "goal"), *(figure.cells() for figure in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
    )


def median(rounds: int, measure: Callable[[], float]) -> float:
    """Return the median of what *measure* finds in so many *rounds*."""
    return statistics.median(measure() for _ in range(rounds))


Timed = tuple[float, float]
"""CPU time (user and system) and wall time of a process and what it waited for, in seconds."""


def alternate(measures: Mapping[str, Callable[[], Timed]], rounds: int) -> dict[str, list[Timed]]:
    """Take each of *measures* once per round, in another order each time: what disturbs one disturbs all."""
    found: dict[str, list[Timed]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name in random.sample(list(measures), len(measures)):
            found[name].append(measures[name]())
    return found


def compared(what: str, mine: list[Timed], other: list[Timed], goal: float | None) -> Figure:
    """
    Return the ratio of the medians of CPU time, with its interval, and that of wall time beside it.

    CPU time decides: the wall times of two runs on a shared machine differ by more than the goals allow.
    """
    cpu, wall = (_ratio(mine, other, place) for place in (0, 1))
    draws = sorted(
        _ratio(random.choices(mine, k=len(mine)), random.choices(other, k=len(other)), 0)
        for _ in range(DRAWS)
    )
    low, high = draws[int(DRAWS * 0.025)], draws[int(DRAWS * 0.975) - 1]
    took = statistics.median(row[0] for row in mine)
    note = f"CPU; wall {wall:.3f}x; {len(mine)} alternations; {took:.2f} s of CPU each"
    return Figure(what, cpu, "x", goal, low, high, note)


def timed(*arguments: str, cwd: str | Path, python: str = sys.executable) -> Timed:
    """Run Python and return its CPU and wall time."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(*arguments, cwd=cwd, python=python)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def run(*arguments: str, cwd: str | Path | None = None, python: str = sys.executable) -> str:
    """Run Python and return what it printed; an error if it fails."""
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment for a process that is measured: bytecode is written wherever a package is installed."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "CI")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _ratio(mine: list[Timed], other: list[Timed], place: int) -> float:
    return statistics.median(row[place] for row in mine) / statistics.median(
        row[place] for row in other
    )


def _number(value: float, unit: str) -> str:
    digits = 3 if unit == "x" else 2 if value < 10 else 1
    if unit == "":
        digits = 0
    return _amount(f"{value:.{digits}f}", unit)


def _amount(value: str, unit: str) -> str:
    return value + unit if unit in ("x", "") else f"{value} {unit}"
