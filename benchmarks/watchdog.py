"""
What the watchdog costs, and how soon it acts.

* From SIGKILL of a session to the first destroy, the import of the kinds included (median): of one that has lived for
  two seconds, and of one that dies before its watchdog has imported the engine;
* what starting it costs the test that needs it (median);
* how many of them a run starts that uses only the fake account in memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Figure

KILL_GOAL = 100.0  # ms
START_GOAL = 5.0  # ms
LIMIT = 30.0  # seconds
OLD, YOUNG = (
    2.0,
    0.3,
)  # seconds from the first resource to the end; the watchdog imports the engine after 0.5

# Every process on a machine reads the same monotonic clock.
_KINDS = """
import os, pathlib, time
from pytest_alchemy import Resource

HERE = pathlib.Path(__file__).parent
loaded = time.monotonic()

class File(Resource):
    def create(self):
        (HERE / "there").touch()

    def destroy(self):
        now = time.monotonic()
        (HERE / "there").unlink(missing_ok=True)
        (HERE / "draft").write_text(f"{now} {loaded}")
        os.replace(HERE / "draft", HERE / "destroyed")
"""
_CONFTEST = """
import pathlib, time
import pytest
from pytest_alchemy.recovery.process import Watch

guard = Watch.guard

def timed(self, folder, **options):
    before = time.perf_counter()
    guard(self, folder, **options)
    pathlib.Path("started").write_text(str(time.perf_counter() - before))

Watch.guard = timed
"""
_KILLED = """
import pathlib, os, time
from kinds import File

def test_killed(alchemy_scope):
    alchemy_scope.create(File("it"))
    time.sleep(float(os.environ["LIVES"]))
    fd = os.open("ready", os.O_WRONLY)
    os.write(fd, b"ready")
    time.sleep(60)
"""
_IN_MEMORY = """
import glob, os, pathlib, time
from pytest_alchemy.cloudflare import D1Database, KVNamespace

def watchdogs():
    for folder in pathlib.Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\\0")
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if int(parent) == os.getpid() and any(word.endswith(b"watchdog.py") for word in words):
            yield folder

def test_in_memory(alchemy_scope):
    alchemy_scope.create(D1Database("db"))
    alchemy_scope.create(KVNamespace("cache"))
    pathlib.Path("in-memory").write_text(str(len(list(watchdogs()))))

def test_on_disk(alchemy_scope):
    from kinds import File
    alchemy_scope.create(File("it"))
    time.sleep(2)  # with the engine
    [folder] = watchdogs()
    used = (folder / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK") * 1000
    size = (folder / "smaps_rollup").read_text().partition("Pss:")[2].split()[0]
    pathlib.Path("on-disk").write_text(f"{cpu} {size}")
"""


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figures of the watchdog; *rounds* is how many sessions are killed."""
    what = "SIGKILL of the session to the first destroy"
    killed, started, note = _killed(rounds, OLD)
    yield Figure(what, killed, "ms", KILL_GOAL, note=note)
    yield Figure("start of the watchdog, on the test that needs it", started, "ms", START_GOAL)
    killed, _, note = _killed(rounds, YOUNG)
    yield Figure(f"{what}, {YOUNG:g} s after it made something", killed, "ms", note=note)
    yield _in_memory()


def _killed(rounds: int, lives: float) -> tuple[float, float, str]:
    """Kill *rounds* sessions; return the medians until the first destroy and of the watchdog's start, and a note."""
    found = [_kill(lives) for _ in range(rounds + 1)][1:]  # the first one may write bytecode
    killed, loaded, started = (statistics.median(column) for column in zip(*found, strict=True))
    most = max(row[0] for row in found)
    note = f"the kinds' module after {loaded:.0f} ms; at most {most:.0f} ms; {rounds} sessions"
    return killed, started, note


def _in_memory() -> Figure:
    """Count the watchdogs of a run that uses only the fake account in memory."""
    with _folder(_IN_MEMORY) as folder:
        subprocess.run(
            _command(),
            cwd=folder,
            env=_environment(),
            check=True,
            capture_output=True,
            timeout=LIMIT,
        )
        count = int((folder / "in-memory").read_text())
        cpu, size = map(float, (folder / "on-disk").read_text().split())
    note = f"one for what outlives the process: {cpu:.0f} ms of CPU, {size / 1024:.0f} MB"
    return Figure("watchdogs for the fake in memory", count, "", 0, note=note)


def _kill(lives: float) -> tuple[float, float, float]:
    """
    Kill a session *lives* seconds after it made its first resource.

    Returns:
        How long after its SIGKILL the first destroy begins, how long after it the kinds' module is loaded, and what
        starting the watchdog took: all in milliseconds.
    """
    with _folder(_KILLED) as folder:
        os.mkfifo(folder / "ready")
        session = subprocess.Popen(
            _command(),
            cwd=folder,
            env={**_environment(), "LIVES": str(lives)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with (folder / "ready").open("rb") as ready:
            ready.read(5)
        killed = time.monotonic()
        session.send_signal(signal.SIGKILL)
        session.wait(LIMIT)
        _wait_until(lambda: (folder / "destroyed").exists())
        began, loaded = map(float, (folder / "destroyed").read_text().split())
        started = float((folder / "started").read_text())
        _wait_until(lambda: not (folder / ".alchemy").exists())
        return (began - killed) * 1000, (loaded - killed) * 1000, started * 1000


def _wait_until(condition: object) -> None:
    assert callable(condition)
    until = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the watchdog did not act")
        time.sleep(0.005)


@contextlib.contextmanager
def _folder(tests: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kinds.py").write_text(_KINDS)
        (folder / "conftest.py").write_text(_CONFTEST)
        (folder / "test_it.py").write_text(tests)
        (folder / "pytest.ini").write_text("[pytest]\nalchemy_app = bench\n")
        yield folder


def _command() -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "alchemy"]


def _environment() -> dict[str, str]:
    # Bytecode is written wherever the plugin is really installed.
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
