"""
Stages of runs that are over, and what they left: files in a folder, and rows in a list that a provider shows.

What is left is counted in the folder, never in our own state.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import clock
from pytest_alchemy.physicalnames import NameRule, Run, physical_name
from pytest_alchemy.records import Created, Intent, KindSeen, Live, Record, StageOpened
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import JOURNALS, LOCK, Root
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.keys import HOME_VARIABLE, user_key
from pytest_alchemy.state.stagestate import load_stage, publish
from tests.support.user import forget_user

DAY = 24 * 3600.0
OTHER_KEY = b"o" * 32

KINDS = """
import os
import pathlib

from pytest_alchemy import Resource

HERE = pathlib.Path(__file__).parent
WORLD = HERE / "world"
(HERE / "imported.txt").touch()


class File(Resource):
    broken: bool = False

    def create(self):
        (WORLD / self.name).write_text(self.id)

    def read(self):
        return (WORLD / self.name).exists()

    def destroy(self):
        if self.broken or "stuck" in os.environ.get("STUCK", ""):
            raise RuntimeError("the disk is on fire")
        (WORLD / self.name).unlink(missing_ok=True)

    @classmethod
    def list(cls):
        return os.listdir(WORLD)


def drop(name):
    (WORLD / name).unlink()
"""


class Graveyard:
    """
    A project with stages of dead runs.

    Args:
        path: The project's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = path / "world"
        self.world.mkdir(parents=True)
        self.root = path / ".alchemy"
        self.kinds = path / "kinds.py"
        self.kinds.write_text(KINDS)

    @property
    def left(self) -> list[str]:
        """The ids of what is in the world now."""
        return sorted(file.read_text() for file in self.world.iterdir())

    @property
    def is_imported(self) -> bool:
        """Whether anybody imported the project's kinds."""
        return (self.path / "imported.txt").exists()

    def bury(
        self,
        *ids: str,
        run: str = "k3f9x2ab",
        more: tuple[Record, ...] = (),
        key: bytes | None = None,
        used: float = 3 * 3600.0,
        **changed: Any,
    ) -> Path:
        """
        Leave a stage behind as a killed process does, with a file in the world for each of *ids*.

        Args:
            ids: What was made; the destroy of one called ``broken`` fails.
            run: Id of the run.
            more: What else is recorded.
            key: Whose journal it is; None for this user's.
            used: How long ago all of that was, in seconds.
            changed: Fields of the journal's first line.

        Returns:
            The stage's folder.
        """
        at = clock.now() - used
        header = self._header(run, at, changed)
        folder = Root(self.root).make_stage(header.app, header.stage)
        (folder / LOCK).touch()
        path = folder / JOURNALS / "main.jsonl"
        journal = FileJournal.open(path, header, key=key or user_key(), durable=False)
        journal.append(KindSeen("file", "kinds", str(self.kinds), "File"))
        for seq, id in enumerate(ids, 1):
            intent = self._intent(seq, id, header, at)
            journal.append(intent)
            journal.append(Created(seq, {}, at=at))
            (self.world / intent.name).write_text(id)
        for record in more:
            journal.append(record)
        journal.close()
        return folder

    def note(
        self,
        *records: Record,
        kind: str,
        stage: str,
        module: str = "kinds",
        file: Path | None = None,
    ) -> None:
        """Record more in the stage *stage* of the application, all of it of the class *kind* of *module*."""
        folder = Root(self.root).stage_path("shop", stage)
        journal = FileJournal.reopen(folder / JOURNALS / "main.jsonl", user_key())
        seen = KindSeen(kind.lower(), module, str(file or self.kinds), kind)
        for record in (seen, *records):
            journal.append(record)
        journal.close()

    def write_document(self, folder: Path, number: int) -> None:
        """Give a stage that owns nothing *number* resources, all of them in its state file."""
        store = FileStore(folder, user_key())
        stage = load_stage(store)
        [book] = stage.books.values()
        book.kinds["file"] = KindSeen("file", "kinds", str(self.kinds), "File")
        for seq in range(1, number + 1):
            intent = Intent(seq, (), "file", f"f{seq}", f"alc-shop-f{seq}", "", {"broken": False})
            book.live[seq] = Live(
                intent, created=True, settled=True, outputs={}, props=intent.props
            )
        publish(store, stage)

    def wait_for(self, name: str) -> None:
        """Wait until there is a file called *name* in the project's folder; a minute at most."""
        give_up = clock.monotonic() + 60
        while not (self.path / name).exists():
            assert clock.monotonic() < give_up, f"{name} did not appear"
            disk.pause(0.01)

    def make(
        self, id: str, *, run: str = "k3f9x2ab", expires: float = 0.0, app: str = "shop"
    ) -> str:
        """Make a file that no stage records, wanted until *expires* (a day ago), and return its name."""
        known = Run(run, expires or clock.now() - DAY)
        name = name_of(id, app=app, run=known)
        (self.world / name).write_text(id)
        return name

    def snapshot(self) -> dict[str, tuple[bytes, float]]:
        """Return every file of our own state and of the world, with its content and when that changed."""
        return {
            str(path.relative_to(self.path)): (path.read_bytes(), path.stat().st_mtime)
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and (self.root in path.parents or self.world in path.parents)
        }

    def _header(self, run: str, at: float, changed: dict[str, Any]) -> StageOpened:
        app = changed.get("app", "shop")
        values: dict[str, Any] = {
            "app": app,
            "stage": f"test-main-{run}",
            "run": run,
            "ephemeral": True,
            "expires": at + DAY,
            "owner": 4711,
            "host": "build-7",
            "user": "ada",
            "worker": "main",
            "started": at,
            "folder": str(self.path),
            "import_path": (str(self.path), *sys.path),
            "settings": {"app": app, "stage": "test"},
            "journal": "",
        }
        return StageOpened(**(values | changed))

    def _intent(self, seq: int, id: str, header: StageOpened, at: float) -> Intent:
        run = Run(header.run, header.expires) if header.run else None
        return Intent(
            seq=seq,
            path=(":test_a.py::test_one",),
            kind="file",
            id=id,
            name=name_of(id, app=header.app, run=run, stage=header.stage),
            world="",
            props={"broken": id == "broken"},
            at=at,
            where="test_a.py:7",
            test="test_a.py::test_one",
        )


def name_of(
    id: str,
    *,
    app: str = "shop",
    run: Run | None,
    stage: str = "test",
    rule: NameRule = NameRule(),  # noqa: B008 # it never changes
) -> str:
    """Return the physical name of a file."""
    return physical_name(
        app=app, stage=stage, path=["test_one"], kind="file", id=id, run=run, rule=rule
    )


@pytest.fixture
def graveyard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graveyard]:
    """Return a project in which nothing has happened yet; its user is a new one."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    forget_user()
    before = list(sys.path), dict(sys.modules), os.getcwd()
    yield Graveyard(tmp_path / "project")
    forget_user()
    sys.path[:] = before[0]
    for name in set(sys.modules) - set(before[1]):
        if name.partition("_")[0] == "kinds":
            del sys.modules[name]
    os.chdir(before[2])
