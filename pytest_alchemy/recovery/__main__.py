"""
Reap one dead stage in a process of its own: ``python -m pytest_alchemy.recovery FOLDER [--timeout SECONDS]``.

Prints one JSON object per line, a `Finding` each; one without ``facts`` if nothing could be done. The working
directory and the import path are those of the dead process, so that its modules load as they did there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from pytest_alchemy.errors import AlchemyError, StageLockedError
from pytest_alchemy.recovery.deadstage import DeadStage, lock_of
from pytest_alchemy.state.folders import JOURNALS
from pytest_alchemy.state.journal import read_journal
from pytest_alchemy.state.keys import user_key

# What the loaded modules print must not stand between our lines.
_OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def main() -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pytest_alchemy.recovery")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--timeout", type=float, default=0.0)
    arguments = parser.parse_args()
    try:
        _reap(arguments.folder, arguments.timeout)
    except FileNotFoundError:
        if arguments.folder.is_dir():
            raise
        # Somebody else was faster: nothing is left to do.
    except StageLockedError as error:
        _say(what="unfinished", reason=str(error))
    except AlchemyError as error:
        _say(what="unrecoverable", reason=str(error))
    return 0


def _reap(folder: Path, timeout: float) -> None:
    key = user_key()
    with_lock = lock_of(folder, timeout=timeout)
    _become_owner(folder, key)
    for finding in DeadStage(folder, key).reap(with_lock):
        _say(what=finding.what, reason=finding.reason, facts=finding.facts)


def _become_owner(folder: Path, key: bytes) -> None:
    """Take on the working directory and import path of the process that died."""
    for journal in sorted((folder / JOURNALS).glob("*.jsonl")):
        header = read_journal(journal, key).header
        if header is not None:
            sys.path[:] = [
                *header.import_path,
                *(path for path in sys.path if path not in header.import_path),
            ]
            if os.path.isdir(header.folder):
                os.chdir(header.folder)
            return


def _say(**line: object) -> None:
    with suppress(BrokenPipeError):  # nobody listens any more, but the work goes on
        print(json.dumps(line), file=_OUT, flush=True)


if __name__ == "__main__":
    sys.exit(main())
