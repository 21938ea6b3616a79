"""The files of a test's stage while this process owns it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_alchemy.errors import StageLockedError
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.keys import HOME_VARIABLE
from pytest_alchemy.state.locks import is_held
from pytest_alchemy.state.stagefiles import StageFiles
from tests.support.user import forget_user
from tests.unit.state.samples import header, intent


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where stages lie; their user is a new one."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    forget_user()
    yield tmp_path / ".alchemy"
    forget_user()


def test_several_journals_of_one_process_lie_in_a_stage_under_one_lock(root: Path) -> None:
    files = StageFiles(root, "main")

    journals = [files.open(header()) for _ in range(3)]

    assert len({journal.path for journal in journals}) == 3
    with pytest.raises(StageLockedError):
        StageFiles(root, "main").open(header())
    files.end(clean=True)
    assert not root.exists()


def test_a_journal_that_is_taken_back_leaves_the_others_and_the_lock(root: Path) -> None:
    files = StageFiles(root, "main")
    first, second = files.open(header()), files.open(header())

    files.take_back(second)

    first.append(intent(1))
    assert first.path.exists()
    assert not second.path.exists()
    assert files.folder is not None
    assert is_held(files.folder / LOCK)
    files.take_back(first)
    assert not root.exists()
    files.open(header())  # nothing keeps it from being begun anew
    files.end(clean=True)
