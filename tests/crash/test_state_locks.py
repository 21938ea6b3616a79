"""Many contenders for one lock, killed and stopped at random: never two at once."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.state.samples import Child, child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

CONTENDING = """
import os, random, sys, threading
from pytest_alchemy.errors import StageLockedError
from pytest_alchemy.state.locks import Holder, StageLock
lock_file, witness_file, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
witness = os.open(witness_file, os.O_WRONLY | os.O_APPEND)
pause = threading.Event()

def contend(thread):
    chance = random.Random()
    me = f"{os.getpid()} {thread}"
    lock = StageLock(lock_file)
    while True:
        try:
            lock.acquire(Holder.this_process(), timeout=5)
        except StageLockedError:
            continue
        os.write(witness, f"{me} enter\\n".encode())
        for _ in range(chance.randrange(3)):
            pause.wait(chance.random() * 0.004)
            os.write(witness, f"{me} stay\\n".encode())
        os.write(witness, f"{me} leave\\n".encode())
        lock.release(remove=chance.random() < 0.5)

for thread in range(threads):
    threading.Thread(target=contend, args=(thread,), daemon=True).start()
print("contending", flush=True)
pause.wait()
"""


@dataclass
class Contest:
    """What happened in a contest."""

    killed_inside: int = 0
    stopped_inside: int = 0
    turns: int = 0
    contenders: set[str] = field(default_factory=set)


class Witness:
    """A file to which everybody appends what they do."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._path = path

    def note(self, pid: int, what: str) -> None:
        os.write(self._fd, f"{pid} - {what}\n".encode())

    def inside(self) -> int | None:
        """Return the process that is inside right now, as far as it can be seen."""
        size = os.fstat(self._fd).st_size
        lines = os.pread(self._fd, 200, max(0, size - 200)).decode().splitlines()
        pid, _, what = lines[-1].split() if lines else ("", "", "leave")
        return int(pid) if what in ("enter", "stay") else None

    def verdict(self) -> Contest:
        """Return what happened; fails if two were inside at once."""
        contest, doomed = Contest(), set[str]()
        inside: str | None = None
        for number, line in enumerate(self._path.read_text().splitlines(), 1):
            pid, thread, what = line.split()
            me = f"{pid} {thread}"
            if what == "doomed":
                doomed.add(pid)
                contest.killed_inside += inside is not None and inside.split()[0] == pid
            elif what == "stopped":
                contest.stopped_inside += inside is not None and inside.split()[0] == pid
            elif what == "enter":
                alone = inside is None or inside.split()[0] in doomed
                assert alone, f"line {number}: {me} came in while {inside} was inside"
                inside = me
                contest.turns += 1
                contest.contenders.add(me)
            else:
                assert inside == me, f"line {number}: {me} was inside together with {inside}"
                inside = me if what == "stay" else None
        return contest


@contextmanager
def contenders(
    folder: Path, processes: int, threads: int
) -> Iterator[tuple[Witness, list[Child], ExitStack]]:
    file = folder / "witness"
    witness = Witness(file)
    with ExitStack() as stack:
        args = (str(folder / ".lock"), str(file), str(threads))
        started = [stack.enter_context(child(CONTENDING, *args)) for _ in range(processes)]
        for each in started:
            assert each.answer() == "contending"
        yield witness, started, stack


def contest(folder: Path, *, processes: int, threads: int, seconds: float) -> Contest:
    """Let *processes* with *threads* each contend for one lock, and stop and kill them at random."""
    chance, pause = random.Random(), threading.Event()
    with contenders(folder, processes, threads) as (witness, alive, stack):
        stopped: dict[int, float] = {}
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for pid in [pid for pid, until in stopped.items() if until < now]:
                del stopped[pid]
                os.kill(pid, signal.SIGCONT)
            pause.wait(0.005)
            target = chance.choice(alive)
            inside = witness.inside()
            target = next((each for each in alive if each.process.pid == inside), target)
            if chance.random() < 0.3 and target.process.pid not in stopped:
                os.kill(target.process.pid, signal.SIGSTOP)
                witness.note(target.process.pid, "stopped")
                stopped[target.process.pid] = now + chance.random() * 0.1
            elif chance.random() < 0.08:
                witness.note(target.process.pid, "doomed")
                target.kill()
                stopped.pop(target.process.pid, None)
                alive.remove(target)
                args = (str(folder / ".lock"), str(folder / "witness"), str(threads))
                alive.append(stack.enter_context(child(CONTENDING, *args)))
        for each in alive:
            witness.note(each.process.pid, "doomed")
            each.kill()
        return witness.verdict()


def test_two_owners_never_overlap(tmp_path: Path) -> None:
    found = contest(tmp_path, processes=4, threads=3, seconds=2.5)

    assert found.turns > 50
    assert len(found.contenders) > 4
    assert found.killed_inside + found.stopped_inside > 0


@pytest.mark.skipif(
    "ALCHEMY_SOAK" not in os.environ, reason="takes half a minute: set ALCHEMY_SOAK=1"
)
def test_of_a_hundred_contenders_two_owners_never_overlap(tmp_path: Path) -> None:
    found = contest(tmp_path, processes=10, threads=10, seconds=20)

    assert found.turns > 500
    assert len(found.contenders) > 100
    assert found.killed_inside > 5
    assert found.stopped_inside > 5
