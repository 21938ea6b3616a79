"""
The report as people read it at the end of a run.

On a screen, lines are broken at its width; anywhere else each stays whole, so that a log can be searched. Whatever a
test put into a name is shown on one line, without a character that a terminal would act on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from pytest_alchemy import clock
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.durations import duration_lines
from pytest_alchemy.report.facts import Fact, below
from pytest_alchemy.report.fates import LEAKS, WHATS, LeaksMode, Told, What
from pytest_alchemy.report.texts import one_line
from pytest_alchemy.report.words import retries

if TYPE_CHECKING:
    import pytest

Markup = dict[str, bool]
Line = tuple[str, Markup]

TITLE: Final = "alchemy scopes"
MOST_BULLETS: Final = 50
"""How many facts are told without ``-v``."""

_INDENT: Final = " " * 7
_NARROWEST: Final = 40
_LONGEST_NAME: Final = 300
_LONGEST_REASON: Final = 600
_QUIET: Final[frozenset[What]] = frozenset(("untracked", "kept"))  # no problem of anybody's


class Noted:
    """
    What stands in pytest's own statistics for one fact.

    Attributes:
        nodeid: The test that it belongs to.
    """

    count_towards_summary = True

    def __init__(self, fact: Fact) -> None:
        self.fact = fact
        self.nodeid = fact.test


def write(
    reporter: pytest.TerminalReporter,
    book: FactBook,
    *,
    leaks_mode: LeaksMode,
    report_file: PurePath | None = None,
    clean_up: str = "",
    durations: int | None = None,
) -> None:
    """
    Write the section about scopes, if there is anything to tell.

    Args:
        reporter: pytest's own reporter.
        book: What is known of the run.
        leaks_mode: What a leak does to the run.
        report_file: The page that was written, if it was.
        clean_up: The command that destroys what is left; empty if there is none.
        durations: How many of the slowest creates and destroys to show, 0 for all, None for none.
    """
    config = reporter.config
    lines = summary_lines(
        book,
        width=config.get_terminal_writer().fullwidth if reporter.isatty else 0,
        rootdir=config.rootpath,
        leaks_mode=leaks_mode,
        report_file=report_file,
        clean_up=clean_up,
        verbosity=config.get_verbosity(),
    )
    if not lines:
        return
    reporter.write_sep("=", TITLE)
    for text, markup in lines:
        reporter.write_line(text, **markup)
    for text in () if durations is None else duration_lines(book, durations):
        reporter.write_line(text)


def add_stats(reporter: pytest.TerminalReporter, book: FactBook, *, leaks_mode: LeaksMode) -> None:
    """
    Make pytest's last line count the facts: ``2 passed, 2 leaked, 1 reaped``. To be called once, at the end.

    pytest fixes its list of categories when it meets the last test, or a new category by its own method; a list that
    was simply put into ``stats`` is left out after ``-x``, and an empty one that is there from the start turns every
    green run yellow.

    Args:
        reporter: pytest's own reporter.
        book: What is known of the run.
        leaks_mode: ``off`` leaves leaks out.
    """
    add = getattr(reporter, "_add_stats", None)
    for what, number in stats_for(book).items():
        if leaks_mode == "off" and what in LEAKS:
            continue
        noted = [Noted(fact) for fact in book.facts if fact.what == what]
        noted += noted[-1:] * (number - len(noted))  # of very many, not all are listed
        if add is not None:
            add(what, noted)
        else:
            reporter.stats.setdefault(what, []).extend(noted)


def stats_for(book: FactBook) -> dict[Told, int]:
    """Return the categories for pytest's last line and their numbers, without zeros, the worst first."""
    return {what: number for what, number in book.tally().items() if number}


def summary_lines(
    book: FactBook,
    *,
    width: int,
    rootdir: PurePath,
    leaks_mode: LeaksMode,
    report_file: PurePath | None = None,
    clean_up: str = "",
    verbosity: int = 0,
    now: float | None = None,
) -> list[Line]:
    """
    Return what is to be written about *book*.

    Args:
        book: What is known of the run.
        width: Columns of the screen; 0 leaves every line whole.
        rootdir: Paths below it are shown relative to it.
        leaks_mode: ``off`` counts leaks, but neither lists them nor calls them a problem.
        report_file: The page that was written, if it was.
        clean_up: The command that destroys what is left; empty if there is none.
        verbosity: From 1 on everything is told and nothing cut; below 0 only what is a problem.
        now: Moment of the report, in seconds since the epoch.

    Returns:
        Each line and how pytest should mark it up; none at all if no scope was used.
    """
    if book.is_silent:
        return []
    page = _Page(width, rootdir, verbosity, clock.now() if now is None else now)
    told = [fact for fact in _worst_first(book.facts) if _is_told(fact.what, leaks_mode, verbosity)]
    shown = told if verbosity > 0 else told[:MOST_BULLETS]
    total = sum(n for what, n in book.tally().items() if _is_told(what, leaks_mode, verbosity))
    lines = list(page.wrap(_counts(book), _colour_of_counts(book, leaks_mode), indent=""))
    for fact in shown:
        lines += page.bullet(fact, leaks_mode)
    if hidden := total - len(shown):
        more = f"... and {hidden} more" + (" (all with -v)" if verbosity <= 0 else "")
        lines += page.wrap(more, {}, indent="")
    if clean_up and any(fact.what in ("leaked", "unfinished") for fact in told):
        lines += page.wrap(f"clean up: {one_line(clean_up)}", {}, indent="")
    if report_file is not None and told and verbosity >= 0:
        place = one_line(below(rootdir, str(report_file)))
        beside = " (leaks.json, leaks.xml beside it)"
        lines += page.wrap(f"report: {place}{beside}", {}, indent="")
    if book.fails_run(leaks_mode):
        text = "exit 1: leaks fail the run (--alchemy-leaks=warn to allow)"
        lines += page.wrap(text, {"red": True, "bold": True}, indent="")
    return lines


class _Page:
    """What the lines of one report have in common."""

    def __init__(self, width: int, rootdir: PurePath, verbosity: int, now: float) -> None:
        self._width, self._rootdir, self._verbosity = width, rootdir, verbosity
        self._now = now
        self._hints: set[str] = set()

    def bullet(self, fact: Fact, leaks_mode: LeaksMode) -> Iterator[Line]:
        head = f"{fact.what.upper()} {self._thing(fact)} in {self._name(fact.scope)}"
        if fact.profile not in ("", "default"):
            head += f" (profile {self._name(fact.profile)})"
        yield from self.wrap(head, _colour_of(fact, leaks_mode), indent=_INDENT)
        for text in (self._origin(fact), self._world(fact), self._reason(fact), self._hint(fact)):
            if text:
                yield from self.wrap(_INDENT + text, {}, indent=_INDENT)
        for number, error in enumerate(fact.errors if self._verbosity > 0 else (), 1):
            yield from self.wrap(
                f"{_INDENT}attempt {number}: {one_line(error)}", {}, indent=_INDENT
            )

    def wrap(self, text: str, markup: Markup, *, indent: str) -> Iterator[Line]:
        if not self._width or len(text) <= self._width:
            yield text, markup
            return
        for part in textwrap.wrap(
            text,
            max(self._width, _NARROWEST),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            yield part, markup

    def _name(self, text: str) -> str:
        return one_line(text, None if self._verbosity > 0 else _LONGEST_NAME) or "''"

    def _thing(self, fact: Fact) -> str:
        thing = f"{self._name(fact.kind)} {self._name(fact.id)}"
        if fact.kind == "deferred" or fact.name in ("", fact.id):
            return thing
        return f"{thing} ({self._name(fact.name)})"

    def _origin(self, fact: Fact) -> str:
        file, line = fact.place(self._rootdir)
        test = fact.test.removeprefix(f"{file}::") if file else fact.test
        place = file if line is None else f"{file}:{line}"
        names = [self._name(name) for name in (place, test) if name]
        parts = ["created by", *names] if names else ["created"]
        if fact.worker not in ("", "main"):
            parts.append(f"[{self._name(fact.worker)}]")
        if fact.at:
            parts.append(f"at {self._moment(fact.at)}")
        return " ".join(parts) if len(parts) > 1 else ""

    def _moment(self, at: float) -> str:
        moment, now = clock.instant(at).astimezone(), clock.instant(self._now).astimezone()
        is_today = moment.date() == now.date()
        return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")

    def _world(self, fact: Fact) -> str:
        return f"lives in {self._name(fact.world)}" if fact.world and self._verbosity > 0 else ""

    def _reason(self, fact: Fact) -> str:
        reason = self._sentence(fact.reason)
        if fact.what != "reaped":
            return reason
        if not reason:
            who = "its process" if fact.worker in ("", "main") else f"[{self._name(fact.worker)}]"
            reason = f"{who} died in {self._name(fact.test)}" if fact.test else f"{who} died"
        took = f"destroyed in {fact.seconds:.1f} s" if fact.seconds else ""
        return f"{reason}; {took}" if took else reason

    def _hint(self, fact: Fact) -> str:
        if self._verbosity < 0 or fact.hint in self._hints:
            return ""
        self._hints.add(fact.hint)
        return self._sentence(fact.hint)

    def _sentence(self, text: str) -> str:
        # Errors of ours have several lines; as one sentence they read better than with \n in them.
        limit = None if self._verbosity > 0 else _LONGEST_REASON
        return one_line(" ".join(text.split()), limit)


def _counts(book: FactBook) -> str:
    tally = book.tally()
    parts = [f"{book.created} created", f"{book.destroyed} destroyed"]
    for what in reversed(WHATS):
        if tally[what]:
            word = what.upper() if what == "leaked" else what
            parts.append(f"{tally[what]} {word}")
        elif what == "leaked":
            parts.append("0 leaked")
    place = f" in {one_line(book.title)}" if book.title else ""
    return ", ".join(parts) + retries(book.retries) + place


def _worst_first(facts: Iterable[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: WHATS.index(fact.what))


def _is_told(what: What, leaks_mode: LeaksMode, verbosity: int) -> bool:
    if what in LEAKS:
        return leaks_mode != "off"
    return verbosity >= 0 or what not in _QUIET


def _colour_of(fact: Fact, leaks_mode: LeaksMode) -> Markup:
    if fact.is_leak:
        return {"red" if leaks_mode == "fail" else "yellow": True, "bold": True}
    return {"cyan" if fact.what == "kept" else "yellow": True}


def _colour_of_counts(book: FactBook, leaks_mode: LeaksMode) -> Markup:
    if book.fails_run(leaks_mode):
        return {"red": True, "bold": True}
    calm: set[What] = {"kept", *(LEAKS if leaks_mode == "off" else ())}
    return {"yellow" if stats_for(book).keys() - calm else "green": True}
