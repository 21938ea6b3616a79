"""
The report as programs read it: ``leaks.json``.

Names of fields do not change within one number of ``schema``; new ones may join them::

    {"schema": 1, "app": "my-app", "run": "k3f9x2ab", "written_at": "2026-03-01T12:05:00+00:00",
     "counts": {"scopes": 9, "created": 214, "destroyed": 211, "leaked": 2, "unrecoverable": 0, "unfinished": 0,
                "reaped": 1, "untracked": 0, "kept": 0},
     "facts": [{"what": "leaked", "kind": "D1Database", "id": "orders", "name": "...", "scope": "...",
                "stage": "...", "app": "my-app", "profile": "default", "world": "...", "worker": "gw0",
                "test": "tests/test_a.py::test_b", "reason": "...", "hint": "...", "seconds": 0.0,
                "file": "tests/test_a.py", "line": 7, "created_at": "2026-03-01T12:04:11+00:00"}]}

``file`` is relative to rootdir where it lies below it; ``line`` and ``created_at`` are null if nobody knows them.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path, PurePath
from typing import Any, Final

from pytest_alchemy import clock
from pytest_alchemy.errors import ReportFileError
from pytest_alchemy.report.facts import Fact, FactBook

SCHEMA: Final = 1
FILE_NAME: Final = "leaks.json"


def write_json(book: FactBook, folder: Path, *, app: str, run: str, rootdir: PurePath) -> Path:
    """
    Write all that *book* knows into ``leaks.json``; a reader sees the old file or the new one, never half of it.

    Args:
        book: What is known of the run.
        folder: Where to write; made if it is not there.
        app: Name of the application.
        run: Id of the run.
        rootdir: Files below it are named relative to it.

    Returns:
        The file.

    Raises:
        ReportFileError: The system refused; nothing was changed.
    """
    text = json.dumps(as_document(book, app=app, run=run, rootdir=rootdir), indent=2) + "\n"
    file = folder / FILE_NAME
    draft = folder / f".{FILE_NAME}.{clock.token(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("x", encoding="utf-8", newline="\n") as output:
            output.write(text)
        os.replace(draft, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise ReportFileError(str(file), (error.strerror or str(error)).lower()) from error
    return file


def as_document(book: FactBook, *, app: str, run: str, rootdir: PurePath) -> dict[str, Any]:
    """Return the content of ``leaks.json``."""
    counts = {"scopes": book.scopes, "created": book.created, "destroyed": book.destroyed}
    return {
        "schema": SCHEMA,
        "app": app,
        "run": run,
        "written_at": clock.instant(clock.now()).isoformat(),
        "counts": {**counts, **book.tally()},
        "facts": [_entry(fact, rootdir) for fact in book.facts],
    }


def _entry(fact: Fact, rootdir: PurePath) -> dict[str, Any]:
    data = fact.as_dict()
    file, line = fact.place(rootdir)
    del data["where"], data["at"]
    return {
        **data,
        "file": file,
        "line": line,
        "created_at": clock.instant(fact.at).isoformat() if fact.at else None,
    }
