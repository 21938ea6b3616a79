"""
The system calls of this room, held where no test reaches them.

Tests patch ``os`` by hand and pyfakefs swaps it, together with every module-level name that is one of its
functions. A record or a lock on a disk that is only pretended would protect nothing, so the calls are taken from
the module below ``os`` and kept as attributes of a class, even if this module is first imported while they are
swapped. Paths are handled as text: no ``Path`` method that touches the disk is used in this room.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import suppress
from importlib.machinery import BuiltinImporter, PathFinder
from importlib.util import module_from_spec
from types import BuiltinFunctionType, ModuleType
from typing import Any, Final

from pytest_alchemy.errors import LinkRefusedError, NoRealLocksError, StateFolderError

if sys.platform == "win32":
    import nt as _system
else:
    import fcntl
    import posix as _system

# Without O_CLOEXEC: every descriptor that Python opens is closed in programs it starts.
NO_LINK: Final[int] = getattr(_system, "O_NOFOLLOW", 0)
# Opening a pipe must not wait for its other end.
NO_WAIT: Final[int] = getattr(_system, "O_NONBLOCK", 0)
BINARY: Final[int] = getattr(_system, "O_BINARY", 0)

_NO_LOCKS = frozenset((errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP))
_TAKEN = frozenset((errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK))


class disk:  # noqa: N801  # reads like the module it stands for
    """The system's own functions."""

    open = staticmethod(_system.open)
    pipe = staticmethod(_system.pipe)
    close = staticmethod(_system.close)
    read = staticmethod(_system.read)
    write = staticmethod(_system.write)
    seek = staticmethod(_system.lseek)
    cut = staticmethod(_system.ftruncate)
    fstat = staticmethod(_system.fstat)
    lstat = staticmethod(_system.lstat)
    utime = staticmethod(_system.utime)
    access = staticmethod(_system.access)
    mkdir = staticmethod(_system.mkdir)
    rmdir = staticmethod(_system.rmdir)
    listdir = staticmethod(_system.listdir)
    unlink = staticmethod(_system.unlink)
    link = staticmethod(_system.link)
    replace = staticmethod(_system.replace)
    chmod = staticmethod(_system.chmod)
    fsync = staticmethod(_system.fsync)
    getpid = staticmethod(_system.getpid)
    pause = staticmethod(time.sleep)


def reason_of(error: OSError) -> str:
    """Return what the system said, in its own words."""
    return (error.strerror or str(error)).lower()


def refusal(path: str, error: OSError) -> StateFolderError:
    """Return what tells which of the folders on the way to *path* the system refuses, and whose that is."""
    place, whose = str(error.filename or path), ""
    while isinstance(error, PermissionError) and sys.platform != "win32":
        with suppress(OSError):
            owner = disk.lstat(place).st_uid
            whose = "" if owner == os.geteuid() else f", it belongs to user {owner}"
            break
        place = os.path.dirname(place)
    return StateFolderError(place, reason_of(error) + whose)


def read_all(fd: int) -> bytes:
    """Return everything from the beginning of the open file *fd*."""
    disk.seek(fd, 0, os.SEEK_SET)
    parts = []
    while part := disk.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def write_all(fd: int, data: bytes) -> None:
    """Write *data*; a disk that takes only a part is asked once more, so that it names its reason."""
    while data:
        data = data[disk.write(fd, data) :]


def open_regular(path: str, flags: int, mode: int = 0o600) -> int:
    """
    Open the ordinary file *path*.

    Args:
        path: The file; a link or a pipe in its place is not followed or waited for.
        flags: How to open it, as for ``os.open``.
        mode: Permissions if it is made.

    Returns:
        The descriptor; not inherited by other programs.

    Raises:
        LinkRefusedError: *path* is a link.
        StateFolderError: *path* is a folder, a pipe or a device.
        OSError: The system says no.
    """
    try:
        fd = disk.open(path, flags | NO_LINK | NO_WAIT | BINARY, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise LinkRefusedError(path) from None
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise StateFolderError(path, "it is not an ordinary file") from error
        raise
    if not stat.S_ISREG(disk.fstat(fd).st_mode):
        disk.close(fd)
        raise StateFolderError(path, "it is not an ordinary file")
    return fd


def is_link(path: str) -> bool:
    """Whether a link stands at *path*."""
    try:
        return stat.S_ISLNK(disk.lstat(path).st_mode)
    except OSError:
        return False


def is_same_file(fd: int, path: str) -> bool:
    """Whether *path* still names the open file *fd*."""
    try:
        named, opened = disk.lstat(path), disk.fstat(fd)
    except OSError:
        return False
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def sync_folder(folder: str) -> None:
    """Make sure that a file that is new in *folder*, or gone from it, is so after a power cut too."""
    if os.name != "posix":
        return
    fd = disk.open(folder, os.O_RDONLY)
    try:
        disk.fsync(fd)
    finally:
        disk.close(fd)


if sys.platform == "win32":

    def try_lock(fd: int, path: str) -> bool:
        """Lock the open file *fd* for this process alone; False if another one has it."""
        from filelock import lock_descriptor

        try:
            return lock_descriptor(fd, blocking=False)
        except OSError as error:
            raise NoRealLocksError(path, reason_of(error)) from error

    def unlock(fd: int) -> None:
        """Give the lock on the open file *fd* back."""
        from filelock import unlock_descriptor

        unlock_descriptor(fd)

    def sync_data(fd: int) -> None:
        """Return when what was written to *fd* survives a power cut."""
        disk.fsync(fd)

else:

    def _real(module: ModuleType) -> Any:
        """Return *module* as the system has it, even if a fake stands in its place."""
        if isinstance(module.flock, BuiltinFunctionType):
            return module
        spec = BuiltinImporter.find_spec("fcntl") or PathFinder.find_spec("fcntl")
        if spec is None or spec.loader is None:
            return module
        real = module_from_spec(spec)
        spec.loader.exec_module(real)
        return real

    _fcntl = _real(fcntl)

    class _locks:  # noqa: N801
        flock = staticmethod(_fcntl.flock)
        control = staticmethod(_fcntl.fcntl)

    def try_lock(fd: int, path: str) -> bool:
        """
        Lock the open file *fd* for this process alone.

        Returns:
            False if another process, or another descriptor of this one, has the lock.

        Raises:
            NoRealLocksError: The file system of *path* has no locks that end with their process.
        """
        if not isinstance(_locks.flock, BuiltinFunctionType):
            raise NoRealLocksError(path, "fcntl.flock is replaced by a fake file system")
        try:
            _locks.flock(fd, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            if error.errno in _NO_LOCKS:
                raise NoRealLocksError(path, reason_of(error)) from error
            raise
        return True

    def unlock(fd: int) -> None:
        """Give the lock on the open file *fd* back, for every copy of the descriptor."""
        _locks.flock(fd, _fcntl.LOCK_UN)

    if sys.platform == "darwin":

        def sync_data(fd: int) -> None:
            """Return when what was written to *fd* survives a power cut; plain fsync stops at the drive's cache."""
            try:
                _locks.control(fd, _fcntl.F_FULLFSYNC)
            except OSError:  # a file system that does not know it
                disk.fsync(fd)

    else:
        _sync = (_system.fdatasync,)

        def sync_data(fd: int) -> None:
            """Return when what was written to *fd* survives a power cut."""
            _sync[0](fd)
