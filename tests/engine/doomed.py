"""
A program that dies somewhere: ``python -m tests.engine.doomed ROOT STYLE SHAPE``, in the folder of its world.

Where it dies is in the variable ENGINE_DIES_AT: the name of a point, and which time it is reached. It dies by SIGKILL,
so nothing of it runs any more. A world is a folder with one file per thing and a log.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from pytest_alchemy import Resource, output
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.records import Record, StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.stagefiles import StageFiles

WORLD = "ENGINE_WORLD"
DIES_AT = "ENGINE_DIES_AT"

_reached: list[str] = []


def point(name: str) -> None:
    """Die if this is where the program is to die."""
    where, _, times = os.environ.get(DIES_AT, "").partition("*")
    _reached.append(name)
    if name == where and _reached.count(name) == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)


def log(*words: str) -> None:
    with Path(os.environ[WORLD], "log").open("a") as file:
        file.write(" ".join(words) + "\n")


class File(Resource, create_timeout=0.3):
    """A file in the world."""

    size: int = 1
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    path: str = output()

    @property
    def file(self) -> Path:
        return Path(os.environ[WORLD], "things", self.name)

    def make(self) -> None:
        point("request sent")
        with self.file.open("x") as file:  # refused where it was made before
            file.write(str(self.size))
        log("made", self.name)
        point("thing made")
        self.path = str(self.file)

    def change(self) -> None:
        point("change sent")
        self.file.write_text(str(self.size))
        point("thing changed")

    def unmake(self) -> None:
        point("destroy sent")
        self.file.unlink(missing_ok=True)
        log("unmade", self.name)
        point("thing gone")

    def create(self) -> None:
        self.make()

    def read(self) -> bool:
        return self.file.exists()

    def update(self, previous: File) -> None:
        self.change()

    def destroy(self) -> None:
        self.unmake()


class BlindFile(Resource):
    """A file of which nobody can ask whether it is there."""

    def create(self) -> None:
        File.make(self)  # type: ignore[arg-type]  # it has all that is needed

    def destroy(self) -> None:
        File.unmake(self)  # type: ignore[arg-type]  # as above

    file = File.file
    path: str = output()
    size: int = 1


class AsyncFile(File, kind="asyncfile", create_timeout=0.3):
    """The same with coroutine hooks."""

    async def create(self) -> None:  # type: ignore[override]  # hooks may be either
        await asyncio.sleep(0)
        self.make()

    async def read(self) -> bool:  # type: ignore[override]  # as above
        return self.file.exists()

    async def update(self, previous: File) -> None:  # type: ignore[override]  # as above
        self.change()

    async def destroy(self) -> None:  # type: ignore[override]  # as above
        await asyncio.sleep(0)
        self.unmake()


class LateFile(File, kind="latefile", create_timeout=20.0):
    """Its provider makes it in its own time, whatever becomes of whoever asked for it."""

    def create(self) -> None:
        point("request sent")


class Pair(File, kind="pair", create_timeout=0.3):
    """Makes a child before its own thing, and one after it."""

    def create(self) -> None:
        first = self.scope.create(File("first"))
        self.make()
        self.scope.create(File("second", uses=[first]))


class Watched:
    """A journal that tells where it is."""

    def __init__(self, journal: FileJournal) -> None:
        self._journal = journal

    def append(self, record: Record) -> None:
        what = type(record).__name__
        point(f"before {what}")
        self._journal.append(record)
        point(f"after {what}")


def new_scope(root: Path) -> tuple[Scope, StageFiles]:
    run, files = new_run(3600), StageFiles(root, "main")

    def opened(header: StageOpened) -> Watched:
        return Watched(files.open(header))

    stage = Stage(Settings("shop", "test"), f"test-main-{run.id}", run, Program(), opened)
    return Scope(stage, name="t", place=(":t",)), files


def work(scope: Scope, shape: str) -> None:
    """Make, change and unmake things, blocking."""
    kind: type[File] = {"late": LateFile, "pair": Pair}.get(shape, File)
    first = scope.create(kind("a"))
    if shape == "blind":
        scope.create(BlindFile("blind"))
    if shape == "update":
        first = scope.create(kind("a", size=2))
    scope.create(kind("b", uses=[first]))
    scope.destroy()


async def awork(scope: Scope, shape: str) -> None:
    """Make, change and unmake things with asyncio."""
    first = await scope.acreate(AsyncFile("a"))
    if shape == "update":
        first = await scope.acreate(AsyncFile("a", size=2))
    await scope.acreate(AsyncFile("b", uses=[first]))
    await scope.adestroy()


def main() -> None:
    root, style, shape = sys.argv[1:]
    scope, files = new_scope(Path(root))
    if style == "async":
        asyncio.run(awork(scope, shape))
    else:
        work(scope, shape)
    files.end(clean=True)
    print("lived")


if __name__ == "__main__":
    # As others import it, so that its kinds are found again.
    from tests.engine import doomed

    doomed.main()
