"""What may be destroyed when."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_alchemy.order import DestroyOrder


class Item:
    """One thing to destroy, known by its number."""

    def __init__(self, number: int, *, alone: bool = False) -> None:
        self.number, self.alone = number, alone
        self.needs: list[Item] = []

    def needed(self) -> Collection[Item]:
        return self.needs

    def __repr__(self) -> str:
        return str(self.number)


def items(count: int, needs: Iterable[tuple[int, int]] = ()) -> list[Item]:
    """Return *count* items; the first of each pair needs the second."""
    made = [Item(number) for number in range(count)]
    for one, other in needs:
        made[one].needs.append(made[other])
    return made


@st.composite
def graphs(draw: st.DrawFn) -> list[Item]:
    """Return items that need each other in no circle, not always the younger the older."""
    count = draw(st.integers(0, 12))
    rank = draw(st.permutations(range(count)))
    numbers = st.integers(0, max(0, count - 1))
    pairs = draw(st.lists(st.tuples(numbers, numbers), max_size=30)) if count else []
    return items(count, [(a, b) for a, b in pairs if rank[a] > rank[b]])


def all_needed_by(item: Item) -> set[Item]:
    """Return what *item* needs, directly or through others."""
    found: set[Item] = set()
    waiting = [item]
    while waiting:
        for other in waiting.pop().needs:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def dependents(item: Item, among: Iterable[Item]) -> list[Item]:
    return [other for other in among if item in other.needs]


def take_all(
    order: DestroyOrder[Item], failing: Iterable[Item] = ()
) -> tuple[list[Item], list[Item]]:
    """Destroy one after the other; return what was attempted, and what was blocked."""
    attempted, blocked = [], []
    while item := order.take():
        if order.blockers(item):
            blocked.append(item)
            order.done(item, gone=False)
        else:
            attempted.append(item)
            order.done(item, gone=item not in failing)
    return attempted, blocked


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_nothing_is_destroyed_before_its_dependents(graph: list[Item]) -> None:
    attempted, blocked = take_all(DestroyOrder(graph))

    assert sorted(attempted, key=lambda item: item.number) == graph
    assert blocked == []
    for item in graph:
        for dependent in dependents(item, graph):
            assert attempted.index(dependent) < attempted.index(item)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_of_all_that_is_free_the_newest_goes_first(graph: list[Item]) -> None:
    attempted, _ = take_all(DestroyOrder(graph))

    for place, item in enumerate(attempted):
        left = attempted[place:]
        free = [other for other in left if not dependents(other, left)]
        assert item.number == max(other.number for other in free)


def test_things_that_need_only_older_ones_go_in_reverse_order_of_creation() -> None:
    graph = items(5, [(4, 0), (3, 1), (2, 1), (4, 3)])

    attempted, _ = take_all(DestroyOrder(graph))

    assert [item.number for item in attempted] == [4, 3, 2, 1, 0]


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_a_failure_blocks_what_it_needs_and_nothing_else(
    graph: list[Item], data: st.DataObject
) -> None:
    failing = data.draw(st.sets(st.sampled_from(graph))) if graph else set()

    attempted, blocked = take_all(DestroyOrder(graph), failing)

    failed = [item for item in attempted if item in failing]
    assert set(blocked) == {other for item in failed for other in all_needed_by(item)}
    assert set(attempted) | set(blocked) == set(graph)


def test_blockers_are_the_failed_ones_that_need_it_directly() -> None:
    graph = items(3, [(2, 1), (1, 0)])
    order = DestroyOrder(graph)

    take_all(order, [graph[2]])

    assert order.blockers(graph[1]) == [graph[2]]
    assert order.blockers(graph[0]) == [graph[1]]
    assert order.blockers(graph[2]) == []


def test_what_has_to_be_alone_waits_for_all_that_runs_and_all_that_is_older_waits_for_it() -> None:
    oldest, alone, between, newest = Item(0), Item(1, alone=True), Item(2), Item(3)
    newest.needs.append(between)
    order = DestroyOrder([oldest, alone, between, newest])

    assert order.take() is newest
    assert order.take(something_runs=True) is None
    order.done(newest, gone=True)
    assert order.take() is between
    assert order.take(something_runs=True) is None
    order.done(between, gone=True)
    assert order.take() is alone
    assert order.take(something_runs=True) is None
    order.done(alone, gone=False)
    assert order.take() is oldest


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_with_many_at_once_nothing_starts_before_its_dependents_are_done(
    graph: list[Item], data: st.DataObject
) -> None:
    order = DestroyOrder(graph)
    running: list[Item] = []
    done: list[Item] = []

    while order.left:
        while item := order.take(something_runs=bool(running)):
            assert all(other in done for other in dependents(item, graph))
            running.append(item)
        ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
        order.done(ended, gone=True)
        done.append(ended)

    assert set(done) == set(graph)


def test_everything_that_nothing_needs_is_handed_out_at_once() -> None:
    graph = items(4, [(3, 0)])
    order = DestroyOrder(graph)

    free = [order.take(something_runs=True) for _ in range(3)]

    assert free == [graph[3], graph[2], graph[1]]
    assert order.take(something_runs=True) is None
    assert order.left


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.data())
def test_things_in_a_circle_are_destroyed_all_the_same(count: int, data: st.DataObject) -> None:
    numbers = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(numbers, numbers), max_size=20))
    graph = items(count, pairs)

    attempted, _ = take_all(DestroyOrder(graph))

    assert sorted(item.number for item in attempted) == list(range(count))


def test_a_circle_is_begun_with_the_newest() -> None:
    graph = items(3, [(0, 1), (1, 0), (2, 0)])

    attempted, _ = take_all(DestroyOrder(graph))

    assert [item.number for item in attempted] == [2, 1, 0]


def test_needs_outside_of_what_is_destroyed_do_not_matter() -> None:
    inside, outside = items(2, [(0, 1)])
    outside.needs.append(inside)
    inside.needs.append(inside)

    attempted, _ = take_all(DestroyOrder([inside]))

    assert attempted == [inside]


def test_there_is_nothing_to_hand_out_of_nothing() -> None:
    order = DestroyOrder[Item]([])

    assert not order.left
    assert order.take() is None
