"""Sweeping the stages that dead runs recorded."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_alchemy import clock
from pytest_alchemy.records import Created, Deferred, Destroyed, Intent, Kept, KindSeen
from pytest_alchemy.recovery.found import Choice, FoundStage, find_stages
from pytest_alchemy.recovery.outcome import Outcome
from pytest_alchemy.recovery.sweep import Sweep, destroy, find
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.locks import Holder, StageLock
from pytest_alchemy.state.stagestate import load_stage, publish
from tests.support.deadstages import KINDS, OTHER_KEY, Graveyard

PLACE = (":test_a.py::test_one",)
HOUR = 3600.0


def found(graveyard: Graveyard, choice: Choice | None = None) -> FoundStage:
    [stage] = find_stages(graveyard.root, user_key(), choice or Choice())
    return stage


def swept(graveyard: Graveyard, choice: Choice | None = None) -> list[Outcome]:
    return list(destroy(find(Sweep(graveyard.root, choice or Choice()))))


@pytest.fixture
def owner(graveyard: Graveyard) -> Iterator[StageLock]:
    """A living owner of a stage with one file."""
    lock = StageLock(graveyard.bury("a", owner=os.getpid()) / LOCK)
    lock.acquire(Holder.this_process())
    yield lock
    lock.release()


def test_what_a_dead_run_left_is_listed_with_all_that_is_known_of_it(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", "b", more=(Destroyed(1),))

    stage = found(graveyard)

    [thing] = stage.things
    assert (stage.folder, stage.app, stage.stage) == (folder, "shop", "test-main-k3f9x2ab")
    assert (stage.why_not, stage.foreign, stage.damaged) == ("", False, False)
    assert stage.used == pytest.approx(clock.now() - 3 * HOUR, abs=60)
    assert (thing.kind, thing.id, thing.where) == ("File", "b", "test_a.py:7")
    assert thing.scope == "shop/test-main-k3f9x2ab/test_a.py::test_one"
    assert (graveyard.world / thing.name).read_text() == "b"
    assert not graveyard.is_imported


def test_what_is_listed_is_what_is_destroyed(graveyard: Graveyard) -> None:
    graveyard.bury("a", "b", more=(Deferred(3, PLACE, "kinds", "", "drop", ["c"], {"again": 1}),))
    graveyard.bury("c", "d", run="aaaaaaaa")
    graveyard.bury("kept", run="bbbbbbbb", more=(Kept(PLACE, clock.now() + HOUR),))
    listed = find(Sweep(graveyard.root))

    outcomes = list(destroy(listed))

    doomed = {(thing.kind, thing.id) for stage in listed.doomed_stages for thing in stage.doomed}
    assert {(outcome.kind, outcome.id) for outcome in outcomes} == doomed
    assert ("deferred", "drop('c', again=1)") in doomed
    assert graveyard.left == ["kept"]


def test_listing_changes_nothing(graveyard: Graveyard) -> None:
    graveyard.bury("a")
    graveyard.bury("kept", run="bbbbbbbb", more=(Kept(PLACE, clock.now() + HOUR),))
    graveyard.bury("c", run="cccccccc", key=OTHER_KEY)
    before = graveyard.snapshot()

    find(Sweep(graveyard.root, Choice(foreign=True)))

    assert graveyard.snapshot() == before
    assert not graveyard.is_imported


def test_nothing_of_us_is_left_when_all_is_gone(graveyard: Graveyard) -> None:
    graveyard.bury("a")
    graveyard.bury(run="aaaaaaaa")

    outcomes = swept(graveyard)

    assert sorted((outcome.what, outcome.kind) for outcome in outcomes) == [
        ("destroyed", "File"),
        ("destroyed", "stage"),
    ]
    assert not graveyard.root.exists()


def test_what_belongs_to_a_living_process_is_left_alone(
    graveyard: Graveyard, owner: StageLock
) -> None:
    assert found(graveyard).why_not == "its owner lives"
    assert swept(graveyard, Choice(foreign=True)) == []
    assert graveyard.left == ["a"]


def test_an_owner_that_came_after_the_listing_is_left_alone(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", owner=os.getpid())
    listed = find(Sweep(graveyard.root))
    lock = StageLock(folder / LOCK)
    lock.acquire(Holder.this_process())

    [outcome] = destroy(listed)

    lock.release()
    assert (outcome.what, outcome.reason) == ("spared", "its owner lives")
    assert graveyard.left == ["a"]


def test_what_somebody_else_cleaned_up_meanwhile_is_gone(graveyard: Graveyard) -> None:
    graveyard.bury("a")
    listed = find(Sweep(graveyard.root))
    swept(graveyard)

    [outcome] = destroy(listed)

    assert (outcome.what, outcome.kind) == ("gone", "stage")


def test_a_stage_that_outlives_its_programs_is_left_alone(graveyard: Graveyard) -> None:
    graveyard.bury("a", ephemeral=False, run="", stage="alice", expires=0.0)

    assert found(graveyard).why_not == "it outlives its programs"
    assert swept(graveyard, Choice(foreign=True)) == []


def test_what_is_kept_is_left_until_its_time_is_over(graveyard: Graveyard) -> None:
    graveyard.bury("a", more=(Kept(PLACE, clock.now() + HOUR),))
    graveyard.bury("b", run="bbbbbbbb", more=(Kept(PLACE, clock.now() - 1.0),))

    outcomes = swept(graveyard)

    assert [(outcome.what, outcome.id) for outcome in outcomes] == [("destroyed", "b")]
    assert graveyard.left == ["a"]


def test_what_is_kept_next_to_what_is_not_stays(graveyard: Graveyard) -> None:
    kept = Deferred(3, (*PLACE, "inner"), "kinds", "", "drop", ["x"], {})
    folder = graveyard.bury("a", "b", more=(kept, Kept(kept.path, clock.now() + HOUR)))
    listed = find(Sweep(graveyard.root))

    outcomes = list(destroy(listed))

    assert [thing.id for stage in listed.doomed_stages for thing in stage.doomed] == ["a", "b"]
    assert [(outcome.what, outcome.kind) for outcome in outcomes] == [
        ("kept", "deferred"),
        ("destroyed", "File"),
        ("destroyed", "File"),
    ]
    assert graveyard.left == []
    assert found(graveyard).why_not.startswith("it is kept until ")
    assert folder.is_dir()


def test_what_something_kept_needs_is_kept_as_long(graveyard: Graveyard) -> None:
    inner = (*PLACE, "inner")
    table = Intent(3, inner, "file", "table", "table", "", {}, needs=(1,), at=clock.now() - HOUR)
    kept = Kept(inner, clock.now() + HOUR)
    graveyard.bury("database", "b", more=(table, Created(3, {}), kept))
    (graveyard.world / "table").write_text("table")

    listed = [thing.id for thing in found(graveyard).doomed]
    outcomes = {outcome.id: (outcome.what, outcome.reason) for outcome in swept(graveyard)}

    assert listed == ["b"]
    assert outcomes == {
        "database": ("kept", "something that is kept needs it"),
        "table": ("kept", "its time is not over"),
        "b": ("destroyed", ""),
    }
    assert graveyard.left == ["database", "table"]
    assert found(graveyard).why_not.startswith("it is kept until ")


@pytest.mark.parametrize(("older_than", "spared"), [(0.0, False), (HOUR, False), (4 * HOUR, True)])
def test_older_than_spares_what_was_used_since(
    graveyard: Graveyard, older_than: float, spared: bool
) -> None:
    graveyard.bury("a", used=3 * HOUR)

    outcomes = swept(graveyard, Choice(older_than=older_than))

    assert graveyard.left == (["a"] if spared else [])
    assert len(outcomes) == (0 if spared else 1)


def test_older_than_takes_nothing_that_would_be_left_without_it(graveyard: Graveyard) -> None:
    graveyard.bury("kept", more=(Kept(PLACE, clock.now() + HOUR),))
    graveyard.bury("lasting", ephemeral=False, run="", stage="alice", used=900 * HOUR)
    graveyard.bury("foreign", run="cccccccc", key=OTHER_KEY, used=900 * HOUR)

    assert swept(graveyard, Choice(older_than=1.0)) == []
    assert graveyard.left == ["foreign", "kept", "lasting"]


def test_only_the_application_that_was_asked_for_is_swept(graveyard: Graveyard) -> None:
    graveyard.bury("a")
    graveyard.bury("b", app="Back Office")

    swept(graveyard, Choice(app="Back Office"))

    assert graveyard.left == ["a"]


def test_what_could_not_be_destroyed_is_left_and_recorded(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", "broken", "z")

    outcomes = {outcome.id: outcome for outcome in swept(graveyard)}

    assert outcomes["broken"].what == "left"
    assert outcomes["broken"].reason == "RuntimeError: the disk is on fire (tried 3 times)"
    assert graveyard.left == ["broken"]
    assert folder.is_dir()


def test_what_fails_with_a_text_that_is_no_unicode_is_told_like_any_other(
    graveyard: Graveyard,
) -> None:
    graveyard.bury("cart", "broken")
    graveyard.kinds.write_text(KINDS.replace("the disk", r"caf\udce9"))

    outcomes = swept(graveyard)

    assert sorted((outcome.id, outcome.reason) for outcome in outcomes) == [
        ("broken", r"RuntimeError: caf\udce9 is on fire (tried 3 times)"),
        ("cart", ""),
    ]
    [thing] = found(graveyard).things
    assert thing.id == "broken"


def test_a_module_that_fails_with_a_text_that_is_no_unicode_keeps_nothing_else(
    graveyard: Graveyard,
) -> None:
    graveyard.bury("cart")
    graveyard.kinds.write_text(r"raise RuntimeError('caf\udce9')")

    [outcome] = swept(graveyard)

    assert outcome.what == "left"
    assert "RuntimeError: caf\udce9" in outcome.reason


def test_where_no_process_can_be_started_what_is_left_is_told(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    graveyard.bury("cart")
    monkeypatch.setattr("subprocess.Popen", refuse)

    [outcome] = swept(graveyard)

    assert (outcome.what, outcome.kind) == ("left", "stage")
    assert outcome.reason == (
        "no process that destroys what is in it could be started: resource temporarily unavailable"
    )
    assert graveyard.left == ["cart"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
def test_what_can_be_told_nowhere_is_destroyed_all_the_same(graveyard: Graveyard) -> None:
    lost = Deferred(9, (), "", "", "deferred <lambda>()", [], {})
    folder = graveyard.bury("cart", more=(lost,))

    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "pytest_alchemy.recovery", "10", str(folder)]
        subprocess.run(command, stdout=full, stderr=full, timeout=60, check=True)

    assert graveyard.left == []


def test_what_a_newer_version_chose_for_its_stage_keeps_nothing_from_being_destroyed(
    graveyard: Graveyard,
) -> None:
    graveyard.bury("cart", settings={"app": "shop", "stage": "test", "region": "eu"})

    [outcome] = swept(graveyard)

    assert outcome.what == "destroyed"
    assert graveyard.left == []


def test_a_thread_that_a_module_starts_keeps_no_process_of_ours_alive(graveyard: Graveyard) -> None:
    graveyard.bury("cart")
    thread = "\nimport threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    ended = '\nimport atexit\natexit.register((HERE / "ended").touch)\n'
    graveyard.kinds.write_text(KINDS + thread + ended)

    [outcome] = swept(graveyard)

    assert outcome.what == "destroyed"
    assert graveyard.left == []
    assert (graveyard.path / "ended").exists()


def test_a_kind_that_cannot_be_imported_is_left(graveyard: Graveyard) -> None:
    graveyard.bury("a")
    graveyard.kinds.unlink()

    [outcome] = swept(graveyard)

    assert outcome.what == "left"
    assert "File cannot be loaded from" in outcome.reason


def test_a_damaged_stage_is_left_and_does_not_stop_the_others(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a")
    graveyard.bury("b", run="bbbbbbbb")
    journal = folder / ".journal" / "main.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"test_a.py:7"', b'"test_b.py:7"'))

    outcomes = swept(graveyard, Choice(foreign=True))

    assert [(outcome.what, outcome.kind) for outcome in outcomes] == [
        ("left", "stage"),
        ("destroyed", "File"),
    ]
    assert outcomes[0].reason.startswith(f"Journal {journal}, line 3: ")
    assert graveyard.left == ["a"]


def test_a_stage_of_somebody_else_is_listed_and_never_imported(graveyard: Graveyard) -> None:
    graveyard.bury("a", key=OTHER_KEY)

    stage = found(graveyard)
    outcomes = swept(graveyard)

    assert stage.foreign
    assert stage.why_not == (
        "ada on build-7 recorded it, not this user on this machine; --foreign takes it all the same"
    )
    assert [thing.id for thing in stage.things] == ["a"]
    assert outcomes == []
    assert graveyard.left == ["a"]
    assert not graveyard.is_imported


def test_a_stage_of_somebody_else_says_what_it_would_import(graveyard: Graveyard) -> None:
    graveyard.bury(
        "a",
        key=OTHER_KEY,
        more=(
            KindSeen("other", "shop.kinds", "", "Outer.Other"),
            Deferred(2, PLACE, "kinds", str(graveyard.kinds), "drop", ["x"], {}),
        ),
    )

    assert found(graveyard, Choice(foreign=True)).imports == (
        f"works in {graveyard.path}",
        f"imports File from {graveyard.kinds}",
        f"calls drop from {graveyard.kinds}",
    )


def test_a_stage_of_somebody_else_is_destroyed_if_that_is_asked_for(graveyard: Graveyard) -> None:
    graveyard.bury("a", "b", key=OTHER_KEY, more=(Destroyed(2),))
    (journal,) = graveyard.root.glob("*/*/.journal/*.jsonl")
    with journal.open("ab") as file:
        file.write(b'0123456789abcdef {"op":"dest')  # its writer died here

    outcomes = swept(graveyard, Choice(foreign=True))

    assert [(outcome.what, outcome.id) for outcome in outcomes] == [("destroyed", "a")]
    assert graveyard.left == ["b"]
    assert not graveyard.root.exists()


def test_a_state_file_of_somebody_else_makes_the_stage_foreign(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", more=(Kept(PLACE, clock.now() - 1.0),))
    publish(FileStore(folder, OTHER_KEY), load_stage(FileStore(folder, user_key())))

    left = found(graveyard)
    outcomes = swept(graveyard, Choice(foreign=True))

    assert left.foreign
    assert [(outcome.what, outcome.id) for outcome in outcomes] == [("destroyed", "a")]
    assert not graveyard.root.exists()


def test_a_stage_that_was_half_taken_over_is_taken_again(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", key=OTHER_KEY)
    other = graveyard.bury("b", run="bbbbbbbb")
    (other / ".journal" / "main.jsonl").rename(folder / ".journal" / "gw1.jsonl")
    (folder / ".journal" / ".main.jsonl.new").write_bytes(b"0123456789abcdef {")

    outcomes = swept(graveyard, Choice(foreign=True))

    assert sorted(outcome.id for outcome in outcomes if outcome.what == "destroyed") == ["a", "b"]
    assert graveyard.left == []
    assert not folder.exists()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b'"op":"stage"', b'"op":"stag"', "line 1: the line is no stage's"),
        (
            b'"op":"stage"',
            b'"op":"destroying","seq":1,"was":"stage"',
            "line 1: the line is no stage's",
        ),
        (b'"op":"intent"', b'"op":"intend"', "line 3: the line is no record"),
        (b'"op":"kind"', b'"op":', "line 2: the line is no record"),
        (b'"journal":', b'"format":99,"journal":', "has format 99, this version knows up to 1."),
    ],
)
def test_a_damaged_stage_of_somebody_else_is_not_touched(
    graveyard: Graveyard, before: bytes, after: bytes, said: str
) -> None:
    journal = graveyard.bury("a", key=OTHER_KEY) / ".journal" / "main.jsonl"
    journal.write_bytes(journal.read_bytes().replace(before, after, 1))

    [outcome] = swept(graveyard, Choice(foreign=True))

    assert outcome.what == "left"
    assert said in outcome.reason
    assert graveyard.left == ["a"]
    assert not graveyard.is_imported


def test_a_stage_in_which_nothing_is_recorded_is_left_alone(graveyard: Graveyard) -> None:
    folder = graveyard.bury()
    (folder / ".journal" / "main.jsonl").write_bytes(b"")

    assert found(graveyard).why_not == "nothing is recorded in it"
    assert swept(graveyard, Choice(foreign=True)) == []


def test_a_root_that_is_not_there_holds_nothing(tmp_path: Path, graveyard: Graveyard) -> None:
    findings = find(Sweep(tmp_path / "none"))

    assert findings.stages == []
    assert list(destroy(findings)) == []
    assert not os.path.exists(tmp_path / "none")
