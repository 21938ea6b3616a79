"""The whole matrix: what is run every day, and what is run to soak."""

from __future__ import annotations

from . import neighbours, rows
from .row import Case, cases

INSTANTS = 10
"""At how many random instants a run is killed every day."""


def daily() -> list[Case]:
    """Return the cases of every day."""
    return [case for case in _all(INSTANTS) if case.daily]


def soaking() -> list[Case]:
    """Return all cases but the random instants."""
    return _all(0)


def instants(count: int) -> list[Case]:
    """Return that many random instants."""
    return cases(rows.at_random(count))


def _all(count: int) -> list[Case]:
    return cases((*rows.ALL, *neighbours.ALL, *rows.at_random(count)))
