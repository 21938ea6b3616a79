"""The files of a report: ``leaks.json`` for programs, ``leaks.xml`` for CI, ``index.html`` for people."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pytest_alchemy import clock
from pytest_alchemy.errors import ReportFileError
from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.document import SCHEMA, Document, Origin, as_document, joined
from pytest_alchemy.report.junit import as_xml
from pytest_alchemy.report.page import as_html

try:
    import fcntl
except ImportError:
    # Windows: two processes that write one report at the same time may lose one's part.
    fcntl = None  # type: ignore[assignment]

JSON: Final = "leaks.json"
XML: Final = "leaks.xml"
PAGE: Final = "index.html"

PATIENCE: Final = 10.0
"""How long to wait for another process that writes the same report, in seconds."""


def write(book: FactBook, folder: Path, origin: Origin, *, started: float = 0.0) -> Document:
    """
    Write all that *book* knows into the files of *folder*, together with what is there of the same run already.

    A reader sees the old file or the new one, never half of it.

    Args:
        book: What is known of the run.
        folder: Where to write; made if it is not there.
        origin: Whose report it is.
        started: When the run began, in seconds since the epoch. What another run wrote since then is left alone
            by who only cleans up after this one.

    Returns:
        What was written.

    Raises:
        ReportFileError: The system refused; the file that it names was not changed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder / JSON, error) from error
    with _alone(folder):
        earlier = _read(folder / JSON)
        if earlier is not None and earlier["run"] == origin.run:
            book, origin = joined(book, origin, earlier)
        elif earlier is not None and origin.session == "died" and _is_newer(earlier, started):
            return earlier
        document = as_document(book, origin)
        _replace(folder / JSON, as_json(document))
        _replace(folder / XML, as_xml(document))
        _replace(folder / PAGE, as_html(document))
    return document


def as_json(document: Document) -> str:
    """Return *document* as text, with one fact on each line."""
    head = json.dumps({**document, "facts": []}, indent=2)
    facts = ",\n".join("    " + json.dumps(fact) for fact in document["facts"])
    if not facts:
        return head + "\n"
    return head.removesuffix("[]\n}") + f"[\n{facts}\n  ]\n}}\n"


def _read(file: Path) -> Document | None:
    """Return the document in *file*; None if there is none that this version understands."""
    try:
        document: Any = json.loads(file.read_bytes())
        # A link may lead anywhere: only what has our own shape is taken for ours.
        ours = document["schema"] == SCHEMA and document["unlisted"] >= 0 and document["run"]
        return document if ours else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_newer(document: Document, moment: float) -> bool:
    return datetime.fromisoformat(document["written_at"]).timestamp() > moment


def _replace(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.{clock.token(8)}")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as output:
            output.write(text)
        os.replace(draft, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise _refused(file, error) from error


def _refused(file: Path, error: OSError) -> ReportFileError:
    return ReportFileError(str(file), (error.strerror or str(error)).lower())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into *folder*, as well as the system can; it leaves no file behind."""
    try:
        fd = os.open(folder, os.O_RDONLY) if fcntl is not None else -1
    except OSError:  # one that may be written, but not read
        fd = -1
    if fd < 0:
        yield
        return
    try:
        give_up = clock.monotonic() + PATIENCE
        while clock.monotonic() < give_up:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                clock.pause(0.02)
            except OSError:  # no locks on this file system
                break
        yield
    finally:
        os.close(fd)
