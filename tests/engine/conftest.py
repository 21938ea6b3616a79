"""What the tests of the engine may ask for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_alchemy import clock
from pytest_alchemy.driver import AsyncDriver
from tests.unit.conftest import hand, world

__all__ = ["hand", "world"]


class FakeClock:
    """
    A clock that stands still but for the waits that are asked for, which take no time.

    Attributes:
        waits: What was waited for, in seconds, in order.
    """

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._at = 1_700_000_000.0

    def now(self) -> float:
        return self._at

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._at += seconds


@pytest.fixture
def fake_clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Return the clock by which the engine waits in this test."""
    fake = FakeClock()

    async def sleep(_: AsyncDriver, seconds: float) -> None:
        fake.pause(seconds)

    replaced: dict[str, Callable[..., object]] = {
        "now": fake.now,
        "monotonic": fake.now,
        "pause": fake.pause,
    }
    for name, function in replaced.items():
        monkeypatch.setattr(clock, name, function)
    monkeypatch.setattr(AsyncDriver, "sleep", sleep)
    return fake
