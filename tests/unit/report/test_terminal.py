"""Promises of the report for people: every message, read whole."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.fates import WHATS, LeaksMode, What
from pytest_alchemy.report.terminal import Line, stats_for, summary_lines
from pytest_alchemy.report.texts import one_line
from tests.unit.report.facts import NOON, ROOT, fact

TITLE = "shop/test-k3f9x2ab"
EXIT = "exit 1: leaks fail the run (--alchemy-leaks=warn to allow)"


@pytest.fixture
def book() -> FactBook:
    book = FactBook(TITLE)
    book.count(created=214, destroyed=211, scopes=96)
    return book


def lines(book: FactBook, **changes: Any) -> list[Line]:
    given: dict[str, Any] = {"width": 0, "rootdir": ROOT, "leaks_mode": "warn", "now": NOON + 60}
    return summary_lines(book, **(given | changes))


def text(book: FactBook, **changes: Any) -> str:
    return "\n".join(line for line, _ in lines(book, **changes))


def marks(book: FactBook, **changes: Any) -> list[set[str]]:
    return [set(markup) for _, markup in lines(book, **changes)]


def test_a_run_without_scopes_is_silent() -> None:
    assert lines(FactBook(TITLE), leaks_mode="fail", verbosity=2) == []


@pytest.mark.parametrize("leaks_mode", ["fail", "warn", "off"])
@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_a_clean_run_is_one_line(leaks_mode: LeaksMode, verbosity: int) -> None:
    book = FactBook(TITLE)
    book.count(created=214, destroyed=214, scopes=96)

    told = lines(book, leaks_mode=leaks_mode, verbosity=verbosity, report_file=ROOT / "leaks.json")

    assert told == [("214 created, 214 destroyed, 0 leaked in shop/test-k3f9x2ab", {"green": True})]


def test_scopes_that_made_nothing_are_one_line_too() -> None:
    book = FactBook()
    book.count(scopes=1)

    assert text(book) == "0 created, 0 destroyed, 0 leaked"


def test_a_run_with_leaks_and_a_crash_is_told_whole(book: FactBook) -> None:
    crash = "worker gw1 (pid 4121) died in tests/test_jobs.py::test_crash"
    book.add(
        fact("reaped", kind="Queue", id="jobs", name="alt-jobs-q7", scope="shop/test-gw1-k3f9x2ab/backend",
             stage="test-gw1-k3f9x2ab", worker="gw1", test="tests/test_jobs.py::test_crash",
             where=f"{ROOT}/tests/test_jobs.py:9", reason=crash, seconds=0.81)
    )  # fmt: skip
    book.add(fact(hint="Delete it by hand."))
    book.add(fact(kind="Worker", id="api", name="alt-api-w2", where=f"{ROOT}/tests/conftest.py:17"))

    told = text(book, leaks_mode="fail", report_file=ROOT / "reports" / "index.html")

    assert told == (
        "214 created, 211 destroyed, 1 reaped, 2 LEAKED in shop/test-k3f9x2ab\n"
        "LEAKED D1Database orders (alt-shop-orders-x7)"
        " in shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund\n"
        "       created by tests/test_orders.py:41 test_refund [gw3] at 12:04:11\n"
        "       destroy failed: RuntimeError: boom\n"
        "       Delete it by hand.\n"
        "LEAKED Worker api (alt-api-w2) in shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund\n"
        "       created by tests/conftest.py:17 tests/test_orders.py::test_refund [gw3] at 12:04:11\n"
        "       destroy failed: RuntimeError: boom\n"
        "REAPED Queue jobs (alt-jobs-q7) in shop/test-gw1-k3f9x2ab/backend\n"
        "       created by tests/test_jobs.py:9 test_crash [gw1] at 12:04:11\n"
        "       worker gw1 (pid 4121) died in tests/test_jobs.py::test_crash; destroyed in 0.8 s\n"
        "report: reports/index.html (leaks.json, leaks.xml beside it)\n"
        "exit 1: leaks fail the run (--alchemy-leaks=warn to allow)"
    )


def test_the_other_sorts_are_told_alike(book: FactBook) -> None:
    book.add(fact("kept", reason="kept until 2026-03-02 12:00 (keep=failed)"))
    book.add(fact("untracked", kind="d1", id="users", name="users", where="", at=0, worker="main",
                  reason="made by code under test, removed"))  # fmt: skip
    book.add(fact("unrecoverable", kind="Local", id="x", name="alt-x", worker="main",
                  reason="its class is defined inside a function"))  # fmt: skip

    assert text(book) == (
        "214 created, 211 destroyed, 1 kept, 1 untracked, 1 unrecoverable, 0 leaked in shop/test-k3f9x2ab\n"
        "UNRECOVERABLE Local x (alt-x) in shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund\n"
        "       created by tests/test_orders.py:41 test_refund at 12:04:11\n"
        "       its class is defined inside a function\n"
        "UNTRACKED d1 users in shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund\n"
        "       created by tests/test_orders.py::test_refund\n"
        "       made by code under test, removed\n"
        "KEPT D1Database orders (alt-shop-orders-x7)"
        " in shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund\n"
        "       created by tests/test_orders.py:41 test_refund [gw3] at 12:04:11\n"
        "       kept until 2026-03-02 12:00 (keep=failed)"
    )


def test_a_deferred_call_has_no_name_besides_itself(book: FactBook) -> None:
    book.add(fact(kind="deferred", id="delete_bucket('b')", name="delete_bucket('b')", scope="s"))

    assert lines(book)[1][0] == "LEAKED deferred delete_bucket('b') in s"


def test_another_profile_than_the_default_one_is_named(book: FactBook) -> None:
    book.add(fact(profile="ci", scope="s"))

    assert lines(book)[1][0] == "LEAKED D1Database orders (alt-shop-orders-x7) in s (profile ci)"


@pytest.mark.parametrize(
    ("unknown", "told"),
    [
        ({}, "by tests/test_orders.py:41 test_refund [gw3] at 12:04:11"),
        (
            {"where": "/lib/x.py:3"},
            "by /lib/x.py:3 tests/test_orders.py::test_refund [gw3] at 12:04:11",
        ),
        ({"test": ""}, "by tests/test_orders.py:41 [gw3] at 12:04:11"),
        ({"test": "", "where": ""}, "[gw3] at 12:04:11"),
        ({"test": "", "where": "", "at": 0}, "[gw3]"),
        ({"worker": "main"}, "by tests/test_orders.py:41 test_refund at 12:04:11"),
        (
            {"at": NOON - 86_400 * 2},
            "by tests/test_orders.py:41 test_refund [gw3] at 2026-02-27 12:04:11",
        ),
        (
            {"test": "tests/test_orders.py::TestA::test_b[x::y]"},
            "by tests/test_orders.py:41 TestA::test_b[x::y] [gw3] at 12:04:11",
        ),
    ],
)
def test_an_origin_tells_as_much_as_is_known(
    book: FactBook, unknown: dict[str, Any], told: str
) -> None:
    book.add(fact(**unknown))

    assert lines(book)[2][0] == f"       created {told}"


def test_an_origin_of_which_nothing_is_known_is_left_out(book: FactBook) -> None:
    book.add(fact(test="", where="", at=0, worker="main", scope="s"))

    assert text(book).splitlines()[1:] == [
        "LEAKED D1Database orders (alt-shop-orders-x7) in s",
        "       destroy failed: RuntimeError: boom",
    ]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"reason": ""}, "[gw3] died in tests/test_orders.py::test_refund"),
        ({"reason": "", "test": "", "worker": "main"}, "its process died"),
        ({"reason": "", "seconds": 2}, "[gw3] died in tests/test_orders.py::test_refund; destroyed in 2.0 s"),
        ({"reason": "swept"}, "swept"),
    ],
)  # fmt: skip
def test_what_was_reaped_tells_who_died(book: FactBook, known: dict[str, Any], told: str) -> None:
    book.add(fact("reaped", **known))

    assert lines(book)[3][0].strip() == told


def test_a_hint_is_given_once(book: FactBook) -> None:
    for number, hint in enumerate(["Start the server.", "Start the server.", "Log in."]):
        book.add(fact(name=f"n{number}", hint=hint))

    told = text(book)

    assert told.count("Start the server.") == told.count("Log in.") == 1


def test_only_the_mode_that_fails_the_run_says_so(book: FactBook) -> None:
    book.add(fact())

    assert text(book, leaks_mode="fail").splitlines()[-1] == EXIT
    assert EXIT not in text(book, leaks_mode="warn")


def test_leaks_that_are_switched_off_are_counted_and_nothing_else(book: FactBook) -> None:
    book.add(fact())
    book.add(fact("unrecoverable", name="n2"))

    assert lines(book, leaks_mode="off", report_file=ROOT / "leaks.json") == [
        (
            "214 created, 211 destroyed, 1 unrecoverable, 1 LEAKED in shop/test-k3f9x2ab",
            {"green": True},
        )
    ]


def test_what_is_no_leak_is_told_even_if_leaks_are_switched_off(book: FactBook) -> None:
    book.add(fact("reaped"))

    assert "REAPED D1Database orders" in text(book, leaks_mode="off")


@pytest.mark.parametrize("what", WHATS)
def test_a_quiet_run_tells_problems_only(book: FactBook, what: What) -> None:
    book.add(fact(what, hint="Delete it."))

    told = text(book, verbosity=-1, leaks_mode="fail", report_file=ROOT / "leaks.json")

    is_problem = what not in {"kept", "untracked"}
    assert (what.upper() in told.partition("\n")[2]) is is_problem
    assert (EXIT in told) is (what in {"leaked", "unrecoverable", "elsewhere"})
    assert "Delete it." not in told
    assert "report:" not in told


def many(book: FactBook, number: int, what: What = "leaked") -> None:
    for index in range(number):
        book.add(fact(what, name=f"{what}-{index}"))


def test_of_many_facts_fifty_are_told(book: FactBook) -> None:
    many(book, 50)
    assert "more" not in text(book)

    many(book, 60)

    assert text(book).count("LEAKED D1Database") == 50
    assert lines(book)[-1][0] == "... and 10 more (all with -v)"
    assert text(book, verbosity=1).count("LEAKED D1Database") == 60
    assert "more" not in text(book, verbosity=1)


def test_leaks_are_told_before_anything_that_is_less_bad(book: FactBook) -> None:
    many(book, 60, "kept")
    many(book, 1)

    assert lines(book)[1][0].startswith("LEAKED D1Database orders (leaked-0)")
    assert text(book).count("KEPT D1Database") == 49
    assert lines(book)[-1][0] == "... and 11 more (all with -v)"


def test_a_verbose_report_says_where_a_thing_lives(book: FactBook) -> None:
    book.add(fact())

    assert "       lives in cloudflare:acc1" in text(book, verbosity=1).splitlines()
    assert "lives in" not in text(book)


def test_lines_are_whole_where_no_screen_is(book: FactBook) -> None:
    book.add(fact(reason="word " * 100))

    assert len(lines(book)) == 4


@pytest.mark.parametrize("width", [120, 60, 40])
def test_lines_fit_the_screen(book: FactBook, width: int) -> None:
    book.add(
        fact(
            scope="shop/test-gw3-k3f9x2ab/api",
            test="test_a",
            reason="one word after the other " * 9,
        )
    )

    told = text(book, width=width, leaks_mode="fail")

    assert max(map(len, told.splitlines())) <= width
    assert " ".join(told.split()) == " ".join(text(book, leaks_mode="fail").split())


def test_a_narrow_screen_breaks_between_words_and_never_inside_a_name(book: FactBook) -> None:
    book.add(fact())

    assert text(book, width=20) == (
        "214 created, 211 destroyed, 1 LEAKED in\n"
        "shop/test-k3f9x2ab\n"
        "LEAKED D1Database orders\n"
        "       (alt-shop-orders-x7) in\n"
        "       shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund\n"
        "       created by\n"
        "       tests/test_orders.py:41\n"
        "       test_refund [gw3] at 12:04:11\n"
        "       destroy failed: RuntimeError:\n"
        "       boom"
    )


HOSTILE = "a\nLEAKED \x1b[2J\x1b]0;pwned\x07\r\t\x00\x9b31m\u2028\u202e\ud800b"


@pytest.mark.parametrize("verbosity", [0, 1])
@pytest.mark.parametrize("width", [0, 80])
def test_hostile_text_stays_on_its_line_and_commands_no_terminal(
    book: FactBook, width: int, verbosity: int
) -> None:
    names = [
        "kind",
        "id",
        "name",
        "scope",
        "profile",
        "world",
        "worker",
        "test",
        "where",
        "reason",
        "hint",
    ]
    book.title = HOSTILE
    hostile: dict[str, Any] = dict.fromkeys(names, HOSTILE)
    book.add(fact(**hostile))

    told = lines(book, width=width, verbosity=verbosity, report_file=PurePosixPath(HOSTILE))

    assert all(line.isprintable() for line, _ in told)
    assert sum(line.startswith("LEAKED") for line, _ in told) == 1


def test_an_id_of_several_lines_is_readable(book: FactBook) -> None:
    book.add(fact(id="a\nb\x1b[31m", name="", scope="s"))

    assert lines(book)[1][0] == r"LEAKED D1Database a\nb\x1b[31m in s"


def test_a_reason_of_several_lines_becomes_one_sentence(book: FactBook) -> None:
    book.add(fact(reason="The server is gone.\n  Start it.\n"))

    assert lines(book)[3][0] == "       The server is gone. Start it."


def test_an_empty_id_is_seen(book: FactBook) -> None:
    book.add(fact(id="", name="alt-x", scope="s"))

    assert lines(book)[1][0] == "LEAKED D1Database '' (alt-x) in s"


def test_endless_text_is_cut_in_its_middle_unless_asked_for(book: FactBook) -> None:
    book.add(fact(id="i" * 2000, reason="r" * 2000))

    assert max(len(line) for line, _ in lines(book)) < 700
    assert "i" * 2000 in text(book, verbosity=1)
    assert "r" * 2000 in text(book, verbosity=1)


def test_not_even_a_verbose_report_repeats_100_kilobytes(book: FactBook) -> None:
    book.add(fact(id="i" * 100_000, reason="r" * 100_000, errors=["e" * 100_000] * 3))

    told = text(book, verbosity=1)

    assert len(told) < 15_000
    assert "...(100000 characters)..." in told


def test_retries_are_counted_by_what_they_met(book: FactBook) -> None:
    book.count(retries={"503": 1, "429": 2})

    assert text(book) == (
        "214 created, 211 destroyed, 0 leaked (3 retries: 2x 429, 1x 503) in shop/test-k3f9x2ab"
    )


def test_a_verbose_report_tells_every_attempt(book: FactBook) -> None:
    book.add(fact(errors=("RuntimeError: one", "RuntimeError: two\nlines")))

    assert lines(book, verbosity=1)[-2:] == [
        ("       attempt 1: RuntimeError: one", {}),
        ("       attempt 2: RuntimeError: two\\nlines", {}),
    ]
    assert "attempt" not in text(book)


def test_of_very_many_leaks_all_are_counted(book: FactBook) -> None:
    many(book, 20_000)

    told = lines(book)

    assert told[0][0].startswith("214 created, 211 destroyed, 20000 LEAKED")
    assert len(told) < 250
    assert told[-1][0] == "... and 19950 more (all with -v)"
    assert lines(book, verbosity=1)[-1][0] == "... and 10000 more"
    assert book.fails_run("fail")


@pytest.mark.parametrize(
    ("limit", "cut"), [(10, "abcdefghij"), (9, "abc...hij"), (8, "abc...ij"), (None, "abcdefghij")]
)
def test_a_cut_keeps_both_ends(limit: int | None, cut: str) -> None:
    assert one_line("abcdefghij", limit) == cut


@pytest.mark.parametrize(
    ("what", "leaks_mode", "counts", "bullet"),
    [
        ("leaked", "fail", {"red", "bold"}, {"red", "bold"}),
        ("leaked", "warn", {"yellow"}, {"yellow", "bold"}),
        ("unrecoverable", "fail", {"red", "bold"}, {"red", "bold"}),
        ("reaped", "fail", {"yellow"}, {"yellow"}),
        ("untracked", "fail", {"yellow"}, {"yellow"}),
        ("kept", "fail", {"green"}, {"cyan"}),
    ],
)
def test_colours_say_how_bad_it_is(
    book: FactBook, what: What, leaks_mode: LeaksMode, counts: set[str], bullet: set[str]
) -> None:
    book.add(fact(what))

    colours = marks(book, leaks_mode=leaks_mode)

    assert colours[:2] == [counts, bullet]
    assert colours[2:4] == [set(), set()]


def test_the_last_line_of_a_failed_run_is_red(book: FactBook) -> None:
    book.add(fact())

    assert lines(book, leaks_mode="fail")[-1] == (EXIT, {"red": True, "bold": True})


def test_the_last_line_of_pytest_counts_what_there_is(book: FactBook) -> None:
    assert stats_for(book) == {}

    many(book, 1, "kept")
    many(book, 1, "reaped")
    many(book, 2, "leaked")

    assert list(stats_for(book).items()) == [("leaked", 2), ("reaped", 1), ("kept", 1)]


@pytest.mark.parametrize("what", WHATS)
def test_the_command_that_cleans_up_is_named_once_for_what_is_left(
    book: FactBook, what: What
) -> None:
    book.add(fact(what))
    book.add(fact(what, id="second", name="alt-second"))

    told = text(book, clean_up="alchemy sweep --yes").splitlines()

    assert told.count("clean up: alchemy sweep --yes") == (what in ("leaked", "unfinished"))
    assert not any("clean up" in line for line in text(book).splitlines())


def test_the_command_that_cleans_up_is_not_named_where_leaks_are_not_told(book: FactBook) -> None:
    book.add(fact())

    assert "clean up" not in text(book, leaks_mode="off", clean_up="alchemy sweep --yes")
