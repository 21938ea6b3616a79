from __future__ import annotations

import signal
import threading

import pytest

from pytest_alchemy import clock
from pytest_alchemy.timelimit import Alarm


@pytest.fixture(autouse=True)
def free_timer() -> None:
    """pytest-timeout uses the same timer; without it these tests are the only ones to do so."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_what_blocks_the_main_thread_is_cut_off() -> None:
    never = threading.Event()
    started = clock.monotonic()

    with Alarm() as alarm:
        alarm.until = clock.monotonic() + 0.1
        with pytest.raises(TimeoutError, match="it took too long and was cut off"):
            never.wait(30)

    assert clock.monotonic() - started < 10


def test_without_a_limit_nothing_is_cut_off() -> None:
    ticked = threading.Event()

    with Alarm() as alarm:
        alarm.until = clock.monotonic() + 0.01
        alarm.until = None
        assert not ticked.wait(0.6)


def test_it_ticks_whatever_blocks_the_main_thread() -> None:
    ticked = threading.Event()

    with Alarm(tick=lambda _: ticked.set()):
        assert ticked.wait(30)


def test_the_timer_and_its_handler_are_given_back() -> None:
    before = signal.getsignal(signal.SIGALRM)

    with Alarm():
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0

    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_timer_in_use_is_left_alone() -> None:
    signal.setitimer(signal.ITIMER_REAL, 60)
    before = signal.getsignal(signal.SIGALRM)

    with Alarm():
        assert signal.getsignal(signal.SIGALRM) is before
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50

    signal.setitimer(signal.ITIMER_REAL, 0)


def test_other_threads_have_no_alarm() -> None:
    seen: list[float] = []

    def look() -> None:
        with Alarm():
            seen.append(signal.getitimer(signal.ITIMER_REAL)[0])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10)

    assert seen == [0]
