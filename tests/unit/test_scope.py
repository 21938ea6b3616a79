"""The tree of scopes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from pytest_alchemy import Resource
from pytest_alchemy.entry import Entry
from pytest_alchemy.errors import (
    BlockedError,
    BlockingCallError,
    InvalidNameError,
    NoScopeError,
    NotOwnedError,
    ScopeClosedError,
)
from pytest_alchemy.kinds import kind_of
from pytest_alchemy.physicalnames import identity, parse
from pytest_alchemy.scope import Scope, current
from tests.unit.support.scopes import Hand, new_stage
from tests.unit.support.world import AsyncGroup, AsyncThing, Broken, Group, Thing, World
from tests.unit.support.world import world as here

PATIENCE = 10.0


# The tree


def test_a_scope_knows_its_place() -> None:
    stage = Scope(new_stage())
    test = Scope(stage.root, parent=stage, name="a.py::t", place=(":a.py::t",))
    inner = test.run("backend").run("cache")

    assert (stage.path, stage.name, stage.title) == ((), "", "shop/test-main-run")
    assert (inner.app, inner.stage, inner.name) == ("shop", "test-main-run", "cache")
    assert inner.path == ("a.py::t", "backend", "cache")
    assert inner.title == "shop/test-main-run/a.py::t/backend/cache"
    assert inner.parent is test.children["backend"]
    assert inner.settings is stage.settings
    assert repr(inner) == f"<Scope {inner.title}, open, 0 to destroy>"


def test_a_nested_scope_is_the_same_when_it_is_asked_for_again(scope: Scope) -> None:
    assert scope.run("backend") is scope.run("backend")
    assert list(scope.children) == ["backend"]


@pytest.mark.parametrize("name", ["..", "/", ".x", "", None, "a b", 3])
def test_what_is_no_name_is_refused_and_no_scope_made(scope: Scope, name: Any) -> None:
    with pytest.raises(InvalidNameError) as caught:
        scope.run(name)

    assert str(caught.value).startswith(f"{name!r} is not a name for a scope: ")
    assert str(caught.value).endswith(
        "Use 1 to 100 letters, digits, '-', '_' or '.', starting with a letter or a digit."
    )
    assert scope.children == {}


def test_what_a_nested_scope_owns_goes_with_the_scope_around_it(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    hand.create(scope.run("backend").run("cache"), kind("a"))
    hand.create(scope, kind("b"))

    hand.destroy(scope)

    assert world.done[2:] == ["destroy b", "destroy a"]


def test_a_nested_scope_is_destroyed_without_its_siblings(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    for name in ("one", "two"):
        hand.create(scope.run(name), kind("a"))
    assert len(world.alive) == 2

    hand.destroy(scope.run("one"))

    assert list(world.alive) == [scope.run("two").resources[0].name]
    with pytest.raises(ScopeClosedError):
        hand.create(scope.run("one"), kind("b"))
    hand.create(scope.run("two"), kind("b"))


def test_a_scope_inside_a_closed_one_is_closed_too(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    inner = scope.run("inner")
    hand.destroy(scope)

    with pytest.raises(ScopeClosedError) as caught:
        hand.create(inner, kind("a"))
    with pytest.raises(ScopeClosedError) as caught_name:
        scope.run("new")

    assert str(caught.value).startswith(
        f"Scope {scope.title} is closed: {kind.__name__} 'a' was not"
    )
    assert str(caught_name.value).startswith(
        f"Scope {scope.title} is closed: the scope 'new' was not made."
    )
    assert world.done == []


def test_a_scope_can_be_closed_twice(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    hand.create(scope, kind("a"))

    hand.destroy(scope)
    hand.destroy(scope)

    assert world.done == ["create a", "destroy a"]
    assert repr(scope).endswith("closed, 0 to destroy>")


def test_a_scope_owns_one_resource_of_a_kind_and_id(scope: Scope) -> None:
    first, second = Thing("a"), Thing("a")
    entries = [Entry(scope, kind_of(Thing), thing, 1) for thing in (first, second)]

    taken = [scope.take_in(entry, "it") for entry in entries]

    assert taken == [True, False]
    assert scope.entries() == entries[:1]
    for thing in (first, second):
        thing._alchemy.fresh = False


def test_nothing_slips_into_a_scope_that_has_begun_to_close(scope: Scope) -> None:
    thing = Thing("a")
    thing._alchemy.fresh = False
    entry = Entry(scope, kind_of(Thing), thing, 1)
    scope.start_closing()

    with pytest.raises(ScopeClosedError):
        scope.take_in(entry, "it")

    assert not scope.owned


# Names


def test_a_physical_name_is_ours_and_the_same_for_the_same_id(scope: Scope) -> None:
    name = scope.physical_name("uploads")
    run = scope.root.run
    assert run is not None

    assert scope.physical_name("uploads") == name
    assert parse(name) == identity(
        app="shop", stage="test-main-run", path=scope.place, kind="name", id="uploads", run=run
    )


def test_physical_names_differ_by_id_and_scope_and_fit(scope: Scope) -> None:
    names = {
        scope.physical_name("a"),
        scope.physical_name("b"),
        scope.run("inner").physical_name("a"),
    }

    assert len(names) == 3
    assert len(scope.physical_name("a" * 100, max=30)) <= 30


# Remove


def test_a_removed_resource_is_gone_before_the_scope_ends(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    first, second = (hand.create(scope, kind(id)) for id in ("a", "b"))

    hand.remove(scope, first)

    assert world.ids == ["b"]
    assert scope.resources == [second]
    hand.destroy(scope)
    assert world.times("destroy a") == 1


@pytest.mark.parametrize("group", [Group, AsyncGroup])
def test_children_are_removed_with_their_parent(
    hand: Hand, scope: Scope, world: World, group: type[Group]
) -> None:
    made = hand.create(scope, group("g"))

    hand.remove(scope, made)

    assert world.ids == []


def test_what_is_still_needed_is_not_removed(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    db = hand.create(scope, kind("db"))
    user = hand.create(scope.run("inner"), kind("user", uses=[db]))

    with pytest.raises(BlockedError) as caught:
        hand.remove(scope, db)

    name = kind.__name__
    assert str(caught.value) == f"{name} 'db' could not be destroyed: still needed by {name} 'user'"
    assert world.ids == ["db", "user"]
    hand.remove(scope.run("inner"), user)
    hand.remove(scope, db)
    assert world.ids == []


def test_a_parent_whose_child_is_still_needed_is_not_removed(
    hand: Hand, scope: Scope, world: World
) -> None:
    group = hand.create(scope, Group("g"))
    hand.create(scope, Thing("user", uses=[group.first]))
    world.done.clear()

    with pytest.raises(BlockedError, match=r"^Thing 'first' could not .* needed by Thing 'user'$"):
        hand.remove(scope, group)

    assert world.done == []


class Selfish(Resource):
    """Its child depends on it."""

    def create(self) -> None:
        here().act("create", self)
        self.scope.create(Thing("child", uses=[self]))

    def destroy(self) -> None:
        here().act("destroy", self)


def test_a_child_that_needs_its_parent_does_not_keep_it(
    hand: Hand, scope: Scope, world: World
) -> None:
    made = hand.create(scope, Selfish("s"))

    hand.remove(scope, made)

    assert world.ids == []


@pytest.mark.parametrize("why", ["elsewhere", "twice", "never"])
def test_only_what_a_scope_owns_can_be_removed_from_it(
    hand: Hand, kind: type[Thing], scope: Scope, world: World, why: str
) -> None:
    thing = kind("a")
    thing._alchemy.fresh = False
    if why != "never":
        hand.create(scope.run("inner") if why == "elsewhere" else scope, thing)
    if why == "twice":
        hand.remove(scope, thing)
    world.done.clear()

    with pytest.raises(NotOwnedError) as caught:
        hand.remove(scope, thing)

    assert str(caught.value) == (
        f"Scope {scope.title} does not own {kind.__name__} 'a': nothing was destroyed.\n"
        "Remove a resource from the scope that created it, and only once."
    )
    assert world.done == []


def test_what_is_no_resource_is_owned_by_no_scope(hand: Hand, scope: Scope) -> None:
    with pytest.raises(NotOwnedError, match=r"does not own 'a': nothing was destroyed\.\n"):
        hand.remove(scope, "a")  # type: ignore[arg-type]  # its id is not enough


def test_a_remove_that_fails_can_be_tried_again(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    thing = hand.create(scope, kind("a"))
    world.broken["destroy a"] = Broken("busy")

    with pytest.raises(
        ExceptionGroup, match=r"^1 of 1 resources of \w+ 'a' could not be destroyed"
    ):
        hand.remove(scope, thing)

    world.broken.clear()
    hand.remove(scope, thing)
    assert world.ids == []


def test_children_that_a_remove_left_go_when_it_is_tried_again(
    hand: Hand, scope: Scope, world: World
) -> None:
    group = hand.create(scope, Group("g"))
    world.broken["destroy first"] = Broken("busy")
    with pytest.raises(ExceptionGroup):
        hand.remove(scope, group)
    assert world.ids == ["first"]
    world.broken.clear()

    hand.remove(scope, group)

    assert world.ids == []
    assert world.times("destroy g") == 1


# The current scope


def test_awaiting_a_resource_makes_it_in_the_current_scope(
    kind: type[Thing], scope: Scope, world: World
) -> None:
    async def test() -> Thing:
        with scope:
            return await kind("a")

    assert asyncio.run(test()) is scope.resources[0]
    assert world.ids == ["a"]


def test_tasks_inherit_the_current_scope_and_gather_takes_resources(
    scope: Scope, world: World
) -> None:
    async def make(id: str) -> Thing:
        return await Thing(id)

    async def test() -> None:
        async with scope:
            await asyncio.gather(asyncio.create_task(make("a")), make("b"), Thing("c"))

    asyncio.run(test())

    assert sorted(thing.id for thing in scope.resources) == ["a", "b", "c"]
    assert world.ids == ["a", "b", "c"]


def test_without_a_scope_awaiting_makes_nothing_and_says_what_to_do(
    kind: type[Thing], world: World
) -> None:
    async def test() -> None:
        await kind("a")

    with pytest.raises(NoScopeError) as caught:
        asyncio.run(test())

    assert str(caught.value) == (
        f"{kind.__name__} 'a' needs a scope, and none is open here.\n"
        "In a test, ask for the fixture alchemy_scope or mark the test with @pytest.mark.alchemy; "
        'in a program, open an application: with alchemy("my-app"); in a thread of your own, start it with '
        "scope.bind(function)."
    )
    assert world.done == []


def test_the_innermost_scope_is_current_and_leaving_restores_the_one_around_it(
    scope: Scope,
) -> None:
    inner = scope.run("inner")

    with scope:
        assert current() is scope
        with inner, scope:
            assert current() is scope
        assert current() is scope
        with pytest.raises(KeyError), inner:
            raise KeyError
        assert current() is scope

    assert current() is None


def test_scopes_may_be_left_in_any_order(scope: Scope) -> None:
    first, second = scope.run("first"), scope.run("second")
    first.__enter__()
    second.__enter__()

    first.__exit__(None, None, None)
    between = current()
    second.__exit__(None, None, None)

    assert between is second
    assert current() is None


def test_a_scope_may_be_left_in_another_task_than_the_one_that_entered_it(scope: Scope) -> None:
    async def resource() -> AsyncIterator[Scope]:
        async with scope.run("backend") as backend:
            yield backend

    async def test() -> Scope | None:
        entered = resource()
        await asyncio.create_task(anext(entered))  # type: ignore[arg-type]  # it is a coroutine
        with scope.run("around"):
            with pytest.raises(StopAsyncIteration):
                await anext(entered)
            return current()

    found = asyncio.run(test())

    assert found is scope.run("around")


def test_leaving_a_scope_destroys_nothing_in_a_test(scope: Scope, world: World) -> None:
    with scope.run("inner") as inner:
        inner.create(Thing("a"))

    assert world.ids == ["a"]


class Looks(Resource):
    """Remembers which scope was current in its hooks."""

    seen: ClassVar[list[Scope | None]] = []

    def create(self) -> None:
        self.seen.append(current())

    async def destroy(self) -> None:
        await asyncio.sleep(0)
        self.seen.append(current())


def test_in_a_hook_the_resources_own_scope_is_current(hand: Hand, scope: Scope) -> None:
    Looks.seen.clear()
    made = hand.create(scope, Looks("a"))

    hand.destroy(scope)

    assert Looks.seen == [made.scope, made.scope]
    assert current() is None


def test_a_bound_function_has_the_scope_in_a_thread_of_its_own(scope: Scope, world: World) -> None:
    def work(id: str, *, size: int) -> None:
        async def make() -> None:
            await AsyncThing(id, size=size)

        asyncio.run(make())
        seen.append(current())

    seen: list[Scope | None] = []
    bound = scope.bind(work)
    thread = threading.Thread(target=bound, args=("a",), kwargs={"size": 2})
    thread.start()
    thread.join(PATIENCE)

    assert world.ids == ["a"]
    assert seen == [scope]
    assert bound.__name__ == "work"
    assert current() is None


def test_a_bound_function_gives_back_what_it_returns_and_the_scope_that_was_current(
    scope: Scope,
) -> None:
    inner = scope.run("inner")

    with scope:
        assert inner.bind(current)() is inner
        assert current() is scope


def test_threads_may_enter_one_scope_at_once(scope: Scope) -> None:
    both_inside = threading.Barrier(2)
    seen: list[Scope | None] = []

    def work() -> None:
        with scope:
            both_inside.wait(PATIENCE)
            seen.append(current())
        seen.append(current())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert seen.count(scope) == seen.count(None) == 2


# Blocking methods in coroutines


@pytest.mark.parametrize(
    ("method", "twin", "args"),
    [
        ("create", "acreate", (None,)),
        ("remove", "aremove", (None,)),
        ("destroy", "adestroy", ()),
        ("finalize", "afinalize", ()),
        ("finalize_nested", "afinalize_nested", ("backend",)),
    ],
)
def test_every_blocking_method_names_its_twin_in_a_coroutine(
    scope: Scope, method: str, twin: str, args: tuple[Any, ...]
) -> None:
    async def test() -> None:
        getattr(scope, method)(*args)

    with pytest.raises(BlockingCallError) as caught:
        asyncio.run(test())

    assert (caught.value.method, caught.value.twin) == (method, twin)
    assert repr(scope).endswith("open, 0 to destroy>")


def test_a_blocking_create_in_a_comprehension_of_a_coroutine_is_refused(
    scope: Scope, world: World
) -> None:
    things = [Thing("a"), Thing("b")]

    async def test() -> None:
        [scope.create(thing) for thing in things]

    with pytest.raises(BlockingCallError):
        asyncio.run(test())

    assert world.done == []
    for thing in things:
        thing._alchemy.fresh = False


def test_a_plain_function_called_by_a_coroutine_may_create(
    kind: type[Thing], scope: Scope, world: World
) -> None:
    def helper() -> None:
        scope.create(kind("a"))

    async def test() -> None:
        helper()

    asyncio.run(test())
    scope.destroy()

    assert world.done == ["create a", "destroy a"]


class MixedParent(Resource):
    """A plain hook that makes a child with coroutine hooks."""

    def create(self) -> None:
        self.scope.create(AsyncThing("child"))
        here().act("create", self)

    async def destroy(self) -> None:
        here().act("destroy", self)


def test_a_plain_hook_may_make_children_inside_an_async_test(
    hand: Hand, scope: Scope, world: World
) -> None:
    hand.create(scope, MixedParent("p"))
    assert world.ids == ["child", "p"]

    hand.destroy(scope)

    assert world.done[2:] == ["destroy p", "destroy child"]
