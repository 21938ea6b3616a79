"""Two processes on one stage: the second is told who, where and since when, and changes nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_alchemy import clock
from pytest_alchemy.errors import StageLockedError
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.recovery.deadstage import lock_of
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.locks import Holder, StageLock
from pytest_alchemy.state.stagefiles import StageFiles
from tests.unit.state.samples import REPOSITORY
from tests.unit.support.scopes import Hand
from tests.unit.support.world import Thing, World

OWNER = """
import sys
from pathlib import Path
from pytest_alchemy.physicalnames import Run
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.stagefiles import StageFiles
from tests.unit.support.world import Thing

files = StageFiles(Path(sys.argv[1]), "main")
stage = Stage(Settings("shop", "test"), "test-main-one", Run("k3f9x2ab", 1.9e9), Program(), files.open)
scope = Scope(stage)
scope.create(Thing("first"))
print("owns", flush=True)
sys.stdin.readline()
files.end(clean=False)
print("gave it up", flush=True)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that owns the stage, and give it up at a line of input."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "owns\n"
        yield process
        process.kill()


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_second_fails_at_once_and_makes_nothing(
    hand: Hand, owner: subprocess.Popen[str], world: World, tmp_path: Path
) -> None:
    before = files_below(tmp_path)
    files = StageFiles(tmp_path, "main")
    stage = Stage(Settings("shop", "test"), "test-main-one", new_run(60), Program(), files.open)
    scope, thing, start = Scope(stage), Thing("second"), clock.monotonic()

    with pytest.raises(StageLockedError) as caught:
        hand.create(scope, thing)

    assert clock.monotonic() - start < 2.0
    said = str(caught.value)
    assert f"(process {owner.pid} on {platform.node()})" in said
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", said)
    assert "test-main-one" in said
    assert world.done == []
    assert list(scope.subtree()) == []
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("what", ["recovery", "store", "lock"])
def test_everybody_else_fails_at_once_too(
    owner: subprocess.Popen[str], tmp_path: Path, what: str
) -> None:
    [folder] = tmp_path.glob("shop/*")
    before = files_below(tmp_path)

    with pytest.raises(StageLockedError) as caught:
        take(what, folder, timeout=0.0)

    assert f"process {owner.pid}" in str(caught.value)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("what", ["recovery", "store", "lock"])
def test_whoever_has_time_waits_for_its_turn(
    owner: subprocess.Popen[str], tmp_path: Path, what: str
) -> None:
    [folder] = tmp_path.glob("shop/*")
    with pytest.raises(StageLockedError):  # it is not over yet when its time is
        take(what, folder, timeout=0.1)
    got = threading.Event()

    def wait() -> None:
        take(what, folder, timeout=30.0)
        got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()

    assert not got.is_set()
    assert owner.stdin
    owner.stdin.write("\n")
    owner.stdin.flush()

    assert got.wait(30.0)
    waiting.join()


def test_a_death_frees_the_stage_for_the_next(owner: subprocess.Popen[str], tmp_path: Path) -> None:
    [folder] = tmp_path.glob("shop/*")
    owner.kill()

    take("lock", folder, timeout=10.0)


def take(what: str, folder: Path, *, timeout: float) -> None:
    """Take the stage in *folder* and give it back."""
    if what == "recovery":
        lock_of(folder, timeout=timeout).release()
    elif what == "store":
        store = FileStore(folder, user_key())
        store.release(store.acquire(timeout))
    else:
        lock = StageLock(folder / ".lock")
        lock.acquire(Holder.this_process(), timeout)
        lock.release()
    assert os.path.isdir(folder)
