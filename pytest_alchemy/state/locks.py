"""
The lock that proves that the owner of a stage lives.

The kernel holds it for the process and frees it at the process's death, however it dies; a stopped process
keeps it, a forked child does not get it. It is the same lock that ``filelock.FileLock`` takes on a path, so the two
respect each other. It is taken by the system call itself, because FileLock looks its functions up anew each time:
under a faked disk it takes a pretended lock, and a living stage would look dead to everybody else.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from pytest_alchemy import clock
from pytest_alchemy.errors import AlchemyError, StageLockedError, StateFolderError
from pytest_alchemy.state.disk import (
    disk,
    is_same_file,
    open_regular,
    reason_of,
    refusal,
    try_lock,
    unlock,
    write_all,
)

_GRACE: Final = (
    0.025  # whoever only asks whether a lock is held has it for a moment; that is no owner
)
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05
_TRIES: Final = 100  # each miss means that the file was replaced in that very moment


class Holder(msgspec.Struct, frozen=True):
    """
    Who holds a lock, for the people who meet it.

    Attributes:
        user: Name of the user.
        pid: Process id.
        host: Name of the machine.
        since: Moment of taking it, in seconds since the epoch.
    """

    user: str
    pid: int
    host: str
    since: float

    @classmethod
    def this_process(cls) -> Self:
        """Return who this process is, holding from now on."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError, ImportError):  # a user id without a name, as in many containers
            user = f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
        return cls(user, disk.getpid(), platform.node(), clock.now())

    def __str__(self) -> str:
        return f"{self.user} (process {self.pid} on {self.host})"


class StageLock:
    """
    The lock on one file; at most one owner at any time, over all processes and threads.

    It is held until `release` or the end of the process, even if this object is dropped. Safe to use from several
    threads: of many acquires at once one wins.

    Attributes:
        path: The lock file.
        stage: Name of the stage, for messages.
    """

    def __init__(self, path: str | os.PathLike[str], stage: str = "") -> None:
        self.path = Path(path)
        self.stage = stage or self.path.parent.name
        self._name = os.path.abspath(path)
        self._fd = -1
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"StageLock({self._name!r}, held={self.held})"

    @property
    def held(self) -> bool:
        """Whether this process holds it through this object."""
        return self._fd >= 0

    @property
    def is_good(self) -> bool:
        """Whether it is held, and its file is still the one that anybody else would try to lock."""
        return self.held and is_same_file(self._fd, self._name)

    def acquire(self, holder: Holder, timeout: float = 0.0) -> None:
        """
        Take the lock.

        Args:
            holder: Who takes it; written into the file for those who meet it.
            timeout: How long to wait for another owner, in seconds; at least a few milliseconds are waited, so
                that somebody who just looks is not taken for an owner.

        Raises:
            StageLockedError: Somebody else has it, or this object has it already.
            NoRealLocksError: The file system has no locks that end with their process.
            LinkRefusedError: A link stands in its place.
            StateFolderError: The file cannot be made or written.
            FileNotFoundError: Its folder is not there (any more).
        """
        until = clock.monotonic() + max(timeout, _GRACE)
        pause = _FIRST_PAUSE
        while not self.try_acquire(holder):
            left = until - clock.monotonic()
            if left <= 0:
                owner = read_holder(self.path)
                raise StageLockedError(
                    self.stage,
                    str(owner or "another process"),
                    clock.instant(owner.since) if owner else None,
                )
            disk.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def try_acquire(self, holder: Holder) -> bool:
        """
        Take the lock if it is free.

        Returns:
            False if somebody else has it, or this object has it already.

        Raises:
            NoRealLocksError, LinkRefusedError, StateFolderError, FileNotFoundError: As `acquire`.
        """
        with self._guard:
            if self.held:
                return False
            fd = _open_locked(self._name)
            if fd < 0:
                return False
            try:
                _write_holder(fd, holder)
            except BaseException as error:
                disk.close(fd)
                if isinstance(error, OSError):
                    raise StateFolderError(self._name, reason_of(error)) from error
                raise
            self._fd = fd
            _held.add(self)
            return True

    def release(self, *, remove: bool = False) -> None:
        """
        Give the lock back; quiet if it is not held.

        Args:
            remove: Delete the file as well, while it is held, so that no two owners ever have one path. Where the
                system does not let it go it stays, for the next owner.
        """
        with self._guard:
            fd, self._fd = self._fd, -1
            if fd < 0:
                return
            try:
                _held.discard(self)
                ours = remove and is_same_file(fd, self._name)
                if ours and os.name == "posix":
                    with suppress(OSError):
                        disk.unlink(self._name)
            finally:
                try:
                    with suppress(OSError):  # closing frees it as well
                        unlock(fd)
                finally:
                    disk.close(fd)
            if ours and os.name != "posix":  # an open file cannot be deleted there
                with suppress(OSError):
                    disk.unlink(self._name)

    def _forget(self) -> None:
        """Leave the lock to the parent process, in a child that was just forked."""
        fd, self._fd = self._fd, -1
        self._guard = threading.Lock()
        with suppress(OSError):
            disk.close(fd)


class NoLock(StageLock):
    """Stands for the lock of a stage whose user left it open: it keeps nobody away, and proves nothing."""

    @property
    def held(self) -> bool:
        """Whether this process may act as if it held it: always."""
        return True

    @property
    def is_good(self) -> bool:
        """Always."""
        return True

    def release(self, *, remove: bool = False) -> None:
        """Do nothing."""


def is_held(path: str | os.PathLike[str]) -> bool:
    """
    Whether somebody holds the lock on *path* right now; False if there is no such file.

    Asking takes the lock for a moment if it is free. Nothing is made.

    Raises:
        NoRealLocksError: The file system has no locks that end with their process.
        LinkRefusedError: *path* is a link.
        StateFolderError: It is not an ordinary file, or cannot be opened.
    """
    name = os.path.abspath(path)
    try:
        fd = open_regular(name, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise refusal(name, error) from error
    try:
        if not try_lock(fd, name):
            return True
        unlock(fd)
        return False
    finally:
        disk.close(fd)


def read_holder(path: str | os.PathLike[str]) -> Holder | None:
    """Return who wrote itself into the lock file last, None if nobody can be read; it may be dead."""
    try:
        fd = open_regular(os.path.abspath(path), os.O_RDONLY)
    except (OSError, AlchemyError):
        return None
    try:
        disk.seek(fd, 1, os.SEEK_SET)
        line, end, _ = disk.read(fd, 4096).partition(b"\n")
        return _holder_from(json.loads(line)) if end else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    finally:
        disk.close(fd)


def _holder_from(said: dict[str, Any]) -> Holder:
    return Holder(str(said["user"]), int(said["pid"]), str(said["host"]), float(said["since"]))


def _write_holder(fd: int, holder: Holder) -> None:
    # The first byte is left blank: Windows lets nobody else read the byte that is locked.
    line = b" " + json.dumps(msgspec.structs.asdict(holder)).encode() + b"\n"
    disk.seek(fd, 0, os.SEEK_SET)
    write_all(fd, line)
    disk.cut(fd, len(line))


def _open_locked(path: str) -> int:
    """Return a descriptor of *path* with its lock, -1 if somebody else has it."""
    for _ in range(_TRIES):
        try:
            fd = open_regular(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StateFolderError(path, reason_of(error)) from error
        try:
            locked = try_lock(fd, path)
            if locked and is_same_file(fd, path):
                return fd
        except BaseException:
            disk.close(fd)
            raise
        disk.close(fd)
        if not locked:
            return -1
    return -1


_held: set[StageLock] = set()
"""Every held lock of this process: keeps them alive, and tells a forked child which are not its own."""


def _leave_to_parent() -> None:
    for lock in _held:
        lock._forget()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
