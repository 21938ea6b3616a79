"""The end of a run in the process that talks to the user: its report, and what leaks do to the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .importing import imported_by_python

if TYPE_CHECKING:
    from pytest_alchemy.report.book import FactBook
    from pytest_alchemy.report.document import Document, Origin
    from pytest_alchemy.report.facts import Fact

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
        self._page: Path | None = None
        self._document: Document | None = None
        self._clean_up = ""
        self._trouble: list[str] = []
        self._completed = self._told = self._interrupted = False
        config.add_cleanup(self._tell_late)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Complete the book, write the files, and let leaks fail a run that was green."""
        self._complete()
        if session.exitstatus != pytest.ExitCode.OK:
            return
        if self._book.fails_run(self._options.leaks):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif self._interrupted and any(self._is_unfinished(fact) for fact in self._book.facts):
            session.exitstatus = pytest.ExitCode.INTERRUPTED

    def pytest_keyboard_interrupt(self) -> None:
        """Remember that the run was cut short: `pytest.exit` may ask for exit code 0 all the same."""
        self._interrupted = True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the report and the counts of pytest's last line."""
        self._tell(terminalreporter)

    def _complete(self) -> None:
        if self._completed:
            return
        book, options = self._book, self._options
        book.title = f"{options.app}/{options.stage}-{self._run}"
        self._finish()  # a second Ctrl-C ends it, and what is left of the run asks again
        self._completed = True
        if book.is_silent:
            return
        if self._left_on_disk():
            self._clean_up = sweep_command(self._config, options)
        if options.report is not None:
            self._write(options.report)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            self._summarize()

    def _write(self, folder: Path) -> None:
        from pytest_alchemy.errors import ReportFileError
        from pytest_alchemy.report.files import PAGE, write

        try:
            self._document = write(self._book, folder, self._origin())
            self._page = folder / PAGE
        except ReportFileError as error:  # the tests' own results are not to be lost for that
            self._trouble.append(str(error))

    def _summarize(self) -> None:
        """Append to the summary of the step that GitHub shows."""
        from pytest_alchemy.report.github import append_summary

        try:
            append_summary(self._as_document(), os.environ.get("GITHUB_STEP_SUMMARY", ""))
        except OSError as error:
            self._trouble.append(f"The summary of the step could not be written: {error}")

    def _origin(self) -> Origin:
        from pytest_alchemy.report.document import Origin

        return Origin(
            app=self._options.app,
            run=self._run,
            title=self._book.title,
            rootdir=self._config.rootpath,
            clean_up=self._clean_up,
        )

    def _as_document(self) -> Document:
        from pytest_alchemy.report.document import as_document

        if self._document is None:
            self._document = as_document(self._book, self._origin())
        return self._document

    def _annotate(self, reporter: pytest.TerminalReporter) -> None:
        """Mark the lines that made what leaked, where GitHub shows them."""
        from pytest_alchemy.report.github import commands

        workspace = Path(os.environ.get("GITHUB_WORKSPACE") or self._config.rootpath)
        for line in commands(
            self._as_document(), leaks_mode=self._options.leaks, workspace=workspace
        ):
            reporter.ensure_newline()
            reporter.write_line(line)

    def _tell(self, reporter: pytest.TerminalReporter) -> None:
        self._told = True
        if self._book.is_silent:
            return
        with imported_by_python(self._config):
            from pytest_alchemy.report import terminal

        mode = self._options.leaks
        terminal.write(
            reporter,
            self._book,
            leaks_mode=mode,
            report_file=self._page,
            clean_up=self._clean_up,
            durations=self._options.durations,
        )
        for line in "\n".join(self._trouble).splitlines():
            reporter.write_line(line, red=True)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            self._annotate(reporter)
        terminal.add_stats(reporter, self._book, leaks_mode=mode)

    def _is_unfinished(self, fact: Fact) -> bool:
        """Whether *fact* tells what this run has left to its watchdog."""
        return fact.what == "unfinished" and self._run in fact.stage

    def _left_on_disk(self) -> bool:
        """Whether a stage that is still there records what nothing destroys by itself, so that others can clean up."""
        left = {
            (fact.app, fact.stage)
            for fact in self._book.facts
            if fact.what == "leaked"
            or (fact.what == "unfinished" and not self._is_unfinished(fact))
        }
        if not left:
            return False
        from pytest_alchemy.state.folders import Root

        root = Root(self._options.root)
        return any(root.stage_path(app, stage).is_dir() for app, stage in left)

    def _tell_late(self) -> None:
        """Tell what pytest did not ask for: it skips its summary after a second Ctrl-C and for exit codes of others."""
        self._complete()
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if not self._told and reporter is not None:
            self._tell(reporter)


def sweep_command(config: pytest.Config, options: Options) -> str:
    """Return the command that cleans up what stages of this run record, as the user would call it from here."""
    from pytest_alchemy.recovery.roots import nearest_root

    if nearest_root(config.invocation_params.dir) == options.root:
        return "alchemy sweep --yes"
    import shlex

    return f"alchemy sweep --yes --root {shlex.quote(str(options.root))}"
