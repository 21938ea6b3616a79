"""Destroying a stage that outlives its programs, from its records alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_alchemy.errors import UnknownStageError
from pytest_alchemy.recovery.access import check_kept
from pytest_alchemy.recovery.deadstage import DeadStage, Finding, lock_of
from pytest_alchemy.state.folders import Root, folders_in
from pytest_alchemy.state.keys import user_key


def destroy_stage(
    root: Path,
    app: str,
    stage: str,
    *,
    profile: str | None = None,
    lock_timeout: float = 0.0,
) -> Iterator[Finding]:
    """
    Destroy everything that is recorded of a stage, and say what became of each; its folder goes with the last.

    The classes that the records name are imported into this process. What is recorded as kept until some moment
    goes, too.

    Args:
        root: The folder of all stages.
        app: Name of the application.
        stage: Name of the stage.
        profile: The profile in use, as in `check_kept`.
        lock_timeout: How long to wait for the owner of the stage, in seconds.

    Raises:
        ProfileDeniedError: The profile may not touch it; nothing was called.
        UnknownStageError: Nothing is recorded of it.
        StageLockedError: Another process owns it.
        StateForeignError, StateFileError, JournalReadError: What is recorded cannot be trusted or read; nothing was
            called.
    """
    folder = Root(root).stage_path(app, stage)
    dead = DeadStage(folder, user_key())
    if not folder.exists() or not dead.read().books:
        raise UnknownStageError(app, stage, stages_of(root, app))
    check_kept(dead.read(), profile)
    lock = lock_of(folder, timeout=lock_timeout)
    try:
        # What was read before the lock was ours may be out of date.
        yield from DeadStage(folder, user_key(), by_hand=True).reap(lock)
    finally:
        lock.release()


def stages_of(root: Path, app: str) -> list[str]:
    """Return the names of the stages of *app* that are recorded under *root*."""
    folder = Root(root).stage_path(app, "x").parent
    names = set()
    for path in folders_in(str(folder)):
        books = DeadStage(Path(path), user_key()).read().books
        names |= {book.header.stage for book in books.values()}
    return sorted(names)
