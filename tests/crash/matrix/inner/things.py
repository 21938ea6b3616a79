"""
What inner runs make: files, processes, and whatever else is really there after a process has died.

This file is copied beside the inner tests. Nothing in it depends on the environment, which tests replace, and its
files are made with the system's own calls, which nobody patches.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posix
import sys
import time
from collections.abc import Iterator

from pytest_alchemy import Resource, output

HERE = os.path.dirname(os.path.abspath(__file__))
WORLD = f"{HERE}/world"
_QUIET = [
    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
]


# Meeting the outer test: each word is told with the process id, and answered through a pipe of that process.


def reach(word: str) -> None:
    """Tell the outer test that this process is at *word*, and wait for its answer."""
    fd = _ask(word)
    try:
        posix.read(fd, 1)
    finally:
        posix.close(fd)


async def areach(word: str) -> None:
    """Tell the outer test that this process is at *word*, and wait for its answer; twin of `reach`."""
    fd, loop = _ask(word), asyncio.get_running_loop()
    answered = asyncio.Event()
    loop.add_reader(fd, answered.set)
    try:
        await answered.wait()
    finally:
        loop.remove_reader(fd)
        posix.close(fd)


def tell(word: str) -> None:
    """Tell the outer test that this process is at *word*, and go on."""
    _write(f"{HERE}/events", f"{word} {posix.getpid()}\n", 0)


def once(word: str) -> bool:
    """Tell whether this is the first time that anybody in the run asks for *word*."""
    try:
        posix.close(posix.open(f"{HERE}/once-{word}", posix.O_CREAT | posix.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def note(*words: object) -> None:
    """Note something down for the outer test."""
    _write(f"{HERE}/notes", " ".join(map(str, words)) + "\n", posix.O_APPEND)


def _ask(word: str) -> int:
    pipe = f"{HERE}/answer-{word}-{posix.getpid()}"
    with contextlib.suppress(FileExistsError):
        posix.mkfifo(pipe)
    fd = posix.open(pipe, posix.O_RDWR)  # also for writing: so it has no end of file
    tell(word)
    return fd


def _write(path: str, text: str, flags: int) -> None:
    fd = posix.open(path, posix.O_CREAT | posix.O_WRONLY | flags, 0o600)
    try:
        posix.write(fd, text.encode())
    finally:
        posix.close(fd)


def _read(path: str) -> str:
    fd = posix.open(path, posix.O_RDONLY)
    try:
        return posix.read(fd, 1 << 20).decode(errors="replace")
    finally:
        posix.close(fd)


# The world.


def put(name: str, text: str) -> None:
    """Make the file *name*."""
    _write(f"{WORLD}/{name}", text, posix.O_TRUNC)


def there(name: str) -> bool:
    """Tell whether the file *name* exists."""
    try:
        posix.stat(f"{WORLD}/{name}")
    except FileNotFoundError:
        return False
    return True


def take(name: str) -> None:
    """Remove the file *name*."""
    with contextlib.suppress(FileNotFoundError):
        posix.unlink(f"{WORLD}/{name}")


def spawn(*command: str, **variables: str) -> int:
    """Start a program that outlives this process, and return its id."""
    marker = _read(f"{HERE}/marker")
    env = {"PATH": "/usr/bin:/bin", "MATRIX_RUN": marker, **variables}
    pid = posix.posix_spawn(command[0], command, env, file_actions=_QUIET, setsid=True)
    # Its environment cannot be read while it starts.
    while pid not in running("MATRIX_RUN", marker):
        time.sleep(0.001)
    return pid


def running(name: str, value: str) -> Iterator[int]:
    """Yield the processes that were started with this variable."""
    wanted = f"{name}={value}"
    for folder in filter(str.isdigit, posix.listdir("/proc")):
        with contextlib.suppress(OSError):
            if wanted in _read(f"/proc/{folder}/environ").split("\0"):
                yield int(folder)


class File(Resource, create_timeout=3):
    """A file; plain hooks."""

    text: str = ""
    path: str = output()

    def create(self) -> None:
        put(self.name, self.id)
        self.path = f"{WORLD}/{self.name}"

    def read(self) -> bool:
        return there(self.name)

    def destroy(self) -> None:
        take(self.name)


class AsyncFile(Resource, create_timeout=3):
    """A file; coroutine hooks, and no `read`."""

    async def create(self) -> None:
        await asyncio.sleep(0)
        put(self.name, self.id)

    async def destroy(self) -> None:
        await asyncio.sleep(0)
        take(self.name)


class Process(Resource, create_timeout=3):
    """A process, known by a variable in its environment."""

    pid: int = output()

    def create(self) -> None:
        self.pid = spawn("/bin/sleep", "600", MATRIX_THING=self.name)

    def read(self) -> bool:
        return any(running("MATRIX_THING", self.name))

    def destroy(self) -> None:
        for pid in running("MATRIX_THING", self.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


class Stopping(Resource, create_timeout=3):
    """A file whose hooks meet the outer test once, at the place named in *stop*."""

    stop: str
    version: int = 0

    def create(self) -> None:
        self._stop("before-create")
        put(self.name, self.id)
        self._stop("after-create")

    def read(self) -> bool:
        return there(self.name)

    def update(self, previous: Stopping) -> None:
        self._stop("before-update")
        put(self.name, f"{self.id} {self.version}")
        self._stop("after-update")

    def destroy(self) -> None:
        self._stop("before-destroy")
        take(self.name)
        self._stop("after-destroy")

    def _stop(self, place: str) -> None:
        if place == self.stop and once(f"{place}-{self.name}"):
            reach(place)


class AsyncStopping(Resource, create_timeout=3):
    """A file whose coroutine hooks meet the outer test once, at the place named in *stop*."""

    stop: str
    version: int = 0

    async def create(self) -> None:
        await self._stop("before-create")
        put(self.name, self.id)
        await self._stop("after-create")

    async def read(self) -> bool:
        return there(self.name)

    async def update(self, previous: AsyncStopping) -> None:
        await self._stop("before-update")
        put(self.name, f"{self.id} {self.version}")
        await self._stop("after-update")

    async def destroy(self) -> None:
        await self._stop("before-destroy")
        take(self.name)
        await self._stop("after-destroy")

    async def _stop(self, place: str) -> None:
        if place == self.stop and once(f"{place}-{self.name}"):
            await areach(place)


class Busy(Resource, create_timeout=3):
    """A file on a server that takes its time: wherever its client dies, something is in flight."""

    version: int = 0

    def create(self) -> None:
        time.sleep(0.001)
        put(self.name, self.id)
        time.sleep(0.001)

    def read(self) -> bool:
        return there(self.name)

    def update(self, previous: Busy) -> None:
        time.sleep(0.001)
        put(self.name, f"{self.id} {self.version}")

    def destroy(self) -> None:
        time.sleep(0.001)
        take(self.name)
        time.sleep(0.001)


class AnswerLost(Resource, create_timeout=4):
    """A file that is made without anybody learning of it."""

    def create(self) -> None:
        put(self.name, self.id)
        raise ConnectionError("the answer was lost")

    def read(self) -> bool:
        return there(self.name)

    def destroy(self) -> None:
        take(self.name)


class Late(Resource, create_timeout=8):
    """A file that the server makes *seconds* after it was asked to, whether or not its client still lives."""

    seconds: float = 3.0
    meet: bool = True

    def create(self) -> None:
        put_it = (
            f'sleep {self.seconds}; echo "$NAME" >"{WORLD}/$NAME"; echo served >>"{HERE}/notes"'
        )
        spawn("/bin/sh", "-c", put_it, NAME=self.name, MATRIX_SERVER="1")
        if self.meet:
            reach("asked")
        raise TimeoutError("the server took too long")

    def read(self) -> bool:
        return there(self.name)

    def destroy(self) -> None:
        take(self.name)


class SlowToGo(Resource, create_timeout=3):
    """A file whose plain destroy takes *seconds*."""

    seconds: float

    def create(self) -> None:
        put(self.name, self.id)

    def read(self) -> bool:
        return there(self.name)

    def destroy(self) -> None:
        if once(f"going-{self.name}"):
            # Nobody would answer, or interrupt, a process that reaps: on a busy machine it may come here first.
            (reach if "pytest" in sys.modules else tell)("going")
        time.sleep(self.seconds)
        take(self.name)


class AsyncSlowToGo(Resource, create_timeout=3):
    """A file whose coroutine destroy takes *seconds*."""

    seconds: float

    async def create(self) -> None:
        put(self.name, self.id)

    async def read(self) -> bool:
        return there(self.name)

    async def destroy(self) -> None:
        if once(f"going-{self.name}"):
            if "pytest" in sys.modules:
                await areach("going")
            else:
                tell("going")
        await asyncio.sleep(self.seconds)
        take(self.name)


class Reluctant(Resource, create_timeout=3):
    """A file whose destroy fails *times* times before it works."""

    times: int

    def create(self) -> None:
        put(self.name, self.id)

    def destroy(self) -> None:
        if any(once(f"{self.name}-{number}") for number in range(self.times)):
            raise ConnectionError("the server is busy")
        take(self.name)
