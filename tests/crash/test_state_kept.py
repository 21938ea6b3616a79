"""What is kept on purpose: shown as state files, and destroyed when its time is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy.names import folder_name
from pytest_alchemy.recovery.reapable import is_reapable, why_not_reapable
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.stagestate import load_stage
from tests.support.user import forget_user
from tests.support.world import World
from tests.unit.state.samples import REPOSITORY

TESTS = """
from kinds import File

def test_passes(alchemy_scope):
    alchemy_scope.create(File("passes"))

def test_fails(alchemy_scope):
    alchemy_scope.create(File("fails"))
    alchemy_scope.run("backend").create(File("inner"))
    assert 0
"""

RECOVERY = """
import sys
from pytest_alchemy import clock
days = float(sys.argv.pop(1))
now = clock.now
clock.now = lambda: now() + days * 24 * 3600
from pytest_alchemy.recovery.__main__ import main
sys.exit(main(*sys.argv[1:]))
"""


@pytest.fixture
def stage(pytester: pytest.Pytester, world: World) -> Path:
    """Return the folder of a stage in which a failed test keeps two files."""
    pytester.makepyfile(test_kept=TESTS)
    world.run_apart("--alchemy-keep=failed").assert_outcomes(passed=1, failed=1)
    assert world.left == ["fails", "inner"]
    [folder] = world.state.glob("shop/*")
    return folder


def key() -> bytes:
    """Return the key of the inner runs, whose home is a folder of their own."""
    forget_user()
    try:
        return user_key()
    finally:
        forget_user()


def recover(folder: Path, *, days: float) -> list[dict[str, Any]]:
    """Reap the stage in *folder* as if so many *days* had gone by, and return what was said."""
    command = [sys.executable, "-c", RECOVERY, str(days), "30", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_kept_scope_has_a_state_file_with_its_end(stage: Path) -> None:
    place = ":test_kept.py::test_fails"
    state = load_stage(FileStore(stage, key()))

    [until] = state.kept.values()
    assert set(state.documents) == {(), (place,), (place, "backend")}
    outer = json.loads((stage / folder_name(place) / "state.json").read_text())
    inner = json.loads((stage / folder_name(place) / "backend" / "state.json").read_text())
    assert outer["expires"].startswith("20")
    assert outer["scope"] == [place]
    [thing] = outer["resources"].values()
    assert (list(outer["resources"]), thing["type"]) == (["file-fails"], "File")
    assert list(inner["resources"]) == ["file-inner"]
    assert state.kept_until((place, "backend")) == until


def test_what_is_kept_stays_when_somebody_recovers_the_stage(stage: Path, world: World) -> None:
    assert why_not_reapable(stage, key()).startswith("it is kept until")

    said = recover(stage, days=0)

    assert [line["what"] for line in said] == ["kept", "kept"]
    assert world.left == ["fails", "inner"]
    assert (stage / "state.json").exists()


def test_what_was_kept_goes_when_its_time_is_over(stage: Path, world: World) -> None:
    said = recover(stage, days=1.1)

    assert [line["what"] for line in said] == ["reaped", "reaped"]
    assert world.left == []
    assert not world.state.exists()


def test_state_files_alone_are_enough_to_recover(stage: Path, world: World) -> None:
    for journal in (stage / ".journal").iterdir():
        journal.unlink()
    assert not is_reapable(stage, key())

    said = recover(stage, days=1.1)

    assert sorted((line["what"], line["facts"]["id"]) for line in said) == [
        ("reaped", "fails"),
        ("reaped", "inner"),
    ]
    assert world.left == []
    assert not world.state.exists()


def test_an_edited_state_file_stops_recovery_before_anything_is_called(
    stage: Path, world: World
) -> None:
    file = stage / "state.json"
    file.write_text(file.read_text() + "\n")

    [said] = recover(stage, days=1.1)

    assert said["what"] == "unrecoverable"
    assert said["reason"] == (
        f"State file {file} was edited, or was not written by this user on this machine. "
        "Nothing of it is acted on by itself.\n"
        "Recover it where it was written, or destroy what it names by hand and delete it."
    )
    assert world.left == ["fails", "inner"]


def test_a_killed_run_shows_what_it_kept_once_it_is_recovered(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_killed="""
        import os
        from kinds import File

        def test_fails(alchemy_scope):
            alchemy_scope.create(File("fails"))
            assert 0

        def test_dies(alchemy_scope):
            alchemy_scope.create(File("dies"))
            os._exit(1)
        """
    )
    world.run_apart("--alchemy-keep=failed")
    folders = list(world.state.glob("shop/*"))

    for folder in folders:
        recover(folder, days=0)

    [folder] = folders
    assert world.left == ["fails"]
    state = load_stage(FileStore(folder, key()))
    assert (":test_killed.py::test_fails",) in state.documents
    assert (":test_killed.py::test_dies",) not in state.documents
