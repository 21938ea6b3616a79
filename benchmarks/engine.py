"""
What the engine costs beyond its micro figures: memory, growth, waiting, order, reading, and many processes.

What only computes is measured in CPU time, because wall time on a shared machine says more about its neighbours; what
waits is measured in wall time. Journals are real files in the folder for temporary ones.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Figure, median
from scopes import KEY, Nothing, Usual, header, new_scope

from pytest_alchemy import Resource
from pytest_alchemy.records import Created, Intent
from pytest_alchemy.scope import Scope
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.stagestate import load_stage

HOOK = 0.05  # seconds that a destroy takes which does something
RETRY_AFTER = 0.01  # seconds; nobody may call meanwhile

_numbers = itertools.count()
_folder = Path()


class TooMany(Exception):
    """The provider refuses a call."""

    status_code = 429

    def __init__(self) -> None:
        super().__init__("too many calls")
        self.headers = {"Retry-After": str(RETRY_AFTER)}


_refused: set[str] = set()
_over: dict[str, tuple[float, float]] = {}


class Slow(Resource):
    """Takes a while to destroy; plain hooks."""

    uses: list[Resource] = []  # noqa: RUF012 # every object gets a copy

    def create(self) -> None: ...

    def destroy(self) -> None:
        start = time.perf_counter()
        _refuse(self.id)
        time.sleep(HOOK)
        _over[self.id] = start, time.perf_counter()

    def world(self) -> str:
        return "somewhere"


class AsyncSlow(Slow, kind="asyncslow"):
    """The same with coroutine hooks."""

    async def create(self) -> None: ...  # type: ignore[override] # hooks may be either

    async def destroy(self) -> None:  # type: ignore[override] # as above
        start = time.perf_counter()
        _refuse(self.id)
        await asyncio.sleep(HOOK)
        _over[self.id] = start, time.perf_counter()


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figures of the engine; *rounds* is how often each is measured."""
    with tempfile.TemporaryDirectory() as folder:
        global _folder
        _folder = Path(folder)
        yield from measure_memory()
        yield from measure_durable(rounds)
        yield from measure_parallel(rounds)
        yield from measure_graph(rounds)
        yield from measure_reading(rounds)
        yield from measure_processes()


def measure_memory() -> Iterator[Figure]:
    """Measure what a resource keeps while it exists."""
    with new_scope(_folder) as scope:
        scope.create(Usual("first"))
        made: list[Any] = []
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        made += [scope.create(Usual(f"n{number}")) for number in range(2000)]
        each = (tracemalloc.get_traced_memory()[0] - before) / len(made)
        tracemalloc.stop()
        scope.destroy()
    yield Figure("memory of a resource with two properties and an output", each / 1024, "KiB", 2.5)


def measure_durable(rounds: int) -> Iterator[Figure]:
    """Compare the cost of one more create where there are 4,000 already with that where there are 200."""
    early: list[float] = []
    late: list[float] = []
    for _ in range(max(1, rounds // 3)):
        with new_scope(_folder, durable=True) as scope:
            waits = []
            for number in range(4200):
                start = time.perf_counter()
                scope.create(Nothing(f"n{number}"))
                waits.append(time.perf_counter() - start)
            early += waits[100:300]
            late += waits[3900:4100]
    before, after = (
        statistics.median(early),
        statistics.median(late),
    )  # of single creates, so no neighbour counts
    note = f"two flushes of the disk: {after * 1e6:.0f} µs per create"
    what = "per create in a lasting stage, at 4,000 against 200"
    yield Figure(what, after / before, "x", 1.2, note=note)


def measure_parallel(rounds: int) -> Iterator[Figure]:
    """Destroy 50 things that take a while each, at once, over both drivers."""
    bare = statistics.median(bare_threads(50) for _ in range(rounds))
    for name, kinds, blocking in (
        ("threads", [Slow], True),
        ("asyncio", [AsyncSlow], False),
        ("blocking, coroutine hooks", [AsyncSlow], True),
        ("asyncio, plain hooks", [Slow], False),
    ):
        took = statistics.median(graph(kinds, blocking, 50, 1, 0)[0] for _ in range(rounds))
        note = f"50 bare threads that only wait: {bare / HOOK:.3f}x" if name == "threads" else ""
        what = f"50 destroys of {HOOK * 1000:.0f} ms at once, {name}"
        yield Figure(what, took / HOOK, "x", None if "hooks" in name else 1.15, note=note)


def bare_threads(number: int) -> float:
    """Return how long *number* threads take that only wait, in seconds: what no engine can do faster with threads."""
    threads = [threading.Thread(target=time.sleep, args=(HOOK,)) for _ in range(number)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def measure_graph(rounds: int) -> Iterator[Figure]:
    """Destroy 300 things in a random graph whose provider refuses some, against the critical path."""
    for name, kinds, blocking in (("threads", [Slow], True), ("asyncio", [AsyncSlow], False)):
        ratios = []
        for seed in range(max(3, rounds // 3)):
            took, path = graph(kinds, blocking, 300, 6, 15, seed)
            ratios.append(took / path)
        ratio = statistics.median(ratios)
        what = (
            f"300 in a random graph of depth 6, 5 % refused once, {name}, against its critical path"
        )
        note = f"Retry-After {RETRY_AFTER * 1000:.0f} ms; its pause holds everybody"
        yield Figure(what, ratio, "x", 1.3, note=note)


def measure_reading(rounds: int) -> Iterator[Figure]:
    """Read what a dead process recorded: 10,000 records of 5,000 things."""
    stage = _folder / f"read{next(_numbers)}" / "app" / "test-main-x"
    (stage / ".journal").mkdir(parents=True, mode=0o700)
    journal = FileJournal.open(stage / ".journal" / "main.jsonl", header(), key=KEY, durable=False)
    for seq in range(1, 5001):
        journal.append(
            Intent(
                seq=seq,
                path=(":tests/test_users.py::test_users",),
                kind="usual",
                id=f"n{seq}",
                name=f"alt-app-test-users-n{seq}-k3f9x2ab-x60k00b3pxaepjh3uf1a2b",
                world="",
                props={"size": 1, "region": "weur"},
                at=1.8e9,
                where="/src/tests/test_users.py:33",
            )
        )
        journal.append(Created(seq, {"address": f"somewhere-{seq}"}, at=1.8e9))
    journal.close()

    def read() -> float:
        start = time.process_time()
        state = load_stage(FileStore(stage, KEY))
        took = time.process_time() - start
        assert sum(len(book.live) for book in state.books.values()) == 5000
        return took

    yield Figure("reading of 10,000 records", median(rounds, read) * 1000, "ms", 100, note="CPU")


def measure_processes() -> Iterator[Figure]:
    """Let 8 processes record at once, each in a journal of its own, as the workers of a run do."""
    command = [sys.executable, __file__]
    started = [
        subprocess.Popen(
            [*command, str(_folder / f"worker{number}")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in started:
        assert process.stdout
        process.stdout.readline()
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    waits = sorted(float(word) for process in started for word in process.communicate()[0].split())
    note = f"{len(waits)} appends: median {waits[len(waits) // 2] * 1000:.3f} ms, longest {waits[-1] * 1000:.1f} ms"
    p99 = waits[len(waits) * 99 // 100] * 1000
    yield Figure("99 of 100 appends of 8 processes at once", p99, "ms", 5, note=note)


def append_here(path: str) -> None:
    """Record a thousand lines and print how long each took, in seconds; the part of one of several processes."""
    journal = FileJournal.open(path, header(), key=KEY, durable=False)
    print("ready", flush=True)
    sys.stdin.readline()
    waits = []
    for seq in range(1, 1001):
        start = time.perf_counter()
        journal.append(Created(seq, {"address": "somewhere"}, at=1.8e9))
        waits.append(time.perf_counter() - start)
    print(*waits)


def graph(
    kinds: list[type[Any]], blocking: bool, size: int, depth: int, refused: int, seed: int = 0
) -> tuple[float, float]:
    """
    Destroy things that need each other.

    Returns:
        How long it took, and the longest chain of calls, each with the wait that its refusal asked for.
    """
    choice = random.Random(seed)
    _over.clear()
    with new_scope(_folder) as scope:
        needs = asyncio.run(_grow(scope, kinds, size, depth, choice))
        refusals = choice.sample(sorted(needs), refused)
        _refused.update(refusals)
        start = time.perf_counter()
        if blocking:
            scope.destroy("parallel")
            took = time.perf_counter() - start
        else:
            took = asyncio.run(_destroyed(scope))
        assert len(_over) == size
    wrong = [
        (id, need) for id, below in needs.items() for need in below if _over[need][0] < _over[id][1]
    ]
    assert not wrong, f"destroyed too early: {wrong}"
    waits = {id: HOOK + (RETRY_AFTER if id in refusals else 0.0) for id in needs}
    longest: dict[str, float] = {}
    for id in reversed(needs):  # those that need others were made after them
        users = (longest[user] for user, below in needs.items() if id in below)
        longest[id] = waits[id] + max(users, default=0.0)
    return took, max(longest.values())


async def _grow(
    scope: Scope, kinds: list[type[Any]], size: int, depth: int, choice: random.Random
) -> dict[str, list[str]]:
    """Create *size* things in *depth* layers, each of which needs up to three of the layer below."""
    layers: list[list[Resource]] = [[] for _ in range(depth)]
    needs: dict[str, list[str]] = {}
    for number in range(size):
        layer = number * depth // size
        below = layers[layer - 1] if layer else []
        used = choice.sample(below, min(len(below), choice.randint(1, 3)))
        made = await scope.acreate(choice.choice(kinds)(f"n{number}", uses=used))
        layers[layer].append(made)
        needs[made.id] = [need.id for need in used]
    return needs


async def _destroyed(scope: Scope) -> float:
    start = time.perf_counter()
    await scope.adestroy("parallel")
    return time.perf_counter() - start


def _refuse(id: str) -> None:
    if id in _refused:
        _refused.remove(id)
        raise TooMany


if __name__ == "__main__":  # one of the processes that record at once
    append_here(sys.argv[1])
