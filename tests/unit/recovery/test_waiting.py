"""What may still appear in the world after its maker has died."""

from __future__ import annotations

import os
import sys

import pytest

from pytest_alchemy import clock
from pytest_alchemy.errors import MayStillAppearError
from pytest_alchemy.physicalnames import Run
from pytest_alchemy.records import Deferred, Intent
from pytest_alchemy.recovery.deadstage import DeadStage, lock_of
from pytest_alchemy.state.keys import user_key
from tests.support.deadstages import DAY, Graveyard, name_of


def test_what_runs_out_of_its_time_while_it_is_looked_for_is_looked_for_once_more(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, ahead = clock.now, [0.0]
    name = name_of("a", run=Run("k3f9x2ab", now() + DAY))
    folder = graveyard.bury(
        more=(Intent(1, (":test_a.py::test_one",), "file", "a", name, "", {}, at=now()),)
    )

    class Late(MayStillAppearError):
        def __init__(self, resource: str, until: float) -> None:
            super().__init__(resource, until)
            ahead[0] = DAY  # its time is over before anybody asks about it

    monkeypatch.setattr(clock, "now", lambda: now() + ahead[0])
    monkeypatch.setattr("pytest_alchemy.lifecycle.MayStillAppearError", Late)
    sys.path.insert(0, str(graveyard.path))  # as whoever reaps a stage does

    said = [f.what for f in DeadStage(folder, user_key()).reap(lock_of(folder, timeout=1.0))]

    assert said == ["unfinished", "reaped"]
    assert not os.path.exists(folder)


def test_what_a_clock_that_was_ahead_recorded_is_not_waited_for_until_that_moment_comes(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, ahead = clock.now, [0.0]
    name = name_of("a", run=Run("k3f9x2ab", now() + DAY))
    intent = Intent(1, (":test_a.py::test_one",), "file", "a", name, "", {}, at=now() + 365 * DAY)
    folder = graveyard.bury(more=(intent,))
    untils: list[float] = []

    class Late(MayStillAppearError):
        def __init__(self, resource: str, until: float) -> None:
            super().__init__(resource, until)
            untils.append(until)
            ahead[0] = 400 * DAY  # enough in any case

    monkeypatch.setattr(clock, "now", lambda: now() + ahead[0])
    monkeypatch.setattr("pytest_alchemy.lifecycle.MayStillAppearError", Late)
    sys.path.insert(0, str(graveyard.path))  # as whoever reaps a stage does

    said = [f.what for f in DeadStage(folder, user_key()).reap(lock_of(folder, timeout=1.0))]

    assert said == ["unfinished", "reaped"]
    assert untils[0] - now() < 120.0


def test_what_was_made_while_the_clock_was_set_back_is_destroyed_in_reverse_order(
    graveyard: Graveyard,
) -> None:
    folder, now = graveyard.path / "folder", clock.now()
    folder.mkdir()
    (folder / "file").touch()
    os_file = str(os.__file__)
    stage = graveyard.bury(
        more=(
            Deferred(1, (), "os", os_file, "rmdir", [str(folder)], {}, at=now),
            Deferred(2, (), "os", os_file, "unlink", [str(folder / "file")], {}, at=now - 3600.0),
        )
    )

    said = [f.what for f in DeadStage(stage, user_key()).reap(lock_of(stage, timeout=1.0))]

    assert said == ["reaped", "reaped"]
    assert not folder.exists()
