"""The slowest creates and destroys of a run, as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.facts import Fact
from pytest_alchemy.report.texts import one_line

_LONGEST: Final = 100


def duration_lines(book: FactBook, most: int) -> Iterator[str]:
    """
    Yield the *most* slowest creates and destroys that *book* knows, the slowest first; 0 for all.

    The time of a destroy includes waiting for a busy provider and trying again.
    """
    facts = [*book.facts, *book.gone]
    for word, took in (("creates", "creating"), ("destroys", "destroying")):
        timed = sorted(
            ((getattr(fact, took), fact) for fact in facts if getattr(fact, took)),
            key=lambda pair: -pair[0],
        )
        shown = timed[: most or None]
        if shown:
            yield f"slowest {len(shown)} of {len(timed)} {word}"
        for seconds, fact in shown:
            yield f"{seconds:8.3f} s  {_whose(fact)}"


def _whose(fact: Fact) -> str:
    worker = "" if fact.worker in ("", "main") else f" [{fact.worker}]"
    attempts = f" ({len(fact.errors)} failed attempts)" if len(fact.errors) > 1 else ""
    thing = one_line(f"{fact.kind} {fact.id}", _LONGEST)
    return f"{thing}{attempts}  {one_line(fact.test, _LONGEST)}{worker}"
