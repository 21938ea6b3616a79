"""Declaring a resource in a scope: once, again, and from several tasks and threads at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pytest_alchemy import Resource, records
from pytest_alchemy.driver import BlockingDriver
from pytest_alchemy.errors import (
    ChangedWithinRunError,
    DeclaredInItselfError,
    JournalWriteError,
    NotAResourceError,
    OwnedElsewhereError,
)
from pytest_alchemy.scope import Scope
from tests.unit.support.scopes import Hand, entry_of, lines, new_scope, new_stage
from tests.unit.support.world import (
    AsyncThing,
    Broken,
    ChangingThing,
    Meeting,
    ReadableThing,
    Slow,
    Thing,
    World,
)
from tests.unit.support.world import world as here

PATIENCE = 10.0


@pytest.mark.parametrize("given", [Thing, "a", None])
def test_only_a_resource_object_can_be_created(hand: Hand, scope: Scope, given: Any) -> None:
    with pytest.raises(NotAResourceError) as caught:
        hand.create(scope, given)

    assert str(caught.value) == (
        f"Scope {scope.title} can only create resource objects, not {given!r}: nothing was made.\n"
        'Pass an object of a Resource class: scope.create(Bucket("uploads"))'
    )


def test_equal_properties_give_the_first_instance(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    first = hand.create(scope, kind("a", size=2))
    second = kind("a", size=2)

    assert hand.create(scope, second) is first
    assert hand.create(scope, first) is first
    assert hand.create(scope, second) is first

    assert world.done == ["create a"]
    assert (second.name, second.url) == (first.name, first.url)


def test_two_kinds_may_have_one_id(hand: Hand, scope: Scope, world: World) -> None:
    hand.create(scope, Thing("a"))
    hand.create(scope, AsyncThing("a"))

    assert len(world.alive) == 2


def test_changed_properties_are_an_error_that_names_both_lines(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    first = hand.create(scope, kind("a", size=2))
    second = kind("a", size=3)

    with pytest.raises(ChangedWithinRunError) as caught:
        hand.create(scope, second)

    assert str(caught.value) == (
        f"{kind.__name__} 'a' is declared twice in one scope with different size:\n"
        f"first at {first._alchemy.where}, then at {second._alchemy.where}.\n"
        "Give the second one an id of its own, or define update() in its class."
    )
    assert first._alchemy.where != second._alchemy.where
    assert world.done == ["create a"]


def test_properties_that_change_from_one_turn_of_a_loop_to_the_next_are_told_as_such(
    hand: Hand, scope: Scope
) -> None:
    one, other = (Thing("a", size=size) for size in (2, 3))
    hand.create(scope, one)

    with pytest.raises(ChangedWithinRunError) as caught:
        hand.create(scope, other)

    assert str(caught.value) == (
        f"Thing 'a' is declared twice in one scope with different size, both times at {one._alchemy.where}:\n"
        "in a loop, say, or in a fixture with parameters.\n"
        'Let its id tell them apart, as in f"orders-{request.param}", or define update() in its class.'
    )


def test_changed_properties_update_what_can_be_updated(
    hand: Hand, scope: Scope, world: World
) -> None:
    first = hand.create(scope, ChangingThing("a", size=2))
    second = ChangingThing("a", size=3)

    made = hand.create(scope, second)

    assert made is second
    assert scope.resources == [second]
    assert (second.name, second.url) == (first.name, first.url)
    assert world.done == ["create a", "update a", "size 2 -> 3"]
    updating, created = lines(scope)[-2:]
    assert isinstance(updating, records.Updating)
    assert isinstance(created, records.Created)
    assert updating.props == created.props == {"size": 3, "uses": []}


def test_an_object_whose_own_property_was_changed_is_updated(
    hand: Hand, scope: Scope, world: World
) -> None:
    thing = hand.create(scope, ChangingThing("a", size=2))
    thing.size = 5

    hand.create(scope, thing)

    assert world.done[-1] == "size 2 -> 5"


def test_an_update_that_fails_leaves_what_was_there(hand: Hand, scope: Scope, world: World) -> None:
    old, new = hand.create(scope, Thing("old")), hand.create(scope, Thing("new"))
    first = hand.create(scope, ChangingThing("a", uses=[old]))
    world.broken["update a"] = ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        hand.create(scope, ChangingThing("a", uses=[new]))

    assert first in scope.resources
    assert set(entry_of(first).needs) == {entry_of(old), entry_of(new)}
    hand.destroy(scope)
    assert world.done[-3:] == ["destroy a", "destroy new", "destroy old"]


def test_after_an_update_that_failed_the_old_properties_are_applied_again(
    hand: Hand, scope: Scope, world: World
) -> None:
    hand.create(scope, ChangingThing("a", size=2))
    world.broken["update a"] = ValueError("the answer was lost")
    with pytest.raises(ValueError, match="lost"):
        hand.create(scope, ChangingThing("a", size=3))
    del world.broken["update a"]

    for _ in range(2):
        hand.create(scope, ChangingThing("a", size=2))

    assert world.done == ["create a", "update a", "update a", "size 2 -> 2"]


@pytest.mark.parametrize("gone", [True, False])
def test_what_a_destroy_that_failed_has_destroyed_all_the_same_is_made_again(
    hand: Hand, scope: Scope, world: World, gone: bool
) -> None:
    thing = hand.create(scope, ReadableThing("a"))
    world.broken["destroy a"] = Broken("the answer was lost")
    with pytest.raises(ExceptionGroup):
        hand.remove(scope, thing)
    del world.broken["destroy a"]
    if gone:
        world.alive.clear()

    for _ in range(2):
        hand.create(scope, ReadableThing("a"))

    assert world.ids == ["a"]
    assert world.times("create a") == 1 + gone


def test_an_update_changes_what_is_needed(hand: Hand, scope: Scope, world: World) -> None:
    old, new = hand.create(scope, Thing("old")), hand.create(scope, Thing("new"))
    hand.create(scope, ChangingThing("a", uses=[old]))

    hand.create(scope, ChangingThing("a", uses=[new]))
    hand.remove(scope, old)

    assert world.ids == ["a", "new"]


def test_a_resource_belongs_to_one_scope(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    thing = hand.create(scope, kind("a"))
    other = new_scope(scope.root)

    with pytest.raises(OwnedElsewhereError) as caught:
        hand.create(other, thing)

    assert str(caught.value) == (
        f"{kind.__name__} 'a' belongs to scope {scope.title} and cannot be created in {other.title} as well.\n"
        "Make a new object for the second scope."
    )
    assert world.done == ["create a"]


def test_an_object_that_was_removed_can_be_created_again(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    thing = hand.create(scope, kind("a"))
    hand.remove(scope, thing)

    hand.create(scope, thing)

    assert world.done == ["create a", "destroy a", "create a"]
    assert scope.resources == [thing]


@pytest.mark.parametrize("same_object", [True, False])
def test_two_tasks_that_create_one_id_at_once_make_one(
    scope: Scope, world: World, slow: type[Slow], same_object: bool
) -> None:
    first = slow("a")
    second = first if same_object else slow("a")

    async def test() -> list[Slow]:
        tasks = [asyncio.create_task(scope.acreate(each)) for each in (first, second)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        slow.go_on.set()
        return await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    assert asyncio.run(test()) == [first, first]
    assert world.done == ["create a"]


def test_of_tasks_that_try_a_failed_create_again_one_makes_it(
    scope: Scope, world: World, slow: type[Slow]
) -> None:
    world.broken["create a"] = ValueError("quota")

    async def test() -> None:
        first = asyncio.create_task(scope.acreate(slow("a")))
        await slow.begun.wait()
        others = [asyncio.create_task(scope.acreate(slow("a"))) for _ in range(3)]
        await asyncio.sleep(0)
        slow.go_on.set()
        with pytest.raises(ValueError, match="quota"):
            await first
        world.broken.clear()
        made = await asyncio.wait_for(asyncio.gather(*others), PATIENCE)
        assert len(set(map(id, made))) == 1

    asyncio.run(test())

    assert world.done == ["create a", "destroy a", "create a"]


def test_a_waiter_that_is_cancelled_does_not_disturb_the_create(
    scope: Scope, world: World, slow: type[Slow]
) -> None:
    async def test() -> None:
        first = asyncio.create_task(scope.acreate(slow("a")))
        await slow.begun.wait()
        waiter = asyncio.create_task(scope.acreate(slow("a")))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        slow.go_on.set()
        await asyncio.wait_for(first, PATIENCE)

    asyncio.run(test())

    assert [thing.id for thing in scope.resources] == ["a"]
    assert isinstance(lines(scope)[-1], records.Created)


def test_threads_that_create_one_id_at_once_make_one(scope: Scope, world: World) -> None:
    Meeting.begun, Meeting.go_on = threading.Event(), threading.Event()
    made: list[Meeting] = []
    threads = [
        threading.Thread(target=lambda: made.append(scope.create(Meeting("a")))) for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    assert Meeting.begun.wait(PATIENCE)
    Meeting.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert world.done == ["create a"]
    assert len(made) == 4
    assert len(set(map(id, made))) == 1


def around(resource: Resource) -> Scope:
    outer = resource.scope.parent
    assert outer is not None
    return outer


class Selfish(Resource):
    """Wants to exist already when it is created."""

    def create(self) -> None:
        here().act("create", self)
        around(self).create(type(self)(self.id))

    def destroy(self) -> None:
        here().act("destroy", self)


class SelfishInATask(Selfish):
    async def create(self) -> None:  # type: ignore[override]  # plain or async, as all hooks
        here().act("create", self)
        await asyncio.gather(around(self).acreate(type(self)(self.id)))


class Egg(Resource):
    """Needs what needs it."""

    def create(self) -> None:
        here().act("create", self)
        around(self).create(Hen("bird"))

    def destroy(self) -> None:
        here().act("destroy", self)


class Hen(Egg):
    def create(self) -> None:
        here().act("create", self)
        around(self).create(Egg("bird"))


class Chick(Egg):
    """Needs what is made on the background loop, and needs it again."""

    def create(self) -> None:
        here().act("create", self)
        around(self).create(Nest("bird"))


class Nest(Egg):
    async def create(self) -> None:  # type: ignore[override]  # plain or async, as all hooks
        here().act("create", self)
        await around(self).acreate(Chick("bird"))


class Cuckoo(Egg):
    """Is needed again only by what something in between needs."""

    def create(self) -> None:
        here().act("create", self)
        around(self).create(Host("bird"))


class Host(Egg):
    def create(self) -> None:
        here().act("create", self)
        around(self).create(Brood("bird"))


class Brood(Egg):
    async def create(self) -> None:  # type: ignore[override]  # plain or async, as all hooks
        here().act("create", self)
        await around(self).acreate(Cuckoo("bird"))


class Swarm(Egg):
    """Needs what is made on the background loop, and needs it again in a task of its own."""

    def create(self) -> None:
        here().act("create", self)
        around(self).create(Hive("bird"))


class Hive(Egg):
    async def create(self) -> None:  # type: ignore[override]  # plain or async, as all hooks
        here().act("create", self)
        await asyncio.gather(around(self).acreate(Swarm("bird")))


@pytest.mark.parametrize("selfish", [Selfish, SelfishInATask, Egg, Chick, Cuckoo, Swarm])
def test_what_would_wait_for_its_own_create_is_told_so(
    hand: Hand, scope: Scope, world: World, selfish: type[Resource]
) -> None:
    with pytest.raises(DeclaredInItselfError) as caught:
        hand.create(scope, selfish("bird"))

    first, second = caught.value.first, caught.value.second
    assert str(caught.value) == (
        f"{selfish.__name__} 'bird', declared at {first}, declares itself in a hook of its own at {second}:\n"
        "it would wait for itself for ever.\n"
        "Give what it makes another id, or make it inside itself: self.scope.create(...)"
    )
    assert first != second
    assert {place.rpartition(":")[0] for place in (first, second)} == {__file__}
    hand.destroy(scope)
    assert world.ids == []


def test_who_waited_for_a_create_that_could_not_be_recorded_makes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    wait = BlockingDriver.wait

    async def noted_wait(self: BlockingDriver, future: Any, timeout: float | None = None) -> None:
        waits.set()
        await wait(self, future, timeout)

    class BadFirstLine:
        lines = 0

        def append(self, record: records.Record) -> None:
            self.lines += 1
            if self.lines == 1:
                second.start()
                assert waits.wait(PATIENCE)
                raise JournalWriteError("journal", "no space left")

    monkeypatch.setattr(BlockingDriver, "wait", noted_wait)
    scope = new_scope(new_stage(open_journal=lambda _: BadFirstLine()))
    second = threading.Thread(target=lambda: scope.create(Thing("a")))

    with pytest.raises(JournalWriteError):
        scope.create(Thing("a"))
    second.join(PATIENCE)

    assert world.done == ["create a"]
    assert [thing.id for thing in scope.resources] == ["a"]
