"""Where the process stood that made a stage."""

from __future__ import annotations

import os
import sys

from pytest_alchemy.records import StageOpened


def take_footing(header: StageOpened) -> None:
    """Take on the working directory and import path of the process that made a stage."""
    ours = (path for path in sys.path if path not in header.import_path)
    sys.path[:] = [*header.import_path, *ours]
    if os.path.isdir(header.folder):
        os.chdir(header.folder)
