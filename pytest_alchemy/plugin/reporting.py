"""The end of a run in the process that talks to the user: its report, and what leaks do to the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_alchemy.report.facts import FactBook

    from .options import Options


class Reporter:
    """
    Reports what *book* knows when the run ends.

    Args:
        config: The run's configuration.
        options: What was chosen for it.
        book: All that is known of the run.
        run: Id of the run.
        finish: Ends what is still open and completes the book; may be called more than once.
    """

    def __init__(
        self,
        config: pytest.Config,
        options: Options,
        book: FactBook,
        run: str,
        finish: Callable[[], None],
    ) -> None:
        self._config, self._options, self._book, self._run = config, options, book, run
        self._finish = finish
        self._file: Path | None = None
        self._completed = self._told = False
        config.add_cleanup(self._tell_late)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Complete the book, write the files, and let leaks fail a run that was green."""
        self._complete()
        if self._book.fails_run(self._options.leaks) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the report and the counts of pytest's last line."""
        self._tell(terminalreporter)

    def _complete(self) -> None:
        if self._completed:
            return
        self._completed = True
        self._finish()
        book, options = self._book, self._options
        if book.is_silent:
            return
        book.title = f"{options.app}/{options.stage}-{self._run}"
        if options.report is not None:
            from pytest_alchemy.report.files import write_json

            self._file = write_json(
                book, options.report, app=options.app, run=self._run, rootdir=self._config.rootpath
            )

    def _tell(self, reporter: pytest.TerminalReporter) -> None:
        self._told = True
        if self._book.is_silent:
            return
        from pytest_alchemy.report import terminal

        mode = self._options.leaks
        terminal.write(reporter, self._book, leaks_mode=mode, report_file=self._file)
        terminal.add_stats(reporter, self._book, leaks_mode=mode)

    def _tell_late(self) -> None:
        """Tell what pytest did not ask for: it skips its summary after a second Ctrl-C and for exit codes of others."""
        self._complete()
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if not self._told and reporter is not None:
            self._tell(reporter)
