"""
What one create and destroy costs, measured by pytest-benchmark; `micro` runs this and reads the figures.

Each round is a scope with its journal in a file; making and closing it is not part of the round.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scopes import KEY, AsyncNothing, Nothing, Usual, header, new_scope

from pytest_alchemy.records import Created, Destroyed, Intent
from pytest_alchemy.scope import Scope
from pytest_alchemy.state.journal import FileJournal

ROUNDS = int(os.environ.get("ROUNDS", "9"))
FEW, MANY = 1000, 20_000


@pytest.fixture
def measure(benchmark: BenchmarkFixture, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Return what measures a function of a fresh scope and of how many resources to make in it."""
    with ExitStack() as stack:

        def measure(work: Callable[[Scope, int], None], number: int, rounds: int = ROUNDS) -> None:
            def setup() -> tuple[tuple[Scope, int], dict[str, Any]]:
                stack.close()
                return (stack.enter_context(new_scope(tmp_path)), number), {}

            benchmark.extra_info["number"] = number
            benchmark.pedantic(work, setup=setup, rounds=rounds, warmup_rounds=1)

        yield measure


def blocking(scope: Scope, number: int, kind: type[Any] = Nothing) -> None:
    for each in range(number):
        scope.create(kind(f"n{each}"))
    scope.destroy()


def test_blocking(measure: Callable[..., None]) -> None:
    measure(blocking, FEW)


def test_blocking_many(measure: Callable[..., None]) -> None:
    measure(blocking, MANY, max(3, ROUNDS // 3))


def test_usual(measure: Callable[..., None]) -> None:
    measure(lambda scope, number: blocking(scope, number, Usual), FEW)


def test_asyncio(measure: Callable[..., None]) -> None:
    async def work(scope: Scope, number: int) -> None:
        for each in range(number):
            await scope.acreate(AsyncNothing(f"n{each}"))
        await scope.adestroy()

    with asyncio.Runner() as runner:
        measure(lambda scope, number: runner.run(work(scope, number)), FEW)


def test_lines_alone(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Write the three lines that each of the others writes, without an engine around them."""
    journal = FileJournal.open(tmp_path / "journal", header(), key=KEY, durable=False)
    place = (":tests/test_users.py::test_users",)
    name, where = "alt-app-test-users-n1-k3f9x2ab-x60k00b3pxaepjh3uf1a2b", "/src/test_users.py:33"

    def work() -> None:
        for seq in range(FEW):
            journal.append(Intent(seq, place, "nothing", "n1", name, "", {}, at=1.8e9, where=where))
            journal.append(Created(seq, {}, at=1.8e9))
        for seq in range(FEW):
            journal.append(Destroyed(seq))

    benchmark.extra_info["number"] = FEW
    benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=1)
    journal.close()
