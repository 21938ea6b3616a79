"""Very many things in one scope: all of them are made, recorded and unmade, the newest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_alchemy import Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.state.fold import fold
from pytest_alchemy.state.journal import FileJournal, read_journal
from tests.unit.support.scopes import Hand, new_scope, new_stage

MANY = 20_000
KEY = b"k" * 32
WORLD: list[str] = []  # names of what exists, in order of creation


class Grain(Resource):
    """One of many."""

    def create(self) -> None:
        WORLD.append(self.name)

    def destroy(self) -> None:
        assert WORLD.pop() == self.name


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def scope(journal: Path) -> Scope:
    WORLD.clear()
    return new_scope(
        new_stage(
            open_journal=lambda first: FileJournal.open(journal, first, key=KEY, durable=False)
        )
    )


def test_twenty_thousand_things_are_made_and_unmade_in_one_scope(
    hand: Hand, scope: Scope, journal: Path
) -> None:
    for number in range(MANY):
        hand.create(scope, Grain(f"n{number}"))
    recorded = fold(read_journal(journal, KEY).records).live
    assert len(set(WORLD)) == len(WORLD) == len(recorded) == MANY

    hand.destroy(scope)

    assert WORLD == []
    assert scope.resources == []
    assert fold(read_journal(journal, KEY).records).live == {}
