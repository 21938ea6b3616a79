"""What can become of a thing, as reports call it."""

from __future__ import annotations

from typing import Final, Literal

Told = Literal["leaked", "unrecoverable", "elsewhere", "unfinished", "reaped", "untracked", "kept"]
What = Told | Literal["destroyed"]
LeaksMode = Literal["fail", "warn", "off"]

WHATS: Final[tuple[Told, ...]] = (
    "leaked",
    "unrecoverable",
    "elsewhere",
    "unfinished",
    "reaped",
    "untracked",
    "kept",
)
"""What a report tells one by one, in this order: the worst first. What was destroyed is only counted."""

LEAKS: Final[frozenset[What]] = frozenset(("leaked", "unrecoverable", "elsewhere"))
"""What is still there although its scope is over and nobody asked to keep it."""
