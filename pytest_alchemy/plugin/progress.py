"""How far a long teardown is, in lines between those of pytest."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress

import pytest

LOOK_EVERY = 1.0
"""How often a controller looks for what its workers tell, in seconds."""

Progress = Callable[[str, int, int, float, str], None]


def teller(config: pytest.Config) -> Progress:
    """
    Return what tells in the terminal of *config* how far a teardown is.

    It writes whole lines, so that a log stays readable, and from the main thread only, because what the tests print
    is captured meanwhile.
    """

    def tell(*how_far: *tuple[str, int, int, float, str]) -> None:
        if threading.current_thread() is threading.main_thread():
            # It may be called in the midst of anything, and nobody waits for it.
            with suppress(Exception):
                say(config, _line(*how_far))

    return tell


def messenger(path: str, worker: str) -> Progress:
    """
    Return what tells the controller of *worker* how far a teardown is, by a line in the file *path* (empty for none).

    xdist lets a worker send nothing but reports of tests before its end.
    """

    def tell(what: str, *how_far: *tuple[int, int, float, str]) -> None:
        from pytest_alchemy.errors import AlchemyError
        from pytest_alchemy.report.texts import one_line
        from pytest_alchemy.state.disk import disk, open_regular, write_all

        if not path:
            return
        line = one_line(_line(f"[{worker}] {what}", *how_far), 300)
        with suppress(OSError, AlchemyError):  # the teardown itself is more important
            fd = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                write_all(fd, line.encode("utf-8", "replace") + b"\n")
            finally:
                disk.close(fd)

    return tell


class Bulletins(threading.Thread):
    """
    Reads in the controller what workers tell of their teardowns, until the end of the run.

    Args:
        files: The files of all workers; more may come.
        tell: What is called with each line.
    """

    def __init__(self, files: Collection[str], tell: Callable[[str], None]) -> None:
        super().__init__(name="alchemy-bulletins", daemon=True)
        self._files, self._tell = files, tell
        self._read: Counter[str] = Counter()
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        from pytest_alchemy.errors import AlchemyError

        while not self._over.wait(LOOK_EVERY):
            for file in list(self._files):
                with suppress(OSError, AlchemyError):  # it tells of nothing long, as a rule
                    for line in self._news(file):
                        self._tell(line)

    def end(self) -> None:
        """Read no more, and remove the files."""
        self._over.set()
        self.join()
        for file in self._files:
            with suppress(OSError):
                os.unlink(file)

    def _news(self, file: str) -> list[str]:
        from pytest_alchemy.state.disk import open_regular

        with os.fdopen(open_regular(file, os.O_RDONLY), "rb") as stream:
            stream.seek(self._read[file])
            whole, end, _ = stream.read().rpartition(b"\n")
        self._read[file] += len(whole) + len(end)
        return whole.decode(errors="replace").splitlines()


def _line(what: str, gone: int, total: int, seconds: float, awaited: str) -> str:
    from pytest_alchemy.report.texts import scrub

    waits = f", waiting for {awaited}" if awaited else ""
    return scrub(f"alchemy: {what}: {gone} of {total} destroyed after {seconds:.0f} s{waits}")


def say(config: pytest.Config, text: str) -> None:
    """Write *text* as a line of its own, whatever is being captured."""
    from pytest_alchemy.report.texts import one_line

    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is None or config.get_verbosity() < 0:
        return
    if capture is None:
        _write(reporter, one_line(text, 300))
        return
    with capture.global_and_fixture_disabled():
        _write(reporter, one_line(text, 300))


def _write(reporter: pytest.TerminalReporter, text: str) -> None:
    reporter.ensure_newline()
    reporter.write_line(text)
    reporter.flush()
