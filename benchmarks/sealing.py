"""
What a secret costs: ``python benchmarks/sealing.py [--rounds N]``.

One line per figure with its goal; exits with 1 if one is missed. The figure is what a secret property adds to a
create, in CPU time, after the first secret of the process, which also pays for the library and for stretching the
password. Both kinds are measured in turns, and recorded in a real file.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_alchemy import Resource, Secret, alchemy
from pytest_alchemy.records import StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.journal import FileJournal

KEY = b"k" * 32
GOAL = 0.2  # ms

_numbers = itertools.count()


class Plain(Resource):
    """Has a property that is no secret."""

    token: str

    def create(self) -> None: ...

    def destroy(self) -> None: ...


class Keeper(Resource):
    """Has one that is."""

    token: Secret

    def create(self) -> None: ...

    def destroy(self) -> None: ...


def main() -> int:
    """Measure, tell the figures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each figure (default: 9)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        scope = lasting_scope(Path(folder))
        start = time.process_time()
        scope.create(Keeper("first", token=alchemy.secret("the first one")))
        print(
            f"      (the first secret of a process: {(time.process_time() - start) * 1e3:.0f} ms)"
        )
        sealing = [secrets(scope) - plain(scope) for _ in range(rounds)]
        opening = [opened(scope) for _ in range(rounds)]
    met = tell("recording one more secret property", statistics.median(sealing) * 1e3)
    met &= tell("comparing it with its record", statistics.median(opening) * 1e3)
    return 0 if met else 1


def lasting_scope(folder: Path) -> Scope:
    """Return the scope of a stage whose secrets need a password; without flushes of the disk."""

    def opened(first: StageOpened) -> FileJournal:
        return FileJournal.open(folder / "journal", first, key=KEY, durable=False)

    stage = Stage(Settings("app", "prod"), "prod", None, Program(), opened)
    stage.use_password("a password", None)
    return Scope(stage)


def plain(scope: Scope) -> float:
    """Return how long a create takes with a plain property, in CPU seconds."""
    return each(scope, [Plain(f"n{next(_numbers)}", token="word") for _ in range(500)])


def secrets(scope: Scope) -> float:
    """Return the same with a secret one."""
    token = alchemy.secret("a token of a provider, forty letters long")
    return each(scope, [Keeper(f"n{next(_numbers)}", token=token) for _ in range(500)])


def each(scope: Scope, resources: list[Any]) -> float:
    """Return how long it takes to create one of *resources*, in CPU seconds."""
    start = time.process_time()
    for resource in resources:
        scope.create(resource)
    return (time.process_time() - start) / len(resources)


def opened(scope: Scope) -> float:
    """Return how long it takes to compare a recorded secret with a declared one, in CPU seconds."""
    declared = {"token": alchemy.secret("a token of a provider, forty letters long")}
    sealer = scope.root.sealer
    recorded = sealer.seal((), "keeper-a", declared)
    start = time.process_time()
    for _ in range(1000):
        assert sealer.unseal((), "keeper-a", recorded) == declared
    return (time.process_time() - start) / 1000


def tell(what: str, result: float) -> bool:
    """Print one figure; True if it meets the goal."""
    met = result <= GOAL
    print(f"{'ok  ' if met else 'MISS'}  {what}: {result:.4f} ms (at most {GOAL} ms)")
    return met


if __name__ == "__main__":
    sys.exit(main())
