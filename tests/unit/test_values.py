"""Values and their records, compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_alchemy.values import plain, same, says

# Few of each, so that two of them are often alike.
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, 2, "", "1", "a"])
KEYS = st.sampled_from(["a", "b", "$ref", "$env", "$dict"])
VALUES = st.recursive(
    SCALARS,
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.lists(inside, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inside, max_size=2)
    ),
    max_leaves=4,
)


@given(one=VALUES, other=VALUES)
def test_a_record_says_a_value_if_it_is_what_would_be_recorded_of_it(one: Any, other: Any) -> None:
    assert says(plain(one), one)
    assert says(plain(one), other) == same(plain(one), plain(other))


@given(one=VALUES, other=VALUES)
def test_to_be_the_same_goes_both_ways(one: Any, other: Any) -> None:
    assert same(plain(one), plain(one))
    assert same(plain(one), plain(other)) == same(plain(other), plain(one))


@pytest.mark.parametrize(
    "wrap", [lambda it: it, lambda it: [it], lambda it: {"$ref": it}, lambda it: {"a": [it]}]
)
def test_a_flag_is_no_number_wherever_it_stands(wrap: Any) -> None:
    assert not says(plain(wrap(True)), wrap(1))
    assert not says(plain(wrap(0)), wrap(False))
    assert says(plain(wrap(True)), wrap(True))
