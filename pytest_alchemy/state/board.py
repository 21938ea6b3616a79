"""What several processes recorded in one stage that they share, and the short locks by which they take turns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_alchemy.records import Intent
from pytest_alchemy.state.fold import LiveState, fold
from pytest_alchemy.state.folders import JOURNALS, Root
from pytest_alchemy.state.journal import read_journal
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.locks import Holder
from pytest_alchemy.store import SharedRecord

TURN = 600.0
"""How long to wait for another process that creates the same thing, in seconds."""


class Board:
    """
    Reads what all processes of a shared stage recorded.

    Args:
        root: The folder of all stages.
        app: Name of the application.
        stage: Full name of the stage.
    """

    def __init__(self, root: Path, app: str, stage: str) -> None:
        self._root, self._app, self._stage = Root(root), app, stage

    @contextmanager
    def turn(self, place: tuple[str, ...], key: str) -> Iterator[None]:
        """
        Keep every other process from creating *key* in the scope at *place*; blocks until it is our turn.

        Raises:
            StageLockedError: Another process has been creating it for `TURN` seconds.
        """
        digest = hashlib.blake2b(repr((place, key)).encode("utf-8", "surrogatepass"), digest_size=8)
        _, lock = self._root.hold_stage(
            self._app,
            self._stage,
            Holder.this_process(),
            timeout=TURN,
            lock=f".turn-{digest.hexdigest()}",
        )
        try:
            yield
        finally:
            lock.release(remove=True)

    def find(self, place: tuple[str, ...], kind: str, id: str) -> SharedRecord | None:
        """Return what was recorded last of a resource, by whichever process."""
        wanted = (place, kind, id)
        found = self._records(lambda intent: (intent.path, intent.kind, intent.id) == wanted)
        return max(found, key=_moment, default=None)

    def inside(self, place: tuple[str, ...]) -> list[SharedRecord]:
        """Return what is recorded in the scope at *place* and inside it, by whichever process, newest first."""
        found = self._records(lambda intent: intent.path[: len(place)] == place)
        return sorted(found, key=_moment, reverse=True)

    def _records(self, wanted: Callable[[Intent], bool]) -> Iterator[SharedRecord]:
        for state in self._states():
            for live in state.live.values():
                intent = live.entry
                if isinstance(intent, Intent) and wanted(intent):
                    outputs = live.outputs if live.created else None
                    yield SharedRecord(intent, state.kinds[intent.kind], live.props, outputs)

    def _states(self) -> Iterator[LiveState]:
        folder = self._root.stage_path(self._app, self._stage) / JOURNALS
        for path in sorted(folder.glob("*.jsonl")):
            yield fold(read_journal(path, user_key()).records)


def _moment(record: SharedRecord) -> float:
    return record.intent.at
