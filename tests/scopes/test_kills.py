"""Programs that are killed while they change or replace something: the next run finishes it, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.doomed import DIES_AT, WORLD

from .doomed import deploy

REPOSITORY = Path(__file__).parents[2]
LIMIT = 60.0

UPDATE = (
    "before Updating",
    "after Updating",
    "change sent",
    "thing changed",
    "before Created",
    "after Created",
)
REPLACE = (
    "before Intent",
    "after Intent",
    "request sent",
    "thing made",
    "before Created",
    "after Created",
    # What uses the old one is changed now, and then the old one goes.
    "before Updating",
    "after Updating",
    "change sent",
    "thing changed",
    "before Created*2",
    "after Created*2",
    "before Destroying",
    "after Destroying",
    "destroy sent",
    "thing gone",
    "before Destroyed",
    "after Destroyed",
)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of a world for each way of changing, in which something is deployed that it changes."""
    folders = {}
    for shape in ("update", "replace"):
        folders[shape] = folder = tmp_path_factory.mktemp(shape)
        (folder / "things").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(WORLD, str(folder))
            deploy(folder / "state", shape, 1)
    return folders


def sizes(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder / "things").iterdir())}


@pytest.mark.parametrize(
    ("shape", "at"),
    [*(("update", at) for at in UPDATE), *(("replace", at) for at in REPLACE)],
)
def test_what_is_killed_while_it_is_changed_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployed: dict[str, Path], shape: str, at: str
) -> None:
    before, folder = deployed[shape], tmp_path / "world"
    shutil.copytree(before, folder)
    monkeypatch.setenv(WORLD, str(folder))
    killed = subprocess.run(
        [sys.executable, "-m", "tests.scopes.doomed", str(folder / "state"), shape, "2"],
        cwd=REPOSITORY,
        env={**os.environ, DIES_AT: at, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert killed.returncode == -signal.SIGKILL, f"it never came to {at!r}: {killed.stderr}"
    assert len(sizes(folder)) >= 2, "something that is in use is gone"

    deploy(folder / "state", shape, 2)

    assert sorted(sizes(folder).values()) == ["1", "2"]
    assert (sizes(folder).keys() == sizes(before).keys()) == (shape == "update")
