"""
All figures, each next to its goal: ``python benchmarks [--quick] [--only ROOM ...] [--json FILE]``.

Prints each figure as soon as it is known and a table at the end, writes JSON, and exits with 1 if a goal is missed.
How it is measured: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import command
import engine
import fake
import micro
import programs
import runs
import sealing
import watchdog
from figures import Figure, table, tell

RESULTS = Path(__file__).parent / "results" / "bench.json"

# What each room is measured with, and in a hurry.
ROOMS: dict[str, tuple[Callable[[int], Iterator[Figure]], int, int]] = {
    "micro": (micro.figures, 15, 5),
    "engine": (engine.figures, 9, 3),
    "fake": (fake.figures, 40, 10),
    "command": (command.figures, 9, 3),
    "programs": (programs.figures, 7, 3),
    "sealing": (sealing.figures, 9, 3),
    "watchdog": (watchdog.figures, 20, 5),
    "runs": (runs.figures, 40, 3),
}


def main() -> int:
    """Measure what was asked for, tell it, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: a look, not a proof")
    parser.add_argument("--only", nargs="+", choices=ROOMS, default=list(ROOMS), metavar="ROOM")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures are written")
    arguments = parser.parse_args()
    started = time.time()
    found: list[Figure] = []
    for room in arguments.only:
        measure, rounds, few = ROOMS[room]
        found += map(tell, measure(few if arguments.quick else rounds))
    print(f"\n{table(found)}\n")
    _write(arguments.json, found, started, quick=arguments.quick)
    missed = sum(not figure.met for figure in found)
    print(f"{missed} of {len(found)} figures miss their goal." if missed else "Every goal is met.")
    return 1 if missed else 0


def _write(path: Path, found: list[Figure], started: float, *, quick: bool) -> None:
    about = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "load": list(os.getloadavg()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started),
        "quick": quick,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({**about, "figures": [each.as_json() for each in found]}, indent=2) + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
