"""Promises of the report's files, and of the document that all of them are drawn from."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_alchemy import clock
from pytest_alchemy.errors import ReportFileError
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.document import MOST_BYTES, SCHEMA_FILE, Origin, as_document
from pytest_alchemy.report.facts import Fact
from pytest_alchemy.report.fates import WHATS
from pytest_alchemy.report.files import as_json, write
from pytest_alchemy.report.junit import as_xml
from pytest_alchemy.report.page import as_html
from tests.unit.report.facts import NOON, ROOT, fact

ORIGIN = Origin(
    app="shop",
    run="k3f9x2ab",
    rootdir=ROOT,
    title="shop/test-k3f9x2ab",
    clean_up="alchemy sweep --yes",
)
DIED = replace(ORIGIN, session="died", title="shop/test-gw1-k3f9x2ab")
VALIDATOR = jsonschema.Draft202012Validator(
    json.loads(SCHEMA_FILE.read_bytes()),
    format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
)


@pytest.fixture
def book() -> FactBook:
    book = FactBook("shop/test-k3f9x2ab")
    book.count(created=3, destroyed=1, scopes=2, retries={"429": 2})
    return book


def read(folder: Path) -> Any:
    document = json.loads((folder / "leaks.json").read_bytes())
    VALIDATOR.validate(document)
    return document


def test_a_report_says_all_that_is_known(
    book: FactBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: 0.5)
    book.add(
        fact(hint="look there", ready=NOON + 1, ending=NOON + 2, ended=NOON + 3, errors=("a", "b"))
    )
    book.add(fact("reaped", name="n2", kind="Queue", id="jobs", where="", at=0, seconds=0.75))

    write(book, tmp_path / "new" / "folder", ORIGIN)

    shared = {
        "scope": "shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund",
        "stage": "test-gw3-k3f9x2ab",
        "app": "shop",
        "profile": "default",
        "world": "cloudflare:acc1",
        "worker": "gw3",
        "test": "tests/test_orders.py::test_refund",
        "reason": "destroy failed: RuntimeError: boom",
    }
    orders = {
        "what": "leaked",
        "kind": "D1Database",
        "id": "orders",
        "name": "alt-shop-orders-x7",
        "hint": "look there",
        "file": "tests/test_orders.py",
        "line": 41,
        "created_at": datetime.fromtimestamp(NOON, UTC).isoformat(),
        "create_ended_at": datetime.fromtimestamp(NOON + 1, UTC).isoformat(),
        "destroy_started_at": datetime.fromtimestamp(NOON + 2, UTC).isoformat(),
        "destroy_ended_at": datetime.fromtimestamp(NOON + 3, UTC).isoformat(),
        "errors": ["a", "b"],
        "seconds": 0.0,
    }
    jobs: dict[str, Any] = {
        "what": "reaped",
        "kind": "Queue",
        "id": "jobs",
        "name": "n2",
        "hint": "",
        "file": "",
        "line": None,
        "created_at": None,
        "create_ended_at": None,
        "destroy_started_at": None,
        "destroy_ended_at": None,
        "errors": [],
        "seconds": 0.75,
    }
    assert read(tmp_path / "new" / "folder") == {
        "schema": 1,
        "app": "shop",
        "run": "k3f9x2ab",
        "title": "shop/test-k3f9x2ab",
        "session": "ended",
        "written_at": "1970-01-01T00:00:00.500000+00:00",
        "rootdir": str(ROOT),
        "clean_up": "alchemy sweep --yes",
        "counts": {
            "scopes": 2,
            "created": 3,
            "destroyed": 1,
            "retried": 2,
            "leaked": 1,
            "unrecoverable": 0,
            "elsewhere": 0,
            "unfinished": 0,
            "reaped": 1,
            "untracked": 0,
            "kept": 0,
        },
        "retries": {"429": 2},
        "unlisted": 0,
        "facts": [shared | orders, shared | jobs],
    }


def test_the_schema_names_every_field_and_refuses_what_is_wrong(book: FactBook) -> None:
    book.add(fact())
    document = as_document(book, ORIGIN)
    schema = json.loads(SCHEMA_FILE.read_bytes())

    VALIDATOR.check_schema(schema)
    assert set(schema["properties"]) == set(document)
    assert set(schema["properties"]["counts"]["properties"]) == set(document["counts"])
    assert set(schema["$defs"]["fact"]["properties"]) == set(document["facts"][0])
    for wrong in ({"what": "lost"}, {"line": "7"}, {"created_at": 7}, {"errors": None}):
        broken = {**document, "facts": [{**document["facts"][0], **wrong}]}
        assert not VALIDATOR.is_valid(broken), wrong
    assert VALIDATOR.is_valid(document)


def test_problems_come_first_and_then_what_was_destroyed_in_order(book: FactBook) -> None:
    book.add(fact("destroyed", name="b", at=NOON + 2))
    book.add(fact("destroyed", name="a", at=NOON + 1))
    book.add(fact("kept", name="c"))
    book.add(fact("leaked", name="d"))

    facts = as_document(book, ORIGIN)["facts"]

    assert [each["name"] for each in facts] == ["d", "c", "a", "b"]


def test_a_clean_run_has_a_report_as_well(book: FactBook, tmp_path: Path) -> None:
    write(book, tmp_path, ORIGIN)

    assert sorted(os.listdir(tmp_path)) == ["index.html", "leaks.json", "leaks.xml"]
    assert read(tmp_path)["facts"] == []
    assert [case.get("name") for case in cases(tmp_path)] == ["no leaks"]
    assert "Everything that was made is gone." in (tmp_path / "index.html").read_text()


def test_hostile_text_is_still_one_valid_document(book: FactBook, tmp_path: Path) -> None:
    hostile = '"}\x00\x1b[2J\n\u202e\ud800🦊'
    book.add(fact(id=hostile))

    write(book, tmp_path, ORIGIN)

    content = (tmp_path / "leaks.json").read_bytes()
    assert read(tmp_path)["facts"][0]["id"] == hostile.replace("\ud800", "\\ud800")
    assert content.isascii()


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec=None), max_size=60), st.sampled_from(WHATS))
def test_whatever_a_text_holds_every_form_is_well_formed(text: str, what: Any) -> None:
    book = FactBook(text)
    names: Any = dict.fromkeys(
        ("kind", "id", "name", "scope", "world", "worker", "test", "where", "reason", "hint"), text
    )
    book.add(fact(what, **names, errors=(text, text)))
    document = as_document(book, replace(ORIGIN, title=text, clean_up=text))

    VALIDATOR.validate(json.loads(as_json(document)))
    root = Xml.fromstring(as_xml(document).encode("utf-8", "strict"))
    assert len(root.findall(".//testcase")) == 1
    page = as_html(document)
    carried = page.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(carried)["rows"]
    page.encode("utf-8", "strict")


def test_a_page_tells_a_reason_of_several_lines_as_one_sentence(book: FactBook) -> None:
    book.add(fact(reason="No server.\nStart one.", hint="It stays.\nLook at it."))

    page = as_html(as_document(book, ORIGIN))

    assert page.count("No server. Start one.") == page.count("It stays. Look at it.") == 2
    assert r"\n" not in page.partition("<main")[2].partition("<script")[0]


# -- JUnit ---------------------------------------------------------------------------------------------------------


def cases(folder: Path) -> list[Xml.Element]:
    return Xml.parse(folder / "leaks.xml").getroot().findall(".//testcase")


def test_a_leak_is_a_failed_case_and_anything_else_a_passed_one(
    book: FactBook, tmp_path: Path
) -> None:
    for what in WHATS:
        book.add(fact(what, name=f"alt-{what}", errors=("RuntimeError: boom",) * 2))

    write(book, tmp_path, ORIGIN)

    suite = Xml.parse(tmp_path / "leaks.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (
        *("alchemy.leaks", "7"),
        "3",
    )
    failed = [case for case in cases(tmp_path) if case.find("failure") is not None]
    assert [case.get("name") for case in failed] == [
        f"D1Database orders (alt-{what})" for what in ("leaked", "unrecoverable", "elsewhere")
    ]
    failure = failed[0].find("failure")
    assert failure is not None
    assert failed[0].get("classname") == "tests/test_orders.py::test_refund"
    assert failure.get("message") == "destroy failed: RuntimeError: boom"
    assert failure.text == (
        "LEAKED D1Database orders (alt-leaked) in shop/test-gw3-k3f9x2ab/tests/test_orders.py::test_refund\n"
        "created by tests/test_orders.py:41 in tests/test_orders.py::test_refund [gw3]\n"
        "lives in cloudflare:acc1\n"
        "destroy failed: RuntimeError: boom\n"
        "attempt 1: RuntimeError: boom\n"
        "attempt 2: RuntimeError: boom\n"
        "clean up: alchemy sweep --yes"
    )


def test_of_very_many_leaks_a_thousand_get_a_case(book: FactBook, tmp_path: Path) -> None:
    many(book, 1500)

    write(book, tmp_path, ORIGIN)

    assert len(cases(tmp_path)) == 1001
    assert cases(tmp_path)[-1].get("name") == "and 500 more"
    assert cases(tmp_path)[-1].find("failure") is not None


# -- bounds --------------------------------------------------------------------------------------------------------


def many(book: FactBook, number: int, **changes: Any) -> None:
    for index in range(number):
        book.add(fact(name=f"n{index}", **changes))


def test_20_000_leaks_with_names_of_100_kilobytes_make_a_bounded_report(
    book: FactBook, tmp_path: Path
) -> None:
    endless = "n" * 100_000
    many(book, 20_000, id=endless, reason=endless, test=endless)

    write(book, tmp_path, ORIGIN)

    document = read(tmp_path)
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert document["counts"]["leaked"] == 20_000
    assert document["unlisted"] == 20_000 - len(document["facts"])
    assert max(sizes.values()) < MOST_BYTES * 1.5
    assert sizes["index.html"] < MOST_BYTES


def test_what_a_worker_sends_is_bounded(book: FactBook) -> None:
    many(book, 12_000, id="n" * 100_000)
    for index in range(12_000):
        book.add(fact("destroyed", name=f"d{index}", ready=NOON + index, id="short"))

    sent = book.drain()
    whole = FactBook()
    whole.merge(sent)

    assert len(sent["facts"]) == 20_000
    assert whole.tally()["leaked"] == 12_000
    assert min(each.creating for each in whole.gone) == 2000.0  # the slowest are listed
    assert book.drain() == {}


# -- secrets -------------------------------------------------------------------------------------------------------


def test_no_form_of_a_report_repeats_a_secret(
    book: FactBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "s3cr3t-t0ken")
    url = "cannot reach postgres://ada:hunter2@db/orders with s3cr3t-t0ken"
    book.add(fact(reason=url, hint=url, errors=(url,)))
    book.add(fact(kind="deferred", id=f"drop('{url}')", name=f"drop('{url}')"))
    book.add(fact(name="alt-world", world="postgres://ada:hunter2@db/orders"))
    book.add(fact(name="alt-at", reason="postgres://ada:4t@hunter2@db/orders is down"))

    write(book, tmp_path, ORIGIN)

    for file in tmp_path.iterdir():
        content = file.read_text()
        assert "hunter2" not in content, file
        assert "s3cr3t" not in content, file
        assert "ada:***@db" in content, file


# -- several writers -----------------------------------------------------------------------------------------------


def test_an_older_report_is_replaced_and_no_draft_is_left(book: FactBook, tmp_path: Path) -> None:
    old = FactBook()
    old.add(fact())
    write(old, tmp_path, replace(ORIGIN, run="another"))

    write(book, tmp_path, ORIGIN)

    assert sorted(os.listdir(tmp_path)) == ["index.html", "leaks.json", "leaks.xml"]
    assert read(tmp_path)["counts"]["created"] == 3
    assert read(tmp_path)["facts"] == []


def test_what_outlived_a_killed_run_adds_up(book: FactBook, tmp_path: Path) -> None:
    other = FactBook()
    other.count(created=2, destroyed=2, retries={"429": 1})
    book.add(fact("destroyed"))
    other.add(fact("reaped", name="n2"))

    write(book, tmp_path, DIED)
    write(other, tmp_path, DIED)

    document = read(tmp_path)
    assert document["session"] == "died"
    assert (document["counts"]["created"], document["counts"]["destroyed"]) == (5, 3)
    assert document["retries"] == {"429": 3}
    assert [each["what"] for each in document["facts"]] == ["reaped", "destroyed"]
    assert "the run was killed" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("session_first", [True, False])
def test_what_was_unfinished_is_reaped_in_the_end_whoever_writes_first(
    book: FactBook, tmp_path: Path, session_first: bool
) -> None:
    book.add(fact("unfinished"))
    book.add(fact("destroyed", name="n2"))
    watchdog = FactBook()
    watchdog.count(created=1, destroyed=1)
    watchdog.add(fact("reaped"))
    watchdog.add(fact("destroyed", name="n2"))
    writers = [(book, ORIGIN), (watchdog, DIED)]

    for known, origin in writers if session_first else reversed(writers):
        write(known, tmp_path, origin)

    document = read(tmp_path)
    assert document["session"] == "ended"
    assert document["title"] == "shop/test-k3f9x2ab"
    assert document["counts"] | {"created": 3, "destroyed": 1, "reaped": 1} == document["counts"]
    assert [each["what"] for each in document["facts"]] == ["reaped", "destroyed"]


def test_what_outlived_a_killed_run_leaves_the_report_of_a_later_one(
    book: FactBook, tmp_path: Path
) -> None:
    write(book, tmp_path, replace(ORIGIN, run="later"))

    write(FactBook(), tmp_path, DIED, started=clock.now() - 60)
    assert read(tmp_path)["run"] == "later"

    write(FactBook(), tmp_path, DIED, started=clock.now() + 60)
    assert read(tmp_path)["run"] == "k3f9x2ab"


WRITER = """
import sys
from pathlib import Path
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.document import Origin
from pytest_alchemy.report.files import write

book = FactBook()
book.count(created=1)
origin = Origin(app="shop", run="k3f9x2ab", rootdir=Path("/"), session="died")
for _ in range(5):
    write(book, Path(sys.argv[1]), origin)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks that Windows does not have")
def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) for _ in range(4)]

    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert read(tmp_path)["counts"]["created"] == 20


def test_a_damaged_report_is_replaced(book: FactBook, tmp_path: Path) -> None:
    no_run = b'{"schema": 1, "unlisted": 0}'
    for damaged in (b"{", b"[]", b'{"schema": 2}', b"\xff", no_run):
        (tmp_path / "leaks.json").write_bytes(damaged)

        write(book, tmp_path, ORIGIN)

        assert read(tmp_path)["run"] == "k3f9x2ab"


# -- refusals ------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_locked_is_written_without(
    book: FactBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "no reading here")

    monkeypatch.setattr("pytest_alchemy.report.files.os.open", refused)

    write(book, tmp_path, ORIGIN)

    assert (tmp_path / "leaks.json").exists()


def test_a_report_that_cannot_be_moved_into_place_leaves_the_older_one(
    book: FactBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FactBook(), tmp_path, ORIGIN)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ReportFileError):
        write(book, tmp_path, ORIGIN)

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_link_in_the_report_s_place_is_replaced_not_followed(
    book: FactBook, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "report"
    folder.mkdir()
    for name in ("leaks.json", "leaks.xml", "index.html"):
        (folder / name).symlink_to(target)

    write(book, folder, ORIGIN)

    assert target.read_text() == "precious"
    assert not any(file.is_symlink() for file in folder.iterdir())


def test_a_folder_that_is_a_file_is_an_error_that_says_what_to_do(
    book: FactBook, tmp_path: Path
) -> None:
    (tmp_path / "report").write_text("")

    with pytest.raises(ReportFileError) as caught:
        write(book, tmp_path / "report", ORIGIN)

    assert str(caught.value) == (
        f"Report {tmp_path}/report/leaks.json could not be written: file exists.\n"
        "Name another folder with --alchemy-report."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_fact_that_was_written_is_read_back(tmp_path: Path) -> None:
    from pytest_alchemy.report.document import fact_of

    book = FactBook()
    told = fact(ready=NOON + 0.25, ending=NOON + 0.5, ended=NOON + 1, errors=("a",), seconds=0.5)
    book.add(told)
    write(book, tmp_path, ORIGIN)

    [entry] = read(tmp_path)["facts"]

    assert fact_of(entry, ROOT) == told
    assert isinstance(told, Fact)
