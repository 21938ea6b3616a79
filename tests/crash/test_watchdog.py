"""The watchdog: stands apart from its owner, acts when that is dead, and only then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pytest_alchemy.state.folders import LOCK, LOG
from pytest_alchemy.state.locks import Holder, StageLock
from tests.support.world import NO_WATCHDOG, World, section

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

PACKAGE = Path(__file__).parents[2]
WATCHDOG = PACKAGE / "pytest_alchemy" / "watchdog.py"
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

USED = """
take = take_footing

def take_footing(header, folder):
    take(header, folder)
    open({used!r}, "w").close()
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


def watch(
    folder: Path,
    *,
    limit: float = LIMIT,
    patron: int = 0,
    patience: float = 0.0,
    lock_patience: float = LIMIT,
    package: Path = PACKAGE,
) -> subprocess.Popen[bytes]:
    """Return a watchdog whose owner has a stage in *folder* and lives until its input is closed."""
    libraries = Path(msgspec.__file__).parents[1]
    words = [limit, patron, patience, lock_patience, LOG, package, libraries]
    command = [sys.executable, "-P", "-S", "-E", str(WATCHDOG), *map(str, words)]
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert watchdog.stdin is not None
    watchdog.stdin.write(b"own %b\n" % os.fsencode(folder))
    watchdog.stdin.flush()
    return watchdog


def owner_dies(watchdog: subprocess.Popen[bytes]) -> int:
    """Let the owner of a watchdog die, and return how the watchdog ends."""
    assert watchdog.stdin is not None
    watchdog.stdin.close()
    return watchdog.wait(LIMIT)


def has_tried_to_get_ready(watchdog: subprocess.Popen[bytes]) -> bool:
    """Tell whether a watchdog has imported what it can of the engine, and waits again."""
    process = Path(f"/proc/{watchdog.pid}")
    tried = "/msgspec/" in (process / "maps").read_text()  # the compiled part of what comes first
    return tried and (process / "stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_it_stands_apart_and_ends_with_a_clean_run(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_TRACKING_ID", "the job's")
    monkeypatch.setenv("API_TOKEN", "xyzzy")
    pytester.makepyfile(
        test_looks="""
        import json, os, pathlib, time
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
            end = time.monotonic() + 30
            found = list(children())
            while not any(words[0] for _, _, _, words, _ in found):  # its program is not in its place yet
                assert time.monotonic() < end
                found = list(children())
            (HERE / "children").write_text(json.dumps(found))
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


def test_a_task_that_a_stopped_loop_goes_on_with_makes_nothing_that_stays(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_a="""
        import asyncio, pytest
        from kinds import AsyncFile, log

        class Slow(AsyncFile):
            async def create(self):
                log("begins")
                await go_on.wait()
                await super().create()

        tasks, go_on = [], asyncio.Event()

        @pytest.mark.asyncio(loop_scope="session")
        async def test_leaves_a_task(alchemy_module):
            tasks.append(asyncio.create_task(alchemy_module.acreate(Slow("slow"))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        """,
        test_b="""
        import pytest
        from kinds import WORLD
        from test_a import go_on, tasks

        @pytest.mark.asyncio(loop_scope="session")
        async def test_lets_it_go_on():
            go_on.set()
            await tasks[0]
            assert len(list(WORLD.iterdir())) == 1
        """,
    )

    result = world.run_apart(plugins="pytest_asyncio.plugin")

    result.assert_outcomes(passed=2)
    head, thing, _, reason = section(result)
    assert head == "1 created, 0 destroyed, 1 unfinished, 0 leaked in shop/test-*"
    assert thing == "UNFINISHED Slow slow (*) in shop/test-main-*/test_a.py"
    assert "what makes it was left behind in an event loop that has stopped: it may" in reason
    wait_until(lambda: not world.state.exists())
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


def test_it_has_the_engine_before_its_owner_dies_but_no_kinds(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.create(Local("it"))')
    world.run_apart("-p", "no_watchdog")
    [owner] = importers(pytester)

    watchdog = watch(stage_of(world))
    wait_until(lambda: has_tried_to_get_ready(watchdog))

    assert importers(pytester) == [owner]
    assert owner_dies(watchdog) == 0
    assert world.left == []
    [_, reaper] = importers(pytester)
    assert reaper not in (owner, watchdog.pid)


def test_a_run_that_dies_when_its_watchdog_is_ready_leaves_nothing(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(
        pytester,
        """
    import pathlib, time
    alchemy_scope.create(Local("it"))
    [watchdog] = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    while "/msgspec/" not in pathlib.Path(f"/proc/{watchdog}/maps").read_text():
        time.sleep(0.02)
    """,
    )

    world.run_apart()

    wait_until(lambda: not world.state.exists())
    assert world.left == []


@pytest.fixture
def copy(pytester: pytest.Pytester, world: World) -> Path:
    """Return a folder with a copy of the package; a dead run has left a stage."""
    dies(pytester, 'alchemy_scope.create(Local("it"))')
    world.run_apart("-p", "no_watchdog")
    shutil.copytree(WATCHDOG.parent, pytester.path / "copy" / "pytest_alchemy")
    return pytester.path / "copy"


def replace(copy: Path, module: str) -> None:
    """Put a newer version of a module of the recovery into *copy*; who imports it leaves a file there."""
    old = copy / "pytest_alchemy" / "recovery" / module
    newer = old.with_suffix(".newer")
    newer.write_text(f"{old.read_text()}\nopen({str(copy / 'newer')!r}, 'w').close()\n")
    newer.replace(old)


def test_a_package_that_was_replaced_meanwhile_is_imported_anew(copy: Path, world: World) -> None:
    watchdog = watch(stage_of(world), package=copy)
    wait_until(lambda: has_tried_to_get_ready(watchdog))
    replace(copy, "deadstage.py")

    assert owner_dies(watchdog) == 0

    assert (copy / "newer").exists()
    assert world.left == []


def test_a_package_that_was_removed_meanwhile_still_destroys(copy: Path, world: World) -> None:
    used = copy.with_name("used")  # what imports the package from elsewhere does not leave that
    with (copy / "pytest_alchemy" / "recovery" / "footing.py").open("a") as file:
        file.write(USED.format(used=str(used)))
    watchdog = watch(stage_of(world), package=copy)
    wait_until(lambda: has_tried_to_get_ready(watchdog))
    shutil.rmtree(copy)

    assert owner_dies(watchdog) == 0

    assert used.exists()
    assert world.left == []


def test_a_package_that_is_just_being_installed_is_imported_again(copy: Path, world: World) -> None:
    module = copy / "pytest_alchemy" / "recovery" / "footing.py"
    module.rename(copy / "footing.py")
    watchdog = watch(stage_of(world), package=copy)
    wait_until(lambda: has_tried_to_get_ready(watchdog))
    (copy / "footing.py").rename(module)
    replace(copy, "deadstage.py")

    assert owner_dies(watchdog) == 0

    assert (copy / "newer").exists()
    assert world.left == []


def test_the_lock_is_the_truth_about_the_owner(pytester: pytest.Pytester, world: World) -> None:
    dies(pytester, 'alchemy_scope.create(Local("it"))')
    world.run_apart("-p", "no_watchdog")
    folder = stage_of(world)
    owner = StageLock(folder / LOCK)
    owner.acquire(Holder.this_process())

    try:
        assert owner_dies(watch(folder, lock_patience=0.1)) == 0
    finally:
        owner.release()

    assert world.left == ["it"]
    assert "is locked by" in (folder / LOG).read_text()
    assert owner_dies(watch(folder)) == 0
    assert world.left == []


def test_it_lives_no_longer_than_its_limit_after_its_owner(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.create(Stuck("it"))')
    world.run_apart("-p", "no_watchdog")

    watchdog = watch(stage_of(world), limit=5.0)

    assert owner_dies(watchdog) == 0
    assert (pytester.path / "stuck").exists()
    with pytest.raises(ProcessLookupError):  # nor does anybody whom it started
        os.killpg(watchdog.pid, 0)
    assert world.left == ["it"]


def test_nobody_waits_for_a_dead_patron_that_is_not_collected(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.create(Local("it"))')
    world.run_apart("-p", "no_watchdog")
    patron = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, patron.pid, os.WEXITED | os.WNOWAIT)

    try:
        ended = owner_dies(watch(stage_of(world), patron=patron.pid, patience=10 * LIMIT))
    finally:
        patron.wait()

    assert ended == 0
    assert world.left == []


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


def test_it_works_without_words_where_none_can_be_kept(
    pytester: pytest.Pytester, world: World
) -> None:
    dies(pytester, 'alchemy_scope.create(Local("it"))')
    world.run_apart("-p", "no_watchdog")
    (stage_of(world) / LOG).mkdir()

    assert owner_dies(watch(stage_of(world))) == 0

    assert world.left == []
