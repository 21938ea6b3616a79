"""Promises of the clock: nobody freezes, moves or reseeds it."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from types import ModuleType

import freezegun
import pytest
import time_machine

from pytest_alchemy import clock

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def seconds_off(moment: float) -> float:
    """Return how far *moment* is from the time that the kernel gives to a new file."""
    with tempfile.TemporaryFile() as file:
        return abs(moment - os.fstat(file.fileno()).st_mtime)


def import_again() -> ModuleType:
    """Return the clock as it is when it is imported at this moment."""
    spec = importlib.util.find_spec("pytest_alchemy.clock")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_now_is_the_time() -> None:
    assert seconds_off(clock.now()) < 5


def test_freezegun_does_not_stop_the_clock() -> None:
    with freezegun.freeze_time(LONG_AGO):
        assert time.time() == LONG_AGO.timestamp()
        frozen_monotonic = time.monotonic()
        first, second = clock.monotonic(), clock.monotonic()

        assert seconds_off(clock.now()) < 5

    assert frozen_monotonic == LONG_AGO.timestamp()
    assert first < second < LONG_AGO.timestamp()


def test_a_clock_first_imported_under_freezegun_is_right() -> None:
    with freezegun.freeze_time(LONG_AGO):
        late = import_again()

        assert seconds_off(late.now()) < 5
        assert abs(late.monotonic() - clock.monotonic()) < 5


def test_time_machine_does_not_move_the_clock() -> None:
    real = time.time()

    with time_machine.travel(LONG_AGO, tick=False):
        assert time.time() == LONG_AGO.timestamp()
        there = clock.now()
        late = import_again().now()

    assert 0 <= there - real < 5
    assert 0 <= late - real < 5


def test_a_loaded_time_machine_at_rest_changes_nothing() -> None:
    assert "time_machine" in sys.modules

    assert seconds_off(clock.now()) < 5


def test_a_half_imported_time_machine_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time_machine, "escape_hatch")

    assert seconds_off(clock.now()) < 5


def test_a_patched_time_module_does_not_move_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.monotonic", lambda: 0.0)

    assert seconds_off(clock.now()) < 5
    assert clock.monotonic() > 0
    assert seconds_off(import_again().now()) < 5


def test_the_private_time_module_leaves_the_real_one_alone() -> None:
    before = dict(vars(time))

    import_again()

    assert sys.modules["time"] is time
    assert dict(vars(time)) == before


def test_monotonic_never_goes_back() -> None:
    readings = [clock.monotonic() for _ in range(1000)]

    assert readings == sorted(readings)


@pytest.mark.parametrize("length", [0, 1, 8, 100])
def test_a_token_has_the_length_asked_for(length: int) -> None:
    token = clock.token(length)

    assert len(token) == length
    assert set(token) <= set("0123456789abcdefghijklmnopqrstuvwxyz")


def test_no_seed_repeats_a_token() -> None:
    random.seed(1)
    first = clock.token(16)
    random.seed(1)

    assert clock.token(16) != first


def test_every_character_of_a_token_is_equally_likely() -> None:
    text = clock.token(360_000)

    counts = [text.count(char) for char in "0123456789abcdefghijklmnopqrstuvwxyz"]

    # 10,000 expected of each with a standard deviation of 99; one even byte table would give 9,844
    # and 11,250.
    assert max(abs(count - 10_000) for count in counts) < 700


def test_an_instant_is_a_real_datetime_even_under_freezegun() -> None:
    with freezegun.freeze_time(LONG_AGO):
        there = clock.instant(1.25)

    assert type(there) is type(LONG_AGO)
    assert there == datetime(1970, 1, 1, 0, 0, 1, 250_000, tzinfo=UTC)
    assert there.tzinfo is UTC


def test_an_instant_may_lie_before_the_epoch() -> None:
    assert clock.instant(-1.0) == datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
