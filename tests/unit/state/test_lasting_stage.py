from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_alchemy.errors import (
    JournalCorruptError,
    JournalForeignError,
    LeaseLostError,
    StageLockedError,
)
from pytest_alchemy.records import Created, Destroyed, Intent, StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.lasting import LastingStage
from pytest_alchemy.state.memorystore import MemoryStore
from pytest_alchemy.state.stagestate import StageState, load_stage
from pytest_alchemy.store import StateStore
from tests.unit.state.samples import KEY, OTHER_KEY, child, header, intent
from tests.unit.support.scopes import Hand, new_stage
from tests.unit.support.world import Thing, World

Connect = Callable[[], StateStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy" / "shop" / "prod"


@pytest.fixture(params=["file", "memory"])
def connect(request: pytest.FixtureRequest, folder: Path) -> Connect:
    if request.param == "memory":
        shared = MemoryStore("prod")
        return lambda: shared
    return lambda: FileStore(folder, KEY)


def first_line() -> StageOpened:
    return header(stage="prod", run="", ephemeral=False, expires=0.0)


def numbers(state: StageState) -> list[int]:
    return [number for book in state.books.values() for number in book.live]


def test_a_program_finds_what_the_one_before_it_owns(connect: Connect) -> None:
    first = LastingStage(connect())
    assert numbers(first.open()) == []
    journal = first.journal(first_line())
    for seq in (1, 2):
        journal.append(intent(seq))
        journal.append(Created(seq, {"uuid": str(seq)}))
    first.end(clean=False)

    second = LastingStage(connect())
    state = second.open()
    journal = second.journal(first_line())
    journal.append(Destroyed(1))
    journal.append(intent(state.next_number))
    second.end(clean=False)

    state = load_stage(connect())
    assert len(state.books) == 1
    assert numbers(state) == [2, 3]
    assert state.segments == []


def test_a_program_that_only_looks_leaves_no_trace(connect: Connect) -> None:
    first = LastingStage(connect())
    first.open()
    first.journal(first_line()).append(intent(1))
    first.end(clean=False)
    before = connect().documents()

    second = LastingStage(connect())
    second.open()
    second.end(clean=False)

    assert connect().documents() == before


def test_a_stage_from_which_everything_is_gone_is_forgotten(
    connect: Connect, tmp_path: Path
) -> None:
    stage = LastingStage(connect())
    stage.open()
    journal = stage.journal(first_line())
    journal.append(intent(1))
    journal.append(Destroyed(1))

    stage.end(clean=True)

    assert numbers(load_stage(connect())) == []
    assert connect().documents() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_stage_has_one_program(connect: Connect) -> None:
    first, second = LastingStage(connect()), LastingStage(connect())
    first.open()

    with pytest.raises(StageLockedError):
        second.open()
    second.end(clean=True)

    first.journal(first_line()).append(intent(1))
    first.end(clean=False)
    assert numbers(second.open()) == [1]


def test_a_program_that_gave_the_stage_up_records_nothing_more(connect: Connect) -> None:
    stage = LastingStage(connect())
    stage.open()
    journal = stage.journal(first_line())
    stage.end(clean=False)
    stage.end(clean=False)

    with pytest.raises(LeaseLostError):
        journal.append(intent(1))
    with pytest.raises(LeaseLostError):
        stage.journal(first_line())


def test_a_scope_goes_on_where_the_program_before_it_stopped(
    connect: Connect, hand: Hand, world: World
) -> None:
    def program(*ids: str, without: str = "") -> None:
        lasting = LastingStage(connect())
        number = lasting.open().next_number
        stage = new_stage(lasting=True, open_journal=lasting.journal, first_number=number)
        scope = Scope(stage).run("backend")
        made = {id: hand.create(scope, Thing(id)) for id in ids}
        if without:
            hand.remove(scope, made[without])
        lasting.end(clean=False)

    program("a", "b")
    program("c", "d", without="c")
    program("e")

    state = load_stage(connect())
    [book] = state.books.values()
    recorded = [live.entry for live in book.live.values() if isinstance(live.entry, Intent)]
    assert [entry.seq for entry in recorded] == [1, 2, 4, 5]
    assert [entry.name for entry in recorded] == list(world.alive)
    assert {entry.path for entry in recorded} == {("backend",)}
    assert state.next_number == 6


def test_two_journals_of_one_program_have_the_same_numbers(connect: Connect) -> None:
    stage = LastingStage(connect())
    stage.open()
    stage.journal(first_line()).append(intent(1))
    stage.journal(first_line()).append(Destroyed(1))

    assert numbers(load_stage(connect())) == []


CRASHING = """
import os, signal, sys
from pathlib import Path
from pytest_alchemy.records import Created
from pytest_alchemy.scope import Scope
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.lasting import LastingStage
from tests.unit.state.samples import KEY, intent
from tests.unit.state.test_lasting_stage import first_line
stage = LastingStage(FileStore(Path(sys.argv[1]), KEY))
state = stage.open()
journal = stage.journal(first_line())
journal.append(intent(state.next_number))
journal.append(Created(state.next_number, {}))
print(state.next_number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_programs_that_crash_one_after_another_lose_nothing(folder: Path) -> None:
    for number in (1, 2, 3):
        with child(CRASHING, str(folder)) as program:
            assert program.answer() == str(number)
            program.process.wait(30)

    [journal] = (folder / ".journal").iterdir()  # the one before was folded when the last one began
    stage = LastingStage(FileStore(folder, KEY))

    assert numbers(stage.open()) == [1, 2, 3]
    assert not journal.exists()


def test_a_line_that_was_cut_off_by_the_crash_is_dropped(folder: Path) -> None:
    with child(CRASHING, str(folder)) as program:
        program.answer()
        program.process.wait(30)
    [journal] = (folder / ".journal").iterdir()
    journal.write_bytes(journal.read_bytes()[:-9])
    stage = LastingStage(FileStore(folder, KEY))

    [live] = stage.open().books.popitem()[1].live.values()

    assert not live.created


def test_a_damaged_journal_stops_the_program_before_anything_is_changed(folder: Path) -> None:
    with child(CRASHING, str(folder)) as program:
        program.answer()
        program.process.wait(30)
    [journal] = (folder / ".journal").iterdir()
    damaged = journal.read_bytes().replace(b"db-1", b"db-2", 1)
    journal.write_bytes(damaged)
    stage = LastingStage(FileStore(folder, KEY))

    for _ in range(2):  # the lock is free again
        with pytest.raises(JournalCorruptError, match="line 2"):
            stage.open()
    with pytest.raises(JournalForeignError):
        LastingStage(FileStore(folder, OTHER_KEY)).open()

    assert journal.read_bytes() == damaged
    assert not (folder / "state.json").exists()
