from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import filelock
import pytest

from pytest_alchemy.errors import (
    LinkRefusedError,
    NoRealLocksError,
    StageLockedError,
    StateFolderError,
)
from pytest_alchemy.state import disk as disk_module
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.locks import Holder, StageLock, is_held, read_holder
from tests.unit.state.samples import PATIENCE, child

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs what only POSIX systems have")

ME = Holder("ada", 4711, "build-7", datetime(2026, 11, 23, 14, 3, 22, tzinfo=UTC).timestamp())
OTHER = Holder("bob", 12, "build-8", 1.7e9)

OWNER = """
import sys
from pytest_alchemy.state.locks import Holder, StageLock
lock = StageLock(sys.argv[1])
lock.acquire(Holder.this_process())
print("held", flush=True)
sys.stdin.readline()
lock.release(remove=True)
print("released", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "test-gw0-k3").mkdir()
    return tmp_path / "test-gw0-k3" / ".lock"


# One owner


def test_a_second_owner_is_told_who_where_and_since_when(path: Path) -> None:
    StageLock(path).acquire(ME)

    with pytest.raises(StageLockedError) as caught:
        StageLock(path, stage="prod").acquire(OTHER)

    assert str(caught.value) == (
        "State of stage 'prod' is locked by ada (process 4711 on build-7) since 2026-11-23 14:03:22 UTC.\n"
        "Wait until it is done, or give this run its own stage."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_lock_whose_holder_cannot_be_read_is_still_a_lock(path: Path) -> None:
    lock = StageLock(path)
    lock.acquire(ME)
    path.write_bytes(b" {}\n")

    with pytest.raises(StageLockedError) as caught:
        StageLock(path).acquire(OTHER)
    lock.release()

    assert str(caught.value).startswith(
        "State of stage 'test-gw0-k3' is locked by another process.\n"
    )


def test_a_released_lock_is_free_and_its_file_gone_if_wanted(path: Path) -> None:
    lock = StageLock(path)
    lock.acquire(ME)
    lock.release()

    assert path.exists()
    assert lock.try_acquire(ME)

    lock.release(remove=True)
    assert not path.exists()
    assert not lock.held


def test_releasing_what_is_not_held_is_quiet(path: Path) -> None:
    lock = StageLock(path)
    lock.release(remove=True)
    lock.acquire(ME)
    lock.release()
    lock.release(remove=True)

    assert path.exists()


def test_the_same_object_is_no_second_owner(path: Path) -> None:
    lock = StageLock(path)
    lock.acquire(ME)

    assert not lock.try_acquire(ME)
    assert lock.held
    lock.release()


def test_a_dropped_object_does_not_give_the_lock_back(path: Path) -> None:
    StageLock(path).acquire(ME)

    assert is_held(path)


def test_of_many_threads_one_wins(path: Path) -> None:
    shared = StageLock(path)
    start = threading.Barrier(16)
    winners = []

    def try_it(lock: StageLock) -> None:
        start.wait(PATIENCE)
        if lock.try_acquire(ME):
            winners.append(lock)

    locks = [shared if n % 2 else StageLock(path) for n in range(16)]
    threads = [threading.Thread(target=try_it, args=(lock,), daemon=True) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(winners) == 1
    winners[0].release()


@posix
def test_processes_and_threads_that_remove_the_file_never_own_it_together(path: Path) -> None:
    program = """
import os, sys
from pytest_alchemy.state.locks import Holder, StageLock
path, count = sys.argv[1], 0
me = Holder.this_process()
while count < 100:
    lock = StageLock(path)
    if not lock.try_acquire(me):
        continue
    os.mkdir(path + ".inside")      # fails if anybody else is in here
    os.rmdir(path + ".inside")
    lock.release(remove=True)
    count += 1
print(count)
"""
    with child(program, str(path)) as one, child(program, str(path)) as two:
        assert one.finish() == two.finish() == "100"


def test_a_file_replaced_behind_its_owner_is_not_removed_with_it(path: Path) -> None:
    lock, next_owner = StageLock(path), StageLock(path)
    lock.acquire(ME)
    path.unlink()
    next_owner.acquire(OTHER)

    lock.release(remove=True)

    assert is_held(path)
    next_owner.release()


def test_it_is_the_lock_that_filelock_takes(path: Path) -> None:
    lock = StageLock(path)
    lock.acquire(ME)
    theirs = filelock.FileLock(path, timeout=0)

    with pytest.raises(filelock.Timeout):
        theirs.acquire()
    lock.release()

    with theirs:
        assert not lock.try_acquire(ME)


def test_waiting_gets_the_lock_once_it_is_free(path: Path) -> None:
    with child(OWNER, str(path)) as owner:
        assert owner.answer() == "held"
        timer = threading.Timer(0.05, owner.tell, ["release it"])
        timer.start()
        lock = StageLock(path)

        lock.acquire(ME, timeout=PATIENCE)

        assert read_holder(path) == ME
        lock.release()
        timer.join(PATIENCE)


# Whether the owner lives


@posix
def test_a_killed_owner_leaves_the_lock_to_the_next_at_once(path: Path) -> None:
    with child(OWNER, str(path)) as owner:
        assert owner.answer() == "held"
        holder = read_holder(path)
        assert holder is not None
        assert holder.pid == owner.process.pid
        assert is_held(path)

        owner.kill()

        assert not is_held(path)
        lock = StageLock(path)
        assert lock.try_acquire(ME)
        assert read_holder(path) == ME
        lock.release()


@posix
def test_a_stopped_owner_keeps_the_lock(path: Path) -> None:
    with child(OWNER, str(path)) as owner:
        assert owner.answer() == "held"
        os.kill(owner.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, owner.process.pid, os.WSTOPPED | os.WNOWAIT)

        assert is_held(path)
        assert not StageLock(path).try_acquire(ME)


@posix
def test_a_forked_child_does_not_keep_the_lock_of_its_parent(path: Path) -> None:
    program = """
import os, sys
from pytest_alchemy.state.locks import Holder, StageLock
lock = StageLock(sys.argv[1])
lock.acquire(Holder.this_process())
ready_read, ready = os.pipe()
pid = os.fork()
if pid == 0:
    assert not lock.held
    lock.release(remove=True)
    os.write(ready, b"x")
    sys.stdin.readline()        # outlives its parent: the test holds the other end
    os._exit(0)
os.read(ready_read, 1)
print(pid, flush=True)
sys.stdin.readline()
"""
    with child(program, str(path)) as parent:
        forked = int(parent.answer())
        assert is_held(path)

        parent.kill()

        os.kill(forked, 0)  # still there
        assert not is_held(path)
        os.kill(forked, signal.SIGKILL)


@posix
def test_a_program_that_the_owner_started_does_not_keep_the_lock(path: Path) -> None:
    program = OWNER.replace(
        'print("held", flush=True)',
        'import subprocess; print(subprocess.Popen(["sleep", "60"], stdout=-3).pid, flush=True)',
    )
    with child(program, str(path)) as owner:
        started = int(owner.answer())
        owner.kill()

        os.kill(started, 0)
        assert not is_held(path)
        os.kill(started, signal.SIGKILL)


def test_asking_makes_nothing_and_disturbs_nobody(path: Path) -> None:
    assert not is_held(path)
    assert not is_held(path / "deeper")
    assert not path.exists()

    lock = StageLock(path)
    lock.acquire(ME)
    lock.release()
    assert not is_held(path)
    assert lock.try_acquire(ME)
    lock.release()


def test_somebody_who_just_asks_is_not_taken_for_an_owner(path: Path) -> None:
    StageLock(path).acquire(ME)
    asked = os.open(path.with_name(".other"), os.O_RDWR | os.O_CREAT)
    assert disk_module.try_lock(asked, "")
    timer = threading.Timer(0.005, os.close, [asked])
    timer.start()

    lock = StageLock(path.with_name(".other"))
    lock.acquire(ME, timeout=0)

    lock.release()
    timer.join(PATIENCE)


# Places without locks, and other bad places


def test_a_missing_folder_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StageLock(tmp_path / "gone" / ".lock").acquire(ME)


@posix
def test_a_link_in_place_of_the_lock_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(LinkRefusedError):
        StageLock(path).acquire(ME)
    with pytest.raises(LinkRefusedError):
        is_held(path)

    assert not (tmp_path / "elsewhere").exists()
    assert read_holder(path) is None


def test_a_folder_in_place_of_the_lock_is_refused(path: Path) -> None:
    path.mkdir()

    with pytest.raises(StateFolderError):
        StageLock(path).acquire(ME)
    with pytest.raises(StateFolderError):
        is_held(path)


@posix
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # A test cannot mount a file system without locks, so the kernel's answer is made up.
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk_module, "BuiltinFunctionType", type(no_locks))
    monkeypatch.setattr(disk_module._locks, "flock", staticmethod(no_locks))

    with pytest.raises(NoRealLocksError) as caught:
        StageLock(path).acquire(ME)

    assert str(caught.value) == (
        f"{path} cannot be locked: {os.strerror(number).lower()}.\n"
        "Without a lock nobody could tell whether its owner lives. Choose a place for .alchemy on a local disk."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@posix
def test_a_pretended_lock_is_not_taken_for_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module._locks, "flock", staticmethod(lambda fd, operation: None))

    with pytest.raises(NoRealLocksError, match="replaced by a fake file system"):
        StageLock(path).acquire(ME)


@posix
def test_patched_file_functions_do_not_reach_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the engine must not come here")

    lock = StageLock(path)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        for name in ("open", "write", "read", "close", "fstat", "lstat"):
            patch.setattr(os, name, refuse)
        lock.acquire(ME)

    assert is_held(path)
    lock.release()


@posix
def test_a_fake_file_system_that_was_there_first_does_not_reach_the_lock(path: Path) -> None:
    program = """
import sys, types
sys.modules["fcntl"] = types.SimpleNamespace(flock=lambda fd, operation: None)
from pytest_alchemy.state.locks import Holder, StageLock
StageLock(sys.argv[1]).acquire(Holder.this_process())
print("held", flush=True)
sys.stdin.readline()
"""
    with child(program, str(path)) as owner:
        assert owner.answer() == "held"

        assert is_held(path)


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_holder_that_cannot_be_written_down_is_no_owner(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(fd: int, data: bytes) -> int:
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            return os.write(full, data)
        finally:
            os.close(full)

    lock = StageLock(path)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", staticmethod(no_space))
        with pytest.raises(StateFolderError, match="no space left"):
            lock.acquire(ME)

    assert not lock.held
    assert not is_held(path)


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)

    assert Holder.this_process().user.startswith(("user ", "somebody"))


def test_this_process_can_say_who_it_is() -> None:
    holder = Holder.this_process()

    assert holder.pid == os.getpid()
    assert str(os.getpid()) in str(holder)
