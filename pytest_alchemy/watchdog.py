"""
The program that outlives its owner: waits for its death, and destroys what it left.

Its owner starts it with ``python -P -S -E watchdog.py LIMIT PATRON PATIENCE LOCK-PATIENCE LOG PACKAGE LIBRARIES`` and
holds the other end of its standard input, on which it tells, line by line, ``own FOLDER`` (a stage of its own),
``shared FOLDER`` (one that other processes use too) and ``done FOLDER`` (nothing is left to do there). The end of the
input means that the owner is gone: then each folder that is left gets a forked child, which reaps it. The lock of a
stage, which that child takes, is the truth about the owner; the input is only what wakes this program up.

PATRON is a process that cleans up after the owner while it lives (an xdist controller), 0 for none: it gets PATIENCE
seconds for a stage of the owner's own, and a shared one is its as long as it lives.

From then on it is in a hurry, so it starts no other Python, and has imported before what it can. What the engine will
need of the standard library comes first: with that the program waits in 9 MB that are its own. The engine itself
follows when the owner has lived for half a second with something that may have to be destroyed: it takes 60 to 100 ms
of one processor, which no shorter run pays, and 3 MB. What is the user's waits until there is something to destroy: the
kinds, and whatever ``site`` runs.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing for it would take as long as all the rest
if TYPE_CHECKING:
    from collections.abc import Callable

# Whoever kills the owner's terminal or process group does not mean this program.
_DEAF_TO = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTTIN", "SIGTTOU", "SIGPIPE", "SIGTSTP")
_NEEDED_LATER = (
    "typing",
    "dataclasses",
    "pathlib",
    "json",
    "uuid",
    "decimal",
    "hashlib",
    "queue",
    "getpass",
    "datetime",
    "base64",
    "hmac",
    "contextvars",
    "textwrap",
    "importlib.util",
    "site",
)
_MOMENT = 0.5
_FIRST_PAUSE = 0.002  # a patron that is killed together with the owner is dead within a moment
_LOOK_AGAIN = 0.05


def main(limit: float, patron: int, patience: float, reaper: Reaper) -> int:
    """
    Wait for the end of the input, and have each folder that is left reaped by a child.

    Args:
        limit: How long to live after the owner, in seconds.
        patron: Process id of whoever cleans up first, 0 for nobody.
        patience: How long to leave the owner's own stages to the patron, in seconds.
        reaper: Reaps the stage in a folder and returns the exit code of the child.

    Returns:
        The exit code of this process, which may be a child.
    """
    _be_deaf()
    for name in _NEEDED_LATER:  # that takes longer than the engine itself
        __import__(name)
    own, shared = _listen(reaper.get_ready)
    if not own and not shared:
        # The owner waits for this end, and Python would take the whole engine apart first.
        os._exit(0)
    give_up = time.monotonic() + limit
    children: list[int] = []
    for folders, wait_until in ((own, time.monotonic() + patience), (shared, give_up)):
        if folders:
            _wait_for(patron, folders, wait_until)
        for folder in filter(os.path.isdir, folders):
            # Where nobody can fork they have to go one after another.
            child = os.fork() if hasattr(os, "fork") else 0
            if child:
                children.append(child)
                continue
            code = reaper.reap(folder)
            if hasattr(os, "fork"):
                return code
    for child in children:
        _finish(child, give_up)
    return 0


def _be_deaf() -> None:
    for name in _DEAF_TO:
        if hasattr(signal, name):
            # What a destroy starts would inherit SIG_IGN, and could not be ended by its own parent.
            signal.signal(getattr(signal, name), lambda number, frame: None)


def _listen(get_ready: Callable[[], None]) -> tuple[list[str], list[str]]:
    """
    Return the folders that the owner left: its own ones and those it shared.

    Args:
        get_ready: Called once, when the owner has lived for a moment since it last told something.
    """
    told = b""
    ready = os.name != "posix"  # elsewhere there is no waiting for a pipe that ends by itself
    while True:
        if not ready and not select.select([0], [], [], _MOMENT)[0]:
            get_ready()
            ready = True
        if not (chunk := os.read(0, 65536)):
            break
        told += chunk
    folders: dict[str, str] = {}
    for line in told.split(b"\n")[:-1]:  # a line that is not whole was never told
        word, _, folder = line.partition(b" ")
        folders[os.fsdecode(folder)] = word.decode()
    return [f for f, word in folders.items() if word == "own"], [
        f for f, word in folders.items() if word == "shared"
    ]


def _wait_for(patron: int, folders: list[str], give_up: float) -> None:
    """Wait until *patron* is dead, has done the work, or has had its time."""
    pause = _FIRST_PAUSE
    while (
        patron
        and _lives(patron)
        and any(map(os.path.isdir, folders))
        and time.monotonic() < give_up
    ):
        time.sleep(pause)
        pause = min(2 * pause, _LOOK_AGAIN)


def _lives(process: int) -> bool:
    """Tell whether *process* runs; one that has ended does not, even if nobody collects it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return True


def _finish(child: int, give_up: float) -> None:
    """Wait for the end of *child*, and kill it when its time is over."""
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(_LOOK_AGAIN)


class Reaper:
    """
    Reaps stages, in this process.

    Args:
        lock_patience: How long to wait for a stage's lock, in seconds.
        log: Name of the file in a stage's folder in which the words are kept.
        package: The folder from which this package is imported.
        libraries: The folder from which what it needs is imported.
    """

    def __init__(self, lock_patience: str, log: str, package: str, libraries: str) -> None:
        self._lock_patience, self._log = lock_patience, log
        self._package, self._libraries = package, libraries
        self._versions: dict[str, tuple[int, int] | None] = {}

    def get_ready(self) -> None:
        """Import the engine, but run nothing of the user's."""
        path = sys.path[:]
        sys.path[:] = [self._package, *path, self._libraries]
        try:
            __import__("pytest_alchemy.recovery.__main__")
            files = [sys.modules[name].__file__ or "" for name in _engine()]
            self._versions = {file: _version(file) for file in files}
        except Exception:  # whoever reaps tries again, where it can be read why it fails
            _forget_engine()
        finally:
            sys.path[:] = path

    def reap(self, folder: str) -> int:
        """Destroy what is left in *folder* and return the exit code of a process that does nothing else."""
        log, flags = os.path.join(folder, self._log), os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            words = os.open(log, flags, 0o600)
        except OSError:  # a full disk, say: the work is done without words
            words = os.open(os.devnull, os.O_WRONLY)
        os.dup2(words, 1)
        os.dup2(words, 2)
        os.close(words)
        import site

        # What -S and -E left out, now that there is work. The owner's import path is in the stage.
        site.main()
        sys.path.insert(0, self._package)
        if self._is_replaced():
            _forget_engine()
        from pytest_alchemy.recovery.__main__ import main, run

        if hasattr(os, "fork"):
            run(self._lock_patience, folder)
        return main(self._lock_patience, folder)

    def _is_replaced(self) -> bool:
        """
        Tell whether another version of the engine lies there now: what of it is imported later would not fit.

        What is gone fits for as long as nothing more of it is imported.
        """
        now = {file: _version(file) for file in self._versions}
        return any(now[file] not in (None, self._versions[file]) for file in now)


def _engine() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "pytest_alchemy"]


def _forget_engine() -> None:
    for name in _engine():
        del sys.modules[name]


def _version(file: str) -> tuple[int, int] | None:
    """Return what tells a file from another one that is put in its place, None if there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


if __name__ == "__main__":
    # What -E left out.
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    limit, patron, patience, *words = sys.argv[1:]
    sys.exit(main(float(limit), int(patron), float(patience), Reaper(*words)))
