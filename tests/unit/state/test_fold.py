from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_alchemy.records import (
    Created,
    CreateFailed,
    Deferred,
    Destroyed,
    DestroyFailed,
    Destroying,
    Kept,
    KindSeen,
    Live,
    ProfileChanged,
    Record,
    Updating,
)
from pytest_alchemy.state.fold import fold
from tests.unit.state.samples import ALL_KINDS, intent


def test_an_intent_alone_is_owned_and_may_still_appear() -> None:
    state = fold([intent(1)])

    assert state.live == {1: Live(intent(1), props={"location": "weur"})}
    assert not state.live[1].settled


def test_outputs_are_known_once_created() -> None:
    state = fold([intent(1), Created(1, {"uuid": "a"})])

    assert state.live[1].outputs == {"uuid": "a"}
    assert state.live[1].created
    assert state.live[1].settled


def test_what_is_adopted_exists_and_has_any_properties_until_it_is_made_to_fit() -> None:
    records: list[Record] = [
        intent(1, adopted={"uuid": "a"}),
        Updating(1, {"location": "weur"}),
    ]

    during = fold(records).live[1]
    after = fold([*records, Created(1, {"uuid": "a"}, props={"location": "weur"})]).live[1]

    assert (during.created, during.settled, during.adopting) == (True, True, True)
    assert during.outputs == {"uuid": "a"}
    assert (after.created, after.adopting, after.updating) == (True, False, None)


def test_an_update_that_reported_back_replaces_what_is_known() -> None:
    records: list[Record] = [
        intent(1),
        Created(1, {"uuid": "a"}),
        Updating(1, {"location": "apac"}),
    ]

    during = fold(records).live[1]
    after = fold([*records, Created(1, {"uuid": "b"}, props={"location": "apac"})]).live[1]

    assert (during.props, during.updating) == ({"location": "weur"}, {"location": "apac"})
    assert (after.props, after.updating, after.outputs) == (
        {"location": "apac"},
        None,
        {"uuid": "b"},
    )


def test_an_update_replaces_what_is_needed_and_until_it_reports_back_both_are() -> None:
    records: list[Record] = [
        intent(3, needs=(1,)),
        Created(3, {}),
        Updating(3, {"location": "apac"}, needs=(1, 2)),
    ]

    during = fold(records).live[3]
    after = fold([*records, Created(3, {}, props={"location": "apac"}, needs=(2,))]).live[3]

    assert during.needs == (1, 2)
    assert after.needs == (2,)


def test_another_profile_is_that_of_the_resource_from_then_on() -> None:
    state = fold([intent(1, profile="prod"), intent(2), ProfileChanged(1, "backup")])

    assert [live.entry.profile for live in state.live.values()] == ["backup", ""]  # type: ignore[union-attr]  # intents


def test_a_create_that_was_cut_off_is_not_settled() -> None:
    cut = fold([intent(1), CreateFailed(1, "cancelled", settled=False)]).live[1]
    answered = fold([intent(1), CreateFailed(1, "ValueError: no", settled=True)]).live[1]

    assert (cut.settled, cut.error) == (False, "cancelled")
    assert (answered.settled, answered.error) == (True, "ValueError: no")


def test_what_is_destroyed_is_owned_no_more() -> None:
    state = fold([intent(1), intent(2), Created(1, {}), Destroying(1), Destroyed(1)])

    assert list(state.live) == [2]


def test_a_create_that_ends_after_the_destroy_is_owned_again() -> None:
    state = fold([intent(1), Destroying(1), Destroyed(1), Created(1, {"uuid": "late"})])

    assert state.live[1].outputs == {"uuid": "late"}


def test_a_destroy_that_failed_is_still_owned_with_its_error() -> None:
    begun = fold([intent(1), Destroying(1)]).live[1]
    failed = fold([intent(1), Destroying(1), DestroyFailed(1, "OSError: no", attempts=3)]).live[1]

    assert begun.destroying
    assert (failed.destroying, failed.attempts, failed.error) == (False, 3, "OSError: no")


def test_a_deferred_call_is_owned_until_it_was_made() -> None:
    deferred = Deferred(1, (), "shop", "shop.py", "drop", ["x"], {})

    assert fold([deferred]).live == {1: Live(deferred, settled=True)}
    assert fold([deferred, Destroyed(1)]).live == {}


def test_entries_are_in_order_of_their_numbers_whoever_wrote_first() -> None:
    state = fold([intent(3), intent(1), intent(2)])

    assert list(state.live) == [1, 2, 3]


def test_kinds_and_kept_scopes_are_told() -> None:
    kind = KindSeen("s3", "shop", "shop.py", "Bucket")
    kept = Kept(("a",), 5.0)

    state = fold([kind, kept])

    assert (state.kinds, state.kept) == ({"s3": kind}, [kept])


@given(st.lists(st.sampled_from(ALL_KINDS)))
def test_no_order_of_records_is_too_strange(records: list[Record]) -> None:
    state = fold(records)

    assert all(seq == live.entry.seq for seq, live in state.live.items())
