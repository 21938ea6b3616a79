"""Records to write down, and processes that can really be killed."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_alchemy.records import (
    Created,
    CreateFailed,
    Deferred,
    Destroyed,
    DestroyFailed,
    Destroying,
    Intent,
    Kept,
    KindSeen,
    ProfileChanged,
    Record,
    StageOpened,
    Updating,
)

REPOSITORY = Path(__file__).parents[3]
KEY = b"k" * 32
OTHER_KEY = b"o" * 32
PATIENCE = 30.0


def header(**changed: Any) -> StageOpened:
    values: dict[str, Any] = {
        "app": "shop",
        "stage": "test-gw0-k3f9x2ab",
        "run": "k3f9x2ab",
        "ephemeral": True,
        "expires": 1.8e9,
        "owner": 4711,
        "host": "build-7",
        "user": "ada",
        "worker": "gw0",
        "started": 1.7e9,
        "folder": "/src/shop",
        "import_path": ("/src/shop", "/usr/lib/python"),
        "settings": {"app": "shop", "stage": "test"},
        "journal": "",
    }
    return StageOpened(**(values | changed))


def intent(seq: int, **changed: Any) -> Intent:
    values: dict[str, Any] = {
        "path": ("test_users",),
        "kind": "d1database",
        "id": f"db-{seq}",
        "name": f"alt-shop-db-{seq}",
        "world": "memory:4711",
        "props": {"location": "weur"},
        "at": 1.7e9,
        "where": "tests/test_shop.py:7",
    }
    return Intent(seq=seq, **(values | changed))


ALL_KINDS: tuple[Record, ...] = (
    KindSeen("d1database", "shop.kinds", "/src/shop/kinds.py", "D1Database"),
    intent(1),
    Created(1, {"uuid": "ünïcödé ☃ \u2028"}, at=1.7e9),
    intent(
        2, needs=(1,), parent=1, props={"bindings": {"DB": {"$ref": 1}}, "text": "two\nlines\0"}
    ),
    CreateFailed(2, "TimeoutError: no answer", settled=False),
    Deferred(
        3,
        (),
        "shop.kinds",
        "/src/shop/kinds.py",
        "drop",
        ["alt-shop-x", 1.5, None],
        {"force": True},
    ),
    Updating(1, {"location": "apac"}, needs=(2,)),
    Created(1, {"uuid": "b"}, props={"location": "apac"}, needs=(2,)),
    Destroying(3),
    DestroyFailed(3, "OSError: gone fishing", attempts=3),
    ProfileChanged(1, "backup"),
    Kept(("test_users",), 1.9e9),
    Destroying(2),
    Destroyed(2),
)


class Child:
    """A Python process of ours that reads one line at a time and answers with one."""

    def __init__(self, program: str, *args: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        )

    def answer(self) -> str:
        """Return its next line, without waiting for ever."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(PATIENCE), "the process says nothing"
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")

    def finish(self) -> str:
        """Return the rest of what it says once it has ended well."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0
        return said.strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def child(program: str, *args: str, **environment: str) -> Iterator[Child]:
    """Run *program* in a process that is gone, whatever happens, when the block ends."""
    started = Child(program, *args, **environment)
    try:
        yield started
    finally:
        started.kill()
        for pipe in (started.process.stdin, started.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
