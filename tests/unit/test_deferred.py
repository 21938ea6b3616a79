"""Deferred calls: made when their scope ends, and recorded so that other processes can make them."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import records
from pytest_alchemy.deferred import Call
from pytest_alchemy.errors import JournalWriteError, ScopeClosedError
from pytest_alchemy.scope import Scope
from tests.unit.support.scopes import Hand, lines, new_scope, new_stage
from tests.unit.support.world import Broken, Thing, World
from tests.unit.support.world import world as here


def delete_bucket(name: str, *, force: bool = False) -> None:
    here().note(f"delete {name} {force}")


async def adelete_bucket(name: str) -> None:
    await asyncio.sleep(0)
    here().note(f"delete {name}")


class Service:
    """Has methods."""

    @classmethod
    def stop_all(cls, name: str) -> None: ...

    def stop(self, name: str) -> None: ...

    def __call__(self, name: str) -> None: ...


MEETING = threading.Barrier(2)


def meet(who: str) -> None:
    """Note whether another one is here within a moment, or *who* is alone."""
    try:
        MEETING.wait(0.1)
    except threading.BrokenBarrierError:
        MEETING.reset()
        here().note(f"{who} alone")
    else:
        here().note(f"{who} together with another")


async def ameet(who: str) -> None:
    await asyncio.to_thread(meet, who)


class Lonely(Thing):
    """A thing that looks around at its end."""

    def destroy(self) -> None:
        super().destroy()
        meet(self.id)


def local_function() -> Callable[[str], None]:
    def local(name: str) -> None: ...

    return local


def last(scope: Scope) -> records.Deferred:
    record = lines(scope)[-1]
    assert isinstance(record, records.Deferred)
    return record


def test_a_deferred_call_is_made_when_the_scope_ends(
    hand: Hand, scope: Scope, world: World
) -> None:
    scope.defer(delete_bucket, "uploads", force=True)
    assert world.done == []

    hand.destroy(scope)
    hand.destroy(scope)

    assert world.done == ["delete uploads True"]
    assert lines(scope)[-1] == records.Destroyed(1)


def test_an_async_function_can_be_deferred(hand: Hand, scope: Scope, world: World) -> None:
    scope.defer(adelete_bucket, "uploads")

    hand.destroy(scope)

    assert world.done == ["delete uploads"]


@pytest.mark.parametrize("strategy", ["sequential", "parallel"])
def test_a_deferred_call_runs_in_the_callers_thread(
    hand: Hand, scope: Scope, world: World, strategy: Any
) -> None:
    scope.defer(delete_bucket, "uploads")

    hand.destroy(scope, strategy)

    assert world.threads["delete uploads False"] is threading.current_thread()


def test_deferred_calls_and_resources_end_in_reverse_order(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    scope.defer(delete_bucket, "first")
    hand.create(scope, kind("a"))
    scope.defer(delete_bucket, "second")
    hand.create(scope, kind("b"))

    hand.destroy(scope)

    assert world.done[2:] == ["destroy b", "delete second False", "destroy a", "delete first False"]


@pytest.mark.parametrize("function", [meet, ameet])
def test_what_ends_in_parallel_ends_before_or_after_a_deferred_call(
    hand: Hand, scope: Scope, world: World, function: Callable[[str], Any]
) -> None:
    hand.create(scope, Lonely("a"))
    scope.defer(function, "call")
    hand.create(scope, Lonely("b"))

    hand.destroy(scope, "parallel")

    assert world.done[2:] == ["destroy b", "b alone", "call alone", "destroy a", "a alone"]


def test_a_module_level_function_is_recorded_with_its_arguments(scope: Scope) -> None:
    scope.defer(delete_bucket, "uploads", force=True)

    record = last(scope)
    assert (record.module, record.function) == (__name__, "delete_bucket")
    assert record.file == str(Path(__file__).resolve())
    assert (record.args, record.kwargs) == (["uploads"], {"force": True})
    assert record.path == (":test_users",)
    assert record.where.startswith(f"{__file__}:")


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (delete_bucket, "delete_bucket"),
        (adelete_bucket, "adelete_bucket"),
        (Service.stop_all, "Service.stop_all"),
        (os.remove, "remove"),
        (shutil.rmtree, "rmtree"),
    ],
)
def test_a_function_that_can_be_imported_is_recorded_by_name(
    scope: Scope, function: Callable[..., Any], name: str
) -> None:
    scope.defer(function, "x")

    assert last(scope).function == name
    assert last(scope).module == function.__module__


@pytest.mark.parametrize(
    ("function", "args", "title"),
    [
        (local_function(), ("x",), "deferred local_function.<locals>.local('x')"),
        (lambda name: None, ("x",), "deferred <lambda>('x')"),
        (Service().stop, ("x",), "deferred Service.stop('x')"),
        (delete_bucket, (Path("x"),), f"deferred delete_bucket({Path('x')!r})"),
        (delete_bucket, ({1: 2},), "deferred delete_bucket({1: 2})"),
        (delete_bucket, (("x",),), "deferred delete_bucket(('x',))"),
        (delete_bucket, (float("inf"),), "deferred delete_bucket(inf)"),
        (delete_bucket, (b"x",), "deferred delete_bucket(b'x')"),
        (delete_bucket, ("x" * 80,), ""),
    ],
)
def test_a_call_that_no_other_process_can_make_is_recorded_as_such(
    scope: Scope, function: Callable[..., Any], args: tuple[Any, ...], title: str
) -> None:
    scope.defer(function, *args)

    record = last(scope)
    importable = title == ""
    assert (record.module == "") is not importable
    assert importable or (record.function, record.args) == (title, [])


def test_a_call_is_told_with_the_whole_of_a_long_name(scope: Scope) -> None:
    name = scope.physical_name("an-upload-of-the-nightly-export", max=100)

    scope.defer(delete_bucket, name, force=True)

    (call,) = scope.owned.values()
    assert len(name) > 60
    assert call.title == f"deferred delete_bucket('{name}', force=True)"


def test_a_long_call_is_told_in_short(scope: Scope) -> None:
    scope.defer(delete_bucket, "x" * 220, force=True)

    (call,) = scope.owned.values()
    assert call.title == f"deferred delete_bucket('{'x' * 196}...)"
    assert call.name == call.title
    assert call.facts()["kind"] == "deferred"
    assert call.facts()["id"] == call.title.removeprefix("deferred ")


def test_a_callable_object_can_be_deferred(hand: Hand, scope: Scope, world: World) -> None:
    class Recorder:
        def __call__(self, name: str) -> None:
            here().note(f"called with {name}")

        def __repr__(self) -> str:
            return "Recorder()"

    scope.defer(Recorder(), "x")
    assert last(scope).function == "deferred Recorder()('x')"

    hand.destroy(scope)

    assert world.done == ["called with x"]


def test_a_deferred_call_that_fails_is_reported_and_tried_again(
    hand: Hand, scope: Scope, world: World
) -> None:
    scope.defer(delete_bucket, "uploads")
    world.broken["delete uploads False"] = Broken("not empty")

    with pytest.raises(ExceptionGroup) as caught:
        hand.destroy(scope)

    assert [str(error) for error in caught.value.exceptions] == [
        "deferred delete_bucket('uploads') could not be destroyed: Broken: not empty"
    ]
    world.broken.clear()
    hand.destroy(scope)
    assert world.times("delete uploads False") == 2
    assert not scope.owned


def test_a_closed_scope_defers_nothing(hand: Hand, scope: Scope) -> None:
    hand.destroy(scope)

    with pytest.raises(ScopeClosedError) as caught:
        scope.defer(delete_bucket, "uploads")

    assert str(caught.value) == (
        f"Scope {scope.title} is closed: the deferred call of 'delete_bucket' was not made.\n"
        "Make it before the scope ends, or in a wider scope (alchemy_module, alchemy_stage)."
    )
    assert lines(scope) == []


def test_what_cannot_be_recorded_is_not_deferred(hand: Hand, world: World) -> None:
    class FullDisk:
        def append(self, record: records.Record) -> None:
            raise JournalWriteError("journal", "no space left")

    scope = new_scope(new_stage(open_journal=lambda _: FullDisk()))

    with pytest.raises(JournalWriteError):
        scope.defer(delete_bucket, "uploads")

    hand.destroy(scope)
    assert world.done == []


def test_a_recalled_call_is_made_with_the_recorded_arguments(
    hand: Hand, scope: Scope, world: World
) -> None:
    scope.defer(delete_bucket, "uploads", force=True)
    other = new_scope(scope.root)
    call = Call.recalled(other, delete_bucket, last(scope))
    other.owned[call.key] = call

    hand.destroy(other)

    assert world.done == ["delete uploads True"]
    assert "delete_bucket" in repr(call)
