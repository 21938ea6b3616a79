"""Scopes without pytest, and two hands that work with them: a blocking one and an asynchronous one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pytest_alchemy.entry import Entry
from pytest_alchemy.outcome import Outcome
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.records import Record, StageOpened
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings, Strategy
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.memory import MemoryJournal
from pytest_alchemy.store import Journal

R = TypeVar("R", bound=Resource)


def new_stage(
    *,
    settings: Settings | None = None,
    lasting: bool = False,
    program: Program | None = None,
    open_journal: Callable[[StageOpened], Journal] = MemoryJournal,
    first_number: int = 1,
) -> Stage:
    """Return a stage that nothing is in yet; its journal is in memory."""
    run = None if lasting else new_run(3600)
    settings = settings or Settings("shop", "test")
    name = "prod" if lasting else "test-main-run"
    program = program or Program()
    return Stage(settings, name, run, program, open_journal, first_number=first_number)


def new_scope(stage: Stage | None = None, **more: Any) -> Scope:
    """Return the scope of a test in a stage of its own."""
    stage = stage or new_stage()
    return Scope(stage, parent=Scope(stage), name="test_users", place=(":test_users",), **more)


def entry_of(resource: Resource) -> Entry:
    """Return what stands for *resource* in its scope."""
    owner = resource._alchemy.owner
    assert isinstance(owner, Entry)
    return owner


def lines(scope: Scope) -> list[Record]:
    """Return what is in the journal of the stage of *scope*."""
    journal = scope.root.journal
    if journal is None:
        return []
    assert isinstance(journal, MemoryJournal)
    return journal.records


class Hand(Protocol):
    """Something that works with scopes."""

    def create(self, scope: Scope, resource: R) -> R: ...

    def remove(self, scope: Scope, resource: Resource) -> None: ...

    def destroy(self, scope: Scope, strategy: Strategy | None = None) -> None: ...

    def close(self, scope: Scope, timeout: float | None = None) -> Outcome: ...


class BlockingHand:
    """Calls blocking methods."""

    def create(self, scope: Scope, resource: R) -> R:
        return scope.create(resource)

    def remove(self, scope: Scope, resource: Resource) -> None:
        scope.remove(resource)

    def destroy(self, scope: Scope, strategy: Strategy | None = None) -> None:
        scope.destroy(strategy)

    def close(self, scope: Scope, timeout: float | None = None) -> Outcome:
        from pytest_alchemy.driver import BlockingDriver, run_blocking

        return run_blocking(scope.close(BlockingDriver(), timeout=timeout))


class AsyncHand:
    """Calls the asynchronous twins, all in one event loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner

    def create(self, scope: Scope, resource: R) -> R:
        return self.runner.run(scope.acreate(resource))

    def remove(self, scope: Scope, resource: Resource) -> None:
        self.runner.run(scope.aremove(resource))

    def destroy(self, scope: Scope, strategy: Strategy | None = None) -> None:
        self.runner.run(scope.adestroy(strategy))

    def close(self, scope: Scope, timeout: float | None = None) -> Outcome:
        from pytest_alchemy.driver import AsyncDriver

        return self.runner.run(scope.close(AsyncDriver(), timeout=timeout))
