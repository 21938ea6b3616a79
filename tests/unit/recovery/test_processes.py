"""Whether a process that a record names is still there."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from pytest_alchemy import clock
from pytest_alchemy.recovery.process import Watch
from pytest_alchemy.recovery.processes import is_there

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that lives until its input is closed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def test_it_is_there_until_it_ends(process: subprocess.Popen[bytes]) -> None:
    now = clock.now()
    assert is_there(process.pid, now)

    process.kill()
    process.wait()

    assert not is_there(process.pid, now)


@linux
def test_one_that_nobody_collects_is_gone(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert not is_there(process.pid, clock.now())


@linux
def test_one_that_began_later_is_another_one(process: subprocess.Popen[bytes]) -> None:
    assert not is_there(process.pid, clock.now() - 60.0)


def test_one_of_another_user_is_there(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, signal: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        assert is_there(process.pid, clock.now())


def test_no_process_is_not_there() -> None:
    assert not is_there(0, clock.now())


def test_a_system_that_cannot_fork_lets_processes_be_watched() -> None:
    program = "import os; del os.register_at_fork; from pytest_alchemy.recovery.process import Watch; Watch().end()"

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_watch_that_is_over_stays_in_no_list_of_the_process() -> None:
    watch = Watch()
    known = weakref.ref(watch)

    watch.end()
    del watch
    gc.collect()

    assert known() is None
