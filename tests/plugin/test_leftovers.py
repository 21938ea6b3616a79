"""What dead runs left and no watchdog cleaned up: the next run that uses a scope destroys it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.locks import Holder, StageLock
from tests.support.world import NO_WATCHDOG, World, section

DIES = """
import os, signal
from kinds import File

def test_dies(alchemy_scope):
    alchemy_scope.create(File("left", broken=os.environ.get("BROKEN") == "1"))
    os.kill(os.getpid(), signal.SIGKILL)
"""

SLOW = """
import time
from kinds import HERE, File

class Slow(File):
    def destroy(self):
        (HERE / "destroying").touch()
        while not (HERE / "go on").exists():
            time.sleep(0.02)
        super().destroy()
"""

USES_A_SCOPE = """
import pytest
from kinds import File

@pytest.mark.parametrize("number", range(2))
def test_uses_one(alchemy_scope, number):
    alchemy_scope.create(File("own"))
"""


@pytest.fixture
def dead_run(pytester: pytest.Pytester, world: World) -> Path:
    """The stage of a run that was killed together with its watchdog."""
    pytester.makepyfile(
        no_watchdog=NO_WATCHDOG,
        test_dies=DIES,
        test_uses=USES_A_SCOPE,
        test_plain="def test(): pass",
        test_marked="import pytest\n\n@pytest.mark.alchemy\ndef test(): pass",
    )

    world.run_apart("-p", "no_watchdog", "test_dies.py")

    assert world.left == ["left"]
    [stage] = (world.state / "shop").iterdir()
    return stage


@pytest.mark.parametrize("workers", ["", "-n2"])
def test_the_next_run_that_uses_a_scope_destroys_it_and_says_so(
    world: World, dead_run: Path, workers: str
) -> None:
    options = [workers] if workers else []

    result = world.run_apart(*options, "test_uses.py", plugins="xdist" if workers else "")

    assert result.ret == 0
    assert world.left == []
    assert not world.state.exists()
    assert section(result)[1].startswith("REAPED File left (")
    result.stdout.fnmatch_lines(["*left behind by an earlier run; destroyed in *"])


def test_what_takes_longer_than_a_run_waits_for_it_is_told_and_goes_on(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        no_watchdog=NO_WATCHDOG,
        hasty="from pytest_alchemy.plugin import leftovers; leftovers.PATIENCE = 0.1",
        slow=SLOW,
        test_dies=DIES.replace("from kinds import File", "from slow import Slow as File"),
        test_uses=USES_A_SCOPE,
    )
    world.run_apart("-p", "no_watchdog", "test_dies.py")

    result = world.run_apart("-p", "hasty", "test_uses.py")

    assert result.ret == 0
    assert world.left == ["left"]
    counts, unfinished, _, reason, clean_up = section(result)
    assert counts == "2 created, 2 destroyed, 1 unfinished, 0 leaked in shop/test-*"
    assert unfinished.startswith("UNFINISHED Slow left (")
    assert reason.strip() == ("left behind by an earlier run: this run ends before it is destroyed")
    assert clean_up == "clean up: alchemy sweep --yes"
    (pytester.path / "go on").touch()
    give_up = time.monotonic() + 30
    while world.state.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert world.left == []


def test_an_interrupted_run_does_not_wait_long_for_what_others_left(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        no_watchdog=NO_WATCHDOG,
        patient="from pytest_alchemy.plugin import leftovers; leftovers.PATIENCE = 600.0",
        slow=SLOW,
        test_dies=DIES.replace("from kinds import File", "from slow import Slow as File"),
        test_interrupted="""
        import time
        from kinds import HERE

        def test_interrupted(alchemy_scope):
            while not (HERE / "destroying").exists():
                time.sleep(0.02)
            raise KeyboardInterrupt
        """,
    )
    world.run_apart("-p", "no_watchdog", "test_dies.py")

    result = world.run_apart("-p", "patient", "test_interrupted.py", timeout=50)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    (pytester.path / "go on").touch()
    give_up = time.monotonic() + 30
    while world.state.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert world.left == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("test_plain.py",),
        ("--collect-only", "test_uses.py"),
        ("--fixtures", "test_uses.py"),
        ("--fixtures-per-test", "test_uses.py"),
        ("--setup-plan", "test_uses.py"),
        ("--setup-plan", "test_marked.py"),
    ],
)
def test_a_run_that_uses_no_scope_touches_nothing(
    world: World, dead_run: Path, arguments: tuple[str, ...]
) -> None:
    result = world.run_apart(*arguments)

    assert result.ret == 0
    assert world.left == ["left"]
    assert world.log == ["create left"]
    assert dead_run.is_dir()


@pytest.fixture
def owner(dead_run: Path) -> Iterator[StageLock]:
    """A living owner of the stage."""
    lock = StageLock(dead_run / LOCK)
    lock.acquire(Holder.this_process())
    yield lock
    lock.release()


def test_what_belongs_to_a_living_process_is_left_alone(
    world: World, dead_run: Path, owner: StageLock
) -> None:
    result = world.run_apart("test_uses.py")

    assert result.ret == 0
    assert world.left == ["left"]
    assert section(result) == ["2 created, 2 destroyed, 0 leaked in shop/test-*"]


def test_what_another_run_cleans_up_already_is_left_to_that_without_a_word(
    pytester: pytest.Pytester, world: World, dead_run: Path, owner: StageLock
) -> None:
    pytester.makepyfile(  # it was free when this run looked
        looked_before="""
        from pytest_alchemy.recovery import reapable

        reapable.is_reapable = lambda folder, key: True
        """
    )

    result = world.run_apart("-p", "looked_before", "test_uses.py")

    assert section(result) == ["2 created, 2 destroyed, 0 leaked in shop/test-*"]
    assert world.left == ["left"]


def test_what_cannot_be_destroyed_fails_nobody_elses_run(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(no_watchdog=NO_WATCHDOG, test_dies=DIES, test_uses=USES_A_SCOPE)
    monkeypatch.setenv("BROKEN", "1")
    world.run_apart("-p", "no_watchdog", "test_dies.py")

    result = world.run_apart("--alchemy-leaks=fail", "test_uses.py")

    assert result.ret == 0
    assert world.left == ["left"]
    result.stdout.fnmatch_lines(
        [
            "UNFINISHED File left (*",
            "*left behind by an earlier run: RuntimeError: the disk is on fire (tried 3 times)",
            "clean up: alchemy sweep --yes",
        ]
    )


def test_what_ends_the_process_that_destroys_it_keeps_only_itself(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        no_watchdog=NO_WATCHDOG,
        fatal="""
        import os
        from kinds import File

        class Fatal(File):
            def destroy(self):
                os._exit(3)
        """,
        test_dies="""
        from fatal import Fatal
        from kinds import File

        def test_dies(alchemy_stage, alchemy_scope):
            alchemy_stage.create(File("of the stage"))
            for kind, id in ((File, "before"), (Fatal, "fatal"), (File, "after")):
                alchemy_scope.create(kind(id))
        """,
        test_uses=USES_A_SCOPE,
    )
    world.run_apart("-p", "no_watchdog", "test_dies.py")
    assert world.left == ["before", "fatal", "of the stage"]

    first = world.run_apart("test_uses.py")
    second = world.run_apart("test_uses.py")

    assert (first.ret, second.ret) == (0, 0)
    assert world.left == ["fatal"]
    second.stdout.fnmatch_lines(
        [
            "*the process that was to destroy what is in it ended with exit code 3 while it destroyed Fatal 'fatal'",
            "clean up: alchemy sweep --yes",
        ]
    )


def test_what_was_not_recorded_by_this_user_is_never_touched(
    world: World, dead_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALCHEMY_STATE_HOME", str(tmp_path / "another-user"))

    result = world.run_apart("test_uses.py")

    assert result.ret == 0
    assert world.left == ["left"]
    assert dead_run.is_dir()


IN_AN_ACCOUNT = """
import os, signal
from kinds import HERE, File
from pytest_alchemy.cloudflare import D1Database

class Elsewhere(File):
    def world(self):
        return f"file:{HERE}/elsewhere.sqlite"

def test_dies(alchemy_scope):
    alchemy_scope.create(D1Database("db"))
    alchemy_scope.create(File("file"))
    alchemy_scope.create(Elsewhere("elsewhere"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_with_a_lost_fake_account_only_what_lived_in_it_is_forgotten(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(no_watchdog=NO_WATCHDOG, test_dies=IN_AN_ACCOUNT, test_uses=USES_A_SCOPE)
    world.run_apart("-p", "no_watchdog", "--alchemy-fake-account=account.sqlite", "test_dies.py")
    (pytester.path / "account.sqlite").unlink()

    result = world.run_apart("--alchemy-leaks=fail", "test_uses.py")

    assert result.ret == 0
    assert world.left == []
    assert not world.state.exists()
    told = [line.split(" (")[0] for line in section(result)[1:] if line[0].isupper()]
    assert sorted(told) == ["REAPED Elsewhere elsewhere", "REAPED File file"]


HANGS = """
import time
from kinds import HERE, File

class Hanging(File):
    def destroy(self):
        if not (HERE / "hang").exists():
            raise RuntimeError("the server is gone")
        (HERE / f"{self.id} hangs").touch()
        while not (HERE / "go on").exists():
            time.sleep(0.02)
        super().destroy()
"""

LEAVES_MANY = """
import os, signal
import pytest
from hangs import Hanging
from kinds import File

stages = [pytest.param(n, marks=pytest.mark.alchemy(stage=f"a{n}")) for n in range(5)]

@pytest.mark.parametrize("n", stages)
def test_leaks(alchemy_scope, n):
    alchemy_scope.create(Hanging(f"bad {n}"))

def test_dies(alchemy_scope):
    alchemy_scope.create(File("good"))
    os.kill(os.getpid(), signal.SIGKILL)
"""

WAITS = """
import os
import time
from kinds import HERE, WORLD, File

def wait_until(is_so):
    give_up = time.monotonic() + 30
    while not is_so() and time.monotonic() < give_up:
        time.sleep(0.02)

def test_goes_on_until_the_good_one_is_gone(alchemy_scope):
    wait_until(lambda: "good" not in [file.read_text() for file in WORLD.iterdir()])

def test_dies_when_nothing_else_can_begin(alchemy_scope):
    alchemy_scope.create(File("own"))
    wait_until(lambda: len(list(HERE.glob("* hangs"))) == 4)
    os._exit(1)
"""


@pytest.fixture
def hanging(pytester: pytest.Pytester, world: World) -> Iterator[None]:
    """Five stages with something whose destroy has failed before and hangs now, and a younger one like any other."""
    pytester.makepyfile(
        no_watchdog=NO_WATCHDOG,
        hangs=HANGS,
        test_dies=LEAVES_MANY,
        test_waits=WAITS,
        hasty="from pytest_alchemy.plugin import leftovers; leftovers.PATIENCE = 0.1",
    )
    world.run_apart("-p", "no_watchdog", "test_dies.py")
    assert len(world.left) == 6
    (pytester.path / "hang").touch()
    yield
    (pytester.path / "go on").touch()


def test_what_has_failed_before_keeps_nothing_else_waiting(
    pytester: pytest.Pytester, world: World, hanging: None
) -> None:
    world.run_apart("-p", "hasty", "test_waits.py", "-k", "good")

    assert "good" not in world.left
    (pytester.path / "go on").touch()
    give_up = time.monotonic() + 30
    while len(world.left) > 1 and time.monotonic() < give_up:
        time.sleep(0.02)
    assert world.left == ["bad 4"]  # the youngest is the one that no place was left for


def test_what_a_worker_of_this_run_left_does_not_wait_for_what_other_runs_left(
    world: World, hanging: None
) -> None:
    result = world.run_apart("-p", "hasty", "-n1", "test_waits.py", "-k", "dies", plugins="xdist")

    assert "own" not in world.left
    told = [line.split(" (")[0] for line in section(result) if line.startswith("REAPED")]
    assert "REAPED File own" in told
