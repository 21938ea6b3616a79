"""What stands for a resource in its scope."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

from pytest_alchemy.entry import Entry
from pytest_alchemy.scope import Scope
from tests.unit.support.world import AsyncThing, World


class Needy:
    """Needs something, as an entry does."""

    def __init__(self, *needs: object) -> None:
        self.needs = needs


def test_a_report_is_told_everything_about_a_resource(scope: Scope, world: World) -> None:
    scope.root.program.test = "tests/test_a.py::test_users"
    thing = scope.create(AsyncThing("a"))

    (entry,) = scope.entries()

    assert repr(entry) == "<AsyncThing 'a' created>"
    assert entry.facts() == {
        "kind": "AsyncThing",
        "id": "a",
        "name": thing.name,
        "scope": "shop/test-main-run/test_users",
        "stage": "test-main-run",
        "app": "shop",
        "profile": "default",
        "worker": "main",
        "world": "",
        "test": "tests/test_a.py::test_users",
        "where": thing._alchemy.where,
        "at": entry.at,
    }


def test_two_threads_that_first_need_the_same_thing_are_both_known_to_need_it() -> None:
    scope = SimpleNamespace(root=SimpleNamespace(lock=threading.RLock()))
    bases: list[Any] = [SimpleNamespace(needed_by=None, scope=scope) for _ in range(20_000)]
    start = threading.Barrier(2)

    def need_all() -> None:
        start.wait()
        for base in bases:
            Entry.hold(Needy(base))  # type: ignore[arg-type]  # what it looks at is there

    threads = [threading.Thread(target=need_all) for _ in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    assert [base for base in bases if len(base.needed_by) != 2] == []
