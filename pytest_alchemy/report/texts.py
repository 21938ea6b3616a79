"""What may stand in a report: texts that any encoding takes, of bounded length, without passwords."""

from __future__ import annotations

import functools
import os
import re
from typing import Final

LONGEST: Final = 2000
"""Longest text in a fact, in characters; of a longer one the middle is left out."""

_CREDENTIALS: Final = re.compile(r"(://[^\s:/@'\"]*):[^\s/'\"]+@")
_SECRET_NAMES: Final = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL")
_SHORTEST_SECRET: Final = 6


def plain(value: object, *, is_free: bool = False) -> str:
    r"""
    Return *value* as a plain text that can be written in any encoding and sent to any process.

    Half a surrogate pair becomes ``\udcff``; of more than `LONGEST` characters the middle is left out.

    Args:
        value: What to show.
        is_free: True for what errors and arguments say: passwords are taken out (`scrub`).
    """
    # Also makes a plain text of a subclass, which execnet would refuse to send.
    text = str(value)
    length = len(text)
    if is_free:
        # What is left in the end lies well inside, so that no half of a secret is left at a cut.
        text = scrub(_cut(text, 2 * LONGEST, length))
    text = _cut(text, LONGEST, length)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def scrub(text: str) -> str:
    """
    Return *text* without the passwords that an error is likely to repeat.

    These are passwords in URLs, and the values of environment variables that are named like a secret.

    >>> scrub("cannot reach postgres://ada:pw@db:5432/orders")
    'cannot reach postgres://ada:***@db:5432/orders'
    """
    for name in os.environ:
        if _names_secret(name):
            value = os.environ[name]
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, "***")
    return _CREDENTIALS.sub(r"\1:***@", text)


@functools.lru_cache(maxsize=1024)
def _names_secret(variable: str) -> bool:
    return bool(_SECRET_NAMES.search(variable.upper()))


def _cut(text: str, longest: int, length: int) -> str:
    if len(text) <= longest:
        return text
    left_out = f"...({length} characters)..."
    kept = longest - len(left_out)
    return f"{text[: kept - kept // 2]}{left_out}{text[len(text) - kept // 2 :]}"


def one_line(text: str, limit: int | None = None) -> str:
    r"""
    Return *text* with every character escaped that a terminal would not simply show.

    Args:
        text: Any text.
        limit: Longest text to return, in characters; longer ones lose their middle. None for no limit.

    >>> print(one_line("a\nb\x1b[2J"), one_line("abcdefghij", 7))
    a\nb\x1b[2J ab...ij
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if limit is None or len(text) <= limit:
        return text
    kept = limit - 3
    return f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
