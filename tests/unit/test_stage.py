"""One stage: its kinds, its journal, its header."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import Resource, records
from pytest_alchemy.errors import DuplicateKindError, UnimportableKindWarning
from pytest_alchemy.records import StageOpened
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program
from pytest_alchemy.state.memory import MemoryJournal
from tests.unit.support.scopes import Hand, lines, new_scope, new_stage
from tests.unit.support.world import Thing, World


class Bucket(Thing, kind="bucket"):
    """A kind."""


class OtherBucket(Thing, kind="bucket"):
    """Another class that calls itself the same."""


def test_two_classes_of_one_kind_are_an_error_and_nothing_is_made(
    hand: Hand, scope: Scope, world: World
) -> None:
    hand.create(scope, Bucket("a"))

    with pytest.raises(DuplicateKindError) as caught:
        hand.create(scope, OtherBucket("b"))

    assert str(caught.value) == (
        "Two resource classes are of kind 'bucket': tests.unit.test_stage.Bucket and "
        "tests.unit.test_stage.OtherBucket.\n"
        'Give one of them a kind of its own: class ...(Resource, kind="bucket2")'
    )
    assert world.done == ["create a"]


def test_two_classes_of_one_kind_and_name_are_told_apart_by_their_files(
    hand: Hand, scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from tests.unit.support.world import Thing\n\nclass Flag(Thing): ...\n"
    files = [tmp_path / folder / "signals.py" for folder in ("north", "south")]
    flags = []
    for file in files:
        file.parent.mkdir()
        file.write_text(text)
        spec = importlib.util.spec_from_file_location("signals", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "signals", module)
        spec.loader.exec_module(module)
        flags.append(module.Flag)
    hand.create(scope, flags[0]("a"))

    with pytest.raises(DuplicateKindError) as caught:
        hand.create(scope, flags[1]("b"))

    assert (caught.value.first, caught.value.second) == (
        f"signals.Flag in {files[0]}",
        f"signals.Flag in {files[1]}",
    )


def test_two_classes_of_one_kind_meet_across_the_stages_of_a_program(
    hand: Hand, world: World
) -> None:
    program = Program()
    hand.create(new_scope(new_stage(program=program)), Bucket("a"))

    with pytest.raises(DuplicateKindError):
        hand.create(new_scope(new_stage(program=program)), OtherBucket("b"))


def test_two_applications_may_have_one_kind_each(hand: Hand, world: World) -> None:
    program = Program()
    hand.create(new_scope(new_stage(program=program)), Bucket("a"))
    other = new_stage(program=program, settings=Settings("other", "test"))

    hand.create(new_scope(other), OtherBucket("b"))

    assert world.ids == ["a", "b"]


def local_class() -> Any:
    class Local(Thing):
        """Defined inside a function."""

    return Local


def test_a_class_inside_a_function_is_warned_about_once(scope: Scope, world: World) -> None:
    with pytest.warns(UnimportableKindWarning) as caught:
        scope.create(local_class()("a"))
    line = sys._getframe().f_lineno - 1
    scope.create(local_class()("b"))

    assert str(caught[0].message) == (
        "Resource class local_class.<locals>.Local is defined inside a function: no other process can import it,\n"
        "so what it makes cannot be cleaned up after a crash. Define it at module level."
    )
    assert len(caught) == 1
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)
    assert world.ids == ["a", "b"]
    seen = lines(scope)[0]
    assert isinstance(seen, records.KindSeen)
    assert not seen.importable


@pytest.mark.filterwarnings("ignore::pytest_alchemy.errors.UnimportableKindWarning")
def test_a_class_inside_a_function_stays_no_longer_than_until_the_next_of_its_name() -> None:
    stage = new_stage()
    classes = []
    for _ in range(3):
        scope, local = new_scope(stage), local_class()
        scope.create(local("a"))
        scope.destroy()
        classes.append(weakref.ref(local))
    del scope, local
    gc.collect()

    assert [known() is None for known in classes] == [True, True, False]


def test_the_warning_about_a_class_inside_a_function_may_be_an_error_before_anything_is_made(
    scope: Scope, world: World
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(UnimportableKindWarning):
                scope.create(local_class()("a"))

    assert world.done == []


def test_where_to_find_a_class_is_recorded_before_its_first_intent(scope: Scope) -> None:
    scope.create(Bucket("a"))

    assert lines(scope)[0] == records.KindSeen(
        kind="bucket", module=__name__, file=str(Path(__file__).resolve()), qualname="Bucket"
    )


def test_the_journal_is_opened_by_the_first_record_with_the_facts_that_recovery_needs(
    world: World,
) -> None:
    headers: list[StageOpened] = []

    def open_journal(header: StageOpened) -> MemoryJournal:
        headers.append(header)
        return MemoryJournal(header)

    settings = Settings("shop", "test", profile="ci", live=True)
    stage = new_stage(settings=settings, open_journal=open_journal, program=Program(folder="/src"))
    scope = new_scope(stage)
    assert headers == []

    for id in ("a", "b"):
        scope.create(Thing(id))

    (header,) = headers
    assert stage.run is not None
    assert (header.app, header.stage, header.run) == ("shop", "test-main-run", stage.run.id)
    assert (header.ephemeral, header.expires) == (True, stage.run.expires)
    assert (header.owner, header.worker, header.folder) == (os.getpid(), "main", "/src")
    assert Settings(**header.settings) == settings
    assert header.import_path == tuple(sys.path)
    assert header.host
    assert header.user


def test_a_lasting_stage_never_expires(world: World) -> None:
    stage = new_stage(lasting=True)

    new_scope(stage).create(Thing("a"))

    assert isinstance(stage.journal, MemoryJournal)
    header = stage.journal.header
    assert header is not None
    assert (header.ephemeral, header.expires, header.run) == (False, 0.0, "")


def test_of_many_threads_one_opens_the_journal() -> None:
    opened: list[StageOpened] = []

    def open_journal(header: StageOpened) -> MemoryJournal:
        opened.append(header)
        if len(opened) == 1:
            other.start()
            other.join(0.05)  # it waits for us, so this only gives it the time to come
        return MemoryJournal(header)

    stage = new_stage(open_journal=open_journal)
    other = threading.Thread(target=lambda: stage.record(records.Destroyed(2)))

    stage.record(records.Destroyed(1))
    other.join(10)

    assert len(opened) == 1
    assert isinstance(stage.journal, MemoryJournal)
    assert len(stage.journal.records) == 2


def test_a_user_without_a_name_is_recorded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    stage = new_stage()

    stage.record(records.Destroyed(1))

    assert isinstance(stage.journal, MemoryJournal)
    assert stage.journal.header is not None
    assert stage.journal.header.user == (str(os.getuid()) if hasattr(os, "getuid") else "?")


def test_a_resource_is_known_to_be_gone_with_its_process() -> None:
    stage = new_stage()

    assert not stage.outlives_process(f"memory:{os.getpid()}")
    assert stage.outlives_process("")
    assert stage.outlives_process("memory:1")


def test_every_hook_is_known_by_its_kind() -> None:
    assert issubclass(Bucket, Resource)
    assert sorted(Bucket.__alchemy_kind__.hooks) == ["create", "destroy"]
