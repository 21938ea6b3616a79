"""Whose line is it? Finding the code outside this package that called into it."""

from __future__ import annotations

import sys

_PACKAGE = __name__.rpartition(".")[0] + "."


def stack_level() -> int:
    """Return the ``stacklevel`` with which our caller's `warnings.warn` points at code outside this package."""
    frame = sys._getframe(1)
    level = 1
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return level


def where() -> str:
    """Return ``file:line`` of the innermost code outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_ours(module: str) -> bool:
    return module.startswith(_PACKAGE)
