"""
What the engine costs: ``python benchmarks/engine.py [--rounds N] [--only WORD]``.

One line per figure with its goal; exits with 1 if one is missed. Figures are medians of several rounds. What only
computes is measured in CPU time, because wall time on a shared machine says more about its neighbours; what waits is
measured in wall time. Journals are real files in the folder for temporary ones.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_alchemy import Resource, output
from pytest_alchemy.names import new_run
from pytest_alchemy.records import Created, Intent, StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.stagestate import load_stage

KEY = b"k" * 32
HOOK = 0.05  # seconds that a destroy takes which does something
RETRY_AFTER = 0.01  # seconds; nobody may call meanwhile

_numbers = itertools.count()
_folder = Path()


class Nothing(Resource):
    """Its hooks do nothing."""

    def create(self) -> None: ...

    def destroy(self) -> None: ...


class AsyncNothing(Resource):
    """The same with coroutine hooks."""

    async def create(self) -> None: ...

    async def destroy(self) -> None: ...


class Usual(Resource):
    """What most kinds have: two properties and an output."""

    size: int = 1
    region: str = "weur"
    address: str = output()

    def create(self) -> None:
        self.address = self.name

    def destroy(self) -> None: ...


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


def main() -> int:
    """Measure everything, tell the figures, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each figure (default: 9)")
    parser.add_argument(
        "--only", default="", help="only figures with this word in their function's name"
    )
    arguments = parser.parse_args()
    figures = [
        measure_blocking,
        measure_usual,
        measure_growth,
        measure_memory,
        measure_asyncio,
        measure_durable,
        measure_parallel,
        measure_graph,
        measure_reading,
        measure_processes,
    ]
    with tempfile.TemporaryDirectory() as folder:
        global _folder
        _folder = Path(folder)
        once(Nothing, 500)
        asyncio.run(aonce(AsyncNothing, 500))
        met = [each(arguments.rounds) for each in figures if arguments.only in each.__name__]
    return 0 if all(met) else 1


def measure_blocking(rounds: int) -> bool:
    """Measure the engine's own cost: hooks that do nothing, in blocking code."""
    took = median(rounds, lambda: once(Nothing, 1000))
    return tell("create + destroy, blocking, hooks do nothing", took * 1e6, "µs", 25)


def measure_usual(rounds: int) -> bool:
    """Tell the same for a kind that has something to record."""
    took = median(rounds, lambda: once(Usual, 1000))
    print(f"      (with two properties and an output: {took * 1e6:.1f} µs)")
    return True


def measure_growth(rounds: int) -> bool:
    """Compare a scope of 20,000 things with one of 1,000."""
    pairs = [(once(Nothing, 1000), once(Nothing, 20_000)) for _ in range(max(3, rounds // 2))]
    few, many = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
    return tell("the same with 20,000 against 1,000 in a scope", many / few, "x", 1.3)


def measure_memory(_: int) -> bool:
    """Measure what a resource keeps while it exists."""
    with new_scope() as scope:
        once(Usual, 10)
        made: list[Any] = []
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        made += [scope.create(Usual(f"n{number}")) for number in range(2000)]
        each = (tracemalloc.get_traced_memory()[0] - before) / len(made)
        tracemalloc.stop()
        scope.destroy()
    return tell("memory of a resource with two properties and an output", each / 1024, "KiB", 2.5)


def measure_asyncio(rounds: int) -> bool:
    """Measure the engine's own cost with asyncio."""
    took = median(rounds, lambda: asyncio.run(aonce(AsyncNothing, 1000)))
    return tell("create + destroy, asyncio, hooks do nothing", took * 1e6, "µs", 40)


def measure_durable(rounds: int) -> bool:
    """Compare the cost of one more create where there are 4,000 already with that where there are 200."""
    early: list[float] = []
    late: list[float] = []
    for _ in range(max(3, rounds // 3)):
        with new_scope(durable=True) as scope:
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
    print(f"      (lasting stage, with two flushes of the disk: {after * 1e6:.0f} µs per create)")
    return tell("per create in a lasting stage, at 4,000 against 200", after / before, "x", 1.2)


def measure_parallel(rounds: int) -> bool:
    """Destroy 50 things that take a while each, at once, over both drivers."""
    bare = statistics.median(bare_threads(50) for _ in range(rounds))
    print(f"      (50 threads that do nothing but wait as long: {bare / HOOK:.2f}x)")
    met = True
    for name, kinds, blocking in (
        ("threads", [Slow], True),
        ("asyncio", [AsyncSlow], False),
        ("blocking, coroutine hooks", [AsyncSlow], True),
        ("asyncio, plain hooks", [Slow], False),
    ):
        took = statistics.median(graph(kinds, blocking, 50, 1, 0)[0] for _ in range(rounds))
        if "hooks" in name:
            print(f"      ({name}: {took / HOOK:.2f}x)")
        else:
            what = f"50 destroys of {HOOK * 1000:.0f} ms at once, {name}"
            met &= tell(what, took / HOOK, "x", 1.15)
    return met


def bare_threads(number: int) -> float:
    """Return how long *number* threads take that only wait, in seconds: what no engine can do faster with threads."""
    threads = [threading.Thread(target=time.sleep, args=(HOOK,)) for _ in range(number)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def measure_graph(rounds: int) -> bool:
    """Destroy 300 things in a random graph whose provider refuses some, against the longest chain of calls."""
    met = True
    for name, kinds, blocking in (("threads", [Slow], True), ("asyncio", [AsyncSlow], False)):
        ratios = []
        for seed in range(max(3, rounds // 3)):
            took, path = graph(kinds, blocking, 300, 6, 15, seed)
            ratios.append(took / path)
        ratio = statistics.median(ratios)
        met &= tell(f"300 in a graph of depth 6, 5 % of them refused once, {name}", ratio, "x", 1.3)
    return met


def measure_reading(rounds: int) -> bool:
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

    return tell("reading of 10,000 records", median(rounds, read) * 1000, "ms", 100)


def measure_processes(_: int) -> bool:
    """Let 8 processes record at once, each in a journal of its own, as the workers of a run do."""
    command = [sys.executable, __file__, "--append"]
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
    shown = f"median {waits[len(waits) // 2] * 1000:.3f} ms, longest {waits[-1] * 1000:.1f} ms"
    print(f"      (8 processes, {len(waits)} appends: {shown})")
    return tell(
        "99 of 100 appends of 8 processes at once", waits[len(waits) * 99 // 100] * 1000, "ms", 5
    )


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


@contextmanager
def new_scope(*, durable: bool = False) -> Iterator[Scope]:
    """Yield the scope of a test whose journal is a file."""
    opened: list[FileJournal] = []

    def open_journal(first: StageOpened) -> FileJournal:
        path = _folder / f"journal{next(_numbers)}"
        opened.append(FileJournal.open(path, first, key=KEY, durable=durable))
        return opened[0]

    run = None if durable else new_run(3600)
    stage = Stage(Settings("app", "test"), "test-main-x", run, Program(), open_journal)
    yield Scope(stage, name="t", place=(":tests/test_users.py::test_users",))
    for journal in opened:
        journal.close()
        journal.path.unlink()


def once(kind: type[Any], number: int) -> float:
    """Return the CPU seconds that one create and destroy takes, of *number* in one scope."""
    with new_scope() as scope:
        start = time.process_time()
        for each in range(number):
            scope.create(kind(f"n{each}"))
        scope.destroy()
        return (time.process_time() - start) / number


async def aonce(kind: type[Any], number: int) -> float:
    """Do the same with asyncio."""
    with new_scope() as scope:
        start = time.process_time()
        for each in range(number):
            await scope.acreate(kind(f"n{each}"))
        await scope.adestroy()
        return (time.process_time() - start) / number


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
    with new_scope() as scope:
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


def header() -> StageOpened:
    """Return the first line of a journal."""
    return StageOpened(
        app="app",
        stage="test-main-x",
        run="k3f9x2ab",
        ephemeral=True,
        expires=1.9e9,
        owner=1,
        host="host",
        user="user",
        worker="main",
        started=1.8e9,
        folder="/src",
        import_path=("/src",),
        settings={"app": "app", "stage": "test"},
        journal="",
    )


def median(rounds: int, measure: Callable[[], float]) -> float:
    """Return the median of what *measure* finds in so many *rounds*."""
    return statistics.median(measure() for _ in range(rounds))


def tell(what: str, result: float, unit: str, goal: float) -> bool:
    """Print a figure with its goal, and tell whether it is met."""
    met = result <= goal
    digits = 2 if result < 10 else 1
    space = "" if unit == "x" else " "
    print(
        f"{'ok  ' if met else 'MISS'}  {what}: {result:.{digits}f}{space}{unit} (goal <= {goal:g}{space}{unit})",
        flush=True,
    )
    return met


if __name__ == "__main__":
    if sys.argv[1:2] == ["--append"]:
        append_here(sys.argv[2])
        sys.exit(0)
    sys.exit(main())
