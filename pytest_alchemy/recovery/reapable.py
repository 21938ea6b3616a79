"""Which stages may be destroyed by whoever finds them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pytest_alchemy import clock
from pytest_alchemy.errors import AlchemyError
from pytest_alchemy.recovery.processes import a_patron_lives
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.locks import is_held, read_holder
from pytest_alchemy.state.stagestate import StageState, load_stage


def reapable_of(folders: Iterable[Path], key: bytes) -> list[Path]:
    """
    Return those of *folders* that may be reaped (`is_reapable`), the one whose turn it is first.

    What nobody has tried yet comes first, the oldest before the others, so that what cannot be destroyed keeps nobody
    waiting in one run after the other. What was tried comes after it, first what waits longest since.

    Args:
        folders: Folders of stages.
        key: The user's key.
    """
    turns = {folder: _turn(folder, key) for folder in folders if is_reapable(folder, key)}
    return sorted(turns, key=turns.__getitem__)


def is_reapable(folder: Path, key: bytes) -> bool:
    """
    Tell whether whoever finds the stage in *folder* may destroy everything in it that is not kept.

    That is so if its owner and everybody who shared it are dead, it was made by tests of this user on this machine,
    and not everything that is left in it is kept. A stage that outlives its programs never is.

    It is what was true a moment ago: who acts on it takes the lock (`lock_of`), which is then the truth.

    Args:
        folder: The stage's folder.
        key: The user's key.
    """
    return not why_not_reapable(folder, key)


def why_not_reapable(folder: Path, key: bytes) -> str:
    """Return why the stage in *folder* is left alone, in words that follow its name; empty if it may be reaped."""
    try:
        if is_living(folder):
            return "its owner lives"
        return why_not_in(load_stage(FileStore(folder, key)))
    except AlchemyError as error:
        return str(error)


def is_living(folder: Path) -> bool:
    """
    Tell whether the owner of the stage in *folder*, or somebody who shares it, holds a lock in it right now.

    Raises:
        AlchemyError: Nobody can tell: a lock file cannot be opened, or the file system has no real locks.
    """
    return any(is_held(lock) for lock in [folder / LOCK, *sorted(folder.glob(f"{LOCK}-*"))])


def why_not_in(state: StageState, *, foreign: bool = False) -> str:
    """
    Return why a stage that nobody lives in is left alone.

    Args:
        state: Everything that is recorded of it.
        foreign: True if it does not matter who wrote that.
    """
    if not state.books:
        return "nothing is recorded in it"
    if not all(book.header.ephemeral for book in state.books.values()):
        return "it outlives its programs"
    if a_patron_lives(book.header for book in state.books.values()):
        return "its run goes on"
    if state.untrusted and not foreign:
        return f"{state.untrusted[0]} was edited, or was not written by this user on this machine"
    kept = [(book, state.kept_things(book)) for book in state.books.values()]
    until = min((its.get(n, 0.0) for book, its in kept for n in book.live), default=0.0)
    if until > clock.now():
        return f"it is kept until {clock.instant(until):%Y-%m-%d %H:%M} UTC"
    return ""


def _turn(folder: Path, key: bytes) -> tuple[bool, float]:
    """Return whether anybody tried to destroy what is in *folder*, and when somebody last took or made it."""
    try:
        books = load_stage(FileStore(folder, key)).books.values()
    except AlchemyError:  # somebody is changing it right now
        return True, clock.now()
    holder = read_holder(folder / LOCK)
    # Of what cannot even be loaded nothing is recorded but who had the stage last.
    tried = holder is not None and holder.pid not in {book.header.owner for book in books}
    tried = tried or any(live.in_doubt for book in books for live in book.live.values())
    since = max((book.header.started for book in books), default=0.0)
    return tried, max(since, holder.since) if holder else since
