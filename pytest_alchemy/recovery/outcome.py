"""What became of one thing in a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

What = Literal["destroyed", "gone", "kept", "spared", "forgotten", "left"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one thing.

    Attributes:
        what: ``destroyed``; ``gone``: it was not there any more; ``kept``: on purpose, and its time is not over;
            ``spared``: it was found to be wanted after all; ``forgotten``: no process can ever undo it, so it is not
            recorded any longer; ``left``: it should be gone and is still there.
        kind: What messages call it (``D1Database``), ``deferred``, or ``stage`` for a stage as a whole.
        id: The id its author gave; of what was found by name, the name.
        name: Its physical name.
        place: The scope that owned it, or the world in which it was found by name.
        reason: Why it is still there; empty if it is gone.
    """

    what: What
    kind: str
    id: str
    name: str
    place: str
    reason: str = ""
