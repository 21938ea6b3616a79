"""
A world for inner test runs: a folder with one file per resource.

What is left is counted there, never in our own state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

KINDS = '''
import asyncio
import os
import pathlib

from pytest_alchemy.resource import Resource, output

HERE = pathlib.Path(__file__).parent
WORLD = HERE / "world"


def log(*words):
    with open(HERE / "log.txt", "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")


class File(Resource):
    """A file; plain hooks."""

    broken: bool = False
    path: str = output()

    def create(self):
        (WORLD / self.name).write_text(self.id)
        self.path = str(WORLD / self.name)
        log("create", self.id)

    def read(self):
        return (WORLD / self.name).exists()

    def destroy(self):
        if self.broken:
            raise RuntimeError("the disk is on fire")
        (WORLD / self.name).unlink(missing_ok=True)
        log("destroy", self.id)


class AsyncFile(Resource):
    """A file; its hooks are coroutines, and its client lives in one loop."""

    async def create(self):
        await asyncio.sleep(0)
        self.client = asyncio.get_running_loop()
        (WORLD / self.name).write_text(self.id)
        log("create", self.id)

    async def destroy(self):
        await asyncio.sleep(0)
        client = getattr(self, "client", None)
        loop = "fresh" if client is None else "same" if client is asyncio.get_running_loop() else "other"
        (WORLD / self.name).unlink(missing_ok=True)
        log("destroy", self.id, "in", loop, "loop")


class Note(Resource):
    """Nothing but memory: it ends with its process."""

    def create(self):
        log("create", self.id)

    def destroy(self):
        log("destroy", self.id)

    def world(self):
        return f"memory:{os.getpid()}"
'''
"""The inner module ``kinds``."""


NO_WATCHDOG = """
import subprocess
from pytest_alchemy.recovery.process import Watch

Watch._start = lambda self: subprocess.Popen(["true"], stdin=subprocess.PIPE)
"""
"""A plugin for inner runs that die together with their watchdog, as on a machine that goes down."""


class World:
    """
    Runs inner tests, whose resources are files in a folder.

    Args:
        pytester: Where they run.
        monkeypatch: What the inner runs find in the environment is set with it.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester, self._monkeypatch = pytester, monkeypatch
        self.path = pytester.path / "world"
        self.path.mkdir()
        pytester.makepyfile(kinds=KINDS)
        pytester.makeini("[pytest]\nalchemy_app = shop\n")
        # Finding every installed plugin takes longer than most of the inner runs themselves.
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        monkeypatch.delenv("CI", raising=False)

    def run(self, *args: str, plugins: str = "") -> pytest.RunResult:
        """Run the inner tests in this process, with *plugins* besides ours."""
        # The filters of the outer run reach into it.
        return self._pytester.runpytest_inprocess("-W", "default", *_options(plugins), *args)

    def run_apart(self, *args: str, plugins: str = "", timeout: float = 60.0) -> pytest.RunResult:
        """Run the inner tests in a process of their own, which may take *timeout* seconds."""
        return self._pytester.runpytest_subprocess(*_options(plugins), *args, timeout=timeout)

    @property
    def left(self) -> list[str]:
        """What is in the world now: the ids of the resources."""
        return sorted(file.read_text() for file in self.path.iterdir())

    @property
    def log(self) -> list[str]:
        """What the inner tests and hooks noted down, oldest first."""
        file = self._pytester.path / "log.txt"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def state(self) -> Path:
        """The folder of our own state, which is gone after a clean end."""
        return self._pytester.path / ".alchemy"


def section(result: pytest.RunResult) -> list[str]:
    """Return the lines of the report about scopes, with what changes from run to run written as stars."""
    lines = result.outlines
    heads = [number for number, line in enumerate(lines) if re.fullmatch(r"[=!]+ .* [=!]+", line)]
    titles = [number for number in heads if " alchemy scopes " in lines[number]]
    if not titles:
        return []
    [start] = titles
    end = next((number for number in heads if number > start), len(lines))
    return [_without_chance(line) for line in lines[start + 1 : end]]


def _without_chance(line: str) -> str:
    line = re.sub(r"\(alt-[a-z0-9-]+\)", "(*)", line)
    line = re.sub(r"-[a-z0-9]{8}(?=/|$| )", "-*", line)
    return re.sub(r"at \d\d:\d\d:\d\d", "at *", line)


def _options(plugins: str) -> Iterator[str]:
    for plugin in ("alchemy", *plugins.split()):
        yield from ("-p", plugin)
    yield from ("-p", "no:cacheprovider")
    if "asyncio" in plugins:
        yield from ("-o", "asyncio_default_fixture_loop_scope=function")


@pytest.fixture
def world(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return an empty world."""
    return World(pytester, monkeypatch)
