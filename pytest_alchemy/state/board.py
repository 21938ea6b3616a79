"""What several processes recorded in one stage that they share, and the short locks by which they take turns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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
        """Return what is recorded of a resource, by whichever process; one that exists before one that may."""
        best: SharedRecord | None = None
        for state in self._states():
            for live in state.live.values():
                intent = live.entry
                if isinstance(intent, Intent) and (intent.path, intent.kind, intent.id) == (
                    place,
                    kind,
                    id,
                ):
                    found = SharedRecord(
                        intent,
                        state.kinds[kind],
                        live.props,
                        live.outputs if live.created else None,
                    )
                    if found.outputs is not None:
                        return found
                    best = found
        return best

    def _states(self) -> Iterator[LiveState]:
        folder = self._root.stage_path(self._app, self._stage) / JOURNALS
        for path in sorted(folder.glob("*.jsonl")):
            yield fold(read_journal(path, user_key()).records)
