"""What every state store promises, wherever it keeps what it is told."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy.errors import (
    JournalWriteError,
    LeaseLostError,
    StageLockedError,
    StateChangedError,
    StateFolderError,
)
from pytest_alchemy.records import Created, Destroyed, Destroying, Record
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.memorystore import MemoryStore
from pytest_alchemy.store import Lease, Place, StateStore
from tests.unit.state.samples import ALL_KINDS, KEY, PATIENCE, child, header, intent

Connect = Callable[[], StateStore]

ODD_PLACES: tuple[Place, ...] = (
    (),
    ("backend",),
    ("Backend",),
    ("backend", "api"),
    ("backend", "d1-my-db:"),
    (":tests/test_a.py::test_one[Ünï/cödé-..-con]", ":2"),
    ("CON",),
    ("state.json",),
    ("x" * 300,),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy" / "shop" / "prod"


@pytest.fixture(params=["file", "memory"])
def connect(request: pytest.FixtureRequest, folder: Path) -> Connect:
    """Return a function that opens the same stage as another process would."""
    if request.param == "memory":
        shared = MemoryStore("prod")
        return lambda: shared
    return lambda: FileStore(folder, KEY)


@pytest.fixture
def store(connect: Connect) -> StateStore:
    return connect()


def document(place: Place = (), **more: Any) -> dict[str, Any]:
    return {"version": "1.0", "scope": list(place), "resources": {}, **more}


def opened(store: StateStore, *records: Record) -> Lease:
    lease = store.acquire()
    store.append(lease, [header(ephemeral=False), *records])
    return lease


def recorded(store: StateStore) -> list[Record]:
    return [record for segment in store.segments() for record in segment.records]


# Documents


def test_what_was_written_is_read_by_everybody(connect: Connect) -> None:
    said = document(resources={"d1-a": {"id": "a", "n": [1, 2.5, None, "ünï\u2028"]}}, note="mine")

    version = connect().write((), said, None)

    read = connect().read(())
    assert read is not None
    assert (read.document, read.version, read.trusted) == (said, version, True)


def test_what_was_not_written_is_not_there(store: StateStore) -> None:
    assert store.read(()) is None
    assert store.read(("backend",)) is None
    assert store.documents() == {}
    assert store.segments() == []


def test_every_scope_has_a_document_of_its_own(connect: Connect) -> None:
    store = connect()
    versions = {place: store.write(place, document(place), None) for place in ODD_PLACES}

    found = connect().documents()

    assert {place: read.version for place, read in found.items()} == versions
    assert {place: read.document for place, read in found.items()} == {
        place: document(place) for place in ODD_PLACES
    }
    for place in ODD_PLACES:
        assert connect().read(place) == found[place]


def test_a_document_is_what_was_said_then(store: StateStore) -> None:
    said = document(resources={})
    store.write((), said, None)

    said["resources"]["late"] = {}

    read = store.read(())
    assert read is not None
    assert read.document["resources"] == {}


def test_who_read_an_older_version_loses_and_writes_nothing(store: StateStore) -> None:
    first = store.write((), document(n=1), None)
    second = store.write((), document(n=2), first)

    with pytest.raises(StateChangedError):
        store.write((), document(n=3), first)
    with pytest.raises(StateChangedError):
        store.write((), document(n=3), None)

    read = store.read(())
    assert read is not None
    assert (read.document["n"], read.version) == (2, second)


def test_what_is_gone_cannot_be_changed(store: StateStore) -> None:
    version = store.write((), document(), None)
    store.remove((), version)

    with pytest.raises(StateChangedError):
        store.write((), document(), version)
    with pytest.raises(StateChangedError):
        store.remove((), version)

    assert store.read(()) is None


def test_only_the_version_that_was_read_is_removed(store: StateStore) -> None:
    place = ("backend", "api")
    first = store.write(place, document(place), None)
    second = store.write(place, document(place), first)

    with pytest.raises(StateChangedError):
        store.remove(place, first)
    store.remove(place, second)

    assert store.documents() == {}


def test_a_change_there_and_back_is_noticed(store: StateStore) -> None:
    first = store.write((), document(n=1), None)
    second = store.write((), document(n=2), first)
    third = store.write((), document(n=1), second)

    with pytest.raises(StateChangedError):
        store.write((), document(n=3), first)

    assert len({first, second, third}) == 3


def test_removing_a_scope_leaves_the_scopes_in_it_alone(store: StateStore) -> None:
    outer = store.write(("backend",), document(("backend",)), None)
    store.write(("backend", "api"), document(("backend", "api")), None)

    store.remove(("backend",), outer)

    assert list(store.documents()) == [("backend", "api")]


@pytest.mark.parametrize("value", [object(), "\ud800", {1: {2: object()}}])
def test_what_is_no_plain_data_is_refused_and_harms_nothing(store: StateStore, value: Any) -> None:
    version = store.write((), document(n=1), None)

    with pytest.raises(StateFolderError, match="no plain data"):
        store.write((), document(value=value), version)

    read = store.read(())
    assert read is not None
    assert read.document["n"] == 1


def add_one(store: StateStore) -> int:
    """Count up in the document of the stage; return how often somebody else was faster."""
    lost = 0
    while True:
        read = store.read(())
        said = read.document if read else document(n=0)
        try:
            store.write((), {**said, "n": said["n"] + 1}, read.version if read else None)
        except StateChangedError:
            lost += 1
        else:
            return lost


def test_of_many_threads_each_write_counts_once(connect: Connect) -> None:
    def count(_: int) -> None:
        store = connect()
        for _ in range(10):
            add_one(store)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))

    read = connect().read(())
    assert read is not None
    assert read.document["n"] == 80


COUNTER = """
import sys
from pathlib import Path
from pytest_alchemy.state.filestore import FileStore
from tests.contract.test_store import add_one
from tests.unit.state.samples import KEY
store = FileStore(Path(sys.argv[1]), KEY)
print("ready", flush=True)
sys.stdin.readline()
print(sum(add_one(store) for _ in range(25)), flush=True)
"""


def test_of_many_processes_each_write_counts_once(folder: Path) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child(COUNTER, str(folder))) for _ in range(4)]
        assert [each.answer() for each in children] == ["ready"] * 4
        for each in children:
            each.tell("go")
        for each in children:
            assert int(each.answer()) >= 0

    read = FileStore(folder, KEY).read(())
    assert read is not None
    assert read.document["n"] == 100


# The lease


def test_a_stage_has_one_owner(connect: Connect) -> None:
    first, second = connect(), connect()
    lease = first.acquire()

    for other in (first, second):
        with pytest.raises(StageLockedError, match=r"State of stage 'prod' is locked by .+ since"):
            other.acquire()

    first.renew(lease)


def test_each_lease_has_a_greater_number(connect: Connect) -> None:
    fences = []

    for _ in range(5):
        store = connect()
        lease = store.acquire()
        fences.append(lease.fence)
        store.release(lease)

    assert fences == sorted(set(fences))


def test_who_waits_gets_the_stage_when_it_is_free(connect: Connect) -> None:
    first, second = connect(), connect()
    lease = first.acquire()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second.acquire, PATIENCE)
        first.release(lease)
        later = waiting.result(PATIENCE)

    assert later.fence > lease.fence


def test_releasing_what_is_over_is_quiet_and_takes_nothing_from_its_heir(connect: Connect) -> None:
    first, second = connect(), connect()
    old = first.acquire()
    first.release(old)
    first.release(old)
    new = second.acquire()

    first.release(old)

    second.renew(new)


def test_of_many_threads_one_gets_the_lease(connect: Connect) -> None:
    start = threading.Barrier(8)

    def take(_: int) -> Lease | None:
        start.wait(PATIENCE)
        try:
            return connect().acquire()
        except StageLockedError:
            return None

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(take, range(8)) if lease is not None]

    assert len(leases) == 1


# The journal


def test_what_was_appended_is_read_back_by_everybody(connect: Connect) -> None:
    lease = opened(connect_once := connect(), *ALL_KINDS[:5])
    connect_once.append(lease, ALL_KINDS[5:])

    [segment] = connect().segments()

    assert segment.records == list(ALL_KINDS)
    assert segment.header.fence == lease.fence
    assert segment.header.journal


def test_without_a_first_line_nothing_is_appended(store: StateStore) -> None:
    lease = store.acquire()

    with pytest.raises(JournalWriteError, match="first line is missing"):
        store.append(lease, [Destroyed(1)])

    assert store.segments() == []


def test_segments_come_oldest_lease_first(connect: Connect) -> None:
    for number in range(12):
        store = connect()
        store.release(opened(store, Destroying(number)))

    assert recorded(connect()) == [Destroying(number) for number in range(12)]


def test_a_line_that_is_no_plain_data_ends_the_batch(store: StateStore) -> None:
    lease = opened(store)

    with pytest.raises(JournalWriteError):
        store.append(lease, [Destroying(1), Created(1, {"x": object()}), Destroyed(1)])
    store.append(lease, [Destroying(2)])

    assert recorded(store) == [Destroying(1), Destroying(2)]


def test_a_stale_lease_writes_nothing(connect: Connect) -> None:
    first, second = connect(), connect()
    old = opened(first, intent(1))
    first.release(old)
    new = opened(second, intent(2))
    before = second.segments()

    refused: list[Callable[[], object]] = [
        lambda: first.append(old, [Destroyed(1)]),
        lambda: first.append(old, [header(ephemeral=False), Destroyed(1)]),
        lambda: first.discard(old, before),
        lambda: first.renew(old),
        lambda: first.erase(old),
        lambda: second.append(old, [Destroyed(1)]),
        lambda: second.discard(old, before),
    ]
    for attempt in refused:
        with pytest.raises(LeaseLostError):
            attempt()

    assert second.segments() == before
    second.renew(new)


def test_the_error_of_a_stale_lease_names_stage_and_lease(store: StateStore) -> None:
    lease = store.acquire()
    store.release(lease)

    with pytest.raises(LeaseLostError) as caught:
        store.append(lease, [Destroyed(1)])

    assert str(caught.value) == (
        "Lease 1 of stage 'prod' is over: nothing was recorded.\n"
        "It was released, or its lock file was deleted. Open the stage again; it tells what is owned."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_what_is_discarded_is_gone_and_the_lease_goes_on(connect: Connect) -> None:
    store = connect()
    lease = opened(store, intent(1))
    [first] = store.segments()

    store.discard(lease, [first])
    store.append(lease, [Destroyed(1)])

    [second] = connect().segments()
    assert second.records == [Destroyed(1)]
    assert second.header.lineage == first.header.lineage
    assert second.name != first.name


def test_a_segment_that_has_grown_is_not_discarded(store: StateStore) -> None:
    lease = opened(store, intent(1))
    segments = store.segments()
    store.append(lease, [Destroyed(1)])

    store.discard(lease, segments)

    assert recorded(store) == [intent(1), Destroyed(1)]


def test_segments_of_earlier_owners_are_discarded_by_the_next(connect: Connect) -> None:
    first, second = connect(), connect()
    first.release(opened(first, intent(1)))
    lease = second.acquire()

    second.discard(lease, second.segments())

    assert connect().segments() == []


def test_no_line_is_lost_between_reading_and_discarding(store: StateStore) -> None:
    lease = opened(store)
    ended = threading.Event()
    seen: list[Record] = []

    def write() -> None:
        for number in range(200):
            store.append(lease, [Destroying(number)])
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not ended.is_set():
            segments = store.segments()
            names = {segment.name for segment in segments}
            store.discard(lease, segments)
            kept = {segment.name for segment in store.segments()}
            for segment in segments:
                if segment.name in names - kept:
                    seen += segment.records
        writing.result(PATIENCE)
    seen += recorded(store)

    assert seen == [Destroying(number) for number in range(200)]


def test_the_epoch_changes_with_each_owner_and_each_discard(connect: Connect) -> None:
    store = connect()
    epochs = [store.epoch()]

    lease = opened(store, intent(1))
    epochs.append(connect().epoch())
    store.discard(lease, store.segments())
    epochs.append(connect().epoch())
    store.release(lease)
    connect().acquire()
    epochs.append(connect().epoch())

    assert len(set(epochs)) == 4


def test_the_epoch_is_another_one_after_what_was_appended_is_discarded(connect: Connect) -> None:
    store = connect()
    lease = opened(store, intent(1))
    store.discard(lease, store.segments())
    before = connect().epoch()

    store.append(lease, [Destroyed(1)])
    store.discard(lease, store.segments())

    assert connect().segments() == []
    assert connect().epoch() != before


def test_reading_does_not_change_the_epoch(connect: Connect) -> None:
    store = connect()
    lease = opened(store, intent(1))
    before = store.epoch()

    store.append(lease, [Destroyed(1)])
    store.write((), document(), None)
    connect().documents()
    connect().segments()

    assert connect().epoch() == before


def test_what_is_erased_is_gone_with_its_lease(connect: Connect) -> None:
    store = connect()
    lease = opened(store, intent(1))
    for place in ODD_PLACES:
        store.write(place, document(place), None)

    store.erase(lease)

    assert (connect().documents(), connect().segments()) == ({}, [])
    with pytest.raises(LeaseLostError):
        store.append(lease, [Destroyed(1)])
    connect().acquire()


# What only a store that outlives its process can promise


OWNER = """
import sys
from pathlib import Path
from pytest_alchemy.records import Destroying
from pytest_alchemy.state.filestore import FileStore
from tests.unit.state.samples import KEY, header
store = FileStore(Path(sys.argv[1]), KEY)
lease = store.acquire()
store.append(lease, [header(ephemeral=False), Destroying(7)])
print(lease.fence, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def owner(folder: Path) -> Iterator[Any]:
    with child(OWNER, str(folder)) as started:
        yield started


def test_nobody_takes_a_stage_from_a_living_process(folder: Path, owner: Any) -> None:
    assert owner.answer() == "1"

    with pytest.raises(StageLockedError, match=rf"process {owner.process.pid} on"):
        FileStore(folder, KEY).acquire()


def test_a_killed_owner_is_followed_with_all_it_recorded(folder: Path, owner: Any) -> None:
    owner.answer()
    owner.kill()

    store = FileStore(folder, KEY)
    lease = store.acquire()

    assert lease.fence == 2
    assert recorded(store) == [Destroying(7)]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_an_owner_whose_lock_file_was_deleted_is_no_owner(folder: Path) -> None:
    store = FileStore(folder, KEY)
    lease = opened(store, intent(1))
    (folder / ".lock").unlink()
    heir = FileStore(folder, KEY)
    new = heir.acquire()

    with pytest.raises(LeaseLostError):
        store.append(lease, [Destroyed(1)])

    assert new.fence > lease.fence
    assert recorded(heir) == [intent(1)]


def test_an_erased_stage_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    store = FileStore(folder, KEY)
    lease = opened(store, intent(1))
    for place in ODD_PLACES:
        store.write(place, document(place), None)

    store.erase(lease)

    assert list(tmp_path.iterdir()) == []


def test_what_others_put_into_the_folder_stays(folder: Path) -> None:
    store = FileStore(folder, KEY)
    lease = store.acquire()
    store.write(("backend",), document(("backend",)), None)
    (folder / "backend" / "notes.txt").write_text("mine")

    store.erase(lease)

    assert [p.name for p in folder.rglob("*")] == ["backend", "notes.txt"]
