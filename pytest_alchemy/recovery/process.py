"""Reaping in a process of its own, and the watchdog that starts one when this process is dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import msgspec

from pytest_alchemy.errors import AlchemyError
from pytest_alchemy.records import Destroying, Intent
from pytest_alchemy.recovery.finding import recorded_facts
from pytest_alchemy.state.disk import disk, reason_of
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import LOG
from pytest_alchemy.state.keys import HOME_VARIABLE, state_home, user_key
from pytest_alchemy.state.stagestate import load_stage

AFTER_OWNER = 300.0
"""How long a watchdog lives after its owner, in seconds."""

PATIENCE_FOR_LOCK = 20.0
"""How long a watchdog waits for the lock of a stage whose owner seemed to be dead, in seconds."""

PATIENCE_OF_OWNERS = 12.0
"""How long a watchdog leaves the stages of a dead xdist worker to the controller, in seconds."""

# Programs that clean up after a CI job find its processes by these variables, and would kill the watchdog first.
_TRACKERS = (
    "RUNNER_TRACKING_ID",
    "JENKINS_NODE_COOKIE",
    "JENKINS_SERVER_COOKIE",
    "BUILD_ID",
    "HUDSON_COOKIE",
)

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from pytest_alchemy.recovery.__main__ import run; run(*sys.argv[2:])"
)
_PACKAGE = Path(__file__).resolve().parents[2]
_FOLDERS = (
    _PACKAGE,
    Path(msgspec.__file__).absolute().parents[1],
)  # one and the same if both are installed


def reap_in_process(
    folder: Path, timeout: float, *, forget: bool = False
) -> Iterator[dict[str, Any]]:
    """
    Reap the stage in *folder* in a process of its own, which outlives this one if it has to, and yield what it says.

    What has no ``facts`` is about the stage as a whole: nothing, or no more, could be done there.

    Args:
        folder: The stage's folder.
        timeout: How long it may wait for the stage's lock, in seconds.
        forget: What no process can ever undo is told and then not recorded any longer.
    """
    words = [str(timeout), str(folder), *(["forget"] if forget else [])]
    try:
        process = subprocess.Popen(  # noqa: S603 # this very Python, with arguments of ours
            [sys.executable, "-P", "-c", _BOOT, str(_PACKAGE), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment(),
        )
    except OSError as error:  # a system that is short of memory gives no more processes
        reason = f"no process that destroys what is in it could be started: {reason_of(error)}"
        yield {"what": "unrecoverable", "reason": reason}
        return
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if line.endswith("\n"):  # else it died in the middle of a word
                yield json.loads(line)
    if process.wait():
        reason = f"the process that was to destroy what is in it ended with exit code {process.returncode}"
        begun = " and ".join(_begun(folder))
        reason += f" while it destroyed {begun}" if begun else ""
        yield {"what": "unrecoverable", "reason": reason}


def _begun(folder: Path) -> Iterator[str]:
    """Yield what is recorded last in the stage's folder *folder* as to be destroyed, as messages call it."""
    try:
        state = load_stage(FileStore(folder, user_key()))
    except AlchemyError:  # what has to be told is told without it
        return
    for segment in state.segments:
        last = segment.records[-1] if segment.records else None
        book = state.books.get(segment.header.lineage)
        if isinstance(last, Destroying) and book is not None and last.seq in book.live:
            record = book.live[last.seq].entry
            seen = book.kinds.get(record.kind) if isinstance(record, Intent) else None
            said = recorded_facts(book.header, seen, record)
            yield f"{said['kind']} {said['id']!r}"


def environment() -> dict[str, str]:
    """Return the environment of a process that is not to be killed together with a CI job's others."""
    kept = {name: value for name, value in os.environ.items() if name not in _TRACKERS}
    # A test may have changed what it follows from.
    return {**kept, HOME_VARIABLE: state_home()}


class Watch:
    """
    The watchdog of this process: started with the first stage that needs one.

    A forked child neither holds the watchdog's input open nor can it call it off.

    Args:
        patron: Process id of whoever cleans up after this process while it lives, 0 for nobody.
    """

    def __init__(self, patron: int = 0) -> None:
        self._patron = patron
        self._process: subprocess.Popen[bytes] | None = None
        self._input: int | None = None
        self._left: set[Path] = set()
        self._lock = threading.Lock()
        _watches.add(self)

    def guard(self, folder: Path, *, shared: bool = False) -> None:
        """
        Have the stage in *folder* reaped when this process dies.

        Args:
            folder: The stage's folder.
            shared: True if others use the stage too: then it is left to the patron for as long as that lives.
        """
        with self._lock:
            self._left.add(folder)
            if self._process is None:
                self._process = self._start()
            self._tell("shared" if shared else "own", folder)

    def done(self, folder: Path) -> None:
        """Tell the watchdog that nothing is left to do in *folder*."""
        with self._lock:
            if folder in self._left:
                self._left.remove(folder)
                self._tell("done", folder)

    def end(self) -> None:
        """Let the watchdog go: it ends if nothing is left, and begins at once if something is."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            self._close_input()
            if self._left:
                process.returncode = 0  # it is nobody's child any more, and nobody is to miss it
                return
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _tell(self, word: str, folder: Path) -> None:
        if self._input is not None:
            with suppress(OSError):  # somebody killed it: the next run cleans up instead
                disk.write(self._input, b"%b %b\n" % (word.encode(), os.fsencode(folder)))

    def _start(self) -> subprocess.Popen[bytes]:
        words = [AFTER_OWNER, self._patron, PATIENCE_OF_OWNERS, PATIENCE_FOR_LOCK, LOG, *_FOLDERS]
        program = str(_PACKAGE / "pytest_alchemy" / "watchdog.py")
        # The module would open pipe and null device with functions that tests replace.
        reading, self._input = disk.pipe()
        nowhere = disk.open(os.devnull, os.O_WRONLY)
        try:
            return subprocess.Popen(  # noqa: S603 # this very Python, with arguments of ours
                [sys.executable, "-P", "-S", "-E", program, *map(str, words)],
                stdin=reading,
                stdout=nowhere,
                stderr=nowhere,
                cwd="/" if os.name == "posix" else None,
                env=environment(),
                start_new_session=True,
            )
        except BaseException:
            self._close_input()
            raise
        finally:
            disk.close(reading)
            disk.close(nowhere)

    def _close_input(self) -> None:
        fd, self._input = self._input, None
        if fd is not None:
            disk.close(fd)

    def _forget(self) -> None:
        process, self._process = self._process, None
        self._left = set()
        self._lock = threading.Lock()
        self._close_input()
        if process is not None:
            process.returncode = 0  # it is the parent's child


_watches: WeakSet[Watch] = WeakSet()
"""Every watch of this process: a forked child has none of them."""


def _leave_to_parent() -> None:
    for watch in list(_watches):
        watch._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
