"""
The program that outlives its owner: waits for its death, and destroys what it left.

Its owner starts it with ``python -P -S -E watchdog.py LIMIT PATRON PATIENCE LOCK-PATIENCE LOG PACKAGE`` and holds the
other end of its standard input, on which it tells, line by line, ``own FOLDER`` (a stage of its own), ``shared FOLDER``
(one that other processes use too) and ``done FOLDER`` (nothing is left to do there). The end of the input means that
the owner is gone: then each folder that is left gets a forked child, which reaps it. The lock of a stage, which that
child takes, is the truth about the owner; the input is only what wakes this program up.

PATRON is a process that cleans up after the owner while it lives (an xdist controller), 0 for none: it gets PATIENCE
seconds for a stage of the owner's own, and a shared one is its as long as it lives.

Nothing outside the standard library is imported before there is work, and of that what the engine will need, while
there is time: the program waits in 9 MB that are its own. From then on it is in a hurry, so it starts no other Python.
"""

from __future__ import annotations

import os
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
)
_LOOK_AGAIN = 0.05


def main(limit: float, patron: int, patience: float, reap: Callable[[str], int]) -> int:
    """
    Wait for the end of the input, and have each folder that is left reaped by a child.

    Args:
        limit: How long to live after the owner, in seconds.
        patron: Process id of whoever cleans up first, 0 for nobody.
        patience: How long to leave the owner's own stages to the patron, in seconds.
        reap: Reaps the stage in a folder and returns the exit code of the child.

    Returns:
        The exit code of this process, which may be a child.
    """
    for name in _DEAF_TO:
        if hasattr(signal, name):
            # What a destroy starts would inherit SIG_IGN, and could not be ended by its own parent.
            signal.signal(getattr(signal, name), lambda number, frame: None)
    _get_ready()
    own, shared = _listen()
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
            code = reap(folder)
            if hasattr(os, "fork"):
                return code
    for child in children:
        _finish(child, give_up)
    return 0


def _get_ready() -> None:
    """Import what the engine needs of the standard library: that takes longer than the engine itself."""
    for name in _NEEDED_LATER:
        __import__(name)


def _listen() -> tuple[list[str], list[str]]:
    """Return the folders that the owner left: its own ones and those it shared."""
    told = b""
    while chunk := os.read(0, 65536):
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
    while (
        patron
        and _lives(patron)
        and any(map(os.path.isdir, folders))
        and time.monotonic() < give_up
    ):
        time.sleep(_LOOK_AGAIN)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _finish(child: int, give_up: float) -> None:
    """Wait for the end of *child*, and kill it when its time is over."""
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(_LOOK_AGAIN)


def _reaper(lock_patience: str, log: str, package: str) -> Callable[[str], int]:
    """
    Return what reaps the stage in a folder, in this process.

    Args:
        lock_patience: How long to wait for the stage's lock, in seconds.
        log: Name of the file in the folder in which its words are kept.
        package: The folder from which this package is imported.
    """

    def reap(folder: str) -> int:
        words = os.open(os.path.join(folder, log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(words, 1)
        os.dup2(words, 2)
        os.close(words)
        import site

        # What -S and -E left out, now that there is work. The owner's import path is in the stage.
        sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
        site.main()
        sys.path.insert(0, package)
        from pytest_alchemy.recovery.__main__ import main

        return main(lock_patience, folder)

    return reap


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), _reaper(*sys.argv[4:])))
