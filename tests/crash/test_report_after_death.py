"""The report of a run that was killed: whoever cleans up after it writes what became of everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.world import World

TESTS = """
import os
import time
from pathlib import Path

from kinds import File

HERE = Path(__file__)

def test_good(alchemy_scope):
    alchemy_scope.create(File(f"good-{HERE.stem}"))

def test_hangs(alchemy_scope):
    alchemy_scope.create(File(f"doomed-{HERE.stem}"))
    (HERE.parent / f"hangs-{os.getpid()}").touch()
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes as POSIX does")


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)


def start(pytester: pytest.Pytester, *options: str, hang: int) -> subprocess.Popen[bytes]:
    """Start *hang* modules with a test that hangs, and return when all of them do."""
    for letter in "ab"[:hang]:
        pytester.makepyfile(**{f"test_{letter}": TESTS})
    command = [sys.executable, "-m", "pytest", "-p", "alchemy", "-p", "no:cacheprovider"]
    run = subprocess.Popen(
        [*command, "--alchemy-report=out", *options],
        cwd=pytester.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(list(pytester.path.glob("hangs-*"))) == hang)
    return run


def report(folder: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads((folder / "out" / "leaks.json").read_bytes())
    except FileNotFoundError:
        return None
    return document


def became(document: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["what"] for each in document["facts"]}


def test_the_report_of_a_killed_run_is_written_by_its_watchdog(
    pytester: pytest.Pytester, world: World
) -> None:
    run = start(pytester, hang=1)

    run.kill()
    run.wait()
    until(lambda: report(pytester.path) is not None)

    document = report(pytester.path)
    assert document is not None
    assert document["session"] == "died"
    assert became(document) == {"good-test_a": "destroyed", "doomed-test_a": "reaped"}
    assert document["counts"] | {"created": 2, "destroyed": 1, "reaped": 1} == document["counts"]
    for each in document["facts"]:
        assert each["created_at"] < each["destroy_ended_at"], each
        assert (each["file"], each["test"][:15]) == ("test_a.py", "test_a.py::test")
    until(lambda: (pytester.path / "out" / "index.html").exists())
    assert world.left == []


def test_the_report_of_a_killed_controller_tells_of_every_worker(
    pytester: pytest.Pytester, world: World
) -> None:
    run = start(pytester, "-p", "xdist", "-n2", "--dist=loadfile", hang=2)

    run.kill()
    run.wait()
    for mark in pytester.path.glob("hangs-*"):  # their orphaned workers may live for a while
        os.kill(int(mark.name.rpartition("-")[2]), signal.SIGKILL)

    def is_whole() -> bool:
        document = report(pytester.path)
        return document is not None and len(document["facts"]) == 4

    until(is_whole)
    document = report(pytester.path)
    assert document is not None
    assert became(document) == {
        "good-test_a": "destroyed",
        "good-test_b": "destroyed",
        "doomed-test_a": "reaped",
        "doomed-test_b": "reaped",
    }
    assert document["counts"] | {"created": 4, "destroyed": 2, "reaped": 2} == document["counts"]
    assert world.left == []


def test_a_worker_that_outlives_its_controller_reports_for_itself(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_orphan="""
        import os
        import signal
        from kinds import File, Note

        def test_one(alchemy_scope):
            alchemy_scope.create(File("db"))
            alchemy_scope.create(Note("memory"))
            controller = os.getppid()
            os.kill(controller, signal.SIGKILL)
            while os.getppid() == controller:
                pass
        """
    )

    result = world.run_apart("-n1", "--alchemy-report=out", plugins="xdist", timeout=90)

    assert result.ret == -signal.SIGKILL
    until(lambda: report(pytester.path) is not None)
    document = report(pytester.path)
    assert document is not None
    assert document["session"] == "died"
    assert became(document) == {"db": "destroyed", "memory": "destroyed"}
    assert world.left == []


def test_what_an_interrupted_run_leaves_unfinished_is_reaped_in_its_report(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_slow="""
        import os
        import signal
        import time
        from kinds import File

        class Slow(File):
            def destroy(self):
                if os.environ["OWNER"] == str(os.getpid()):
                    raise RuntimeError("not now")
                super().destroy()

        def test_one(alchemy_scope):
            os.environ["OWNER"] = str(os.getpid())
            alchemy_scope.create(Slow("slow"))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        """
    )

    world.run_apart("--alchemy-report=out", timeout=90)

    def is_over() -> bool:
        document = report(pytester.path)
        return document is not None and became(document) == {"slow": "reaped"}

    until(is_over)
    document = report(pytester.path)
    assert document is not None
    assert document["session"] == "ended"
    assert document["counts"]["created"] == 1
    assert world.left == []
