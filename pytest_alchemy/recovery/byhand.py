"""What somebody asked to be done to one stage, from its state alone, be its program there or not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from pytest_alchemy.recovery.access import check_kept
from pytest_alchemy.recovery.deadstage import DeadStage, lock_of
from pytest_alchemy.recovery.finding import Finding, Tell
from pytest_alchemy.settings import Strategy
from pytest_alchemy.state.backup import back_up


def destroy_by_hand(
    folder: Path,
    key: bytes,
    *,
    tell: Tell | None = None,
    saved: Callable[[Path], object] = lambda _: None,
    profile: str | None = None,
    strategy: Strategy | None = None,
    password: str | None = None,
    lock_timeout: float = 0.0,
) -> Iterator[Finding]:
    """
    Destroy everything in the stage in *folder*, also what is kept, and say what became of each thing.

    The classes that the records name are imported into this process. An interrupt leaves the records true: what is not
    destroyed yet is destroyed the next time.

    Args:
        folder: The stage's folder, which is gone when all is.
        key: The user's key.
        tell: Told what happens as it happens, maybe from several threads.
        saved: Given the copy of the state that is made before anything is called.
        profile: The credentials to use, and whether they may touch the stage, as in `check_kept`.
        strategy: How to destroy; by default as the program that was deployed last said.
        password: What its secrets were sealed with; by default ``ALCHEMY_PASSWORD``.
        lock_timeout: How long to wait for the owner of the stage, in seconds.

    Raises:
        StageLockedError: Its owner lives.
        ProfileDeniedError: The profile may not touch the stage; nothing was called.
        StateFileError, JournalReadError, StateForeignError: What is recorded cannot be trusted or read; nothing was
            called.
        StateFolderError: No copy could be made; nothing was called.
    """
    lock = lock_of(folder, timeout=lock_timeout)
    try:
        dead = DeadStage(
            folder,
            key,
            by_hand=True,
            profile=profile,
            strategy=strategy,
            password=password,
            tell=tell,
        )
        check_kept(dead.read(), profile)
        saved(back_up(folder))
        yield from dead.reap(lock)
    finally:
        lock.release()


def forget_by_hand(folder: Path, key: bytes, things: Collection[tuple[str, int]]) -> Path:
    """
    Forget *things* in the stage in *folder* without destroying them: nothing is called.

    Args:
        folder: The stage's folder, which is gone when nothing else is recorded in it.
        key: The user's key.
        things: Each as what its number belongs to (`StageOpened.lineage`), and its number.

    Returns:
        The copy of the state that was made before.

    Raises:
        StageLockedError, StateFileError, JournalReadError, StateForeignError, StateFolderError: As `destroy_by_hand`;
            nothing was forgotten.
    """
    lock = lock_of(folder, timeout=0.0)
    try:
        dead = DeadStage(folder, key, by_hand=True)
        dead.read()
        copy = back_up(folder)
        dead.forget(lock, things)
        return copy
    finally:
        lock.release()
