"""
What a stage owns: its documents, and what happened since they were written.

`load_stage` reads both, `fold_stage` makes new documents of them and lets the journal go. Nothing here depends
on where they are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from pytest_alchemy import clock
from pytest_alchemy.errors import StateChangedError, StateFileError
from pytest_alchemy.garbage import no_search
from pytest_alchemy.records import Deferred, Intent, KindSeen, Live, Record, StageOpened, Vault
from pytest_alchemy.state.document import Sheet, moment_in, normal, text_of, things_in
from pytest_alchemy.state.fold import LiveState, fold
from pytest_alchemy.state.statefile import VERSION
from pytest_alchemy.store import Lease, Place, Segment, StateStore, Versioned

_TRIES: Final = 20  # each miss means that somebody opened or folded the stage in that very moment
_REPEATED = (
    "app",
    "stage",
    "scope",
    "version",
    "last_updated",
    "resources",
    "deferred",
    "expires",
    "vault",
    "journals",
)


class Book(msgspec.Struct):
    """
    What was recorded under one numbering: in a lasting stage of all its runs, in a test's stage of one process.

    Attributes:
        header: First line of its youngest journal.
        live: What is still owned, by number, in order of the numbers.
        kinds: Where the classes of what is owned can be imported from.
        numbers: The greatest number that was ever given.
    """

    header: StageOpened
    live: dict[int, Live] = {}
    kinds: dict[str, KindSeen] = {}
    numbers: int = 0


class StageState(msgspec.Struct):
    """
    What a stage owns.

    Attributes:
        books: By what their numbers belong to (`StageOpened.lineage`), oldest first.
        kept: Until when scopes are kept on purpose, in seconds since the epoch.
        documents: The documents that were read.
        segments: The journal lines that were read.
        vault: What its secrets are encrypted with; None if it never had any.
    """

    books: dict[str, Book] = {}
    kept: dict[Place, float] = {}
    documents: dict[Place, Versioned] = {}
    segments: list[Segment] = []
    vault: Vault | None = None

    @property
    def next_number(self) -> int:
        """The first number that no run of a lasting stage has given yet."""
        return 1 + max((book.numbers for book in self.books.values()), default=0)

    @property
    def header(self) -> StageOpened | None:
        """The first line of the youngest journal; None if there never was one."""
        return next((book.header for book in reversed(self.books.values())), None)

    @property
    def untrusted(self) -> list[str]:
        """Documents that were edited, or that this user did not write on this machine."""
        return [read.source for read in self.documents.values() if not read.trusted]

    def kept_until(self, place: Place) -> float:
        """Return until when what is in the scope at *place* is kept; 0.0 if it is not."""
        inside = (place[:length] for length in range(len(place) + 1))
        return max((self.kept.get(scope, 0.0) for scope in inside), default=0.0)

    def kept_things(self, book: Book) -> dict[int, float]:
        """Return until when things in *book* are kept, by number: what was asked for, what it needs, what is inside."""
        until: dict[int, float] = {}
        inside: dict[int, list[int]] = {}
        for number, live in book.live.items() if self.kept else ():
            inside.setdefault(live.entry.parent, []).append(number)
            if asked := self.kept_until(live.entry.path):
                until[number] = asked
        left = list(until)
        while left:
            number = left.pop()
            for other in (*book.live[number].needs, *inside.get(number, ())):
                if other in book.live and until.get(other, 0.0) < until[number]:
                    until[other] = until[number]
                    left.append(other)
        return until

    def owns_anything(self) -> bool:
        """Tell whether anything is left in the stage."""
        return any(book.live for book in self.books.values())


def load_stage(store: StateStore) -> StageState:
    """
    Return everything that the stage of *store* owns; without any lease, at any moment.

    Raises:
        StateFileError: A document is damaged, or a newer version wrote it.
        JournalReadError: A journal is damaged, not of this user on this machine, or of a newer version.
        StateChangedError: It was opened or folded over and over while it was read.
    """
    with no_search():
        for _ in range(_TRIES):
            before = store.epoch()
            documents = store.documents()
            # After the documents: none of what was folded is missing in both.
            segments = store.segments()
            if store.epoch() == before:
                return _loaded(documents, segments)
    raise StateChangedError("The stage")


def publish(store: StateStore, state: StageState) -> None:
    """
    Write documents that say what *state* says, and remove those of scopes that own nothing.

    The journals stay. If it ends half-way, loading the stage gives the same as before.

    Raises:
        StateChangedError: Somebody else wrote meanwhile: load the stage again.
    """
    sheets = _sheets(state)
    # Inner ones first: their folders go with them.
    for place in sorted({*sheets, *state.documents}, reverse=True):
        before = state.documents.get(place)
        if place in sheets:
            after = _document(state, place, sheets[place], before)
            if before is None or not _is_same(before.document, after):
                store.write(place, after, before.version if before else None)
        elif before is not None:
            store.remove(place, before.version)


def fold_stage(store: StateStore, lease: Lease) -> StageState:
    """
    Make new documents of the old ones and the journals, then let the journals go.

    Killed at any point, it can simply be done again. Done twice, the second time changes nothing.

    Returns:
        What the stage owns, which is what it owned before.

    Raises:
        LeaseLostError: The lease is over.
        StateChangedError: Somebody else keeps writing.
        StateFileError, JournalReadError: As `load_stage`; nothing was written.
    """
    for left in reversed(range(_TRIES)):
        store.renew(lease)
        state = load_stage(store)
        if not state.segments:
            break
        try:
            publish(store, state)
        except StateChangedError:
            if not left:
                raise
            continue
        store.discard(lease, state.segments)
        break
    return state


def _loaded(documents: dict[Place, Versioned], segments: list[Segment]) -> StageState:
    state = StageState(documents=documents, segments=segments)
    root = documents.get(())
    if root is not None:
        state.books = _books_in(root)
        state.vault = _vault_in(root)
    for segment in segments:
        book = state.books.setdefault(segment.header.lineage, Book(segment.header))
        book.header = segment.header
    for place, read in documents.items():
        for lineage, live in things_in(read, place):
            if lineage not in state.books:
                raise StateFileError(read.source, f"nothing tells of journal {lineage!r}")
            state.books[lineage].live[live.entry.seq] = live
        if "expires" in read.document:
            state.kept[place] = moment_in(read, "expires")
    # The youngest last, however the documents are sorted: of two that keep the same scope it has the last word.
    state.books = dict(sorted(state.books.items(), key=_age))
    for lineage, book in state.books.items():
        records = [s.records for s in segments if s.header.lineage == lineage]
        _play(state, book, itertools.chain.from_iterable(records))
    _forget_empty(state)
    return state


def _age(item: tuple[str, Book]) -> tuple[int, float, str]:
    lineage, book = item
    return book.header.fence, book.header.started, lineage


def _play(state: StageState, book: Book, records: Iterable[Record]) -> None:
    """Apply what happened since the documents were written."""
    records = list(records)
    after = fold(records, LiveState(book.live, book.kinds))
    # What comes from documents alone is as it comes back from documents.
    book.live = (
        {number: normal(live) for number, live in after.live.items()} if records else after.live
    )
    used = {live.entry.kind for live in book.live.values() if isinstance(live.entry, Intent)}
    book.kinds = {kind: seen for kind, seen in sorted(after.kinds.items()) if kind in used}
    given = (record.seq for record in records if isinstance(record, (Intent, Deferred)))
    book.numbers = max(book.numbers, max(given, default=0))
    state.vault = after.vault or state.vault
    state.kept.update((kept.path, round(kept.expires, 6)) for kept in after.kept)


def _forget_empty(state: StageState) -> None:
    """Forget that scopes are kept in which nothing is left."""
    used = (
        {
            live.entry.path[:length]
            for book in state.books.values()
            for live in book.live.values()
            for length in range(len(live.entry.path) + 1)
        }
        if state.kept
        else set()
    )
    state.kept = {place: until for place, until in sorted(state.kept.items()) if place in used}


class _Account(msgspec.Struct):
    """What the document of a stage tells of each of its books."""

    opened: StageOpened
    kinds: list[KindSeen]
    numbers: int


def _books_in(root: Versioned) -> dict[str, Book]:
    try:
        accounts = msgspec.convert(root.document.get("journals", {}), dict[str, _Account])
    except msgspec.ValidationError as error:
        raise StateFileError(root.source, f"'journals': {error}") from error
    return {
        lineage: Book(
            said.opened, kinds={seen.kind: seen for seen in said.kinds}, numbers=said.numbers
        )
        for lineage, said in accounts.items()
    }


def _vault_in(root: Versioned) -> Vault | None:
    try:
        return msgspec.convert(root.document.get("vault"), Vault | None)
    except msgspec.ValidationError as error:
        raise StateFileError(root.source, f"'vault': {error}") from error


def _sheets(state: StageState) -> dict[Place, Sheet]:
    sheets: dict[Place, Sheet] = {}

    def sheet(place: Place) -> Sheet:
        if place not in sheets:
            before = state.documents.get(place)
            sheets[place] = Sheet(before.document if before else {})
        return sheets[place]

    if state.books:
        sheet(())
    for place in state.kept:
        sheet(place)
    for lineage, book in state.books.items():
        for live in book.live.values():
            entry = live.entry
            seen = book.kinds.get(entry.kind) if isinstance(entry, Intent) else None
            sheet(entry.path).put(lineage, live, seen)
    return sheets


def _document(
    state: StageState, place: Place, sheet: Sheet, before: Versioned | None
) -> dict[str, Any]:
    header = next(iter(state.books.values())).header
    more = before.document if before else {}
    document = {name: value for name, value in more.items() if name not in _REPEATED}
    document |= {"app": header.app, "stage": header.stage, "scope": list(place)}
    document |= {"version": more.get("version", VERSION), "last_updated": text_of(clock.now())}
    document |= sheet.groups()
    if place in state.kept:
        document["expires"] = text_of(state.kept[place])
    if not place:
        if state.vault:
            document["vault"] = msgspec.to_builtins(state.vault)
        document["journals"] = {
            lineage: msgspec.to_builtins(
                _Account(book.header, list(book.kinds.values()), book.numbers)
            )
            for lineage, book in state.books.items()
        }
    return document


def _is_same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    # Tuples are lists once they are read back.
    written = msgspec.json.decode(msgspec.json.encode(after))
    return {**before, "last_updated": ""} == {**written, "last_updated": ""}
