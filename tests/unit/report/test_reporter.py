"""Promises of the report inside a run of pytest."""

from __future__ import annotations

import pytest

HOOKS = """
import pytest
from pytest_alchemy.report import terminal
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.facts import Fact

def pytest_addoption(parser):
    parser.addoption("--made", action="append", default=[])
    parser.addoption("--mode", default="warn")
    parser.addoption("--screen", action="store_true")

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporting(config))

class Reporting:
    def __init__(self, config):
        self.mode = config.getoption("mode")
        self.book = FactBook("shop/test-k3f9x2ab")
        for number, what in enumerate(config.getoption("made")):
            self.book.count(created=1, scopes=1)
            self.book.add(Fact(
                what=what, kind="D1Database", id="orders", name=f"alt-{number}", scope="shop/s", stage="s", app="shop",
                where=f"{config.rootpath}/test_leaky.py:7", test="test_leaky.py::test_leak", worker="gw0",
                reason="word " * 30,
            ))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        if self.book.fails_run(self.mode) and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        if terminalreporter.config.getoption("screen"):
            terminalreporter.isatty = True
        terminal.add_stats(terminalreporter, self.book, leaks_mode=self.mode)
        terminal.write(terminalreporter, self.book, leaks_mode=self.mode)
"""

TESTS = """
def test_leak():
    pass

def test_other():
    pass
"""


@pytest.fixture(autouse=True)
def plugin(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(alchemy_hooks=HOOKS, test_leaky=TESTS)
    pytester.syspathinsert()
    # Each run here would import all the plugins that happen to be installed anew: seconds of it.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p alchemy_hooks -p no:cacheprovider")
    monkeypatch.delenv("PY_COLORS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def test_a_leak_turns_a_green_run_red(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--made=leaked", "--mode=fail")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "=* alchemy scopes =*",
            "1 created, 0 destroyed, 1 LEAKED in shop/test-k3f9x2ab",
            "LEAKED D1Database orders*",
            "*created by test_leaky.py:7*",
            "exit 1: leaks fail the run (--alchemy-leaks=warn to allow)",
            "=* 2 passed, 1 leaked in *",
        ],
        consecutive=False,
    )


def test_a_run_without_scopes_looks_as_ever(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--color=yes")

    result.stdout.no_fnmatch_line("*alchemy scopes*")
    result.stdout.re_match_lines([r"\x1b\[32m=+ .*2 passed.* in .*=\x1b\[0m$"])


def test_every_sort_is_counted_in_the_last_line(pytester: pytest.Pytester) -> None:
    sorts = ["kept", "leaked", "leaked", "reaped", "untracked", "unrecoverable"]

    result = pytester.runpytest(*[f"--made={what}" for what in sorts])

    assert result.ret == pytest.ExitCode.OK
    last = "*2 passed, 2 leaked, 1 unrecoverable, 1 reaped, 1 untracked, 1 kept in *"
    result.stdout.fnmatch_lines([last])


def test_leaks_are_counted_after_an_early_end(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_leaky="def test_leak():\n    assert 0\n\ndef test_other():\n    pass\n"
    )

    result = pytester.runpytest("-x", "--made=leaked")

    result.stdout.fnmatch_lines(["*1 failed, 1 leaked in *"])


def test_workers_leave_the_last_line_to_their_controller(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(
        "-pxdist", "-n1", "--made=leaked", "--mode=fail", timeout=60
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().count("alchemy scopes") == 1
    result.stdout.fnmatch_lines(["*2 passed, 1 leaked in *"])


def test_leaks_that_are_switched_off_are_not_in_the_last_line(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--made=leaked", "--made=kept", "--mode=off")

    result.stdout.fnmatch_lines(["*2 passed, 1 kept in *"])


def test_lines_are_broken_on_a_screen_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    whole = pytester.runpytest("--made=leaked").stdout.str()
    broken = pytester.runpytest("--made=leaked", "--screen").stdout.str()

    reason = " ".join(["word"] * 30)
    assert f"       {reason}\n" in whole
    assert reason not in broken
    assert reason in " ".join(broken.split())


def test_colours_follow_pytest(pytester: pytest.Pytester) -> None:
    coloured = pytester.runpytest("--made=leaked", "--color=yes").stdout.str()
    plain = pytester.runpytest("--made=leaked", "--color=no").stdout.str()

    assert "\x1b[33m\x1b[1mLEAKED D1Database orders" in coloured
    assert "\x1b" not in plain


def test_a_reporter_without_its_own_method_counts_all_the_same(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_terminal_summary(terminalreporter):
            terminalreporter._add_stats = None
        """
    )

    result = pytester.runpytest("--made=leaked")

    result.stdout.fnmatch_lines(["*2 passed, 1 leaked in *"])
