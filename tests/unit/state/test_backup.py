"""Copies of what a stage says: whole ones or none, and no more than are worth keeping."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pytest_alchemy.errors import StateFolderError
from pytest_alchemy.state import backup
from pytest_alchemy.state.backup import MOST, back_up, backups_of
from pytest_alchemy.state.statefile import STATE, replace_file


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """Return the folder of a stage with a nested scope."""
    folder = tmp_path / ".alchemy" / "shop" / "prod"
    (folder / "backend").mkdir(parents=True, mode=0o700)
    for scope, said in ((folder, b"stage"), (folder / "backend", b"nested")):
        (scope / STATE).write_bytes(said)
    return folder


def test_a_copy_says_what_the_stage_said(stage: Path) -> None:
    copy = back_up(stage)

    assert (copy / STATE).read_bytes() == b"stage"
    assert (copy / "backend" / STATE).read_bytes() == b"nested"


@pytest.mark.parametrize("cut_off_by", [KeyboardInterrupt(), OSError(errno.ENOSPC, "disk is full")])
def test_half_a_copy_is_not_left_for_anybody_to_put_back(
    stage: Path, monkeypatch: pytest.MonkeyPatch, cut_off_by: BaseException
) -> None:
    def write_one(path: str, data: bytes) -> None:
        if data == b"nested":
            raise cut_off_by
        replace_file(path, data)

    monkeypatch.setattr(backup, "replace_file", write_one)

    with pytest.raises((KeyboardInterrupt, StateFolderError)):
        back_up(stage)
    assert backups_of(stage) == []
    assert (stage / "backend" / STATE).read_bytes() == b"nested"


def test_the_newest_copies_are_kept(stage: Path) -> None:
    copies = [back_up(stage) for _ in range(MOST + 2)]

    assert backups_of(stage) == copies[2:]
