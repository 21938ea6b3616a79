"""Programs that are killed while they change, replace or adopt something: the next run finishes it, nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.errors import StageDestroyed
from pytest_alchemy.programs.commandline import CommandLine, commanded
from tests.engine.doomed import DIES_AT, WORLD
from tests.support.user import forget_user

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

ADOPT = (
    "before Intent",
    "after Intent",
    *UPDATE,
    "after Intent*2",
    "before Updating*2",
    "thing changed*2",
)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of a world for each way of changing, in which something is deployed that it changes."""
    folders = {}
    for shape in ("update", "replace", "adopt"):
        folders[shape] = folder = tmp_path_factory.mktemp(shape)
        (folder / "things").mkdir()
        forget_user()  # a run inside an earlier test had a home of its own
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(WORLD, str(folder))
            deploy(folder / "state", shape, 1)
    shutil.rmtree(folders["adopt"] / "state")  # nobody knows whose it is
    return folders


def sizes(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder / "things").iterdir())}


def die(folder: Path, shape: str, at: str) -> None:
    """Deploy in the world of *folder*, and be killed at the point *at*."""
    killed = subprocess.run(
        [sys.executable, "-m", "tests.scopes.doomed", str(folder / "state"), shape, "2"],
        cwd=REPOSITORY,
        env={**os.environ, DIES_AT: at, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert killed.returncode == -signal.SIGKILL, f"it never came to {at!r}: {killed.stderr}"


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
    die(folder, shape, at)
    assert len(sizes(folder)) >= 2, "something that is in use is gone"

    deploy(folder / "state", shape, 2)

    assert sorted(sizes(folder).values()) == ["1", "2"]
    assert (sizes(folder).keys() == sizes(before).keys()) == (shape == "update")


@pytest.mark.parametrize("at", ADOPT)
def test_what_is_killed_while_it_is_adopted_is_never_destroyed_and_is_ours_after_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployed: dict[str, Path], at: str
) -> None:
    folder = tmp_path / "world"
    shutil.copytree(deployed["adopt"], folder)
    monkeypatch.setenv(WORLD, str(folder))
    before, made = sizes(folder), (folder / "log").read_text()
    die(folder, "adopt", at)

    deploy(folder / "state", "adopt", 2)

    assert (folder / "log").read_text() == made  # nothing was made, and nothing unmade
    assert sorted(sizes(folder).values()) == ["1", "2"]
    deploy(folder / "state", "update", 3)  # refused if it were not recorded
    assert sorted(sizes(folder).values()) == ["1", "3"]
    assert sizes(folder).keys() == before.keys()


def test_what_is_killed_while_it_is_adopted_is_ours_to_destroy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployed: dict[str, Path]
) -> None:
    folder = tmp_path / "world"
    shutil.copytree(deployed["adopt"], folder)
    monkeypatch.setenv(WORLD, str(folder))
    base, user = sizes(folder)
    die(folder, "adopt", "after Intent")

    with (
        commanded(CommandLine(root=folder / "state")),
        pytest.raises(StageDestroyed),
        alchemy("shop", stage="prod", phase="destroy"),
    ):
        raise AssertionError("it goes on")

    assert "-base-" in base
    assert [*sizes(folder)] == [user]  # that was not adopted yet
