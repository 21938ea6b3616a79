"""A folder with programs, whose resources are files in a world, and the command that runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy.state.keys import HOME_VARIABLE

COMMAND = [sys.executable, "-m", "pytest_alchemy"]

KINDS = '''
import os
import pathlib
import signal

from pytest_alchemy import Resource, output
from pytest_alchemy.errors import MustReplaceError

HERE = pathlib.Path(__file__).parent
WORLD = HERE / "world"


def log(*words):
    with open(HERE / "log.txt", "a") as file:
        file.write(" ".join(words) + "\\n")


class Fixed(Resource):
    """A file that cannot be changed."""

    text: str = ""
    path: str = output()

    def create(self):
        log("create", self.id)
        if self.id == os.environ.get("HANG"):
            (HERE / "reached").touch()
            signal.pause()
        if self.id == os.environ.get("FAIL"):
            raise RuntimeError("no room for it")
        (WORLD / self.name).write_text(self.id)
        self.path = str(WORLD / self.name)

    def read(self):
        log("read", self.id)
        return (WORLD / self.name).exists()

    def destroy(self):
        log("destroy", self.id)
        if self.id == os.environ.get("STUCK"):
            raise RuntimeError("it is stuck")
        if self.id == os.environ.get("HANG_AT_END"):
            (HERE / "reached").touch()
            signal.pause()
        (WORLD / self.name).unlink(missing_ok=True)


class File(Fixed):
    """A file that can be changed, but not to be short."""

    def update(self, previous):
        log("update", self.id)
        if self.text == "short":
            raise MustReplaceError(self.id, "it cannot shrink")


class Pair(Resource):
    """Two files."""

    text: str = ""

    def create(self):
        self.scope.create(Fixed("left"))
        self.scope.create(Fixed("right"))

    def destroy(self): ...
'''

PROGRAM = """
from kinds import File, Fixed, Pair
from pytest_alchemy import alchemy

with alchemy("shop"{options}) as app:
{body}
"""


class Project:
    """A folder with programs, whose resources are files in a world."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = path / "world"
        self.world.mkdir(parents=True)
        (path / "kinds.py").write_text(KINDS)

    @property
    def left(self) -> list[str]:
        """The ids of what is in the world now."""
        return sorted(file.read_text() for file in self.world.iterdir())

    def took(self) -> list[str]:
        """Return what hooks were called since this was last asked."""
        file = self.path / "log.txt"
        said = file.read_text().splitlines() if file.exists() else []
        file.write_text("")
        return said

    def write(self, *lines: str, options: str = "") -> None:
        """Write the program that declares *lines*."""
        body = "\n".join(f"    {line}" for line in lines or ("pass",))
        (self.path / "alchemy_run.py").write_text(PROGRAM.format(options=options, body=body))

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        environment |= more.pop("env", {})
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=more.pop("stderr", subprocess.PIPE),
            text=True,
            **more,
        )

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Call the command in a process of its own."""
        process = self.start(*words, **more)
        out, error = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, error)

    def deploy(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.run("deploy", "--stage=pr-7", *words, **more)

    def snapshot(self) -> dict[str, tuple[bytes, float]]:
        """Return every file of our own state and of the world, with its content and when that changed."""
        return {
            str(path.relative_to(self.path)): (path.read_bytes(), path.stat().st_mtime)
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and {".alchemy", "world"} & set(path.parts)
        }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project in which nothing has happened yet; its user is a new one."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return Project(tmp_path / "project")


def text(said: str) -> str:
    """Return what was said, with what changes from run to run written as stars."""
    return re.sub(r"\(al[a-z]-[a-z0-9-]+\)", "(*)", said)
