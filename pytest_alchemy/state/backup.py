"""Copies of what a stage says, made before something changes it for good."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from pytest_alchemy import clock
from pytest_alchemy.errors import StateFolderError
from pytest_alchemy.state.disk import reason_of
from pytest_alchemy.state.filestore import folders_under, journals_in
from pytest_alchemy.state.folders import JOURNALS, make_private
from pytest_alchemy.state.statefile import STATE, read_file, replace_file

BACKUPS: Final = ".backups"
"""Name of the folder in the root that holds the copies."""

MOST: Final = 10
"""How many copies of one stage are kept."""


def back_up(folder: Path) -> Path:
    """
    Copy the state files and journals of the stage in *folder*, and let go of all but the newest copies.

    Put back where they were, they say again what they said then.

    Returns:
        The folder of the copy: ``.alchemy/.backups/<application>/<stage>/<moment>``.

    Raises:
        StateFolderError: It cannot be written; nothing else was changed.
        LinkRefusedError: A link stands in the way.
    """
    place = _place(folder)
    copy = place / f"{clock.instant(clock.now()):%Y%m%dT%H%M%S.%fZ}"
    try:
        for each in (place.parent.parent, place.parent, place, copy):
            make_private(str(each))
        for scope in folders_under(str(folder)):
            _copy(folder, copy, os.path.join(scope, STATE))
        for name in journals_in(str(folder / JOURNALS)):
            _copy(folder, copy, str(folder / JOURNALS / name))
    except BaseException as error:
        shutil.rmtree(copy, ignore_errors=True)  # nobody is to put back half a copy
        if not isinstance(error, OSError):
            raise
        raise StateFolderError(str(copy), reason_of(error)) from error
    for old in backups_of(folder)[:-MOST]:
        shutil.rmtree(old, ignore_errors=True)
    return copy


def backups_of(folder: Path) -> list[Path]:
    """Return the copies of the stage in *folder*, oldest first."""
    place = _place(folder)
    return sorted(place.iterdir()) if place.is_dir() else []


def _place(folder: Path) -> Path:
    return folder.parent.parent / BACKUPS / folder.parent.name / folder.name


def _copy(folder: Path, copy: Path, path: str) -> None:
    data = read_file(path)
    if data is None:
        return
    target = copy / os.path.relpath(path, folder)
    inside = target.parent.relative_to(copy).parts
    for length in range(1, len(inside) + 1):
        make_private(str(copy.joinpath(*inside[:length])))
    replace_file(str(target), data)
