"""Reading without a search for garbage; the search itself is left as it was found."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pytest_alchemy.garbage import no_search


@pytest.fixture(autouse=True)
def searching() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_nothing_is_searched_for_inside_and_again_afterwards() -> None:
    with no_search():
        assert not gc.isenabled()

    assert gc.isenabled()


@pytest.mark.skipif(
    gc.get_freeze_count() > 0, reason="this Python begins with frozen objects, and is left alone"
)
def test_what_is_made_inside_is_not_looked_through_at_once_when_it_goes_on() -> None:
    with no_search():
        made: list[list[object]] = [[] for _ in range(2000)]
        before = gc.get_stats()

    made.append([])

    assert gc.get_stats() == before


def test_what_somebody_froze_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    try:
        with no_search():
            pass

        assert 0 < gc.get_freeze_count() <= frozen  # some of it may have been freed meanwhile
    finally:
        gc.unfreeze()


def test_it_goes_on_also_after_an_error() -> None:
    with pytest.raises(ValueError, match="damaged"), no_search():
        raise ValueError("damaged")

    assert gc.isenabled()


def test_it_goes_on_also_after_an_interrupt_at_the_very_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gc, "freeze", interrupted)
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)

    with pytest.raises(KeyboardInterrupt), no_search():
        pass

    assert gc.isenabled()


def test_the_last_one_of_several_at_once_begins_the_search_again() -> None:
    first, second = no_search(), no_search()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()

    second.__exit__(None, None, None)

    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off() -> None:
    gc.disable()

    with no_search():
        pass

    assert not gc.isenabled()
