"""Where the stages of a project lie, if nobody says so."""

from __future__ import annotations

from pathlib import Path

from pytest_alchemy.errors import StateFolderError
from pytest_alchemy.state.folders import Root


def nearest_root(start: Path) -> Path:
    """
    Return the folder ``.alchemy`` in *start*, or in the nearest folder above it, that holds a stage.

    Returns:
        The one in *start* if there is none; it need not exist.
    """
    for folder in (start, *start.parents):
        root = folder / ".alchemy"
        if _may_hold_stages(root):
            return root
    return start / ".alchemy"


def _may_hold_stages(root: Path) -> bool:
    """Tell whether a stage lies in *root*: the one in a home folder may hold nothing but credentials."""
    try:
        return any(Root(root).stages())
    except StateFolderError:  # another user's, say: whoever looks into it tells
        return True
