"""Destroying a stage that outlives its programs, from its records alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_alchemy.errors import UnknownStageError
from pytest_alchemy.recovery.byhand import destroy_by_hand
from pytest_alchemy.recovery.deadstage import DeadStage
from pytest_alchemy.recovery.finding import Finding
from pytest_alchemy.settings import Strategy
from pytest_alchemy.state.folders import Root, folders_in
from pytest_alchemy.state.keys import user_key


def destroy_stage(
    root: Path,
    app: str,
    stage: str,
    *,
    profile: str | None = None,
    strategy: Strategy | None = None,
    password: str | None = None,
    lock_timeout: float = 0.0,
) -> Iterator[Finding]:
    """
    Destroy everything that is recorded of a stage, and say what became of each; its folder goes with the last.

    What is recorded is copied first, as by `destroy_by_hand`, whose errors are raised here as well.

    Args:
        root: The folder of all stages.
        app: Name of the application.
        stage: Name of the stage.
        profile: The credentials to use.
        strategy: How to destroy, as in `destroy_by_hand`.
        password: What its secrets were sealed with.
        lock_timeout: How long to wait for the owner of the stage, in seconds.

    Raises:
        UnknownStageError: Nothing is recorded of it.
    """
    folder = Root(root).stage_path(app, stage)
    if not folder.exists() or not DeadStage(folder, user_key()).read().books:
        raise UnknownStageError(app, stage, stages_of(root, app))
    return destroy_by_hand(
        folder,
        user_key(),
        profile=profile,
        strategy=strategy,
        password=password,
        lock_timeout=lock_timeout,
    )


def stages_of(root: Path, app: str) -> list[str]:
    """Return the names of the stages of *app* that are recorded under *root*."""
    folder = Root(root).stage_path(app, "x").parent
    names = set()
    for path in folders_in(str(folder)):
        books = DeadStage(Path(path), user_key()).read().books
        names |= {book.header.stage for book in books.values()}
    return sorted(names)
