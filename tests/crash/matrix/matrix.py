"""The whole matrix: what is run every day, and what is run to soak."""

from __future__ import annotations

from . import neighbours, rows
from .row import Case, Row, cases
from .row import daily as daily_of

INSTANTS = 4
"""At how many random instants a run is killed every day."""

ROWS: tuple[Row, ...] = (*rows.ALL, *neighbours.ALL)
"""All rows but the random instants."""


def daily() -> list[Case]:
    """Return the cases of every day: each row, and over the rows every way to start one."""
    return [case for row in (*ROWS, *rows.at_random(INSTANTS)) for case in daily_of(row)]


def soaking() -> list[Case]:
    """Return all cases but the random instants."""
    return cases(ROWS)


def instants(count: int) -> list[Case]:
    """Return that many random instants."""
    return cases(rows.at_random(count))
