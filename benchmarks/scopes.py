"""Scopes whose journal is a file, and resources that do nothing, for the benchmarks of the engine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_alchemy import Resource, output
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.records import StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.journal import FileJournal

KEY = b"k" * 32

_numbers = itertools.count()


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


@contextmanager
def new_scope(folder: Path, *, durable: bool = False) -> Iterator[Scope]:
    """Yield the scope of a test whose journal is a file in *folder*."""
    opened: list[FileJournal] = []

    def open_journal(first: StageOpened) -> FileJournal:
        path = folder / f"journal{next(_numbers)}"
        opened.append(FileJournal.open(path, first, key=KEY, durable=durable))
        return opened[0]

    run = None if durable else new_run(3600)
    stage = Stage(Settings("app", "test"), "test-main-x", run, Program(), open_journal)
    yield Scope(stage, name="t", place=(":tests/test_users.py::test_users",))
    for journal in opened:
        journal.close()
        journal.path.unlink()


def header(**changed: Any) -> StageOpened:
    """Return the first line of a journal; *changed* of it is not as usual."""
    said: dict[str, Any] = {
        "app": "app",
        "stage": "test-main-x",
        "run": "k3f9x2ab",
        "ephemeral": True,
        "expires": 1.9e9,
        "owner": 1,
        "host": "host",
        "user": "user",
        "worker": "main",
        "started": 1.8e9,
        "folder": "/src",
        "import_path": ("/src",),
        "settings": {"app": "app", "stage": "test"},
        "journal": "",
    }
    return StageOpened(**said | changed)
