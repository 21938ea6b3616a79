"""The stages that lie under a root, and which of them may be destroyed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pytest_alchemy import clock
from pytest_alchemy.deferred import shown_call
from pytest_alchemy.errors import AlchemyError, JournalForeignError
from pytest_alchemy.names import folder_name
from pytest_alchemy.records import Deferred, KindSeen, Live, StageOpened
from pytest_alchemy.recovery.footing import present
from pytest_alchemy.recovery.foreign import ForeignStore, first_lines
from pytest_alchemy.recovery.processes import a_patron_lives
from pytest_alchemy.recovery.reapable import is_living, why_not_in
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import LOCK, Root
from pytest_alchemy.state.locks import is_held, read_holder
from pytest_alchemy.state.stagestate import Book, StageState, load_stage


@dataclass(frozen=True, slots=True)
class Thing:
    """
    One thing that a stage owns.

    Attributes:
        kind: What messages call it (``D1Database``), or ``deferred``.
        id: The id its author gave.
        name: Its physical name.
        scope: Title of the scope that owns it.
        test: Node id of the test that made it.
        where: ``file:line`` of the code that made it.
        world: Where it lives.
        at: When it was made, in seconds since the epoch.
        kept_until: Until when it is kept on purpose, in seconds since the epoch; 0.0 if it is not.
    """

    kind: str
    id: str
    name: str
    scope: str
    test: str
    where: str
    world: str
    at: float
    kept_until: float = 0.0


@dataclass(frozen=True, slots=True)
class FoundStage:
    """
    One stage as it was found.

    Attributes:
        folder: Its folder.
        app: Name of its application; that of the folder if nothing can be read.
        stage: Its full name; that of the folder if nothing can be read.
        things: Everything in it, kept things included.
        used: When something was last made in it, in seconds since the epoch; 0.0 if nobody knows.
        by: Who recorded it: ``ada on build-7``.
        why_not: Why it is left alone, in words that follow its name; empty if it is to be destroyed.
        foreign: Whether another user or another machine recorded it.
        damaged: Whether it cannot be read at all.
        imports: The code that destroying it imports, and the folder it runs in; told of a foreign stage only.
    """

    folder: Path
    app: str
    stage: str
    things: tuple[Thing, ...] = ()
    used: float = 0.0
    by: str = ""
    why_not: str = ""
    foreign: bool = False
    damaged: bool = False
    imports: tuple[str, ...] = ()

    @property
    def doomed(self) -> tuple[Thing, ...]:
        """What of it is to be destroyed."""
        now = clock.now()
        return () if self.why_not else tuple(t for t in self.things if t.kept_until <= now)


@dataclass(frozen=True, slots=True)
class Choice:
    """
    Which stages are to be destroyed, of those that may be.

    Attributes:
        app: Name of the application whose stages count; None for all.
        older_than: How long nothing may have been made in a stage, in seconds.
        foreign: Whether stages that another user or another machine recorded are taken, too.
    """

    app: str | None = None
    older_than: float = 0.0
    foreign: bool = False


def find_stages(root: Path, key: bytes, choice: Choice) -> list[FoundStage]:
    """
    Return all stages under *root*; nothing is written, imported or called.

    Args:
        root: The folder ``.alchemy``; it need not exist.
        key: The user's key.
        choice: Which of them are to be destroyed.
    """
    looked = (look_at(folder, key, choice) for folder in _folders(root, choice.app))
    return [stage for stage in looked if stage is not None]


def look_at(folder: Path, key: bytes, choice: Choice) -> FoundStage | None:
    """Return what is in the stage's folder *folder*, None if that is gone."""
    unread = FoundStage(folder, folder.parent.name, folder.name)
    try:
        living = is_living(folder)
    except AlchemyError as error:
        return replace(unread, why_not=str(error), damaged=True)
    try:
        state, foreign = _read(folder, key)
    except AlchemyError as error:
        why_not = _who_lives(folder) if living else str(error)
        return replace(unread, why_not=why_not, damaged=not living)
    if not folder.is_dir():
        return None
    found = _described(unread, state) if state.books else unread
    found = replace(
        found, foreign=foreign, imports=tuple(_imports(state, folder)) if foreign else ()
    )
    why_not = _who_lives(folder) if living else why_not_in(state, foreign=True)
    return replace(found, why_not=why_not or _not_chosen(found, choice))


def _who_lives(folder: Path) -> str:
    """Return who holds the stage in *folder*, in words that follow its name: its owner, or who cleans up after that."""
    headers = _headers(folder)
    holder = read_holder(folder / LOCK)
    owners = {header.owner for header in headers}
    ends_with_its_run = bool(headers) and all(header.ephemeral for header in headers)
    if ends_with_its_run and holder and holder.pid not in owners and is_held(folder / LOCK):
        return f"{holder} is cleaning it up"
    return "its owner lives"


def living_runs(root: Path) -> set[str]:
    """Return the ids of all runs that are not over, as far as stages under *root* tell."""
    runs: set[str] = set()
    for folder in Root(root).stages():
        headers = _headers(folder)
        if _may_live(folder, headers):
            runs.update(header.run for header in headers)
            runs.add(folder.name.partition("+")[0][-8:])  # its journal may not be there yet
    return runs


def _folders(root: Path, app: str | None) -> Iterator[Path]:
    for folder in Root(root).stages():
        if app is None or folder.parent.name == folder_name(app):
            yield folder


def _headers(folder: Path) -> list[StageOpened]:
    try:
        return first_lines(folder)
    except AlchemyError:  # a link, say: the folder's own name has to do
        return []


def _may_live(folder: Path, headers: Iterable[StageOpened]) -> bool:
    try:
        return is_living(folder) or a_patron_lives(headers)
    except AlchemyError:  # nobody can tell
        return True


def _read(folder: Path, key: bytes) -> tuple[StageState, bool]:
    """Return what is recorded in *folder*, and whether somebody else recorded it."""
    try:
        state = load_stage(FileStore(folder, key))
    except JournalForeignError:
        return load_stage(ForeignStore(folder)), True
    if state.untrusted:
        return load_stage(ForeignStore(folder)), True
    return state, False


def _described(found: FoundStage, state: StageState) -> FoundStage:
    books = list(state.books.values())
    kept = [(book, state.kept_things(book)) for book in books]
    things = [
        _thing(book, live, until.get(number, 0.0))
        for book, until in kept
        for number, live in book.live.items()
    ]
    header = books[0].header
    return replace(
        found,
        app=header.app,
        stage=header.stage,
        things=tuple(sorted(things, key=lambda thing: thing.at)),
        used=max([*(book.header.started for book in books), *(thing.at for thing in things)]),
        by=f"{header.user} on {header.host}",
    )


def _thing(book: Book, live: Live, kept_until: float) -> Thing:
    record, header = live.entry, book.header
    if isinstance(record, Deferred):
        id = _call(record)
        kind, name, world = "deferred", f"deferred {id}", ""
    else:
        kind = _title(book.kinds.get(record.kind), record.kind)
        id, name, world = record.id, record.name, record.world
    path = [part.strip(":") for part in record.path]
    return Thing(
        kind=kind,
        id=id,
        name=name,
        scope="/".join((header.app, header.stage, *path)),
        test=record.test,
        where=record.where,
        world=world,
        at=record.at,
        kept_until=kept_until,
    )


def _call(record: Deferred) -> str:
    """Return a deferred call as reports call it."""
    if not record.module:
        return record.function.removeprefix("deferred ")
    return shown_call(record.function, record.args, record.kwargs)


def _title(seen: KindSeen | None, kind: str) -> str:
    return seen.qualname.rpartition(".")[2] if seen else kind


def _imports(state: StageState, folder: Path) -> Iterator[str]:
    """Yield what destroying *state*, which lies in *folder*, imports, each once."""
    told: dict[str, None] = {}
    for book in state.books.values():
        here = partial(present, header=book.header, folder=folder)
        told[f"works in {here(book.header.folder)}"] = None
        for seen in book.kinds.values():
            told[f"imports {seen.qualname} from {here(seen.file) or seen.module}"] = None
        for live in book.live.values():
            if isinstance(live.entry, Deferred) and live.entry.module:
                call = live.entry
                told[f"calls {call.function} from {here(call.file) or call.module}"] = None
    yield from told


def _not_chosen(found: FoundStage, choice: Choice) -> str:
    if found.foreign and not choice.foreign:
        return f"{found.by} recorded it, not this user on this machine; --foreign takes it all the same"
    if found.used + choice.older_than > clock.now():
        return "it was used within the time that --older-than spares"
    return ""
