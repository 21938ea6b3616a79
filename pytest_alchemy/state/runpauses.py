"""The pauses that all processes of a run share, as files in its folder."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from pytest_alchemy import clock
from pytest_alchemy.errors import AlchemyError
from pytest_alchemy.pauses import Pauses
from pytest_alchemy.state.disk import disk, open_regular
from pytest_alchemy.state.folders import Root

PAUSE: Final = ".pause-"
"""How the names of the files begin that tell of a pause."""


class RunPauses(Pauses):
    """
    Pauses that the workers of a run, and whoever cleans up after them, share.

    The moment at which a pause ends is its file's time of change, so that looking costs one call to the system. It is
    one of `clock.monotonic`, which counts the same in all processes of a machine and is never set.

    Args:
        root: The folder of all stages.
        app: Name of the application.
        stage: Name of the stage in whose folder the files lie: the one that all workers share.
    """

    def __init__(self, root: Path, app: str, stage: str) -> None:
        super().__init__()
        self._root, self._app, self._stage = Root(root), app, stage
        self._folder = str(self._root.stage_path(app, stage))
        self._files: dict[str, str] = {}

    def left(self, provider: str) -> float:
        """Return how long *provider* is not to be called, in seconds; 0 if it may be called now."""
        mine = super().left(provider)
        try:
            until = disk.lstat(self._file(provider)).st_mtime
        except OSError:
            return mine
        return max(mine, until - clock.monotonic())

    def extend(self, provider: str, seconds: float) -> None:
        """Let no process of the run call *provider* for *seconds* from now."""
        super().extend(provider, seconds)
        if seconds <= self._others(provider):
            return
        with suppress(OSError, AlchemyError):  # the pause holds in this process at least
            self._root.make_stage(self._app, self._stage)
            file = self._file(provider)
            # Nobody is to see it with the time at which it was made.
            draft = f"{file}-{disk.getpid()}"
            disk.close(open_regular(draft, os.O_WRONLY | os.O_CREAT))
            until = clock.monotonic() + seconds
            disk.utime(draft, (until, until))
            disk.replace(draft, file)

    def _others(self, provider: str) -> float:
        try:
            return disk.lstat(self._file(provider)).st_mtime - clock.monotonic()
        except OSError:
            return 0.0

    def _file(self, provider: str) -> str:
        file = self._files.get(provider)
        if file is None:
            name = provider.encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(name, digest_size=8).hexdigest()
            file = self._files[provider] = f"{self._folder}/{PAUSE}{digest}"
        return file
