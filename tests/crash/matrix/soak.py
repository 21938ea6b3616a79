"""
Run the crash matrix many times:
``python -m tests.crash.matrix.soak [--times N] [--instants N] [--at-once N] [--minutes N] [--only EXPRESSION]``.

Every row is run N times and each of the random instants once. What became of them is written to
``benchmarks/results/soak.json`` if all of them were meant; exits with 1 if anything was left or went otherwise than its
row says, and also if something was not run because the time was over.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.support import postgres

from .driver import ROOT, Ending, missing, play
from .matrix import instants, soaking
from .row import Case

RESULTS = ROOT / "benchmarks" / "results" / "soak.json"

TELL_EVERY = 15.0
"""How often to say how far it is, in seconds."""


def main() -> int:
    """Soak, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.matrix.soak", description=__doc__)
    parser.add_argument(
        "--times", type=int, default=5, help="how often each row is run (default: 5)"
    )
    parser.add_argument(
        "--instants", type=int, default=200, help="how many random instants (default: 200)"
    )
    parser.add_argument(
        "--at-once", type=int, default=3, help="how many run at the same time (default: 3)"
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="how long to begin new ones (default: 60)"
    )
    parser.add_argument("--only", default="", help="run only cases whose name matches")
    chosen = parser.parse_args()
    each = [case for _ in range(chosen.times) for case in soaking()] + instants(chosen.instants)
    wanted = [case for case in each if re.search(chosen.only, case.id)]
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        url = _server(stack)
        able = [case for case in wanted if not missing(case) and (url or not case.row.postgres)]
        rows = _gather(_all_of(able, url, chosen.at_once, started + chosen.minutes * 60))
    skipped = sorted({case.row.name for case in wanted} - {case.row.name for case in able})
    summary = _summary(rows, skipped, len(able), time.monotonic() - started)
    if not chosen.only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    print(
        f"{summary['runs']} runs, {summary['left']} left, {summary['bad']} not as their row says, "
        f"{summary['not_run']} not run",
        flush=True,
    )
    return 1 if summary["left"] or summary["bad"] or summary["not_run"] else 0


def _all_of(
    cases: list[Case], url: str | None, at_once: int, until: float
) -> Iterator[tuple[Case, Ending]]:
    """Run *cases*, several at once, and yield how each ended; none begins later than *until*."""
    started, told, bad = time.monotonic(), 0.0, 0
    with ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(_play, case, url, until): case for case in cases}
        try:
            ended: Future[Ending | None]
            for done, ended in enumerate(as_completed(running), start=1):
                ending, now = ended.result(), time.monotonic()
                if ending is not None:
                    bad += bool(ending.problems)
                    yield running[ended], ending
                if now > told + TELL_EVERY:
                    told, rest = now, (now - started) / done * (len(cases) - done)
                    print(
                        f"{done} of {len(cases)}, {bad} bad, {_clock(now - started)}, "
                        f"about {_clock(rest)} to go",
                        flush=True,
                    )
        finally:
            pool.shutdown(cancel_futures=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _server(stack: contextlib.ExitStack) -> str | None:
    try:
        return stack.enter_context(postgres.server())
    except postgres.NoServerError as error:
        print(f"without PostgreSQL: {error}", flush=True)
        return None


def _play(case: Case, url: str | None, until: float) -> Ending | None:
    """Return how *case* ended; None if it is too late to begin."""
    if time.monotonic() > until:
        return None
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        ending = play(case, folder / "run", url)
    except Exception as error:  # the others still get their turn
        ending = Ending(-1, "", [], 0.0, [f"{type(error).__name__}: {error}"])
    if not ending.problems:
        shutil.rmtree(folder)
    elif not case.fails:
        print(f"{case.id} in {folder}: {'; '.join(ending.problems)}", flush=True)
    return ending


def _gather(endings: Iterator[tuple[Case, Ending]]) -> dict[str, list[tuple[Case, Ending]]]:
    rows: dict[str, list[tuple[Case, Ending]]] = defaultdict(list)
    for case, ending in endings:
        # The random instants are one row: each of them is run once.
        name = "sigkill-at-random" if "-at-random-" in case.row.name else case.id
        rows[name].append((case, ending))
    return rows


def _summary(
    rows: dict[str, list[tuple[Case, Ending]]], skipped: list[str], wanted: int, took: float
) -> dict[str, Any]:
    lines = {name: _line(endings) for name, endings in sorted(rows.items())}
    runs = sum(line["runs"] for line in lines.values())
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "pytest_alchemy")),
        "python": sys.version.split()[0],
        "runs": runs,
        "not_run": wanted - runs,
        "left": sum(line["left"] for line in lines.values()),
        "bad": sum(line["bad"] for line in lines.values()),
        "took_seconds": round(took),
        "skipped": skipped,
        "rows": lines,
    }


def _line(endings: list[tuple[Case, Ending]]) -> dict[str, Any]:
    seconds = [ending.seconds for _, ending in endings]
    # What a row leaves on purpose is told by its report.
    left = sum(max(0, len(ending.left) - len(case.left)) for case, ending in endings)
    known = {case.fails for case, _ in endings if case.fails}
    line = {
        "runs": len(endings),
        "left": left,
        "bad": 0 if known else sum(bool(ending.problems) for _, ending in endings),
        "seconds_median": round(sorted(seconds)[len(seconds) // 2], 3),
        "seconds_most": round(max(seconds), 3),
    }
    return {**line, "known": sorted(known)} if known else line


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
