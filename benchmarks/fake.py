"""
What a resource on the fake account costs, against the same two requests answered by a bare respx router; and what it
costs to import the package for it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import httpx
import respx
from figures import Figure, Timed, alternate, compared, run

from pytest_alchemy.cloudflare import KVNamespace
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.records import StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.memory import MemoryJournal

PAIRS = 100
IMPORT = """
import sys, time
import httpx
start = time.process_time()
import pytest_alchemy.cloudflare as package
for name in sys.argv[1:]:
    getattr(package, name)
print((time.process_time() - start) * 1000)
"""
FIVE = ("D1Database", "KVNamespace", "R2Bucket", "Queue", "Worker")
_URL = "https://api.cloudflare.com/client/v4/accounts/a/storage/kv/namespaces"


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figures; *rounds* is how often the two alternate, and how often something is imported."""
    _ours(), _bare()
    found = alternate({"ours": _ours, "bare": _bare}, rounds)
    what = f"{PAIRS} KV create+destroy on the fake, against {PAIRS} bare respx pairs"
    yield compared(what, found["ours"], found["bare"], 1.5)
    alone, five = (
        statistics.median(float(run("-c", IMPORT, *names)) for _ in range(rounds))
        for names in ((), FIVE)
    )
    what = "import of pytest_alchemy.cloudflare after httpx"
    yield Figure(what, alone, "ms", 15, note=f"CPU; with all five resources {five:.1f} ms")


def _ours() -> Timed:
    def opened(_: StageOpened) -> MemoryJournal:
        raise AssertionError("what lives in the memory of this process is not recorded")

    scope = Scope(Stage(Settings("app", "test"), "test-main-x", new_run(600), Program(), opened))
    scope.create(KVNamespace("first"))  # opens the account and its client
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(PAIRS):
        scope.remove(scope.create(KVNamespace(f"n{number}")))
    took = time.process_time() - cpu, time.perf_counter() - wall
    scope.destroy()
    return took


def _bare() -> Timed:
    answer = {"success": True, "errors": [], "messages": [], "result": {"id": "n", "title": "t"}}
    with respx.mock() as router, httpx.Client() as client:
        router.post(_URL).respond(json=answer)
        router.delete(f"{_URL}/n").respond(json={**answer, "result": None})
        cpu, wall = time.process_time(), time.perf_counter()
        for number in range(PAIRS):
            client.post(_URL, json={"title": f"n{number}"}).raise_for_status().json()
            client.delete(f"{_URL}/n").raise_for_status().json()
        return time.process_time() - cpu, time.perf_counter() - wall
