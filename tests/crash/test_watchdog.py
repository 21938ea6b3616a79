"""The watchdog: stands apart from its owner, acts when that is dead, and only then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_alchemy.state.folders import LOCK, LOG
from pytest_alchemy.state.locks import Holder, StageLock
from tests.support.world import NO_WATCHDOG, World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

WATCHDOG = Path(__file__).parents[2] / "pytest_alchemy" / "watchdog.py"
LIMIT = 30.0
"""How long anything may take on a busy machine, in seconds."""

# A conftest.py: who imports it is noted down.
KINDS = """
import os
import subprocess
import time
from kinds import HERE, File

with open(HERE / "importers", "a") as file:
    print(os.getpid(), file=file)

class Local(File):
    pass

class Stuck(File):
    def destroy(self):
        (HERE / "stuck").touch()
        time.sleep(600)

class Tool(File):
    def destroy(self):
        tool = subprocess.Popen(["sleep", "600"])
        tool.terminate()
        tool.wait()
        super().destroy()
"""

DIES = """
import os, signal
from conftest import Local, Stuck, Tool

def test_dies(alchemy_scope):
    {body}
    os.kill(os.getpid(), signal.SIGKILL)
"""


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)


def dies(pytester: pytest.Pytester, body: str) -> None:
    pytester.makeconftest(KINDS)
    pytester.makepyfile(no_watchdog=NO_WATCHDOG, test_dies=DIES.replace("{body}", body))


def importers(pytester: pytest.Pytester) -> list[int]:
    return [int(pid) for pid in (pytester.path / "importers").read_text().split()]


def stage_of(world: World) -> Path:
    [stage] = world.state.glob("shop/test-*")
    return stage


def watch(folder: Path, *, limit: float, lock_patience: float) -> subprocess.Popen[bytes]:
    """Return a watchdog of which the owner of the stage in *folder* has just died."""
    words = [limit, 0, 0, lock_patience, LOG, WATCHDOG.parents[1]]
    command = [sys.executable, "-P", "-S", "-E", str(WATCHDOG), *map(str, words)]
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert watchdog.stdin is not None
    with watchdog.stdin as told:
        told.write(b"own %b\n" % os.fsencode(folder))
    return watchdog


def test_it_stands_apart_and_ends_with_a_clean_run(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_TRACKING_ID", "the job's")
    monkeypatch.setenv("API_TOKEN", "xyzzy")
    pytester.makepyfile(
        test_looks="""
        import json, os, pathlib
        from kinds import HERE, File

        def children():
            for folder in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    words = (folder / "cmdline").read_bytes().decode().split("\\0")
                    parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[1:4]
                    if int(parent) == os.getpid():
                        environment = (folder / "environ").read_bytes().decode().split("\\0")
                        yield int(folder.name), int(session), os.readlink(folder / "cwd"), words, environment
                except OSError:
                    pass

        def test_looks(alchemy_scope):
            alchemy_scope.create(File("it"))
            (HERE / "children").write_text(json.dumps(list(children())))
        """
    )

    result = world.run_apart()

    result.assert_outcomes(passed=1)
    [[pid, session, folder, words, environment]] = json.loads(
        (pytester.path / "children").read_text()
    )
    assert session == pid
    assert folder == "/"
    assert {"-S", "-E"} <= set(words)
    assert not any("xyzzy" in word for word in words)
    assert "API_TOKEN=xyzzy" in environment
    assert not any(variable.startswith("RUNNER_TRACKING_ID=") for variable in environment)
    assert not Path(f"/proc/{pid}").exists()


def test_a_forked_child_that_lives_on_does_not_hold_it_up(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(
        pytester,
        """
    alchemy_scope.create(Local("it"))
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        signal.pause()
    open("child", "w").write(str(child))
    """,
    )

    world.run_apart()

    child = int((pytester.path / "child").read_text())
    try:
        wait_until(lambda: not world.state.exists())
        os.kill(child, 0)  # it does live
    finally:
        os.kill(child, signal.SIGKILL)
    assert world.left == []


def test_kinds_are_imported_only_when_there_is_something_to_destroy(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.remove(alchemy_scope.create(Local("it")))')
    world.run_apart()
    wait_until(lambda: not world.state.exists())
    assert len(importers(pytester)) == 1

    dies(pytester, 'alchemy_scope.create(Local("it"))')
    world.run_apart()
    wait_until(lambda: not world.state.exists())
    assert len(set(importers(pytester))) == 3
    assert world.left == []


def test_the_lock_is_the_truth_about_the_owner(pytester: pytest.Pytester, world: World) -> None:
    dies(pytester, 'alchemy_scope.create(Local("it"))')
    world.run_apart("-p", "no_watchdog")
    folder = stage_of(world)
    owner = StageLock(folder / LOCK)
    owner.acquire(Holder.this_process())

    try:
        watchdog = watch(folder, limit=LIMIT, lock_patience=0.1)
        assert watchdog.wait(LIMIT) == 0
    finally:
        owner.release()

    assert world.left == ["it"]
    assert "is locked by" in (folder / LOG).read_text()
    assert watch(folder, limit=LIMIT, lock_patience=LIMIT).wait(LIMIT) == 0
    assert world.left == []


def test_it_lives_no_longer_than_its_limit_after_its_owner(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.create(Stuck("it"))')
    world.run_apart("-p", "no_watchdog")

    watchdog = watch(stage_of(world), limit=5.0, lock_patience=LIMIT)

    wait_until((pytester.path / "stuck").exists)
    assert watchdog.wait(LIMIT) == 0
    with pytest.raises(ProcessLookupError):  # nor does anybody whom it started
        os.killpg(watchdog.pid, 0)
    assert world.left == ["it"]


def test_it_is_deaf_to_signals_but_what_destroys_start_is_not(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.create(Tool("it"))')

    world.run_apart()

    wait_until(lambda: not world.state.exists())  # with its log, in which nothing went wrong
    assert world.left == []


def test_its_words_are_kept_with_the_stage_of_which_something_is_left(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.create(Local("it", broken=True))')

    world.run_apart()

    log = stage_of(world) / LOG
    wait_until(lambda: log.exists() and "the disk is on fire" in log.read_text())
    assert world.left == ["it"]
