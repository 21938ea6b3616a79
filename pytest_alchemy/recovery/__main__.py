"""
Reap one dead stage in a process of its own: ``python -m pytest_alchemy.recovery SECONDS FOLDER [forget]``.

Waits that long for the stage's lock. Prints one JSON object per line, a `Finding` each; one without ``facts`` if
nothing could be done. The working directory and the import path are those of the dead process, so that its modules
load as they did there.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pytest_alchemy import clock
from pytest_alchemy.errors import AlchemyError, StageLockedError
from pytest_alchemy.recovery.deadstage import DeadStage, lock_of
from pytest_alchemy.recovery.finding import Finding
from pytest_alchemy.recovery.footing import take_footing
from pytest_alchemy.state.keys import user_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from pytest_alchemy.state.stagestate import StageState


def main(timeout: str, folder: str, forget: str = "") -> int:
    """Run the program with these arguments and return its exit code."""
    say = _speaker()
    try:
        _reap(Path(folder), float(timeout), say, forget=bool(forget))
    except FileNotFoundError:
        if os.path.isdir(folder):
            raise
        # Somebody else was faster: nothing is left to do.
    except StageLockedError as error:
        say(what="unfinished", reason=str(error))
    except AlchemyError as error:
        say(what="unrecoverable", reason=str(error))
    return 0


def run(*words: str) -> NoReturn:
    """Run the program and end the process, whatever threads the modules of the dead one have started in it."""
    code = 1
    try:
        code = main(*words)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    with suppress(Exception):  # they may be on a full disk, or a user's own
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _reap(folder: Path, timeout: float, say: Callable[..., None], *, forget: bool) -> None:
    lock = lock_of(folder, timeout=timeout)
    dead = DeadStage(folder, user_key(), forget=forget)
    for book in dead.read().books.values():
        take_footing(book.header, folder)
        break
    findings = []
    for finding in dead.reap(lock):
        findings.append((clock.now(), finding))
        say(what=finding.what, reason=finding.reason, errors=finding.errors, facts=finding.facts)
    _report(folder, dead.read(), findings)


def _report(folder: Path, state: StageState, findings: list[tuple[float, Finding]]) -> None:
    """Write the report that the run can no longer write, now that everything else is done."""
    headers = [segment.header for segment in state.segments]
    if not any(header.report for header in headers):
        return
    from pytest_alchemy.lastreport import write_last_report
    from pytest_alchemy.recovery.processes import a_patron_lives

    if a_patron_lives(headers):
        return  # an xdist controller that lives writes it itself

    facts = [
        {
            # Nobody has it on record any more, but it is still there.
            "what": "unrecoverable" if finding.what == "forgotten" else finding.what,
            "reason": finding.reason,
            "errors": finding.errors,
            "ended": at,
            **finding.facts,
        }
        for at, finding in findings
    ]
    try:
        write_last_report(folder, state.segments, facts)
    except AlchemyError as error:
        sys.stderr.write(f"{error}\n")


class _Unheard(io.FileIO):
    """A file whose words may be lost: nobody listens any more, or the disk is full."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _speaker() -> Callable[..., None]:
    """
    Return what prints a line of ours; what the loaded modules print no longer stands between them.

    None of them fails because what it prints cannot be written.
    """
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    for name in ("stdout", "stderr"):
        words = io.BufferedWriter(_Unheard(2, "w", closefd=False))
        stream = io.TextIOWrapper(words, errors="backslashreplace", line_buffering=True)
        setattr(sys, name, stream)

    def say(**line: object) -> None:
        # Nobody listens any more, or the disk is full, but the work goes on.
        with suppress(OSError):
            # ASCII, whatever stands in a user's error.
            print(json.dumps(line), file=out, flush=True)

    return say


if __name__ == "__main__":
    run(*sys.argv[1:])
