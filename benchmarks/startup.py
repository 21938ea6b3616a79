"""
What the plugin costs a run that does not use it: ``python benchmarks/startup.py [--rounds N]``.

Two figures, each with its goal; exits with 1 if one is missed:

* importing the plugin's entry module after pytest, in a fresh interpreter (median), and which heavy modules it loads;
* a run of 500 plain tests with the plugin installed and unused, against the same run with ``-p no:alchemy``: whole
  processes in alternation, the ratio of the medians of CPU time (user and system), with the wall time beside it.

CPU time decides, because the wall time of two runs on a shared machine differs by more than the goal allows.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORT_GOAL = 2.0  # ms
RUN_GOAL = 1.02  # ratio
TESTS = 500
HEAVY = ("httpx", "respx", "anyio", "msgspec", "rich", "click")

_IMPORT = f"""
import sys, time
import pytest, _pytest.config
before = set(sys.modules)
start = time.perf_counter()
import pytest_alchemy.plugin
took = time.perf_counter() - start
new = set(sys.modules) - before
print(took * 1000, *sorted(new & {set(HEAVY)!r}))
"""


def main() -> int:
    """Measure both, tell the figures, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=40, help="alternations of the two runs (default: 40)"
    )
    rounds = parser.parse_args().rounds
    results = [measure_import(), measure_run(rounds)]
    return 0 if all(results) else 1


def measure_import() -> bool:
    """Measure importing the entry module; tell whether the goal is met."""
    lines = [_python("-c", _IMPORT).split() for _ in range(31)]
    took = statistics.median(
        float(line[0]) for line in lines[1:]
    )  # the first one may write bytecode
    heavy = sorted({name for line in lines for name in line[1:]})
    return _tell(
        "entry import after pytest", f"{took:.2f} ms", f"<= {IMPORT_GOAL} ms", took <= IMPORT_GOAL
    ) & _tell("heavy modules loaded by it", ", ".join(heavy) or "none", "none", not heavy)


def measure_run(rounds: int) -> bool:
    """Measure a run of plain tests with and without the plugin; tell whether the goal is met."""
    with tempfile.TemporaryDirectory() as folder:
        body = "\n".join(
            f"def test_{number}() -> None:\n    assert {number} >= 0\n" for number in range(TESTS)
        )
        Path(folder, "test_plain.py").write_text(body)
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", folder]
        without = ["-p", "no:alchemy"]
        figures: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for _ in range(rounds):
            for used in random.sample([True, False], 2):
                figures[used].append(_timed(*command, *([] if used else without), cwd=folder))
    cpu, wall = (_ratio(figures, place) for place in (0, 1))
    low, high = _interval(figures)
    shown = (
        f"{cpu:.3f}x CPU (95 %: {low:.3f} to {high:.3f}), {wall:.3f}x wall, {rounds} alternations"
    )
    return _tell(
        f"{TESTS} plain tests, installed and unused", shown, f"<= {RUN_GOAL}x", cpu <= RUN_GOAL
    )


def _ratio(figures: dict[bool, list[tuple[float, float]]], place: int) -> float:
    medians = {
        used: statistics.median(figure[place] for figure in rows) for used, rows in figures.items()
    }
    return medians[True] / medians[False]


def _interval(figures: dict[bool, list[tuple[float, float]]]) -> tuple[float, float]:
    """Return the bootstrapped 95 % interval of the ratio of CPU medians."""
    draws = sorted(
        _ratio({used: random.choices(rows, k=len(rows)) for used, rows in figures.items()}, 0)
        for _ in range(1000)
    )
    return draws[25], draws[974]


def _timed(*arguments: str, cwd: str) -> tuple[float, float]:
    """Run Python and return its CPU and wall time, in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    _python(*arguments, cwd=cwd)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def _python(*arguments: str, cwd: str | None = None) -> str:
    # Bytecode is written wherever the plugin is really installed.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def _tell(what: str, result: str, goal: str, met: bool) -> bool:
    print(f"{'ok  ' if met else 'MISS'}  {what}: {result} (goal {goal})", flush=True)
    return met


if __name__ == "__main__":
    sys.exit(main())
