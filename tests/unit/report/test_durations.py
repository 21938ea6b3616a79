"""Promises of the list of what took longest."""

from __future__ import annotations

from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.durations import duration_lines
from pytest_alchemy.report.fates import What
from tests.unit.report.facts import NOON, fact


def test_the_slowest_creates_and_destroys_are_told() -> None:
    book = FactBook()
    for number, id in enumerate(("quick", "slow", "slower")):
        what: What = "leaked" if id == "slower" else "destroyed"
        book.add(
            fact(what, id=id, name=id, worker="main" if id == "slow" else "gw3", ready=NOON + number + 1,
                 ending=NOON + 50, ended=NOON + 50.5 + number, errors=("boom",) * (3 if id == "slower" else 0))
        )  # fmt: skip
    book.add(fact("kept", id="untimed", name="untimed"))

    assert list(duration_lines(book, 2)) == [
        "slowest 2 of 3 creates",
        "   3.000 s  D1Database slower (3 failed attempts)  tests/test_orders.py::test_refund [gw3]",
        "   2.000 s  D1Database slow  tests/test_orders.py::test_refund",
        "slowest 2 of 3 destroys",
        "   2.500 s  D1Database slower (3 failed attempts)  tests/test_orders.py::test_refund [gw3]",
        "   1.500 s  D1Database slow  tests/test_orders.py::test_refund",
    ]
    assert len(list(duration_lines(book, 0))) == 8
    assert list(duration_lines(FactBook(), 3)) == []
