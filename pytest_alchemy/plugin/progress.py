"""How far a long teardown is, in lines between those of pytest."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

Progress = Callable[[str, int, int, float], None]


def teller(config: pytest.Config) -> Progress:
    """
    Return what tells in the terminal of *config* how far a teardown is.

    It writes whole lines, so that a log stays readable, and from the main thread only, because what the tests print
    is captured meanwhile.
    """

    def tell(what: str, gone: int, total: int, seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            say(config, f"alchemy: {what}: {gone} of {total} destroyed after {seconds:.0f} s")

    return tell


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
