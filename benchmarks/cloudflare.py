"""
What the Cloudflare resources cost offline: ``python benchmarks/cloudflare.py [--rounds N]``.

One line per figure with its goal; exits with 1 if one is missed:

* creating and destroying 100 KV namespaces through a scope, on the fake account in memory, against 100 pairs of POST
  and DELETE that respx answers to a plain httpx client: CPU time, both in each round, the ratio of the medians;
* importing `pytest_alchemy.cloudflare` in a fresh interpreter that has imported httpx already, without a call: median
  of CPU time. Beside it, for information, the same with all five resources.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

import httpx
import respx

from pytest_alchemy.cloudflare import KVNamespace
from pytest_alchemy.names import new_run
from pytest_alchemy.records import Record, StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage

PAIRS = 100
RATIO_GOAL = 1.5
IMPORT_GOAL = 15.0  # ms

_BASE = f"https://api.cloudflare.com/client/v4/accounts/{'a' * 32}/storage/kv/namespaces"
_IMPORT = """
import sys, time
import httpx
start = time.process_time()
import pytest_alchemy.cloudflare as package
for name in sys.argv[1:]:
    getattr(package, name)
print((time.process_time() - start) * 1000)
"""
_ALL = ("D1Database", "KVNamespace", "R2Bucket", "Queue", "Worker")


class Nowhere:
    """A journal of nothing: what lives in memory is not recorded."""

    def append(self, record: Record) -> None:
        raise AssertionError(f"{record} was recorded")


def main() -> int:
    """Measure, tell the figures, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25, help="of each figure (default: 25)")
    rounds = parser.parse_args().rounds
    results = [measure_namespaces(rounds), measure_import(rounds)]
    return 0 if all(results) else 1


def measure_namespaces(rounds: int) -> bool:
    """Measure namespaces through a scope against bare calls; tell whether the goal is met."""
    through_a_scope(), bare()  # both have imported and compiled what they need
    figures = [(through_a_scope(), bare()) for _ in range(rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*figures, strict=True))
    ratio = ours / theirs
    return tell(
        f"{PAIRS} KV namespaces created and destroyed through a scope",
        f"{ratio:.2f}x of bare calls ({ours / PAIRS * 1e6:.0f} against {theirs / PAIRS * 1e6:.0f} µs each)",
        f"<= {RATIO_GOAL}x",
        ratio <= RATIO_GOAL,
    )


def through_a_scope() -> float:
    """Return the CPU seconds that namespaces take in a scope."""

    def open_journal(_: StageOpened) -> Nowhere:
        return Nowhere()

    stage = Stage(Settings("app", "test"), "test-main-x", new_run(3600), Program(), open_journal)
    scope = Scope(stage, name="t", place=(":tests/test_users.py::test_users",))
    start = time.process_time()
    for number in range(PAIRS):
        scope.create(KVNamespace(f"n{number}"))
    scope.destroy()
    return time.process_time() - start


def bare() -> float:
    """Return the CPU seconds that as many pairs of calls take that respx answers with a constant."""
    made = {"id": "b" * 32, "title": "n", "supports_url_encoding": True}
    with respx.mock() as mock, httpx.Client() as client:
        mock.post(_BASE).respond(json=envelope(made))
        mock.delete(url__startswith=f"{_BASE}/").respond(json=envelope(None))
        start = time.process_time()
        for number in range(PAIRS):
            client.post(_BASE, json={"title": f"n{number}"}).raise_for_status()
        for number in range(PAIRS):
            client.delete(f"{_BASE}/{number:032}").raise_for_status()
        return time.process_time() - start


def envelope(result: object) -> dict[str, object]:
    """Return what the API puts around a result."""
    return {"success": True, "errors": [], "messages": [], "result": result}


def measure_import(rounds: int) -> bool:
    """Measure importing the package after httpx; tell whether the goal is met."""
    alone, everything = (
        statistics.median(imported(*names) for _ in range(rounds)) for names in ((), _ALL)
    )
    return tell(
        "import of pytest_alchemy.cloudflare after httpx",
        f"{alone:.1f} ms (with all five resources: {everything:.1f} ms)",
        f"<= {IMPORT_GOAL:g} ms",
        alone <= IMPORT_GOAL,
    )


def imported(*names: str) -> float:
    """Return the CPU milliseconds of importing the package and *names* from it in a fresh interpreter."""
    # Bytecode is written wherever the package is really installed.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    command = [sys.executable, "-c", _IMPORT, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def tell(what: str, result: str, goal: str, met: bool) -> bool:
    """Print a figure with its goal, and return whether it is met."""
    print(f"{'ok  ' if met else 'MISS'}  {what}: {result} (goal {goal})", flush=True)
    return met


if __name__ == "__main__":
    sys.exit(main())
