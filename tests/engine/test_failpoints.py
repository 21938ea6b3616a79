"""Programs that are killed at every point: one recovery leaves nothing behind, and nothing is made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy.recovery.process import reap_in_process
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.stagestate import load_stage
from tests.unit.state.samples import REPOSITORY

from .doomed import DIES_AT, WORLD

LIMIT = 60.0

CREATE = (
    "before Intent",
    "after Intent",
    "request sent",
    "thing made",
    "before Created",
    "after Created",
)
DESTROY = ("destroy sent", "thing gone", "before Destroyed", "after Destroyed")
UPDATE = ("before Updating", "after Updating", "change sent", "thing changed", "before Created*2")


class Place:
    """Where a program runs, and the world in which it makes things."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.things = folder / "state", folder / "things"
        self.things.mkdir()
        self._log = folder / "log"
        self._monkeypatch = monkeypatch
        monkeypatch.setenv(WORLD, str(folder))
        monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))

    def die(self, at: str, style: str, shape: str = "") -> Path:
        """Run the program until it is killed, and return the folder of its stage; a missing one if it has none."""
        self._monkeypatch.setenv(DIES_AT, at)
        command = [sys.executable, "-m", "tests.engine.doomed", str(self.root), style, shape]
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT
        )
        assert done.returncode == -signal.SIGKILL, f"it never came to {at!r}: {done.stderr}"
        self._monkeypatch.delenv(DIES_AT)
        return next(self.root.glob("shop/*"), self.root / "none")

    def recover(self, stage: Path) -> list[dict[str, Any]]:
        return list(reap_in_process(stage, timeout=10.0)) if stage.exists() else []

    @property
    def left(self) -> list[str]:
        return sorted(os.listdir(self.things))

    @property
    def made(self) -> Counter[str]:
        """How often each thing was made."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith("made"))

    def names_in(self, stage: Path) -> set[str]:
        """Return what the records in *stage* tell of."""
        state = load_stage(FileStore(stage, user_key()))
        return {
            getattr(live.entry, "name", "")
            for book in state.books.values()
            for live in book.live.values()
        }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def check(place: Place, at: str, style: str, shape: str = "") -> list[dict[str, Any]]:
    """Let the program die, recover once, and look at the world."""
    stage = place.die(at, style, shape)
    if place.left:
        assert set(place.left) <= place.names_in(stage), "something exists that no record names"

    said = place.recover(stage)

    assert place.left == []
    assert not stage.exists()
    assert {line["what"] for line in said} <= {"reaped", "unfinished"}
    assert set(place.made.values()) <= {1}
    return said


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("at", [*(f"{point}*2" for point in CREATE), *DESTROY])
def test_what_is_killed_while_it_makes_or_unmakes_leaves_nothing(
    place: Place, at: str, style: str
) -> None:
    said = check(place, at, style)

    gone = at in ("thing gone", "before Destroyed", "after Destroyed")
    reaped = 1 if at in ("before Intent*2", "after Destroyed") else 2
    assert sum(line["what"] == "reaped" for line in said) == reaped
    assert len(place.made) == (
        2 if gone or at not in ("before Intent*2", "after Intent*2", "request sent*2") else 1
    )


@pytest.mark.parametrize("style", ["plain", "async"])
@pytest.mark.parametrize("at", UPDATE)
def test_what_is_killed_while_it_is_changed_leaves_nothing(
    place: Place, at: str, style: str
) -> None:
    said = check(place, at, style, "update")

    assert [line["what"] for line in said] == ["reaped"]


@pytest.mark.parametrize("at", ["before KindSeen", "after KindSeen", "before Intent"])
def test_what_is_killed_before_its_first_intent_has_made_nothing(place: Place, at: str) -> None:
    assert check(place, at, "plain") == []


@pytest.mark.parametrize(
    "at", ["thing made*2", "before Created", "thing made", "before Created*3", "thing made*3"]
)
def test_what_is_killed_inside_another_one_goes_with_it(place: Place, at: str) -> None:
    check(place, at, "plain", "pair")


@pytest.mark.parametrize("at", ["request sent*2", "thing made*2", "before Created*2"])
def test_what_nobody_can_ask_for_is_destroyed_by_its_name(place: Place, at: str) -> None:
    check(place, at, "plain", "blind")


def test_what_appears_only_after_the_death_is_waited_for(place: Place) -> None:
    stage = place.die("request sent", "plain", "late")
    assert place.left == []

    said = []
    for line in reap_in_process(stage, timeout=10.0):
        said.append(line)
        if line["what"] == "unfinished":  # the provider comes to it now
            (place.things / line["facts"]["name"]).touch()

    assert [line["what"] for line in said] == ["unfinished", "reaped"]
    assert "it may still appear until" in said[0]["reason"]
    assert place.left == []
    assert not stage.exists()


def test_a_recovery_that_is_killed_itself_is_done_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = place.die("destroy sent", "plain")
    monkeypatch.setenv(DIES_AT, "thing gone")
    first = place.recover(stage)
    monkeypatch.delenv(DIES_AT)

    second = place.recover(stage)

    assert [line["what"] for line in first] == ["unrecoverable"]
    assert "exit code -9" in first[0]["reason"]
    assert [line["what"] for line in second] == ["reaped", "reaped"]
    assert place.left == []
