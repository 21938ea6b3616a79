"""
The report as a page: ``index.html``, one file that needs no other and no network.

What is urgent (the numbers, the problems and their commands) stands in the HTML itself; the table and the timeline are
made by the page's script from data that it carries. Whatever a test put into a name is text there, never markup: it is
escaped here, the script sets texts only, and the page's own policy lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any, Final

from pytest_alchemy.report import words
from pytest_alchemy.report.fates import LEAKS, WHATS
from pytest_alchemy.report.texts import one_line

MOST_CARDS: Final = 100
"""How many problems get a card of their own; the table lists the others."""

_HERE: Final = Path(__file__).parent
_COLUMNS: Final = (
    *("what", "kind", "id", "name", "scope", "world", "worker", "test", "file", "line", "reason", "hint"),
    *("created_at", "create_ended_at", "destroy_started_at", "destroy_ended_at", "errors"),
)  # fmt: skip
_MOMENTS: Final = frozenset(column for column in _COLUMNS if column.endswith("_at"))
SIGNS: Final = {
    "leaked": "✕",
    "unrecoverable": "?",
    "elsewhere": "⇄",
    "unfinished": "…",
    "reaped": "↺",
    "untracked": "◇",
    "kept": "‖",
    "destroyed": "✓",
}
"""What tells the sorts apart besides their colours and words."""


def as_html(document: dict[str, Any]) -> str:
    """Return *document* as one self-contained page."""
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    leaks = sum(entry["what"] in LEAKS for entry in document["facts"])
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        title=_text(document["title"] or document["app"]),
        verdict=_verdict(document),
        mood="bad" if leaks else "good",
        about=_about(document),
        tiles="\n".join(_tiles(document)),
        problems=_problems(document),
        data=_data(document),
    )


def _verdict(document: dict[str, Any]) -> str:
    counts = document["counts"]
    leaks = sum(counts[what] for what in LEAKS)
    if leaks:
        return f"{leaks} {'leak' if leaks == 1 else 'leaks'}"
    return "No leaks"


def _about(document: dict[str, Any]) -> str:
    written = datetime.fromisoformat(document["written_at"])
    parts = [f"run {document['run']}", f"written {written:%Y-%m-%d %H:%M:%S} UTC"]
    if document["session"] == "died":
        parts.append("the run was killed; what cleaned up after it wrote this from its records")
    if document["unlisted"]:
        parts.append(f"{document['unlisted']} more are counted, but not listed")
    return _text(" · ".join(parts))


def _tiles(document: dict[str, Any]) -> list[str]:
    counts = document["counts"]
    shown = ["created", "destroyed", *reversed(WHATS)]
    tiles = [
        _tile(name, counts[name])
        for name in shown
        if counts[name] or name in ("created", "destroyed", "leaked")
    ]
    if document["retries"]:
        causes = words.retries(document["retries"]).partition(": ")[2].rstrip(")")
        tiles.append(_tile("retried", counts["retried"], causes))
    return tiles


def _tile(name: str, number: int, note: str = "") -> str:
    mark = " zero" if not number else ""
    more = f"<small>{_text(note)}</small>" if note else ""
    return f'<li class="tile {name}{mark}"><b>{number}</b> <span>{name}</span>{more}</li>'


def _problems(document: dict[str, Any]) -> str:
    told = words.problems(document)
    if not told:
        return '<p class="calm">Everything that was made is gone.</p>'
    cards = [_card(entry, document["clean_up"]) for entry in told[:MOST_CARDS]]
    hidden = sum(document["counts"][what] for what in WHATS) - len(cards)
    if hidden > 0:
        cards.append(f'<p class="calm">… and {hidden} more: see the table below.</p>')
    return '<div class="cards">\n' + "\n".join(cards) + "\n</div>"


def _card(entry: dict[str, Any], clean_up: str) -> str:
    what = entry["what"]
    rows = [
        ("made by", words.origin(entry)),
        ("name", entry["name"]),
        ("scope", entry["scope"]),
        ("world", entry["world"]),
    ]
    commands = [
        ("Clean up", clean_up if what == "leaked" else ""),
        ("Run the test again", words.rerun(entry) if what != "kept" else ""),
    ]
    return "\n".join(
        [
            f'<article class="card {what}">',
            f'<h3><span class="sign" aria-hidden="true">{SIGNS[what]}</span> <span class="state">{what}</span>',
            f"<bdi>{_text(entry['kind'])}</bdi> <bdi><strong>{_text(entry['id'])}</strong></bdi></h3>",
            f'<p class="why"><bdi>{_sentence(entry["reason"] or words.MEANINGS[what])}</bdi></p>',
            *([f"<p><bdi>{_sentence(entry['hint'])}</bdi></p>"] if entry["hint"] else []),
            "<dl>",
            *(f"<dt>{term}</dt><dd><bdi>{_text(text)}</bdi></dd>" for term, text in rows if text),
            "</dl>",
            _attempts(entry["errors"]),
            *(_command(label, text) for label, text in commands if text),
            "</article>",
        ]
    )


def _attempts(errors: list[str]) -> str:
    if len(errors) < 2:
        return ""
    items = "".join(f"<li><bdi>{_text(error)}</bdi></li>" for error in errors)
    return f"<details><summary>{len(errors)} failed attempts</summary><ol>{items}</ol></details>"


def _command(label: str, text: str) -> str:
    return (
        f'<p class="command"><span>{label}</span> <code>{_text(text)}</code> '
        f'<button type="button" class="copy" aria-label="Copy: {label}">Copy</button></p>'
    )


def _data(document: dict[str, Any]) -> str:
    """Return what the script draws: every text once, and each fact as a row of numbers."""
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(one_line(text), len(texts))

    def cell(column: str, value: Any) -> Any:
        if column in _MOMENTS:
            return round(datetime.fromisoformat(value).timestamp() * 1000, 1) if value else 0
        if column == "errors":
            return [number(error) for error in value]
        if column in ("reason", "hint"):
            value = " ".join(value.split())
        return value if column == "line" else number(value)

    rows = [[cell(name, entry[name]) for name in _COLUMNS] for entry in document["facts"]]
    data = {
        "columns": _COLUMNS,
        "signs": SIGNS,
        "meanings": words.MEANINGS,
        "rows": rows,
        "texts": list(texts),
    }
    # Inside a script element only "<" could end it or open a comment.
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _text(text: str) -> str:
    return html.escape(one_line(text))


def _sentence(text: str) -> str:
    # Errors of ours have several lines.
    return _text(" ".join(text.split()))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
