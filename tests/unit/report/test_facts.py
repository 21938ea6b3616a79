"""Promises of facts and of the book that collects them."""

from __future__ import annotations

import enum
import itertools
import json
import subprocess
import sys
import threading
from typing import Any

import execnet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.facts import Fact, resolve
from pytest_alchemy.report.fates import WHATS, What
from tests.unit.report.facts import NOON, ROOT, fact

CALL: dict[str, Any] = {"kind": "deferred", "id": "close()", "name": ""}


def through_execnet(data: Any) -> Any:
    return execnet.loads(execnet.dumps(data))


class Colour(enum.StrEnum):
    RED = "red"


class Name(str):
    __slots__ = ()


def test_a_fact_survives_its_way_to_another_process() -> None:
    sent = fact("reaped", hint="look there", seconds=0.75)

    assert Fact.from_dict(through_execnet(sent.as_dict())) == sent
    assert Fact.from_dict(json.loads(json.dumps(sent.as_dict()))) == sent


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\udcffb", "a\\udcffb"),
        ("\x1b[31m\n", "\x1b[31m\n"),
        (Name("orders"), "orders"),
        (Colour.RED, "red"),
        ("🦊", "🦊"),
    ],
)
def test_any_text_becomes_one_that_can_be_sent(given: str, kept: str) -> None:
    made = fact(id=given, at=3)

    assert made.id == kept
    assert type(made.id) is str
    assert type(made.at) is float
    assert through_execnet(made.as_dict())["id"] == kept


def test_what_is_changed_can_be_sent_as_well() -> None:
    changed = fact(reason="at first").changed(reason="a\udcffb", at=3)

    assert changed == fact(reason="a\\udcffb", at=3.0)
    assert type(changed.at) is float


@settings(max_examples=50)
@given(st.text(st.characters()), st.floats(allow_nan=False))
def test_whatever_a_name_holds_it_arrives_as_it_left(text: str, number: float) -> None:
    sent = fact(id=text, name=text, reason=text, at=number)

    assert Fact.from_dict(through_execnet(sent.as_dict())) == sent


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("/home/ann/shop/tests/test_a.py:7", ("tests/test_a.py", 7)),
        ("/usr/lib/helper.py:12", ("/usr/lib/helper.py", 12)),
        ("/home/ann/shop-2/test_a.py:7", ("/home/ann/shop-2/test_a.py", 7)),
        ("/home/ann/shop/a:b.py:7", ("a:b.py", 7)),
        ("<string>:1", ("<string>", 1)),
        ("nowhere", ("nowhere", None)),
        ("C:\\nowhere", ("C:\\nowhere", None)),
        ("", ("", None)),
    ],
)
def test_a_place_is_told_relative_to_rootdir(where: str, place: tuple[str, int | None]) -> None:
    assert fact(where=where).place(ROOT) == place


@pytest.mark.parametrize("what", WHATS)
def test_a_leak_is_what_is_there_though_nobody_asked_to_keep_it(what: What) -> None:
    assert fact(what).is_leak is (what in {"leaked", "unrecoverable", "elsewhere"})


RANKS: tuple[What, ...] = (
    "destroyed",
    "untracked",
    "kept",
    "unfinished",
    "leaked",
    "unrecoverable",
    "elsewhere",
    "reaped",
)


@pytest.mark.parametrize(("less", "more"), list(itertools.combinations(RANKS, 2)))
def test_the_more_final_of_two_facts_is_told_whichever_comes_first(less: What, more: What) -> None:
    weak, strong = fact(less, reason="weak"), fact(more, reason="strong")

    assert resolve(weak, strong) == strong
    assert resolve(strong, weak) == strong


def test_the_later_of_two_equally_final_facts_is_told() -> None:
    first, second = fact(reason="at first"), fact(reason="in the end")

    assert resolve(first, second) == second


def test_what_the_told_fact_does_not_know_comes_from_the_other() -> None:
    leak = fact()
    reaped = fact(
        "reaped", profile="", world="", worker="", test="", where="", at=0, reason="swept"
    )

    told = resolve(leak, reaped)

    assert told == fact("reaped", reason="swept")


def test_a_leak_that_was_reaped_in_the_end_is_no_leak() -> None:
    for facts in itertools.permutations(
        [fact(), fact("reaped", reason="worker gw3 died", seconds=0.5)]
    ):
        book = FactBook()
        for each in facts:
            book.add(each)

        assert [(f.what, f.reason, f.seconds) for f in book.facts] == [
            ("reaped", "worker gw3 died", 0.5)
        ]
        assert book.leaks == []
        assert not book.fails_run("fail")


@pytest.mark.parametrize("field", ["app", "stage", "kind", "id", "name"])
def test_different_things_are_different_facts(field: str) -> None:
    other: dict[str, Any] = {field: "other"}
    book = FactBook()

    book.add(fact())
    book.add(fact("reaped", **other))

    assert [f.what for f in book.facts] == ["leaked", "reaped"]


@pytest.mark.parametrize("field", ["scope", "test", "where", "at"])
def test_deferred_calls_that_look_alike_are_told_apart(field: str) -> None:
    other: dict[str, Any] = {field: 5.0 if field == "at" else "other"}
    book = FactBook()

    book.add(fact(**CALL))
    book.add(fact(**CALL | other))
    book.add(fact("reaped", **CALL))

    assert [f.what for f in book.facts] == ["reaped", "leaked"]


def test_what_is_untracked_is_told_for_each_test() -> None:
    book = FactBook()

    book.add(fact("untracked", test="test_a.py::test_1"))
    book.add(fact("untracked", test="test_a.py::test_2"))

    assert book.tally()["untracked"] == 2


def test_a_new_book_is_silent() -> None:
    assert FactBook().is_silent


@pytest.mark.parametrize("count", ["scopes", "created", "destroyed"])
def test_a_count_breaks_the_silence(count: str) -> None:
    book = FactBook()

    one: Any = {count: 1}
    book.count(**one)

    assert not book.is_silent


def test_a_fact_breaks_the_silence() -> None:
    book = FactBook()

    book.add(fact("kept"))

    assert not book.is_silent


def test_a_tally_lists_every_sort_the_worst_first() -> None:
    book = FactBook()
    for number, what in enumerate(["kept", "leaked", "leaked", "reaped"]):
        book.add(fact(what, name=f"n{number}"))  # type: ignore[arg-type]  # one of them

    assert list(book.tally().items()) == [
        ("leaked", 2),
        ("unrecoverable", 0),
        ("elsewhere", 0),
        ("unfinished", 0),
        ("reaped", 1),
        ("untracked", 0),
        ("kept", 1),
    ]


@pytest.mark.parametrize("what", WHATS)
def test_only_leaks_fail_a_run_and_only_if_asked_to(what: What) -> None:
    book = FactBook()
    book.add(fact(what))

    assert book.fails_run("fail") is (what in {"leaked", "unrecoverable", "elsewhere"})
    assert not book.fails_run("warn")
    assert not book.fails_run("off")


def test_a_drain_holds_what_is_new_since_the_last() -> None:
    book = FactBook()
    assert book.drain() == {}

    book.count(created=2, scopes=1)
    book.add(fact())
    assert book.drain() == {"created": 2, "scopes": 1, "facts": [fact().as_dict()]}

    book.count(destroyed=1)
    assert book.drain() == {"destroyed": 1}
    assert book.drain() == {}


def test_a_fact_that_changed_is_drained_again() -> None:
    book = FactBook()
    book.add(fact())
    book.drain()

    book.add(fact("reaped"))

    assert [each["what"] for each in book.drain()["facts"]] == ["reaped"]


def test_a_merged_book_knows_what_all_workers_know() -> None:
    workers = FactBook(), FactBook()
    whole = FactBook()

    for number, worker in enumerate(workers):
        worker.count(created=3, scopes=1)
        worker.add(fact(stage=f"test-gw{number}-k3f9x2ab"))
        whole.merge(through_execnet(worker.drain()))
        worker.count(destroyed=2, scopes=1)
        whole.merge(through_execnet(worker.drain()))
        whole.merge(through_execnet(worker.drain()))
    whole.add(fact("reaped", stage="test-gw1-k3f9x2ab"))

    assert (whole.created, whole.destroyed, whole.scopes) == (6, 4, 4)
    assert whole.tally() | {"leaked": 1, "reaped": 1} == whole.tally()


def test_a_merge_is_drained_like_anything_else() -> None:
    worker, relay = FactBook(), FactBook()
    worker.count(created=1)
    worker.add(fact())
    news = worker.drain()

    relay.merge(news)

    assert relay.drain() == news


def test_no_count_is_lost_between_threads() -> None:
    book = FactBook()
    parts: list[dict[str, Any]] = []

    def work(number: int) -> None:
        for step in range(200):
            book.count(created=1)
            book.add(fact(name=f"{number}-{step}", at=NOON))
            parts.append(book.drain())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = FactBook()
    for part in parts:
        whole.merge(part)

    assert book.created == whole.created == 800
    assert len(book.facts) == len(whole.facts) == 800


def test_a_book_is_light_to_import() -> None:
    program = (
        "import __future__, heapq, sys, threading, typing; before = set(sys.modules)\n"
        "import pytest_alchemy.report.book\n"
        "print(*sorted(set(sys.modules) - before))"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == [
        "pytest_alchemy",
        "pytest_alchemy.report",
        "pytest_alchemy.report.book",
        "pytest_alchemy.report.fates",
    ]
