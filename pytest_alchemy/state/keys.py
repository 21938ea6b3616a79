"""
The user's key: what tells our own journals on this machine from anybody else's.

Recovery imports and calls what a journal says, so it acts only on lines that carry a digest made with this key.
It never leaves the machine and is worth nothing elsewhere: a new machine makes a new one.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Final

from pytest_alchemy import clock
from pytest_alchemy.errors import KeyFileError, LinkRefusedError, StateFolderError
from pytest_alchemy.state.disk import disk, open_regular, read_all, reason_of, write_all

HOME_VARIABLE: Final = "ALCHEMY_STATE_HOME"
"""Environment variable that names another folder for the key."""

_SIZE = 32
_begin: dict[str, str | None] = {}
_environment = threading.Lock()  # held while the environment is as it was at the beginning
_PATIENCE = 2.0  # a key that is just being made where links are missing is whole within this time


@cache
def user_key() -> bytes:
    """
    Return the key of this user on this machine: 32 random bytes, made when first asked for.

    The environment counts as it is at the first call; after that the answer stays the same in this process.
    Processes that make it at the same moment get the same one.

    Raises:
        KeyFileError: Its folder cannot be written, or the file cannot be trusted: it is a link, belongs to
            somebody else, can be read by others, or is no key.
    """
    folder = state_home()
    path = os.path.join(folder, "key")
    try:
        key = _read(path)
        if key is None:
            _make_folder(folder)
            _make(folder, path)
            key = _read(path)
    except LinkRefusedError as error:
        raise KeyFileError(path, "it is a link") from error
    except (OSError, StateFolderError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else error.reason
        raise KeyFileError(path, reason) from error
    if key is None:
        raise KeyFileError(path, "it disappeared while it was being made")
    return key


@cache
def state_home() -> str:
    """
    Return the folder of the key; it need not exist, and nothing is made.

    The environment counts as it is at the first call, or as `remember` was told that it had been.
    """
    with _environment:
        now = {name: os.environ.get(name) for name in _begin}
        if now != _begin:
            _set(_begin)
        try:
            chosen = os.environ.get(HOME_VARIABLE)
            if not chosen:
                from platformdirs import user_state_dir

                chosen = user_state_dir("pytest-alchemy", appauthor=False)
            return os.path.abspath(os.path.expanduser(chosen))
        finally:
            if now != _begin:
                _set(now)


def remember(environment: Mapping[str, str | None]) -> None:
    """
    Let the folder of the key follow from *environment*, whatever tests do to the real one; nothing is looked up yet.

    The first one counts: a run that a test calls in its own process has the environment that the test gave it.

    Args:
        environment: The variables that decide where it is, as they were before the first test; None for unset.
    """
    if not _begin:
        _begin.update(environment)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _make_folder(folder: str) -> None:
    missing = []
    while folder and not _exists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        with suppress(FileExistsError):
            disk.mkdir(each, 0o700)


def _exists(path: str) -> bool:
    try:
        disk.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _make(folder: str, path: str) -> None:
    """Put a new key at *path* unless there is one."""
    draft = os.path.join(folder, f".key-{disk.getpid()}-{clock.token(8)}")
    key = os.urandom(_SIZE)
    _write_new(draft, key)
    try:
        # Unlike a rename, a link never replaces what another process put there.
        disk.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        with suppress(FileExistsError):
            _write_new(path, key)
    finally:
        disk.unlink(draft)


def _write_new(path: str, data: bytes) -> None:
    fd = open_regular(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        write_all(fd, data)
        disk.fsync(fd)
    except OSError:
        disk.unlink(path)
        raise
    finally:
        disk.close(fd)


def _read(path: str) -> bytes | None:
    """Return the key at *path*, None if there is no file."""
    until = clock.monotonic() + _PATIENCE
    while True:
        try:
            fd = open_regular(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            _check_private(fd, path)
            key = read_all(fd)
        finally:
            disk.close(fd)
        if len(key) == _SIZE:
            return key
        if len(key) > _SIZE or clock.monotonic() > until:
            raise KeyFileError(path, f"it has {len(key)} bytes, a key has {_SIZE}")
        disk.pause(0.01)


def _check_private(fd: int, path: str) -> None:
    if sys.platform == "win32":  # permissions are kept elsewhere there
        return
    found = disk.fstat(fd)
    if found.st_uid != os.geteuid():
        raise KeyFileError(path, f"it belongs to user {found.st_uid}, not to user {os.geteuid()}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(path, f"others may use it (mode {stat.S_IMODE(found.st_mode):04o})")
