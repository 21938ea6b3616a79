"""What every journal promises, wherever it keeps its lines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_alchemy.errors import JournalWriteError
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
    Record,
    Updating,
)
from pytest_alchemy.state.journal import FileJournal, read_journal
from pytest_alchemy.state.memory import MemoryJournal
from pytest_alchemy.store import Journal
from tests.unit.state.samples import ALL_KINDS, KEY, header

Reader = Callable[[], list[Record]]
Maker = Callable[[], tuple[Journal, Reader]]


def in_a_file(folder: Path, *, durable: bool) -> Maker:
    def make() -> tuple[Journal, Reader]:
        path = folder / f"journal-{len(list(folder.iterdir()))}"
        journal = FileJournal.open(path, header(), key=KEY, durable=durable)
        return journal, lambda: read_journal(path, KEY).records

    return make


def in_memory() -> tuple[Journal, Reader]:
    journal = MemoryJournal(header())
    return journal, lambda: journal.records


@pytest.fixture(params=["file", "durable file", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    if request.param == "memory":
        return in_memory
    return in_a_file(tmp_path, durable=request.param.startswith("durable"))


words = st.text(max_size=12)
whole = st.integers(0, 2**53)
moments = st.floats(0, 4e9)
paths = st.lists(words, max_size=3).map(tuple)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
props = st.dictionaries(words, plain, max_size=3)
any_record: st.SearchStrategy[Record] = st.one_of(
    st.builds(KindSeen, words, words, words, words, st.booleans(), moments),
    st.builds(
        Intent,
        *(whole, paths, words, words, words, words, props),
        st.lists(whole, max_size=3).map(tuple),
        *(whole, moments, words, words),
    ),
    st.builds(Created, whole, props, st.none() | props, moments),
    st.builds(CreateFailed, whole, words, st.booleans()),
    st.builds(Updating, whole, props),
    st.builds(Destroying, whole),
    st.builds(Destroyed, whole),
    st.builds(DestroyFailed, whole, words, whole),
    st.builds(Deferred, whole, paths, words, words, words, st.lists(plain, max_size=3), props),
    st.builds(Kept, paths, moments),
)


def test_what_was_recorded_is_read_back_in_order(make: Maker) -> None:
    journal, read = make()

    for record in ALL_KINDS:
        journal.append(record)

    assert read() == list(ALL_KINDS)


@given(st.lists(any_record, max_size=5))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_record_survives_the_way_there_and_back(make: Maker, records: list[Record]) -> None:
    journal, read = make()

    for record in records:
        journal.append(record)

    assert read() == records
    journal.close()  # type: ignore[attr-defined]  # not part of the promise, but files are many here


def test_a_record_is_what_was_said_then(make: Maker) -> None:
    journal, read = make()
    outputs = {"uuid": "first"}
    journal.append(Created(1, outputs))

    outputs["uuid"] = "second"

    assert read() == [Created(1, {"uuid": "first"})]


@pytest.mark.parametrize("value", [object(), "\ud800", {1: {2: object()}}])
def test_what_is_no_plain_data_is_refused_and_harms_nothing(make: Maker, value: Any) -> None:
    journal, read = make()

    with pytest.raises(JournalWriteError, match="no plain data"):
        journal.append(Created(1, {"value": value}))
    journal.append(Destroyed(1))

    assert read() == [Destroyed(1)]


def test_records_of_many_threads_all_arrive(make: Maker) -> None:
    journal, read = make()
    start = threading.Barrier(8)

    def write(thread: int) -> None:
        start.wait(30)
        for number in range(25):
            journal.append(Destroying(100 * thread + number))

    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    records = read()
    assert sorted(r.seq for r in records if isinstance(r, Destroying)) == [
        100 * thread + number for thread in range(8) for number in range(25)
    ]
