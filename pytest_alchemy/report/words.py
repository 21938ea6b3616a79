"""What is said of an entry of a report, the same in every form for people."""

from __future__ import annotations

import shlex
from typing import Any, Final

from pytest_alchemy.report.fates import LEAKS, WHATS

MEANINGS: Final[dict[str, str]] = {
    "leaked": "It could not be destroyed and is still there.",
    "unrecoverable": "Nobody knows any more how to destroy it.",
    "elsewhere": "It lives in another world than the one at hand; nothing was called.",
    "unfinished": "It is still there; what goes on after its run, or the next run, destroys it.",
    "reaped": "Its process died; another one destroyed it.",
    "untracked": "The code under test made it around the scopes; it was removed.",
    "kept": "It is still there on purpose.",
    "destroyed": "It is gone, as it should be.",
}


def thing(entry: dict[str, Any]) -> str:
    """Return how *entry* is called: ``D1Database orders (alt-shop-orders-x7)``."""
    named = f"{entry['kind']} {entry['id']}"
    if entry["kind"] == "deferred" or entry["name"] in ("", entry["id"]):
        return named
    return f"{named} ({entry['name']})"


def origin(entry: dict[str, Any]) -> str:
    """Return who made it and where: ``tests/test_a.py:41 in tests/test_a.py::test_b [gw3]``; empty if nobody knows."""
    place = entry["file"] if entry["line"] is None else f"{entry['file']}:{entry['line']}"
    parts = [place] if place else []
    if entry["test"]:
        parts.append(f"in {entry['test']}" if place else entry["test"])
    if entry["worker"] not in ("", "main"):
        parts.append(f"[{entry['worker']}]")
    return " ".join(parts)


def rerun(entry: dict[str, Any]) -> str:
    """Return the command that runs its test again; empty if there is none."""
    return f"pytest {shlex.quote(entry['test'])}" if entry["test"] else ""


def counts(document: dict[str, Any]) -> str:
    """Return the numbers in one line: ``214 created, 211 destroyed, 1 reaped, 2 leaked (3 retries: 2x 429)``."""
    numbers = document["counts"]
    parts = [f"{numbers['created']} created", f"{numbers['destroyed']} destroyed"]
    parts += [
        f"{numbers[what]} {what}" for what in reversed(WHATS) if numbers[what] or what == "leaked"
    ]
    return ", ".join(parts) + retries(document["retries"])


def retries(numbers: dict[str, int]) -> str:
    """Return how often a destroy was tried again and after what: `` (3 retries: 2x 429, 1x 503)``; empty for never."""
    if not numbers:
        return ""
    total = sum(numbers.values())
    causes = sorted(numbers.items(), key=lambda cause: (-cause[1], cause[0]))
    shown = ", ".join(f"{number}x {cause}" for cause, number in causes[:5])
    return f" ({total} {'retry' if total == 1 else 'retries'}: {shown})"


def problems(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of what did not simply go away, the worst first."""
    return [entry for entry in document["facts"] if entry["what"] != "destroyed"]


def is_leak(entry: dict[str, Any]) -> bool:
    """Tell whether it is still there although its scope is over and nobody asked to keep it."""
    return entry["what"] in LEAKS
