"""A stage whose owner is dead, rebuilt from what it recorded."""

from __future__ import annotations

import heapq
import os
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pytest_alchemy import clock
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.entry import Call, Entry, Owned
from pytest_alchemy.errors import (
    AlchemyError,
    KindNotLoadedError,
    MayStillAppearError,
    OtherWorldError,
    StateForeignError,
)
from pytest_alchemy.kinds import Kind
from pytest_alchemy.lifecycle import summary
from pytest_alchemy.loading import load_function, load_kind
from pytest_alchemy.names import Run, resource_key
from pytest_alchemy.programs.choice import user_stage
from pytest_alchemy.programs.recorded import LastingEntry
from pytest_alchemy.records import (
    Deferred,
    Destroyed,
    Destroying,
    Intent,
    KindSeen,
    Live,
    Record,
    StageOpened,
)
from pytest_alchemy.recovery.footing import present
from pytest_alchemy.recovery.past import Past
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.sealed import PASSWORD_VARIABLE, key_of_run
from pytest_alchemy.settings import Settings, Strategy
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.filestore import FileStore, remove_stage
from pytest_alchemy.state.folders import ACCOUNT, JOURNALS, LOCK, LOG
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.locks import Holder, StageLock
from pytest_alchemy.state.runpauses import PAUSE
from pytest_alchemy.state.stagestate import Book, StageState, load_stage, publish
from pytest_alchemy.store import Segment
from pytest_alchemy.teardown import Failure, Teardown

LOOK_AGAIN = 0.25
"""How long to wait before looking again for what may still appear, in seconds."""

_WAY_OUT = (
    "Bring its code back until this is done, or remove it by hand and then forget it: "
    "alchemy state rm {name} --stage {stage} --root {root}"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What became of one thing in a dead stage.

    Attributes:
        what: ``reaped``, ``leaked``, ``elsewhere``, ``unrecoverable``, ``forgotten`` or ``kept``; ``unfinished``
            comes before one of these.
        facts: What a report says of the thing.
        reason: Why it is still there, empty if it is gone.
        errors: What each failed attempt to destroy it said.
    """

    what: str
    facts: dict[str, Any]
    reason: str = ""
    errors: tuple[str, ...] = ()


Tell = Callable[[Finding], None]
"""Is told what happens to one thing."""


@dataclass(slots=True)
class _Book:
    """What was recorded under one numbering, and the stage as it was then."""

    said: Book
    stage: Stage
    scopes: dict[tuple[str, ...], Scope] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    things: dict[int, Owned] = field(default_factory=dict)
    kept: dict[int, float] = field(default_factory=dict)

    def connect(self) -> None:
        """Tell the entries what they need, once all of them are there."""
        for number, entry in self.entries.items():
            needs = self.said.live[number].needs
            recorded = [self.entries[need] for need in needs if need in self.entries]
            # What another process of the same stage made has no number here.
            entry.needs = tuple(dict.fromkeys([*recorded, *Entry.needs_of(entry.resource)]))

    def opened(self, intent: Intent, data: dict[str, Any]) -> dict[str, Any]:
        """Return *data* with its secrets as values."""
        key = resource_key(intent.kind, intent.id)
        return self.stage.sealer.unseal(intent.path, key, data)


class DeadStage:
    """
    Destroys what a dead process left in a stage.

    Args:
        folder: The stage's folder.
        key: The user's key: what was recorded with another one is not ours to act on.
        by_hand: Somebody asked for exactly this stage: what is kept in it goes, too, and what outlives its programs
            goes as they chose (in parallel, or one by one).
        forget: What no process can ever undo is told once more and then not recorded any longer.
        profile: The credentials to use; by default those that the stage was last used with. What has a profile of
            its own is destroyed with that.
        strategy: How to destroy what outlives its programs; by default as the last of them said.
        password: What the secrets of a stage that outlives its programs were sealed with; by default
            ``ALCHEMY_PASSWORD``.
        tell: Told ``destroying`` before and ``reaped`` after something is destroyed, as it happens; where the first
            is not recorded, in a test's stage, only the second.
    """

    def __init__(
        self,
        folder: Path,
        key: bytes,
        *,
        by_hand: bool = False,
        forget: bool = False,
        profile: str | None = None,
        strategy: Strategy | None = None,
        password: str | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.folder, self._key, self._by_hand, self._tell = folder, key, by_hand, tell
        self._forget = forget
        changed = {"profile": profile, "destroy": strategy}
        self._changed = {name: said for name, said in changed.items() if said}
        self._password = password
        self._store = FileStore(folder, key)
        self._driver = BlockingDriver()
        self._state: StageState | None = None
        self._books: list[_Book] = []
        self._referred: dict[tuple[object, ...], Resource] = {}
        self._journals: dict[str, FileJournal] = {}
        self._past = Past()

    def read(self) -> StageState:
        """
        Return everything that is recorded of it; nothing is called or changed.

        Raises:
            JournalReadError, StateFileError: A file is damaged, not ours, or of a newer version.
            StateForeignError: A state file is not ours, or was edited.
        """
        if self._state is None:
            state = load_stage(self._store)
            if state.untrusted:
                raise StateForeignError(state.untrusted[0])
            self._state = state
        return self._state

    def reap(self, lock: StageLock) -> Iterator[Finding]:
        """
        Destroy everything that is still owned and say what became of each; remove the folder when all is gone.

        What may still appear is looked for until its kind's create timeout has passed.

        Args:
            lock: The stage's lock, held by the caller; it is released at the end.

        Raises:
            JournalReadError, StateFileError, StateForeignError: As `read`; nothing was called.
        """
        state = self.read()
        for segment in state.segments:  # the last one of a numbering goes on
            self._go_on(segment)
        things, findings = self.recall()
        yield from findings
        left = sum(finding.what != "forgotten" for finding in findings)
        for finding in self._destroy(things):
            left += finding.what in ("leaked", "elsewhere")
            yield finding
        self._end(lock, clean=not left)

    def forget(self, lock: StageLock, things: Collection[tuple[str, int]]) -> None:
        """
        Record that *things* are gone, and call nothing; remove the folder when nothing else is left.

        Args:
            lock: As for `reap`.
            things: Each as what its number belongs to (`StageOpened.lineage`), and its number.

        Raises:
            JournalReadError, StateFileError, StateForeignError: As `read`; nothing was forgotten.
        """
        state = self.read()
        for segment in state.segments:
            self._go_on(segment)
        for lineage, number in things:
            book = state.books.get(lineage)
            if book is not None and book.live.pop(number, None) is not None:
                self._journal_of(lineage, book.header).append(Destroyed(number))
        self._end(lock, clean=not state.owns_anything())

    def recall(self) -> tuple[list[Owned], list[Finding]]:
        """
        Return everything that is owned, what is to go last first, and what of it cannot be rebuilt or is kept.

        Nothing is called.

        Raises:
            JournalReadError, StateFileError, StateForeignError: As `read`.
        """
        state = self.read()
        self._books = [self._open(lineage, book) for lineage, book in state.books.items()]
        for book in () if self._by_hand else self._books:
            book.kept = state.kept_things(book.said)
        things: list[Owned] = []
        findings: list[Finding] = []
        # Perhaps destroying it ended the process that tried: so it goes last.
        doubtful: set[Owned] = set()
        for book, live in _in_order(self._books):
            thing, finding = self._recall(book, live)
            if finding is not None:
                findings.append(finding)
            if thing is not None:
                book.things[thing.seq] = thing
                things.append(thing)
                if live.destroying:
                    doubtful.add(thing)
        for book in self._books:
            book.connect()
        told = dict(zip(state.books, (book.things for book in self._books), strict=True))
        self._past.read(state.segments, told)
        things.sort(key=lambda thing: (thing not in doubtful, thing.at, thing.seq))
        return things, findings

    @property
    def _strategy(self) -> Strategy:
        """How things are destroyed: what tests left is taken one by one."""
        lasting = (book.stage for book in self._books if not book.said.header.ephemeral)
        return next((stage.settings.destroy for stage in lasting), "sequential")

    def _destroy(self, things: list[Owned]) -> Iterator[Finding]:
        """Destroy *things* and say what became of each; what has to be waited for is told before, too."""
        told: set[Owned] = set()
        while things:
            outcome = run_blocking(Teardown(things, self._driver, None).run(self._strategy))
            failed = {failure.owned: failure for failure in outcome.failures}
            gone = (thing for thing in things if thing not in failed)
            yield from (Finding("reaped", thing.facts() | self._past.of(thing)) for thing in gone)
            # What is only needed by something that may still appear gets another turn, too.
            waits = any(_may_appear(failure) for failure in failed.values())
            again = {
                thing
                for thing, f in failed.items()
                if waits and (f.error is None or _may_appear(f))
            }
            for thing, failure in failed.items():
                if thing not in again:
                    what = "elsewhere" if isinstance(failure.error, OtherWorldError) else "leaked"
                    yield Finding(what, thing.facts(), failure.reason, failure.errors)
                elif thing not in told:
                    yield Finding("unfinished", thing.facts(), failure.reason)
            told |= again
            things = [thing for thing in things if thing in again]
            if things:
                time.sleep(LOOK_AGAIN)

    def _go_on(self, segment: Segment) -> None:
        header = segment.header
        before = self._journals.pop(header.lineage, None)
        if before is not None:
            before.close()
        path, durable = self.folder / JOURNALS / segment.name, not header.ephemeral
        self._journals[header.lineage] = FileJournal.reopen(path, self._key, durable=durable)

    def _open(self, lineage: str, book: Book) -> _Book:
        header = book.header
        run = Run(header.run, header.expires) if header.run else None
        said = header.settings | self._changed
        known = {name: said[name] for name in Settings.__struct_fields__ if name in said}
        stage = Stage(
            Settings(**known),  # a newer version may have said more
            header.stage,
            run,
            Program(folder=header.folder, diary=self._past),
            lambda _: _Telling(self._journal_of(lineage, header), opened.things, self._tell),
            worker=header.worker,
            key=partial(key_of_run, self._key, header.app, header.stage) if run else None,
        )
        stage.records_attempts = True
        if run is None:
            state = self.read()
            mapping = state.header.profiles if state.header else {}
            stage.guard(mapping, user_stage() if mapping else "")
            stage.use_password(self._password or os.environ.get(PASSWORD_VARIABLE), state.vault)
        return (opened := _Book(book, stage))

    def _journal_of(self, lineage: str, header: StageOpened) -> FileJournal:
        """Return the journal that goes on with the numbers of *lineage*; a new one if all was folded."""
        if lineage not in self._journals:
            path = self.folder / JOURNALS / f"reaped-{clock.token(8)}.jsonl"
            first = replace(header, journal="", continues=lineage, started=clock.now())
            self._journals[lineage] = FileJournal.open(
                path, first, key=self._key, durable=not header.ephemeral
            )
        return self._journals[lineage]

    def _recall(self, book: _Book, live: Live) -> tuple[Owned | None, Finding | None]:
        record = live.entry
        if book.kept.get(record.seq, 0.0) > clock.now():
            asked = self.read().kept_until(record.path) > clock.now()
            reason = "" if asked else "something that is kept needs it"
            return None, Finding("kept", _facts_of(book, record), reason)
        if _died_with_its_account(book, record):
            return None, None
        try:
            if isinstance(record, Deferred):
                return self._recall_call(book, record), None
            entry = self._recall_resource(book, live, record)
            return entry, None
        except OtherWorldError as error:
            return None, Finding("elsewhere", _facts_of(book, record), str(error))
        except AlchemyError as error:
            if self._forget and isinstance(record, Deferred) and not record.module:
                book.stage.record(Destroyed(record.seq))
                return None, Finding("forgotten", _facts_of(book, record), str(error))
            facts = _facts_of(book, record)
            reason = str(error)
            if isinstance(error, KindNotLoadedError):
                said = {**facts, "root": str(self.folder.parents[1])}
                reason += "\n" + _WAY_OUT.format_map(
                    {k: shlex.quote(str(v)) for k, v in said.items()}
                )
            return None, Finding("unrecoverable", facts, reason)
        except Exception as error:  # a user's `world`, for one: the others still get their turn
            return None, Finding("unrecoverable", _facts_of(book, record), summary(error))

    def _recall_call(self, book: _Book, record: Deferred) -> Call:
        scope = _scope_at(book, record.path)
        header = book.said.header
        here = replace(record, file=present(record.file, header, self.folder))
        call = Call.recalled(scope, load_function(here), record)
        scope.owned[call.seq] = call
        return call

    def _recall_resource(self, book: _Book, live: Live, intent: Intent) -> Entry:
        seen, header = book.said.kinds[intent.kind], book.said.header
        kind = load_kind(replace(seen, file=present(seen.file, header, self.folder)))
        # Of what outlives its programs the class may have changed since.
        again = kind.revive if header.ephemeral else kind.recall
        props = book.opened(intent, live.props)
        resource = again(
            intent.id,
            props,
            book.opened(intent, live.outputs or {}),
            self._resolve,
        )
        scope = _scope_at(book, intent.path)
        entry = LastingEntry.of(scope, kind, resource, live)
        entry.props = props
        entry.end()
        _check_world(kind, resource, intent)
        entry.replaced = entry.key in scope.owned  # there are two generations of it
        scope.owned[entry.key] = entry
        book.entries[intent.seq] = entry
        self._referred.setdefault(_told_apart(entry.reference()), resource)
        return entry

    def _resolve(self, reference: dict[str, Any]) -> Resource:
        # The KeyError of what is not there is a LookupError.
        return self._referred[_told_apart(reference)]

    def _end(self, lock: StageLock, *, clean: bool) -> None:
        for journal in self._journals.values():
            journal.close()
        if clean:
            for pattern in (".turn-*", f"{PAUSE}*"):  # what its workers told each other
                for file in self.folder.glob(pattern):
                    file.unlink(missing_ok=True)
            import shutil  # nobody waits for it any more

            shutil.rmtree(self.folder / ACCOUNT, ignore_errors=True)
            (self.folder / LOG).unlink(missing_ok=True)
            remove_stage(self.folder, lock)
        else:
            if self._by_hand or self.read().kept:
                with suppress(AlchemyError):  # the journals say it, too
                    publish(self._store, load_stage(self._store))
            lock.release()


class _Telling:
    """A journal that tells what happens to things once it is recorded."""

    def __init__(
        self, journal: FileJournal, things: Mapping[int, Owned], tell: Tell | None
    ) -> None:
        self._journal, self._things, self._tell = journal, things, tell

    def append(self, record: Record) -> None:
        self._journal.append(record)
        if self._tell is not None and isinstance(record, (Destroying, Destroyed)):
            what = "destroying" if isinstance(record, Destroying) else "reaped"
            self._tell(Finding(what, self._things[record.seq].facts()))


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


def _in_order(books: list[_Book]) -> Iterator[tuple[_Book, Live]]:
    """Yield what is recorded in *books*, what a thing refers to before it; of several books the oldest first."""
    told = (zip(repeat(book), _needed_first(book.said.live)) for book in books)  # one has no end
    return heapq.merge(*told, key=lambda each: each[1].entry.at)


def _needed_first(live: dict[int, Live]) -> Iterator[Live]:
    """Yield what is recorded in the order of its numbers, but what a thing needs or is made inside before it."""
    entered: set[int] = set()
    yielded: set[int] = set()
    for first in live:
        path = [first]
        while path:
            number = path[-1]
            if number not in entered:
                entered.add(number)
                wanted = (live[number].entry.parent, *live[number].needs)
                path += [other for other in wanted if other in live and other not in entered]
            else:
                path.pop()
                if number not in yielded:
                    yielded.add(number)
                    yield live[number]


def _died_with_its_account(book: _Book, record: Intent | Deferred) -> bool:
    """Tell whether the fake account that a resource lived in is gone, and everything in it."""
    account = book.stage.settings.fake_account
    if not isinstance(record, Intent) or account is None or not record.world.startswith("file:"):
        return False
    seen = book.said.kinds.get(record.kind)
    ours = seen is not None and seen.module.startswith("pytest_alchemy.cloudflare.")
    return ours and not Path(account).exists()  # a user's own kind may name its world like that


def _may_appear(failure: Failure) -> bool:
    # Even if its time is over by now: it was not when somebody looked.
    return isinstance(failure.error, MayStillAppearError)


def _told_apart(reference: dict[str, Any]) -> tuple[object, ...]:
    """Return what tells the resource of *reference* from all others, as the key of a dict."""
    path = tuple(reference["path"])
    return reference["app"], reference["stage"], path, reference["key"], reference["name"]


def _scope_at(book: _Book, place: tuple[str, ...]) -> Scope:
    """Return the scope at *place*, made if need be, inside the entries and scopes around it."""
    if place not in book.scopes:
        parent = _scope_at(book, place[:-1]) if place else None
        last = place[-1] if place else ""
        owner = parent.owner_of(last) if parent else None
        if owner is not None:
            book.scopes[place] = owner.own_scope()
        else:
            book.scopes[place] = Scope(book.stage, parent=parent, name=last.strip(":"), place=place)
    return book.scopes[place]


def _check_world(kind: Kind, resource: Resource, intent: Intent) -> None:
    here = resource.world() if "world" in kind.hooks else ""
    if here != intent.world:
        raise OtherWorldError(f"{kind.title} {intent.id!r}", intent.world, here)


def recorded_facts(
    header: StageOpened, seen: KindSeen | None, record: Intent | Deferred
) -> dict[str, Any]:
    """
    Return what a report says of something, as far as it is recorded.

    Args:
        header: First line of the journal.
        seen: Where the class of its kind can be imported from, if it is a resource and that is known.
        record: What the journal says of it.
    """
    path = [part.strip(":") for part in record.path]
    call = "" if isinstance(record, Intent) else record.function.removeprefix("deferred ")
    return {
        "kind": _title(seen, record),
        "id": record.id if isinstance(record, Intent) else call,
        "name": record.name if isinstance(record, Intent) else call,
        "scope": "/".join((header.app, header.stage, *path)),
        "stage": header.stage,
        "app": header.app,
        "profile": (isinstance(record, Intent) and record.profile)
        or header.settings.get("profile", ""),
        "world": record.world if isinstance(record, Intent) else "",
        "worker": header.worker,
        "test": record.test,
        "where": record.where,
        "at": record.at,
    }


def _facts_of(book: _Book, record: Intent | Deferred) -> dict[str, Any]:
    """Return what a report says of something whose code could not be loaded."""
    seen = book.said.kinds.get(record.kind) if isinstance(record, Intent) else None
    return recorded_facts(book.said.header, seen, record)


def _title(seen: KindSeen | None, record: Intent | Deferred) -> str:
    if isinstance(record, Deferred):
        return "deferred"
    return seen.qualname.rpartition(".")[2] if seen else record.kind
