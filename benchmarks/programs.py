"""What a program costs that has nothing to do: every resource is recorded already, and unchanged."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Iterator

from figures import Figure

from pytest_alchemy import Resource, alchemy, output

NUMBER = 4000
GOAL = 0.1
"""Milliseconds for each unchanged resource, opening and finalizing the application included."""


class Row(Resource):
    """A thing with a few properties and an output."""

    size: int = 1
    location: str | None = None
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    url: str = output()

    def create(self) -> None:
        self.url = f"thing://{self.name}"

    def read(self) -> bool:
        return False

    def update(self, previous: Row) -> None: ...

    def destroy(self) -> None: ...


def blocking(number: int) -> None:
    """Deploy *number* rows that use one more."""
    with alchemy("bench", stage="bench") as app, app.run("rows") as rows:
        base = rows.create(Row("base"))
        for each in range(number):
            rows.create(Row(f"row-{each}", uses=[base]))


async def with_asyncio(number: int) -> None:
    """Deploy the same with asyncio."""
    async with alchemy("bench", stage="bench"), alchemy.run("rows"):
        base = await Row("base")
        for each in range(number):
            await Row(f"row-{each}", uses=[base])


def milliseconds_each(number: int, rounds: int, *, asynchronous: bool) -> float:
    """Return the CPU time of one unchanged resource."""
    taken = []
    for _ in range(rounds):
        gc.collect()  # a program is a process of its own: it pays for nobody else's garbage
        began = time.process_time()
        if asynchronous:
            asyncio.run(with_asyncio(number))
        else:
            blocking(number)
        taken.append(1000 * (time.process_time() - began) / number)
    return statistics.median(taken)


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figures, medians of *rounds* re-runs in CPU time."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            blocking(NUMBER)
            for style in ("blocking", "asyncio"):
                figure = milliseconds_each(NUMBER, rounds, asynchronous=style == "asyncio")
                yield Figure(
                    f"unchanged re-run of {NUMBER:,} resources, {style}, each", figure, "ms", GOAL
                )
        finally:
            os.chdir(before)
