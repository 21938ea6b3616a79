"""Promises of the report for programs."""

from __future__ import annotations

import json
import os
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_alchemy import clock
from pytest_alchemy.errors import ReportFileError
from pytest_alchemy.report.facts import FactBook
from pytest_alchemy.report.files import write_json
from tests.unit.report.facts import NOON, ROOT, fact


@pytest.fixture
def book() -> FactBook:
    book = FactBook()
    book.count(created=3, destroyed=1, scopes=2)
    return book


def write(book: FactBook, folder: Path) -> Path:
    return write_json(book, folder, app="shop", run="k3f9x2ab", rootdir=ROOT)


def test_a_report_says_all_that_is_known(
    book: FactBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: 0.5)
    book.add(fact(hint="look there"))
    book.add(fact("reaped", name="n2", kind="Queue", id="jobs", where="", at=0, seconds=0.75))

    file = write(book, tmp_path / "new" / "folder")

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
        "seconds": 0.0,
    }
    jobs = {
        "what": "reaped",
        "kind": "Queue",
        "id": "jobs",
        "name": "n2",
        "hint": "",
        "file": "",
        "line": None,
        "created_at": None,
        "seconds": 0.75,
    }
    assert file == tmp_path / "new" / "folder" / "leaks.json"
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "schema": 1,
        "app": "shop",
        "run": "k3f9x2ab",
        "written_at": "1970-01-01T00:00:00.500000+00:00",
        "counts": {
            "scopes": 2,
            "created": 3,
            "destroyed": 1,
            "leaked": 1,
            "unrecoverable": 0,
            "unfinished": 0,
            "reaped": 1,
            "untracked": 0,
            "kept": 0,
        },
        "facts": [shared | orders, shared | jobs],
    }


def test_a_clean_run_has_a_report_as_well(book: FactBook, tmp_path: Path) -> None:
    data = json.loads(write(book, tmp_path).read_bytes())

    assert data["facts"] == []
    assert data["counts"]["leaked"] == 0


def test_hostile_text_is_still_one_valid_document(book: FactBook, tmp_path: Path) -> None:
    hostile = '"}\x00\x1b[2J\n\u202e\ud800🦊'
    book.add(fact(id=hostile))

    content = write(book, tmp_path).read_bytes()

    assert json.loads(content)["facts"][0]["id"] == hostile.replace("\ud800", "\\ud800")
    assert content.isascii()


def test_an_older_report_is_replaced_and_no_draft_is_left(book: FactBook, tmp_path: Path) -> None:
    write(FactBook(), tmp_path)

    write(book, tmp_path)

    assert os.listdir(tmp_path) == ["leaks.json"]
    assert json.loads((tmp_path / "leaks.json").read_bytes())["counts"]["created"] == 3


def test_a_report_that_cannot_be_moved_into_place_leaves_the_older_one(
    book: FactBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(FactBook(), tmp_path).read_bytes()

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ReportFileError):
        write(book, tmp_path)

    assert os.listdir(tmp_path) == ["leaks.json"]
    assert (tmp_path / "leaks.json").read_bytes() == before


def test_a_link_in_the_report_s_place_is_replaced_not_followed(
    book: FactBook, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "leaks.json").symlink_to(target)

    write(book, folder)

    assert target.read_text() == "precious"
    assert not (folder / "leaks.json").is_symlink()


def test_a_folder_that_is_a_file_is_an_error_that_says_what_to_do(
    book: FactBook, tmp_path: Path
) -> None:
    (tmp_path / "report").write_text("")

    with pytest.raises(ReportFileError) as caught:
        write(book, tmp_path / "report")

    assert str(caught.value) == (
        f"Report {tmp_path}/report/leaks.json could not be written: file exists.\n"
        "Name another folder with --alchemy-report."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
