"""
The program that outlives its owner: waits for its death, and has what it left destroyed.

Its owner starts it with ``python -S -E watchdog.py LIMIT PATRON PATIENCE LOG COMMAND...`` and holds the other end of
its standard input, on which it tells, line by line, ``own FOLDER`` (a stage of its own), ``shared FOLDER`` (one that
other processes use too) and ``done FOLDER`` (nothing is left to do there). The end of the input means that the owner
is gone: then COMMAND is run with each folder that is left as its last argument. The lock of a stage, which the command
takes, is the truth about its owner; the input is only what wakes this program up.

PATRON is a process that cleans up after the owner while it lives (an xdist controller), 0 for none: it gets PATIENCE
seconds for a stage of the owner's own, and a shared one is its as long as it lives.

Nothing outside the standard library is imported, and little of that before there is work: the program starts in a few
milliseconds and waits in about 10 MB.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing for it would take as long as all the rest
if TYPE_CHECKING:
    import subprocess

# Whoever kills the owner's terminal or process group does not mean this program.
_DEAF_TO = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTTIN", "SIGTTOU", "SIGPIPE", "SIGTSTP")
_LOOK_AGAIN = 0.05


def main(limit: float, patron: int, patience: float, log: str, command: list[str]) -> None:
    """
    Wait for the end of the input, and run *command* for each folder that is left.

    Args:
        limit: How long to live after the owner, in seconds.
        patron: Process id of whoever cleans up first, 0 for nobody.
        patience: How long to leave the owner's own stages to the patron, in seconds.
        log: Name of the file in a stage's folder in which the command's words are kept.
        command: What to run.
    """
    for name in _DEAF_TO:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    own, shared = _listen()
    give_up = time.monotonic() + limit
    if own:
        _wait_for(patron, own, time.monotonic() + patience)
    running = _start(command, log, own)
    if shared:
        _wait_for(patron, shared, give_up)
    running += _start(command, log, shared)
    for process in running:
        _finish(process, give_up)


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


def _start(command: list[str], log: str, folders: list[str]) -> list[subprocess.Popen[bytes]]:
    from subprocess import DEVNULL, Popen

    running = []
    for folder in filter(os.path.isdir, folders):
        with open(os.path.join(folder, log), "ab") as words:
            running.append(Popen([*command, folder], stdin=DEVNULL, stdout=words, stderr=words))  # noqa: S603  # ours
    return running


def _finish(process: subprocess.Popen[bytes], give_up: float) -> None:
    from subprocess import TimeoutExpired

    try:
        process.wait(max(0.0, give_up - time.monotonic()))
    except TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5:])
