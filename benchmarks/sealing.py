"""
What a secret costs: what a secret property adds to a create, after the first secret of the process.

The first one also pays for the library and for stretching the password. Both kinds are measured in turns, in CPU time,
and recorded in a real file.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Figure

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


def figures(rounds: int) -> Iterator[Figure]:
    """Yield what a secret costs, medians of *rounds*."""
    with tempfile.TemporaryDirectory() as folder:
        scope = lasting_scope(Path(folder))
        start = time.process_time()
        scope.create(Keeper("first", token=alchemy.secret("the first one")))
        first = (time.process_time() - start) * 1e3
        sealing = statistics.median(secrets(scope) - plain(scope) for _ in range(rounds)) * 1e3
        opening = statistics.median(opened(scope) for _ in range(rounds)) * 1e3
    note = f"the first one of a process: {first:.0f} ms"
    yield Figure("recording one more secret property", sealing, "ms", GOAL, note=note)
    yield Figure("comparing a secret with its record", opening, "ms", GOAL)


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
