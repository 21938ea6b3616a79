"""The text of SQL, cut into its statements."""

from __future__ import annotations

import re
import sqlite3

_LEADING_BLANKS = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))+", re.DOTALL)
_BLANKS = r"(?:\s|--[^\n]*\n|/\*.*?\*/)+"
_TRIGGER = re.compile(
    rf"(?:EXPLAIN{_BLANKS}(?:QUERY{_BLANKS}PLAN{_BLANKS})?)?CREATE{_BLANKS}(?:TEMP(?:ORARY)?{_BLANKS})?TRIGGER\b",
    re.IGNORECASE | re.DOTALL,
)
# What may hold a semicolon that ends nothing, and the semicolon. What is not closed goes on to the end.
_TOKEN = re.compile(
    r"""'[^']*(?:'|\Z)|"[^"]*(?:"|\Z)|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z)|--[^\n]*|/\*.*?(?:\*/|\Z)|;""",
    re.DOTALL,
)
_LONGEST = 100_000
_LONGEST_END = 64


def split_statements(sql: str) -> list[str]:
    r"""
    Return the statements in *sql*, without empty ones and those that are only a comment.

    >>> split_statements("SELECT ';'; -- nothing\n ; SELECT 2")
    ["SELECT ';'", 'SELECT 2']
    """
    pieces = []
    start, is_trigger = 0, _begins_trigger(sql, 0)
    for token in _TOKEN.finditer(sql):
        end = token.end()
        if token[0] == ";" and (not is_trigger or _ends_trigger(sql, start, end)):
            pieces.append(sql[start : end - 1])
            start, is_trigger = end, _begins_trigger(sql, end)
    pieces.append(sql[start:])
    return [text for piece in pieces if (text := _without_leading_blanks(piece))]


def _begins_trigger(sql: str, start: int) -> bool:
    blanks = _LEADING_BLANKS.match(sql, start)
    return _TRIGGER.match(sql, blanks.end() if blanks else start) is not None


def _ends_trigger(sql: str, start: int, end: int) -> bool:
    # SQLite reads from the start each time; so it is asked only where the answer may be yes, and never for long.
    is_last_word = "end" in sql[max(start, end - _LONGEST_END) : end].lower()
    return is_last_word and end - start <= _LONGEST and sqlite3.complete_statement(sql[start:end])


def _without_leading_blanks(sql: str) -> str:
    match = _LEADING_BLANKS.match(sql)
    return sql[match.end() if match else 0 :].rstrip()
