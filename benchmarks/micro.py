"""The micro figures: what pytest-benchmark found in ``test_micro.py``, in CPU time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure, run

_COMMAND = ("-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-c", os.devnull)


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the micro figures; *rounds* is how often each is measured."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.json")
        os.environ["ROUNDS"] = str(rounds)
        # The search for garbage takes longer the larger the heap of whoever runs it is; `timeit` leaves it out, too.
        options = (
            f"--benchmark-json={found}",
            "--benchmark-timer=time.process_time",
            "--benchmark-disable-gc",
        )
        run(*_COMMAND, *options, f"--rootdir={folder}", "test_micro.py", cwd=here)
        said = json.loads(found.read_text())["benchmarks"]
    each = {one["name"]: one["extra_info"]["number"] / 1e6 for one in said}
    medians = {one["name"]: one["stats"]["median"] / each[one["name"]] for one in said}
    least = {one["name"]: one["stats"]["min"] / each[one["name"]] for one in said}
    for name, what, goal in (
        ("test_blocking", "create + destroy of a no-op, blocking", 25.0),
        ("test_asyncio", "create + destroy of a no-op, asyncio", 40.0),
        ("test_usual", "the same, blocking, with two properties and an output", None),
        ("test_lines_alone", "of it the three journal lines", None),
    ):
        note = f"CPU, median of {rounds} times 1,000; least {least[name]:.1f}"
        yield Figure(what, medians[name], "µs", goal, note=note)
    growth = least["test_blocking_many"] / least["test_blocking"]
    yield Figure(
        "the same with 20,000 in a scope, against 1,000", growth, "x", 1.3, note="of the least"
    )
