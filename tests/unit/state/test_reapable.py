from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import clock
from pytest_alchemy.records import Destroyed, DestroyFailed, Kept, Record
from pytest_alchemy.recovery.reapable import is_reapable, reapable_of, why_not_reapable
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import JOURNALS, Root
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.locks import Holder, StageLock
from pytest_alchemy.state.stagestate import fold_stage, load_stage, publish
from tests.unit.state.samples import KEY, OTHER_KEY, header, intent

PLACE = ("test_users",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Root(tmp_path / ".alchemy").make_stage("shop", "test-gw0-k3f9x2ab")


def dead(
    folder: Path, *records: Record, worker: str = "gw0", key: bytes = KEY, **changed: Any
) -> None:
    """Leave a stage behind as a killed process does."""
    (folder / ".lock").touch()
    path = folder / JOURNALS / f"{worker}.jsonl"
    journal = FileJournal.open(path, header(worker=worker, **changed), key=key, durable=False)
    for record in records:
        journal.append(record)
    journal.close()


def test_what_a_dead_run_left_may_be_reaped(folder: Path) -> None:
    dead(folder, intent(1))

    assert is_reapable(folder, KEY)
    assert why_not_reapable(folder, KEY) == ""


def test_a_dead_run_that_left_nothing_may_be_cleaned_up_too(folder: Path) -> None:
    dead(folder, intent(1), Destroyed(1))

    assert is_reapable(folder, KEY)


@pytest.mark.parametrize("lock", [".lock", ".lock-gw0", ".lock-gw1"])
def test_a_stage_somebody_lives_in_is_left_alone(folder: Path, lock: str) -> None:
    dead(folder, intent(1))
    (folder / ".lock-gw0").touch()
    owner = StageLock(folder / lock)
    owner.acquire(Holder.this_process())

    assert why_not_reapable(folder, KEY) == "its owner lives"

    owner.release()
    assert is_reapable(folder, KEY)


def test_a_lasting_stage_is_never_reaped(folder: Path) -> None:
    dead(folder, intent(1), ephemeral=False, expires=1.0, run="")
    assert why_not_reapable(folder, KEY) == "it outlives its programs"

    store = FileStore(folder, KEY)
    lease = store.acquire()
    fold_stage(store, lease)
    store.release(lease)

    assert why_not_reapable(folder, KEY) == "it outlives its programs"


def test_what_belongs_to_a_run_whose_controller_lives_is_left_to_that(folder: Path) -> None:
    dead(folder, intent(1), patron=os.getpid(), started=clock.now(), host=platform.node())

    assert why_not_reapable(folder, KEY) == "its run goes on"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_later_process_with_the_controllers_number_is_nobody(folder: Path) -> None:
    long_ago = clock.now() - 1e6
    dead(folder, intent(1), patron=os.getpid(), started=long_ago, host=platform.node())

    assert is_reapable(folder, KEY)


def test_a_process_here_is_no_controller_of_another_machine_or_container(folder: Path) -> None:
    dead(folder, intent(1), patron=os.getpid(), started=clock.now(), host="another-container")

    assert is_reapable(folder, KEY)


def test_one_lasting_journal_is_enough(folder: Path) -> None:
    dead(folder, intent(1))
    dead(folder, worker="gw1", ephemeral=False)

    assert not is_reapable(folder, KEY)


def test_what_is_kept_is_left_alone(folder: Path) -> None:
    dead(folder, intent(1), Kept(PLACE, clock.now() + 60))

    assert why_not_reapable(folder, KEY).startswith("it is kept until 20")


def test_what_is_kept_is_reaped_when_its_time_is_over(folder: Path) -> None:
    dead(folder, intent(1), Kept(PLACE, clock.now() - 60))

    assert is_reapable(folder, KEY)


def test_what_is_kept_does_not_protect_what_is_not(folder: Path) -> None:
    dead(folder, intent(1), intent(2, path=("other",)), Kept(PLACE, clock.now() + 60))

    assert is_reapable(folder, KEY)


def test_a_state_file_of_what_is_kept_changes_nothing(folder: Path) -> None:
    dead(folder, intent(1), Kept(PLACE, clock.now() + 60))
    store = FileStore(folder, KEY)

    publish(store, load_stage(store))

    assert why_not_reapable(folder, KEY).startswith("it is kept until 20")


def test_what_another_user_or_machine_made_is_left_alone(folder: Path) -> None:
    dead(folder, intent(1), key=OTHER_KEY)

    assert "was not written by this user on this machine" in why_not_reapable(folder, KEY)


def a_state_file_of_somebody_else(folder: Path) -> None:
    store = FileStore(folder, OTHER_KEY)
    publish(store, load_stage(FileStore(folder, KEY)))


def a_state_file_edited_by_hand(folder: Path) -> None:
    store = FileStore(folder, KEY)
    publish(store, load_stage(store))
    file = folder / "state.json"
    file.write_text(file.read_text().replace('"/src/shop"', '"/src/shop2"'))


@pytest.mark.parametrize("make", [a_state_file_of_somebody_else, a_state_file_edited_by_hand])
def test_a_state_file_that_is_not_ours_is_not_acted_on(
    folder: Path, make: Callable[[Path], None]
) -> None:
    dead(folder, intent(1))

    make(folder)

    assert why_not_reapable(folder, KEY).endswith(
        "state.json was edited, or was not written by this user on this machine"
    )


def test_a_damaged_journal_is_told_by_name_and_line(folder: Path) -> None:
    dead(folder, intent(1))
    journal = folder / JOURNALS / "gw0.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"db-1", b"db-2", 1))

    assert why_not_reapable(folder, KEY).startswith(f"Journal {journal}, line 2: ")


@pytest.mark.parametrize("content", [None, b"", b"0123456789abcdef {"])
def test_where_nothing_is_recorded_nothing_is_reaped(folder: Path, content: bytes | None) -> None:
    if content is not None:
        (folder / JOURNALS / "main.jsonl").write_bytes(content)

    assert why_not_reapable(folder, KEY) == "nothing is recorded in it"


def test_a_folder_that_is_gone_is_not_reaped(tmp_path: Path) -> None:
    assert not is_reapable(tmp_path / "a" / "b" / "c", KEY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    dead(folder, intent(1))
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")

    assert "is a link" in why_not_reapable(folder, KEY)


def test_what_nobody_tried_to_reap_is_first_and_then_what_waits_longest(tmp_path: Path) -> None:
    stages = {
        name: Root(tmp_path / ".alchemy").make_stage("shop", name)
        for name in ("failed", "tried", "tried-later", "younger", "older", "living")
    }
    owner = header().owner
    for name, started, records, holder, since in (
        ("failed", 1.0, [DestroyFailed(1, "RuntimeError")], owner, 1.1),
        ("tried", 2.0, [], owner + 1, 40.0),  # nothing is recorded where no class can be loaded
        ("tried-later", 0.0, [], owner + 1, 50.0),
        ("younger", 30.0, [], owner, 30.1),
        ("older", 20.0, [], owner, 20.1),
    ):
        dead(stages[name], intent(1), *records, started=started)
        lock = StageLock(stages[name] / ".lock")
        lock.acquire(Holder("ada", holder, "laptop", since))
        lock.release()

    order = reapable_of(stages.values(), KEY)

    names = [folder.name for folder in order]
    assert names == ["older", "younger", "failed", "tried", "tried-later"]
