"""What the tests of lasting scopes may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from .things import World, new_world

VARIABLES = ("CI", "ALCHEMY_STAGE", "ALCHEMY_PROFILE", "ALCHEMY_FAKE_ACCOUNT")


@pytest.fixture
def world() -> World:
    """Return a world in which nothing exists."""
    return new_world()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the programs of this test run: nothing is chosen for them there."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path
