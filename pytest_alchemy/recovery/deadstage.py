"""A stage whose owner is dead: everything that it still owns is destroyed, and then the stage is gone."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from pytest_alchemy import clock
from pytest_alchemy.deferred import Owned
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.errors import (
    AlchemyError,
    KindNotLoadedError,
    MayStillAppearError,
    OtherWorldError,
    StateForeignError,
)
from pytest_alchemy.lifecycle import summary
from pytest_alchemy.outcome import Failure
from pytest_alchemy.physicalnames import Run
from pytest_alchemy.programs.choice import user_stage
from pytest_alchemy.records import Deferred, Destroyed, Destroying, Live, Record, StageOpened
from pytest_alchemy.recovery.deadbook import DeadBook, in_order
from pytest_alchemy.recovery.finding import Finding, Tell
from pytest_alchemy.recovery.past import Past
from pytest_alchemy.resource import Resource
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
from pytest_alchemy.teardown import Teardown

LOOK_AGAIN = 0.25
"""How long to wait before looking again for what may still appear, in seconds."""

_WAY_OUT = "and then forget it: alchemy state rm {name} --stage {stage} --root {root}"


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
        self._books: list[DeadBook] = []
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
        for book, live in in_order(self._books):
            thing, finding = self._recall(book, live)
            if finding is not None:
                findings.append(finding)
            if thing is not None:
                things.append(thing)
                if live.destroying:
                    doubtful.add(thing)
        for book in self._books:
            book.connect()
        told = dict(zip(state.books, (book.things for book in self._books), strict=True))
        self._past.read(state.segments, told)
        things.sort(key=lambda thing: thing not in doubtful)
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

    def _open(self, lineage: str, book: Book) -> DeadBook:
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
        return (opened := DeadBook(book, stage, self.folder, self._referred))

    def _journal_of(self, lineage: str, header: StageOpened) -> FileJournal:
        """Return the journal that goes on with the numbers of *lineage*; a new one if all was folded."""
        if lineage not in self._journals:
            path = self.folder / JOURNALS / f"reaped-{clock.token(8)}.jsonl"
            first = replace(header, journal="", continues=lineage, started=clock.now())
            self._journals[lineage] = FileJournal.open(
                path, first, key=self._key, durable=not header.ephemeral
            )
        return self._journals[lineage]

    def _recall(self, book: DeadBook, live: Live) -> tuple[Owned | None, Finding | None]:
        record = live.entry
        if book.kept.get(record.seq, 0.0) > clock.now():
            asked = self.read().kept_until(record.path) > clock.now()
            reason = "" if asked else "something that is kept needs it"
            return None, Finding("kept", book.facts_of(record), reason)
        if book.died_with_its_account(record):
            return None, None
        try:
            return book.recall(live), None
        except OtherWorldError as error:
            return None, Finding("elsewhere", book.facts_of(record), str(error))
        except AlchemyError as error:
            if self._forget and isinstance(record, Deferred) and not record.module:
                book.stage.record(Destroyed(record.seq))
                return None, Finding("forgotten", book.facts_of(record), str(error))
            facts = book.facts_of(record)
            reason = str(error)
            if isinstance(error, KindNotLoadedError):
                said = {**facts, "root": str(self.folder.parents[1])}
                way_out = _WAY_OUT.format_map({k: shlex.quote(str(v)) for k, v in said.items()})
                lost = isinstance(record, Deferred) and not record.module
                by_hand = "Bring its code back until this is done, or remove it by hand"
                reason += f".\n{'Do it by hand' if lost else by_hand} {way_out}"
            return None, Finding("unrecoverable", facts, reason)
        except Exception as error:  # a user's `world`, for one: the others still get their turn
            return None, Finding("unrecoverable", book.facts_of(record), summary(error))

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


def _may_appear(failure: Failure) -> bool:
    # Even if its time is over by now: it was not when somebody looked.
    return isinstance(failure.error, MayStillAppearError)
