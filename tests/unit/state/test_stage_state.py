from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_alchemy.errors import LeaseLostError, StateChangedError, StateFileError
from pytest_alchemy.records import (
    Created,
    CreateFailed,
    Deferred,
    Destroyed,
    DestroyFailed,
    Destroying,
    Intent,
    Kept,
    KindSeen,
    Live,
    ProfileChanged,
    Record,
    Updating,
)
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.memorystore import MemoryStore
from pytest_alchemy.state.stagestate import StageState, fold_stage, load_stage, publish
from pytest_alchemy.store import Lease, Place, Segment, StateStore, Versioned
from tests.unit.state.samples import ALL_KINDS, KEY, header, intent

T = TypeVar("T")
PROD: dict[str, Any] = {"stage": "prod", "run": "", "ephemeral": False, "journal": "first"}
BUCKET = KindSeen("bucket", "shop.kinds", "/src/shop/kinds.py", "Bucket")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy" / "shop" / "prod"


@pytest.fixture
def store(folder: Path) -> FileStore:
    return FileStore(folder, KEY)


def record(store: StateStore, *records: Record, **changed: Any) -> Lease:
    lease = store.acquire()
    store.append(lease, [header(**(PROD | changed)), *records])
    return lease


def owned(state: StageState) -> tuple[object, ...]:
    return state.books, state.kept


def bucket(seq: int, **changed: Any) -> Intent:
    return intent(seq, **({"path": (), "kind": "bucket", "id": f"b{seq}"} | changed))


# What is owned


def test_a_stage_without_anything_owns_nothing(store: FileStore) -> None:
    state = load_stage(store)

    assert owned(state) == ({}, {})
    assert not state.owns_anything()
    assert state.next_number == 1


def test_the_journal_alone_tells_what_is_owned(store: FileStore) -> None:
    record(store, BUCKET, bucket(1), Created(1, {"url": "x"}), bucket(2), Destroyed(2))

    state = load_stage(store)

    [book] = state.books.values()
    assert book.live == {
        1: Live(bucket(1), created=True, settled=True, outputs={"url": "x"}, props=bucket(1).props)
    }
    assert book.kinds == {"bucket": BUCKET}
    assert state.next_number == 3


def test_folding_changes_where_it_stands_and_not_what_it_says(store: FileStore) -> None:
    lease = record(store, *ALL_KINDS)
    before = load_stage(store)

    fold_stage(store, lease)

    after = load_stage(store)
    assert owned(after) == owned(before)
    assert after.segments == []
    assert set(after.documents) == {(), ("test_users",)}


def test_a_state_file_reads_as_it_is_described(store: FileStore, folder: Path) -> None:
    lease = record(
        store, BUCKET, bucket(1, id="up"), Created(1, {"url": "x"}), bucket(2, needs=(1,))
    )

    fold_stage(store, lease)

    said = json.loads((folder / "state.json").read_text())
    assert {name: said[name] for name in ("app", "stage", "scope", "version")} == {
        "app": "shop",
        "stage": "prod",
        "scope": [],
        "version": "1.0",
    }
    assert said["last_updated"].endswith("+00:00")
    assert said["resources"] == {
        "bucket-up": {
            "type": "Bucket",
            "id": "up",
            "name": "alt-shop-db-1",
            "created_at": "2023-11-14T22:13:20+00:00",
            "created": True,
            "kind": "bucket",
            "world": "memory:4711",
            "props": {"location": "weur"},
            "outputs": {"url": "x"},
            "journal": "first",
            "number": 1,
            "where": "tests/test_shop.py:7",
        },
        "bucket-b2": {
            "type": "Bucket",
            "id": "b2",
            "name": "alt-shop-db-2",
            "created_at": "2023-11-14T22:13:20+00:00",
            "settled": False,
            "kind": "bucket",
            "world": "memory:4711",
            "props": {"location": "weur"},
            "needs": [1],
            "journal": "first",
            "number": 2,
            "where": "tests/test_shop.py:7",
        },
    }


def test_each_scope_has_a_file_of_its_own_until_it_owns_nothing(
    store: FileStore, folder: Path
) -> None:
    places: list[Place] = [(), ("backend",), ("backend", "bucket-b1:")]
    lease = record(store, *(bucket(n, path=place) for n, place in enumerate(places, 1)))
    fold_stage(store, lease)
    assert set(load_stage(store).documents) == set(places)

    store.append(lease, [Destroyed(2), Destroyed(3)])
    fold_stage(store, lease)

    assert set(load_stage(store).documents) == {()}
    assert sorted(p.name for p in folder.iterdir()) == [".fence", ".journal", ".lock", "state.json"]


def test_only_what_has_changed_is_written_again(store: FileStore) -> None:
    lease = record(store, bucket(1, path=("a",)), bucket(2, path=("b",)))
    fold_stage(store, lease)
    before = store.documents()

    store.append(lease, [Created(2, {"url": "x"})])
    fold_stage(store, lease)

    after = store.documents()
    assert {place for place in after if after[place].version != before[place].version} == {
        (),  # tells of the youngest journal
        ("b",),
    }


def test_later_runs_go_on_with_the_numbers_of_earlier_ones(store: FileStore) -> None:
    store.release(record(store, BUCKET, bucket(1), bucket(2), Created(2, {}), Destroyed(1)))
    store.release(record(store, Destroyed(2), bucket(3), journal="second", continues="first"))
    before = load_stage(store)
    fold_stage(store, store.acquire())

    state = load_stage(store)

    assert owned(state) == owned(before)
    assert {lineage: list(book.live) for lineage, book in state.books.items()} == {"first": [3]}
    assert state.books["first"].header.journal == "second"
    assert state.next_number == 4


def test_numbers_are_not_given_again_after_everything_is_gone(store: FileStore) -> None:
    lease = record(store, bucket(1), bucket(2), Destroyed(1), Destroyed(2))

    fold_stage(store, lease)

    assert load_stage(store).next_number == 3


def test_processes_that_share_a_stage_have_numbers_of_their_own(store: FileStore) -> None:
    store.release(record(store, bucket(1, id="a"), journal="gw0", run="k3f9x2ab", ephemeral=True))
    lease = record(store, bucket(1, id="a"), journal="gw1", run="k3f9x2ab", ephemeral=True)
    before = load_stage(store)

    fold_stage(store, lease)

    state = load_stage(store)
    assert owned(state) == owned(before)
    assert {lineage: list(book.live) for lineage, book in state.books.items()} == {
        "gw0": [1],
        "gw1": [1],
    }
    assert set(state.documents[()].document["resources"]) == {"bucket-a", "bucket-a#"}


def test_what_others_say_in_a_state_file_is_kept(store: FileStore) -> None:
    lease = record(store, BUCKET, bucket(1), bucket(2), Deferred(3, (), "", "", "f", [], {}))
    fold_stage(store, lease)
    read = store.read(())
    assert read is not None
    said = read.document
    said["owner"] = "team blue"
    said["version"] = "1.7"
    said["resources"]["bucket-b1"]["costs"] = {"eur": 3}
    said["deferred"]["3"]["note"] = "why"
    store.write((), said, read.version)

    store.append(lease, [Created(1, {"url": "x"}), Destroyed(2)])
    fold_stage(store, lease)

    again = store.read(())
    assert again is not None
    assert (again.document["owner"], again.document["version"]) == ("team blue", "1.7")
    assert again.document["resources"]["bucket-b1"]["costs"] == {"eur": 3}
    assert again.document["resources"]["bucket-b1"]["outputs"] == {"url": "x"}
    assert again.document["deferred"]["3"]["note"] == "why"
    assert list(again.document["resources"]) == ["bucket-b1"]


def test_a_state_file_of_a_hand_is_told_apart(store: FileStore, folder: Path) -> None:
    fold_stage(store, record(store, bucket(1)))
    assert load_stage(store).untrusted == []
    file = folder / "state.json"

    file.write_text(file.read_text().replace("alt-shop-db-1", "someone-elses-db"))

    state = load_stage(store)
    assert state.untrusted == [str(file)]
    assert state.books["first"].live[1].entry.name == "someone-elses-db"  # type: ignore[union-attr]  # a resource


# Kept scopes


def test_a_kept_scope_says_until_when(store: FileStore, folder: Path) -> None:
    place = ("test_users",)
    lease = record(store, intent(1), intent(2, path=("other",)), Kept(place, 1.9e9))

    fold_stage(store, lease)

    said = json.loads((folder / "test_users" / "state.json").read_text())
    assert said["expires"] == "2030-03-17T17:46:40+00:00"
    state = load_stage(store)
    assert state.kept == {place: 1.9e9}
    assert state.kept_until((*place, "inner")) == 1.9e9
    assert state.kept_until(("other",)) == 0.0
    assert "expires" not in state.documents["other",].document


def test_a_kept_scope_that_owns_nothing_any_more_is_forgotten(store: FileStore) -> None:
    lease = record(store, intent(1), Kept(("test_users",), 1.9e9))
    fold_stage(store, lease)

    store.append(lease, [Destroyed(1)])
    fold_stage(store, lease)

    state = load_stage(store)
    assert state.kept == {}
    assert set(state.documents) == {()}


def test_publishing_leaves_the_journal_as_it_is(store: FileStore) -> None:
    record(store, *ALL_KINDS)
    before = load_stage(store)

    publish(store, before)

    after = load_stage(store)
    assert after.segments == before.segments
    assert owned(after) == owned(before)


# Whatever happens


numbers = st.integers(1, 4)
places = st.sampled_from([(), ("a",), ("a", "b"), ("a", "bucket-1:"), (":t.py::test[A]",), ("A",)])
words = st.text(max_size=4)
moments = st.floats(0, 4e9)
props = st.dictionaries(
    words, st.none() | st.integers(-3, 3) | st.lists(words, max_size=2), max_size=2
)
kinds = st.sampled_from(["bucket", "queue"])
needs = st.lists(numbers, max_size=2).map(tuple)
any_record: st.SearchStrategy[Record] = st.one_of(
    st.builds(KindSeen, kinds, words, words, words, st.booleans(), moments),
    st.builds(
        Intent,
        *(numbers, places, kinds, words, words, words, props),
        needs,
        *(st.integers(0, 4), moments, words, words),
        adopted=st.none() | props,
        profile=words,
    ),
    st.builds(
        Deferred, numbers, places, *(words,) * 3, st.lists(words, max_size=2), props, at=moments
    ),
    st.builds(Created, numbers, props, st.none() | props, moments, st.none() | needs),
    st.builds(CreateFailed, numbers, words, st.booleans()),
    st.builds(Updating, numbers, props, st.none() | needs),
    st.builds(ProfileChanged, numbers, words),
    st.builds(Destroying, numbers),
    st.builds(Destroyed, numbers),
    st.builds(DestroyFailed, numbers, words, numbers),
    st.builds(Kept, places, moments),
)
journals = st.lists(
    st.tuples(
        st.sampled_from(["", "first", "other"]), st.lists(any_record, max_size=12), st.booleans()
    ),
    max_size=4,
)


def written(store: StateStore, runs: Iterable[tuple[str, list[Record], bool]]) -> Lease:
    """Record *runs*, each of which may go on with the numbers of another and may end with a fold."""
    for number, (continues, records, folds) in enumerate(runs):
        lease = record(store, *records, journal=f"j{number}", continues=continues)
        if folds:
            fold_stage(store, lease)
        store.release(lease)
    return store.acquire()


@given(journals)
@settings(max_examples=200, deadline=None)
def test_any_journal_folds_to_what_it_says(runs: list[tuple[str, list[Record], bool]]) -> None:
    store = MemoryStore()
    lease = written(store, runs)
    before = load_stage(store)

    fold_stage(store, lease)
    once = store.documents()
    again = load_stage(store)
    fold_stage(store, lease)

    assert owned(again) == owned(before)
    assert again.segments == []
    assert store.documents() == once
    assert again.next_number == before.next_number


class Interrupted(Exception):
    """Somebody pulled the plug."""


class Unsteady(MemoryStore):
    """A store that stops working after some steps."""

    left = 10**9

    def write(self, place: Place, document: dict[str, Any], version: str | None) -> str:
        self._step()
        return super().write(place, document, version)

    def remove(self, place: Place, version: str) -> None:
        self._step()
        super().remove(place, version)

    def discard(self, *args: Any) -> None:
        self._step()
        super().discard(*args)

    def _step(self) -> None:
        if not self.left:
            raise Interrupted
        self.left -= 1


KEPT_INTENT = Intent(1, (), "bucket", "a", "alt-a", "", {})


@given(journals)
@example([("", [KEPT_INTENT, Kept((), 1.0)], False), ("first", [Kept((), 0.0)], False)])
@settings(max_examples=100, deadline=None)
def test_a_fold_that_was_cut_off_anywhere_is_simply_done_again(
    runs: list[tuple[str, list[Record], bool]],
) -> None:
    for steps in itertools.count():
        store = Unsteady()
        lease = written(store, runs)
        before = load_stage(store)
        store.left = steps
        try:
            fold_stage(store, lease)
        except Interrupted:
            assert owned(load_stage(store)) == owned(before)
            store.left = 10**9
            fold_stage(store, lease)
            assert owned(load_stage(store)) == owned(before)
        else:
            break


@given(st.lists(any_record, max_size=12))
@settings(max_examples=50, deadline=None)
def test_a_published_state_does_not_change_what_the_journal_says(records: list[Record]) -> None:
    store = MemoryStore()
    lease = record(store, *records)
    before = load_stage(store)

    publish(store, before)

    assert owned(load_stage(store)) == owned(before)
    fold_stage(store, lease)
    assert owned(load_stage(store)) == owned(before)


# Others at the same time


class Busy(MemoryStore):
    """A store into which somebody else writes whenever the fold has just read."""

    times = 0

    def documents(self) -> dict[Place, Versioned]:
        found = super().documents()
        if self.times and () in found:
            self.times -= 1
            super().write((), {**found[()].document, "n": self.times}, found[()].version)
        return found


class Meanwhile(MemoryStore):
    """A store in which something happens right after the first read."""

    happens: Callable[[], object] | None = None

    def documents(self) -> dict[Place, Versioned]:
        return self._then(super().documents())

    def segments(self) -> list[Segment]:
        return self._then(super().segments())

    def _then(self, found: T) -> T:
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return found


@pytest.mark.parametrize("finished", [False, True])
def test_what_is_folded_during_a_read_is_read_as_it_was_before_or_after(finished: bool) -> None:
    store = Meanwhile()
    lease = record(store, bucket(1))

    def happens() -> None:
        store.append(lease, [bucket(2), Destroyed(1)])
        if finished:
            fold_stage(store, lease)
        else:
            publish(store, load_stage(store))

    store.happens = happens

    assert list(load_stage(store).books["first"].live) == [2]


@pytest.mark.parametrize("times", [1, 5])
def test_a_fold_that_lost_against_another_writer_reads_again(times: int) -> None:
    store = Busy()
    lease = record(store, bucket(1))
    fold_stage(store, lease)
    store.append(lease, [Created(1, {"url": "x"})])
    before = load_stage(store)
    store.times = times

    fold_stage(store, lease)

    state = load_stage(store)
    assert owned(state) == owned(before)
    assert state.segments == []
    assert state.documents[()].document["n"] == 0


def test_a_fold_that_always_loses_gives_up_and_changes_nothing() -> None:
    store = Busy()
    lease = record(store, bucket(1))
    fold_stage(store, lease)
    store.append(lease, [Created(1, {"url": "x"})])
    before = load_stage(store)
    store.times = 10**6

    with pytest.raises(StateChangedError, match="was changed by somebody else since it was read"):
        fold_stage(store, lease)

    store.times = 0
    assert owned(load_stage(store)) == owned(before)


def test_who_lost_the_lease_folds_nothing(store: FileStore) -> None:
    lease = record(store, bucket(1))
    store.release(lease)

    with pytest.raises(LeaseLostError):
        fold_stage(store, lease)

    assert store.documents() == {}


# Damage


def break_it(folder: Path, **changed: Any) -> None:
    """Change the only resource of the stage by hand."""
    file = folder / "state.json"
    said = msgspec.json.decode(file.read_bytes())
    [thing] = said["resources"].values()
    thing |= changed
    file.write_bytes(msgspec.json.encode(said))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"number": "one"}, "'bucket-b1': Expected `int`, got `str` - at `$.number`"),
        ({"created_at": "yesterday"}, "'bucket-b1': Invalid isoformat string: 'yesterday'"),
        ({"outputs": []}, "'bucket-b1': Expected `object | null`, got `array` - at `$.outputs`"),
        ({"journal": "lost"}, "nothing tells of journal 'lost'"),
    ],
)
def test_a_resource_that_is_none_is_an_error_that_names_file_and_key(
    store: FileStore, folder: Path, changed: dict[str, Any], reason: str
) -> None:
    fold_stage(store, record(store, bucket(1)))
    break_it(folder, **changed)

    with pytest.raises(StateFileError) as caught:
        load_stage(store)

    assert (caught.value.file, caught.value.reason) == (str(folder / "state.json"), reason)
    assert f"State file {folder / 'state.json'} is damaged: {reason}." in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("resources", {"bucket-b1": 7}, "'bucket-b1': Expected `object`, got `int`"),
        ("deferred", [], "'deferred' is no JSON object"),
        ("expires", "soon", "'expires' is no moment: 'soon'"),
        ("expires", 5, "'expires' is no moment: 5"),
        (
            "journals",
            {"first": {}},
            "'journals': Object missing required field `opened` - at `$[...]`",
        ),
    ],
)
def test_a_part_that_is_none_is_an_error_that_names_the_file(
    store: FileStore, folder: Path, field: str, value: Any, reason: str
) -> None:
    fold_stage(store, record(store, bucket(1)))
    file = folder / "state.json"
    file.write_bytes(msgspec.json.encode(json.loads(file.read_text()) | {field: value}))

    with pytest.raises(StateFileError) as caught:
        load_stage(store)

    assert (caught.value.file, caught.value.reason) == (str(file), reason)
