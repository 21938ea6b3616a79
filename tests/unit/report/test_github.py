"""Promises of what GitHub shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.document import Origin, as_document
from pytest_alchemy.report.fates import LeaksMode
from pytest_alchemy.report.github import MOST_BYTES, append_summary, commands, summary
from tests.unit.report.facts import ROOT, fact

ORIGIN = Origin(
    app="shop",
    run="k3f9x2ab",
    rootdir=ROOT,
    title="shop/test-k3f9x2ab",
    clean_up="alchemy sweep --yes",
)


@pytest.fixture
def book() -> FactBook:
    book = FactBook()
    book.count(created=3, destroyed=1, retries={"429": 2})
    return book


def marks(
    book: FactBook, *, leaks_mode: LeaksMode = "fail", workspace: PurePosixPath = ROOT
) -> list[str]:
    return list(commands(as_document(book, ORIGIN), leaks_mode=leaks_mode, workspace=workspace))


def test_a_leak_is_marked_on_the_line_that_made_it(book: FactBook) -> None:
    book.add(fact(hint="50% off:\nwait"))
    book.add(fact("reaped", name="n2"))

    assert marks(book) == [
        "::error file=tests/test_orders.py,line=41,title=Leaked D1Database orders (alt-shop-orders-x7)::"
        "destroy failed: RuntimeError: boom%0A"
        "in shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund%0A"
        "tests/test_orders.py:41 in tests/test_orders.py::test_refund [gw3]%0A"
        "50%25 off:%0Await%0A"
        "clean up: alchemy sweep --yes"
    ]


@pytest.mark.parametrize(("mode", "level"), [("fail", "error"), ("warn", "warning")])
def test_the_level_says_what_a_leak_does_to_the_run(
    book: FactBook, mode: LeaksMode, level: str
) -> None:
    book.add(fact())

    assert marks(book, leaks_mode=mode)[0].startswith(f"::{level} ")
    assert marks(book, leaks_mode="off") == []


@pytest.mark.parametrize(
    ("workspace", "where", "place"),
    [
        ("/home/ann", f"{ROOT}/tests/test_a.py:7", "file=shop/tests/test_a.py,line=7,"),
        ("/elsewhere", f"{ROOT}/tests/test_a.py:7", ""),
        (str(ROOT), "/usr/lib/helper.py:7", ""),
        (str(ROOT), f"{ROOT}/a,b:c%.py:7", "file=a%2Cb%3Ac%25.py,line=7,"),
        (str(ROOT), "", ""),
    ],
)
def test_a_file_is_named_as_in_the_checkout_or_not_at_all(
    book: FactBook, workspace: str, where: str, place: str
) -> None:
    book.add(fact(where=where))

    [line] = marks(book, workspace=PurePosixPath(workspace))

    assert line.startswith(f"::error {place}title=")


def test_at_most_ten_marks_are_made(book: FactBook) -> None:
    for number in range(10):
        book.add(fact(name=f"n{number}"))
    assert len(marks(book)) == 10

    book.add(fact(name="n10"))

    assert len(marks(book)) == 10
    assert marks(book)[-1] == (
        "::error title=and 2 more leaks::3 created, 1 destroyed, 11 leaked (2 retries: 2x 429)"
    )


@given(st.text(st.characters(codec=None), max_size=80))
def test_no_text_begins_another_command_or_leaves_its_place(text: str) -> None:
    book = FactBook()
    fields = ("kind", "id", "name", "scope", "test", "reason", "hint", "worker")
    names: Any = dict.fromkeys(fields, text)
    book.add(fact(**names))

    [line] = commands(
        as_document(book, replace(ORIGIN, clean_up=text)), leaks_mode="fail", workspace=ROOT
    )

    assert not re.search(r"[\r\n]", line)
    assert re.fullmatch(r"::error file=[^,:]*,line=\d+,title=[^,:]*::.*", line, re.DOTALL)


def test_a_summary_tells_problems_in_a_table(book: FactBook) -> None:
    book.add(fact(reason="a | b\n<b>`c`</b>"))

    assert summary(as_document(book, ORIGIN)) == (
        "### alchemy scopes\n"
        "\n"
        "3 created, 1 destroyed, 1 leaked &#40;2 retries&#58; 2x 429&#41;\n"
        "\n"
        "Clean up:\n"
        "\n"
        "    alchemy sweep --yes\n"
        "\n"
        "| | what | made by | why |\n"
        "|---|---|---|---|\n"
        "| leaked | D1Database orders &#40;alt&#45;shop&#45;orders&#45;x7&#41; "
        "| tests/test&#95;orders.py&#58;41 in tests/test&#95;orders.py&#58;&#58;test&#95;refund &#91;gw3&#93; "
        "| a &#124; b &#60;b&#62;&#96;c&#96;&#60;/b&#62; |\n"
        "\n"
    )


def test_a_summary_of_a_clean_run_is_one_line(book: FactBook) -> None:
    told = summary(as_document(FactBook(), replace(ORIGIN, clean_up="")))

    assert told == "### alchemy scopes\n\n0 created, 0 destroyed, 0 leaked\n\n"


def test_a_summary_is_bounded(book: FactBook) -> None:
    for number in range(12_000):
        book.add(fact(name=f"n{number}", reason="|" * 1000, id="|" * 1000, test="|" * 1000))

    told = summary(as_document(book, ORIGIN))

    assert len(told.encode()) <= MOST_BYTES + 100
    assert told.count("\n| leaked |") <= 200
    assert re.search(r"\.\.\. and \d+ more\n\n$", told)


def test_a_summary_goes_behind_what_the_step_has_written(book: FactBook, tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    document = as_document(book, ORIGIN)

    append_summary(document, str(file))
    append_summary(document, "")

    assert file.read_text() == "before\n" + summary(document)


def test_a_path_that_is_no_text_stands_in_a_summary_all_the_same(
    book: FactBook, tmp_path: Path
) -> None:
    file = tmp_path / "summary.md"
    book.add(fact())
    origin = replace(ORIGIN, clean_up="alchemy sweep --yes --root caf\udce9")

    append_summary(as_document(book, origin), str(file))

    assert r"--root caf\udce9" in file.read_text()
