"""Where the process stood that made a stage, and where that is now."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from pytest_alchemy.records import StageOpened


def take_footing(header: StageOpened, folder: Path) -> None:
    """
    Take on the working directory and import path of the process that made a stage.

    Args:
        header: What it recorded of itself.
        folder: The stage's folder.
    """
    theirs = [present(path, header, folder) for path in header.import_path]
    sys.path[:] = [*theirs, *(path for path in sys.path if path not in theirs)]
    place = present(header.folder, header, folder)
    if os.path.isdir(place):
        os.chdir(place)


def present(path: str, header: StageOpened, folder: Path) -> str:
    """
    Return where *path* of a stage's process is now.

    A project that was moved, or that a container has mounted in another place, is the one in whose ``.alchemy`` the
    stage lies; but not a folder in which anybody may put what is imported then (``/tmp``, say).

    Args:
        path: What that process recorded.
        header: What it recorded of itself.
        folder: The stage's folder.
    """
    project = header.rootdir or header.folder
    if os.path.exists(path) or not Path(path).is_relative_to(project):
        return path
    _, root, here = folder.parents[:3]
    moved = here / Path(path).relative_to(project)
    ours = root.name == ".alchemy" and not _is_anybodys(here)
    return str(moved) if ours and moved.exists() else path


def _is_anybodys(folder: Path) -> bool:
    return sys.platform != "win32" and bool(folder.stat().st_mode & stat.S_IWOTH)
