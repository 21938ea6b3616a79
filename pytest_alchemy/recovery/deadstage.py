"""A stage whose owner is dead, rebuilt from its journals."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.entry import Call, Entry, Owned
from pytest_alchemy.errors import AlchemyError, MayStillAppearError, OtherWorldError
from pytest_alchemy.lifecycle import summary
from pytest_alchemy.loading import load_function, load_kind
from pytest_alchemy.names import Run, resource_key
from pytest_alchemy.records import Deferred, Intent, KindSeen, StageOpened
from pytest_alchemy.resource import Kind, Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.fold import Live, LiveState, fold
from pytest_alchemy.state.folders import ACCOUNT, JOURNALS, LOCK, LOG, Root
from pytest_alchemy.state.journal import FileJournal, read_journal
from pytest_alchemy.state.locks import Holder, StageLock
from pytest_alchemy.teardown import Failure, Teardown

LOOK_AGAIN = 0.25
"""How long to wait before looking again for what may still appear, in seconds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What became of one thing in a dead stage.

    Attributes:
        what: ``reaped``, ``leaked``, ``unrecoverable`` or ``kept``; ``unfinished`` comes before one of these.
        facts: What a report says of the thing.
        reason: Why it is still there, empty if it is gone.
    """

    what: str
    facts: dict[str, Any]
    reason: str = ""


@dataclass(slots=True)
class _Book:
    """One journal of the stage and what it amounts to."""

    journal: FileJournal
    header: StageOpened
    state: LiveState
    stage: Stage
    scopes: dict[tuple[str, ...], Scope] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)


class DeadStage:
    """
    Destroys what a dead process left in a stage.

    Args:
        folder: The stage's folder.
        key: The user's key: a journal with another one is not ours to act on.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self.folder, self._key = folder, key
        self._root = Root(folder.parent.parent)
        self._driver = BlockingDriver()
        self._books: list[_Book] = []

    def reap(self, lock: StageLock) -> Iterator[Finding]:
        """
        Destroy everything that is still owned and say what became of each; remove the folder when all is gone.

        What may still appear is looked for until its kind's create timeout has passed.

        Args:
            lock: The stage's lock, held by the caller; it is released at the end.

        Raises:
            JournalReadError: A journal is damaged or not ours; nothing was called.
        """
        paths = sorted((self.folder / JOURNALS).glob("*.jsonl"))
        self._books = [book for path in paths if (book := self._open(path)) is not None]
        things: list[Owned] = []
        left = 0
        for book in self._books:
            for live in book.state.live.values():
                thing, finding = self._recall(book, live)
                if finding is not None:
                    left += 1
                    yield finding
                if thing is not None:
                    things.append(thing)
        things.sort(key=lambda thing: (thing.at, thing.seq))
        for finding in self._destroy(things):
            left += finding.what == "leaked"
            yield finding
        self._end(lock, clean=not left)

    def _destroy(self, things: list[Owned]) -> Iterator[Finding]:
        """Destroy *things* and say what became of each; what has to be waited for is told before, too."""
        told: set[Owned] = set()
        while things:
            outcome = run_blocking(Teardown(things, self._driver, None).run("sequential"))
            failed = {failure.owned: failure for failure in outcome.failures}
            yield from (Finding("reaped", thing.facts()) for thing in things if thing not in failed)
            # What is only needed by something that may still appear gets another turn, too.
            waits = any(_may_appear(failure) for failure in failed.values())
            again = {
                thing
                for thing, f in failed.items()
                if waits and (f.error is None or _may_appear(f))
            }
            for thing, failure in failed.items():
                if thing not in again:
                    yield Finding("leaked", thing.facts(), failure.reason)
                elif thing not in told:
                    yield Finding("unfinished", thing.facts(), failure.reason)
            told |= again
            things = [thing for thing in things if thing in again]
            if things:
                time.sleep(LOOK_AGAIN)

    def _open(self, path: Path) -> _Book | None:
        contents = read_journal(path, self._key)
        if contents.header is None:  # its writer died in the first line, before it did anything
            path.unlink()
            return None
        journal = FileJournal.reopen(path, self._key)
        header = contents.header
        run = Run(header.run, header.expires) if header.run else None
        program = Program(folder=header.folder)
        stage = Stage(
            Settings(**header.settings),
            header.stage,
            run,
            program,
            lambda _: journal,
            worker=header.worker,
        )
        return _Book(journal, header, fold(contents.records), stage)

    def _recall(self, book: _Book, live: Live) -> tuple[Owned | None, Finding | None]:
        record = live.entry
        if any(record.path[: len(kept.path)] == kept.path for kept in book.state.kept):
            return None, Finding("kept", _facts_of(book, record))
        try:
            if isinstance(record, Deferred):
                return self._recall_call(book, record), None
            entry = self._recall_resource(book, live, record)
            return entry, None
        except AlchemyError as error:
            return None, Finding("unrecoverable", _facts_of(book, record), str(error))
        except Exception as error:  # a user's `world`, for one: the others still get their turn
            return None, Finding("unrecoverable", _facts_of(book, record), summary(error))

    def _recall_call(self, book: _Book, record: Deferred) -> Call:
        scope = _scope_at(book, record.path)
        call = Call.recalled(scope, load_function(record), record)
        scope.owned[call.seq] = call
        return call

    def _recall_resource(self, book: _Book, live: Live, intent: Intent) -> Entry:
        kind = load_kind(book.state.kinds[intent.kind])
        resource = kind.revive(intent.id, live.props, live.outputs or {}, self._resolve)
        scope = _scope_at(book, intent.path)
        entry = Entry.recalled(
            scope, kind, resource, intent, created=live.created, settled=live.settled
        )
        _check_world(kind, resource, intent)
        scope.owned[kind.name, intent.id] = entry
        book.entries[intent.seq] = entry
        entry.needs = tuple(book.entries[seq] for seq in intent.needs if seq in book.entries)
        return entry

    def _resolve(self, reference: dict[str, Any]) -> Resource:
        for book in self._books:
            if (book.header.app, book.header.stage) != (reference["app"], reference["stage"]):
                continue
            for entry in book.entries.values():
                key = resource_key(entry.kind.name, entry.id)
                if key == reference["key"] and entry.scope.place == tuple(reference["path"]):
                    return entry.resource
        raise LookupError(reference["key"])

    def _end(self, lock: StageLock, *, clean: bool) -> None:
        for book in self._books:
            book.journal.close()
        if clean:
            for turn in self.folder.glob(".turn-*"):
                turn.unlink(missing_ok=True)
            shutil.rmtree(self.folder / ACCOUNT, ignore_errors=True)
            (self.folder / LOG).unlink(missing_ok=True)
            self._root.remove_if_empty(
                self.folder, journals=[b.journal.path for b in self._books], lock=lock
            )
        else:
            lock.release()


def lock_of(folder: Path, *, timeout: float) -> StageLock:
    """
    Return the lock of the stage in *folder*, held: its owner is dead, and so is everybody who shared it.

    Raises:
        StageLockedError: Somebody of them lives, or somebody else cleans up.
    """
    lock = StageLock(folder / LOCK, stage=folder.name)
    lock.acquire(Holder.this_process(), timeout)
    try:
        for path in sorted(folder.glob(f"{LOCK}-*")):
            worker = StageLock(path, stage=folder.name)
            worker.acquire(Holder.this_process(), timeout)
            worker.release(remove=True)
    except BaseException:
        lock.release()
        raise
    return lock


def _may_appear(failure: Failure) -> bool:
    return isinstance(failure.error, MayStillAppearError) and clock.now() < failure.error.until


def _scope_at(book: _Book, place: tuple[str, ...]) -> Scope:
    """Return the scope at *place*, made if need be, inside the entries and scopes around it."""
    if place not in book.scopes:
        parent = _scope_at(book, place[:-1]) if len(place) > 1 else None
        last = place[-1] if place else ""
        owner = (
            _entry_with_key(parent, last.removesuffix(":"))
            if parent and last.endswith(":")
            else None
        )
        if owner is not None:
            book.scopes[place] = owner.own_scope()
        else:
            book.scopes[place] = Scope(book.stage, parent=parent, name=last.strip(":"), place=place)
    return book.scopes[place]


def _entry_with_key(scope: Scope, key: str) -> Entry | None:
    return next((e for e in scope.entries() if resource_key(e.kind.name, e.id) == key), None)


def _check_world(kind: Kind, resource: Resource, intent: Intent) -> None:
    here = resource.world() if "world" in kind.hooks else ""
    if here != intent.world:
        raise OtherWorldError(f"{kind.title} {intent.id!r}", intent.world, here)


def _facts_of(book: _Book, record: Intent | Deferred) -> dict[str, Any]:
    """Return what a report says of something whose code could not be loaded."""
    seen = book.state.kinds.get(record.kind) if isinstance(record, Intent) else None
    header = book.header
    path = [part.strip(":") for part in record.path]
    return {
        "kind": _title(seen, record),
        "id": record.id if isinstance(record, Intent) else record.function,
        "name": record.name if isinstance(record, Intent) else record.function,
        "scope": "/".join((header.app, header.stage, *path)),
        "stage": header.stage,
        "app": header.app,
        "profile": book.stage.settings.profile,
        "world": record.world if isinstance(record, Intent) else "",
        "worker": header.worker,
        "test": record.test,
        "where": record.where,
        "at": record.at,
    }


def _title(seen: KindSeen | None, record: Intent | Deferred) -> str:
    if isinstance(record, Deferred):
        return "deferred"
    return seen.qualname.rpartition(".")[2] if seen else record.kind
