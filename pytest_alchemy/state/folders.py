"""
The folders of ``.alchemy``: one per application, in it one per stage, gone again when nothing is left to tell.

Several processes make and remove them at the same time. Whoever removes takes only what is empty, so it can
never take what another one has just put there; whoever makes starts over when a folder vanished under its hands.
A stage's folder stays for as long as somebody's lock file lies in it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pytest_alchemy.errors import LinkRefusedError, StateFolderError
from pytest_alchemy.names import folder_name
from pytest_alchemy.state.disk import disk, open_regular, read_all, refusal, write_all
from pytest_alchemy.state.locks import Holder, StageLock

JOURNALS: Final = ".journal"
"""Name of the folder with a stage's journals."""

LOCK: Final = ".lock"
"""Name of the file whose lock proves that the owner of a stage lives."""

ACCOUNT: Final = ".account"
"""Name of the folder with the fake account that all workers of a run share."""

LOG: Final = ".watchdog.log"
"""Name of the file in which a watchdog keeps the words of what it runs."""

_NAME = ".alchemy"
_IGNORE = ".gitignore"
_IGNORE_ALL = b"*\n"
_MISSING = (FileNotFoundError, NotADirectoryError)
_VANISHING = "a folder above it is missing, or other processes keep removing it"
_TRIES = 200  # each miss means that somebody else removed a folder in that very moment


class Root:
    """
    The folder ``.alchemy``; nothing is made before the first stage is.

    Attributes:
        path: Where it is, absolute.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))

    def __repr__(self) -> str:
        return f"Root({str(self.path)!r})"

    def stage_path(self, app: str, stage: str) -> Path:
        """Return the folder of a stage, whether it exists or not."""
        return self.path / folder_name(app) / folder_name(stage)

    def make_stage(self, app: str, stage: str) -> Path:
        """
        Make the folder of a stage with a place for its journals, and everything above it.

        Folders are for this user alone (0700), older ones of the user's become so. Making it again is quiet.
        Until a lock file lies in the folder another process may remove it: `hold_stage` does both.

        Returns:
            The folder.

        Raises:
            LinkRefusedError: The root, the application's or the stage's folder is a link.
            StateFolderError: It cannot be made: the reason says why.
        """
        return self.make(self.stage_path(app, stage))

    def make(self, folder: Path) -> Path:
        """Make the stage's folder *folder*, as `make_stage` does."""
        for _ in range(_TRIES):
            try:
                _make_above(self.path)
                if not self._is_others():
                    make_private(str(self.path))
                    self._ignore_everything()
                for each in (folder.parent, folder, folder / JOURNALS):
                    make_private(str(each))
            except FileNotFoundError:  # somebody removed an empty folder meanwhile
                continue
            except OSError as error:
                raise refusal(str(folder), error) from error
            return folder
        raise StateFolderError(str(folder), _VANISHING)

    def hold_stage(
        self, app: str, stage: str, holder: Holder, *, timeout: float = 0.0, lock: str = LOCK
    ) -> tuple[Path, StageLock]:
        """
        Make the folder of a stage and take a lock in it; from then on the folder stays.

        Args:
            app: Name of the application.
            stage: Full name of the stage.
            holder: Who takes the lock.
            timeout: How long to wait for another holder, in seconds.
            lock: Name of the lock file.

        Raises:
            StageLockedError: Another process has the lock.
            NoRealLocksError: The file system has no locks that end with their process.
            LinkRefusedError: A folder or the lock file is a link.
            StateFolderError: The folder cannot be made or written.
        """
        folder = self.stage_path(app, stage)
        return folder, self.hold(folder, holder, stage=stage, timeout=timeout, lock=lock)

    def hold(
        self,
        folder: Path,
        holder: Holder,
        *,
        stage: str = "",
        timeout: float = 0.0,
        lock: str = LOCK,
    ) -> StageLock:
        """
        Make the stage's folder *folder* and take a lock in it, as `hold_stage` does.

        Args:
            folder: A folder in a folder of the root.
            holder: Who takes the lock.
            stage: Name of the stage, for messages.
            timeout: How long to wait for another holder, in seconds.
            lock: Name of the lock file.

        Raises:
            StageLockedError, NoRealLocksError, LinkRefusedError, StateFolderError: As `hold_stage`.
        """
        for _ in range(_TRIES):
            self.make(folder)
            held = StageLock(folder / lock, stage=stage)
            try:
                held.acquire(holder, timeout)
                # The journals' folder may have gone just before the lock came.
                self.make(folder)
            except FileNotFoundError:
                continue
            except BaseException:  # an interrupt, say, when it is held already
                held.release()
                raise
            return held
        raise StateFolderError(str(folder), _VANISHING)

    def stages(self) -> Iterator[Path]:
        """
        Iterate over the folders of all stages that are there, in order of their names.

        A stage's folder is one that has a place for journals, or may have one because nobody can look into it. Links
        are passed over, and so is what vanishes meanwhile.

        Raises:
            StateFolderError: The folder of all stages, or that of an application, cannot be read.
        """
        for app in folders_in(str(self.path)):
            for stage in folders_in(app):
                if _may_be_stage(stage):
                    yield Path(stage)

    def remove_if_empty(
        self, folder: Path, *, journals: Iterable[Path] = (), lock: StageLock | None = None
    ) -> bool:
        """
        Remove what is left of a stage after a clean end: the journals, the lock, and every folder that is then empty.

        The journals go first and the lock file while it is held, so that no moment looks like a crash. Nothing of
        another process is ever removed: what is not empty stays. The root goes with its last stage unless
        something else lies in it. What the system does not let go stays, too: it tells of nothing that is owned, and
        who finds it next takes it away.

        Args:
            folder: The stage's folder.
            journals: The journals that ended clean; those that somebody else removed are passed over.
            lock: The lock that this process holds there; it is released.

        Returns:
            Whether the stage's folder is gone.
        """
        for journal in journals:
            with suppress(OSError):
                disk.unlink(str(journal))
        # Before the lock is free: its next holder makes the place for journals anew.
        _remove(str(folder / JOURNALS))
        if lock is not None:
            lock.release(remove=True)
        gone = _remove(str(folder))
        if gone and _remove(str(folder.parent)):
            self._remove_root()
        return gone

    def _is_others(self) -> bool:
        """
        Tell whether the root is a folder that somebody named which holds other things: it stays as it is.

        Our folders in it are for this user alone all the same.
        """
        if self.path.name == _NAME or not _is_folder(str(self.path)):
            return False
        names = disk.listdir(str(self.path))
        return bool(names) and (_IGNORE not in names or not _is_ours(str(self.path / _IGNORE)))

    def _remove_root(self) -> None:
        ignore = str(self.path / _IGNORE)
        try:
            if disk.listdir(str(self.path)) not in ([], [_IGNORE]) or not _is_ours(ignore):
                return
            disk.unlink(ignore)
        except OSError:  # already gone, or not ours to remove
            pass
        if not _remove(str(self.path)):
            with suppress(OSError):  # somebody made a stage meanwhile: it needs the file
                self._ignore_everything()

    def _ignore_everything(self) -> None:
        """Keep the root out of version control; a file that says something already is left alone."""
        path = str(self.path / _IGNORE)
        fd = open_regular(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            if disk.fstat(fd).st_size == 0:
                write_all(fd, _IGNORE_ALL)
        finally:
            disk.close(fd)


def _make_above(path: Path) -> None:
    """Make the folders above *path* as the user's own settings want them."""
    missing = []
    for above in path.parents:
        try:
            disk.lstat(str(above))
            break
        except FileNotFoundError:
            missing.append(above)
    for above in reversed(missing):
        with suppress(FileExistsError):
            disk.mkdir(str(above), 0o777)


def make_private(path: str) -> bool:
    """
    Make the folder *path* for this user alone, or check the one that is there.

    Returns:
        Whether it is new.

    Raises:
        FileNotFoundError: The folder above it is not there.
        LinkRefusedError: A link stands in its place.
        StateFolderError: It is not a folder.
    """
    new = False
    with suppress(FileExistsError):
        disk.mkdir(path, 0o700)
        new = True
    found = disk.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise LinkRefusedError(path)
    if not stat.S_ISDIR(found.st_mode):
        raise StateFolderError(path, "it is not a folder")
    if sys.platform != "win32" and found.st_mode & 0o077 and found.st_uid == os.geteuid():
        disk.chmod(path, 0o700)
    return new


def _remove(folder: str) -> bool:
    """Remove *folder* if it is empty; return whether it is gone."""
    try:
        disk.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _is_ours(ignore: str) -> bool:
    try:
        fd = open_regular(ignore, os.O_RDONLY)
    except FileNotFoundError:
        return True
    except LinkRefusedError:
        return False
    try:
        return read_all(fd) in (b"", _IGNORE_ALL)
    finally:
        disk.close(fd)


def _is_folder(path: str) -> bool:
    """Tell whether *path* is a folder; raises an OSError where the system does not let anybody know."""
    try:
        return stat.S_ISDIR(disk.lstat(path).st_mode)
    except _MISSING:
        return False


def _may_be_stage(folder: str) -> bool:
    try:
        return _is_folder(os.path.join(folder, JOURNALS))
    except OSError:  # another user's, say: whoever looks at it tells
        return True


def folders_in(folder: str) -> Iterator[str]:
    """
    Iterate over the folders in *folder* whose names do not begin with a dot; none if it is missing or a link.

    Raises:
        StateFolderError: It cannot be read.
    """
    try:
        yield from _folders_in(folder)
    except _MISSING:
        return
    except OSError as error:
        raise refusal(folder, error) from error


def _folders_in(folder: str) -> Iterator[str]:
    if not _is_folder(folder):
        return
    names = sorted(disk.listdir(folder))
    for name in names:
        path = os.path.join(folder, name)
        if not name.startswith(".") and _is_folder(path):
            yield path
