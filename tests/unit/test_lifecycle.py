"""The steps of one resource, driven from blocking code and from an event loop."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

import pytest

from pytest_alchemy import Env, Resource, clock, output, records
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.entry import Entry, Status
from pytest_alchemy.errors import (
    BlockingCallError,
    DestroyError,
    InvalidPropertyError,
    JournalWriteError,
    OutputNotReadyError,
    ResourceDefinitionError,
    ScopeClosedError,
)
from pytest_alchemy.kinds import kind_of
from pytest_alchemy.scope import Scope
from pytest_alchemy.turns import Turns
from tests.unit.support.scopes import Hand, entry_of, lines, new_scope, new_stage
from tests.unit.support.world import (
    AsyncGroup,
    AsyncThing,
    Broken,
    Group,
    Meeting,
    ReadableThing,
    Slow,
    Thing,
    World,
)
from tests.unit.support.world import world as here

PATIENCE = 10.0


# Create


def test_a_created_resource_exists_and_has_a_name_a_scope_and_outputs(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    thing = kind("a", size=3)

    made = hand.create(scope, thing)

    assert made is thing
    assert world.alive == {thing.name: "a"}
    assert thing.url == f"thing://{thing.name}"
    assert thing.scope.parent is scope
    assert scope.resources == [thing]
    assert scope.root.counts.created == 1


def test_the_journal_names_a_resource_before_its_create_is_called(hand: Hand, scope: Scope) -> None:
    seen: list[Any] = []
    LooksAtJournal.look = lambda: seen.extend(lines(scope))

    thing = hand.create(scope, LooksAtJournal("a", size=3))

    kind, intent = seen
    assert isinstance(kind, records.KindSeen)
    assert (kind.kind, kind.qualname) == ("looksatjournal", "LooksAtJournal")
    assert isinstance(intent, records.Intent)
    assert (intent.kind, intent.id, intent.name) == ("looksatjournal", "a", thing.name)
    assert intent.props == {"size": 3}
    assert intent.path == (":test_users",)
    assert intent.where.startswith(f"{__file__}:")
    assert [type(line).__name__ for line in lines(scope)] == ["KindSeen", "Intent", "Created"]


class LooksAtJournal(Resource):
    size: int
    look: ClassVar[Any] = None

    def create(self) -> None:
        type(self).look()

    def destroy(self) -> None: ...


def test_outputs_are_recorded_once_they_are_known(
    hand: Hand, kind: type[Thing], scope: Scope
) -> None:
    thing = hand.create(scope, kind("a"))

    created = lines(scope)[-1]
    assert isinstance(created, records.Created)
    assert created.outputs == {"url": thing.url}


def test_nothing_is_made_when_it_cannot_be_recorded(
    hand: Hand, kind: type[Thing], world: World
) -> None:
    class FullDisk:
        def append(self, record: records.Record) -> None:
            raise JournalWriteError("journal", "no space left")

    scope = new_scope(new_stage(open_journal=lambda _: FullDisk()))
    thing = kind("a")

    for _ in range(2):
        with pytest.raises(JournalWriteError):
            hand.create(scope, thing)

    assert world.done == []
    assert scope.resources == []
    assert not scope.owned
    assert not hasattr(thing, "name")
    hand.destroy(scope)


def test_where_a_kind_is_found_is_recorded_once(
    hand: Hand, kind: type[Thing], scope: Scope
) -> None:
    for id in ("a", "b"):
        hand.create(scope, kind(id))

    assert [type(line) for line in lines(scope)].count(records.KindSeen) == 1


class InMemory(Thing):
    def world(self) -> str:
        return self.scope.root._memory


def test_what_dies_with_its_process_is_not_recorded(hand: Hand, scope: Scope, world: World) -> None:
    hand.create(scope, InMemory("a"))
    hand.destroy(scope)

    assert lines(scope) == []
    assert world.done == ["create a", "destroy a"]


class Nowhere(Thing):
    def world(self) -> str:
        return None  # type: ignore[return-value]  # wrong on purpose


def test_a_world_that_is_no_text_is_refused_before_anything_is_made(
    hand: Hand, scope: Scope, world: World
) -> None:
    with pytest.raises(ResourceDefinitionError) as caught:
        hand.create(scope, Nowhere("a"))

    assert str(caught.value) == (
        "Resource class Nowhere: world() returned None, not text.\n"
        "Write it as a plain method that returns which server or account the thing lives in."
    )
    assert world.done == []
    assert lines(scope) == []
    assert not scope.owned


class Anything(Thing):
    value: Any


def test_a_property_that_cannot_be_recorded_is_named_and_nothing_is_made(
    hand: Hand, scope: Scope, world: World
) -> None:
    with pytest.raises(InvalidPropertyError) as caught:
        hand.create(scope, Anything("a", value=[object]))

    assert str(caught.value) == (
        "Anything 'a': property 'value' cannot be recorded: Encoding objects of type type is unsupported."
    )
    assert world.done == []
    assert not scope.owned


def test_a_resource_that_does_not_exist_cannot_be_used(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    unmade = kind("unmade")
    unmade._alchemy.fresh = False

    with pytest.raises(InvalidPropertyError) as caught:
        hand.create(scope, kind("a", uses=[unmade]))

    assert str(caught.value) == (
        f"{kind.__name__} 'unmade': property 'id' is used by another resource before it exists.\n"
        "Create it first, then pass it on: the order of creation is the order of need."
    )
    assert world.done == []


def test_a_blocking_create_in_a_coroutine_makes_nothing(scope: Scope, world: World) -> None:
    thing = Thing("a")

    async def test() -> None:
        scope.create(thing)

    with pytest.raises(BlockingCallError, match=r"await acreate\(\.\.\.\)$"):
        asyncio.run(test())

    assert world.done == []
    thing._alchemy.fresh = False


# A create that fails


def test_a_create_that_fails_is_recorded_and_destroyed_with_its_scope(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    world.broken["create a"] = ValueError("quota\n exceeded")
    thing = kind("a")

    with pytest.raises(ValueError, match="quota") as caught:
        hand.create(scope, thing)

    assert caught.value.__notes__ == [
        f"while creating {kind.__name__} 'a', named {thing.name}, declared at {thing._alchemy.where}"
    ]
    failed = lines(scope)[-1]
    assert isinstance(failed, records.CreateFailed)
    assert (failed.error, failed.settled) == ("ValueError: quota exceeded", True)
    assert scope.resources == []

    hand.destroy(scope)

    assert world.done == ["create a", "destroy a"]
    assert isinstance(lines(scope)[-1], records.Destroyed)


def test_what_reads_as_absent_after_a_failed_create_is_not_destroyed(
    hand: Hand, scope: Scope, world: World
) -> None:
    world.broken["create a"] = ValueError("refused")
    with pytest.raises(ValueError, match="refused"):
        hand.create(scope, ReadableThing("a"))

    hand.destroy(scope)

    assert world.done == ["create a", "read a"]


def test_what_reads_as_present_after_a_failed_create_is_destroyed(
    hand: Hand, scope: Scope, world: World
) -> None:
    world.broken["create a"] = ConnectionError("lost the answer")
    thing = ReadableThing("a")
    with pytest.raises(ConnectionError):
        hand.create(scope, thing)
    world.alive[thing.name] = "a"

    hand.destroy(scope)

    assert world.done == ["create a", "read a", "destroy a"]
    assert world.ids == []


class Late(ReadableThing, create_timeout=3600.0):
    """May appear for an hour."""


class Prompt(ReadableThing, create_timeout=0.0):
    """Is there at once or never."""


@pytest.mark.parametrize(
    "error", [TimeoutError("no answer"), ConnectionError("reset"), KeyboardInterrupt()]
)
def test_a_create_without_an_answer_may_still_appear_and_is_reported(
    hand: Hand, scope: Scope, world: World, error: BaseException
) -> None:
    world.broken["create a"] = error
    thing = Late("a")
    with pytest.raises(type(error)):
        hand.create(scope, thing)
    failed = lines(scope)[-1]
    assert isinstance(failed, records.CreateFailed)
    assert not failed.settled

    with pytest.raises(ExceptionGroup) as caught:
        hand.destroy(scope)

    until = clock.instant(entry_of(thing).at + 3600)
    assert [str(each) for each in caught.value.exceptions] == [
        "Late 'a' could not be destroyed: MayStillAppearError: "
        f"its create got no answer: it may still appear until {until:%H:%M:%S} UTC"
    ]


def test_a_create_without_an_answer_is_over_when_its_time_is(
    hand: Hand, scope: Scope, world: World
) -> None:
    world.broken["create a"] = TimeoutError("no answer")
    with pytest.raises(TimeoutError):
        hand.create(scope, Prompt("a"))

    hand.destroy(scope)

    assert world.done == ["create a", "read a"]


def test_a_create_that_failed_can_be_tried_again_with_the_same_object(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    world.broken["create a"] = ValueError("quota")
    thing = kind("a")
    with pytest.raises(ValueError, match="quota"):
        hand.create(scope, thing)
    world.broken.clear()

    hand.create(scope, thing)

    assert world.done == ["create a", "destroy a", "create a"]
    assert scope.resources == [thing]
    hand.destroy(scope)
    assert world.ids == []


class LeavesWrongOutput(Thing):
    port: int = output()

    def create(self) -> None:
        super().create()
        self.port = "80"  # type: ignore[assignment]  # wrong on purpose


def test_an_output_of_the_wrong_type_fails_the_create(
    hand: Hand, scope: Scope, world: World
) -> None:
    thing = LeavesWrongOutput("a")

    with pytest.raises(InvalidPropertyError) as caught:
        hand.create(scope, thing)

    assert str(caught.value).startswith(
        "LeavesWrongOutput 'a': property 'port' has to be int, not str ('80')."
    )
    assert isinstance(lines(scope)[-1], records.CreateFailed)
    assert world.ids == ["a"]
    hand.destroy(scope)
    assert world.ids == []


class LeavesClient(Thing):
    client: Any = output()

    def create(self) -> None:
        super().create()
        self.client = object()


def test_an_output_that_cannot_be_recorded_fails_the_create(
    hand: Hand, scope: Scope, world: World
) -> None:
    with pytest.raises(InvalidPropertyError, match="property 'client' cannot be recorded"):
        hand.create(scope, LeavesClient("a"))

    assert isinstance(lines(scope)[-1], records.CreateFailed)
    hand.destroy(scope)
    assert world.ids == []


# Children


@pytest.mark.parametrize("group", [Group, AsyncGroup])
def test_children_are_made_in_the_scope_of_their_parent_and_kept_as_outputs(
    hand: Hand, scope: Scope, world: World, group: type[Group]
) -> None:
    made = hand.create(scope, group("g"))

    assert world.done[:3] == ["create g", "create first", "create second"]
    assert [child.id for child in made.scope.resources] == ["first", "second"]
    assert made.first is made.scope.resources[0]
    assert scope.resources == [made]
    created = lines(scope)[-1]
    assert isinstance(created, records.Created)
    assert created.outputs["first"]["$ref"]["name"] == made.first.name
    parent, *children = (line for line in lines(scope) if isinstance(line, records.Intent))
    assert [child.parent for child in children] == [parent.seq] * 2
    assert [child.path for child in children] == [(":test_users", f"{parent.kind}-g:")] * 2


@pytest.mark.parametrize("strategy", ["sequential", "parallel"])
@pytest.mark.parametrize("group", [Group, AsyncGroup])
def test_children_are_destroyed_after_their_parent(
    hand: Hand, scope: Scope, world: World, group: type[Group], strategy: Any
) -> None:
    hand.create(scope, group("g"))
    world.done.clear()

    hand.destroy(scope, strategy)

    assert world.done[0] == "destroy g"
    assert sorted(world.done[1:]) == ["destroy first", "destroy second"]
    assert world.ids == []


@pytest.mark.parametrize("group", [Group, AsyncGroup])
def test_children_of_a_create_that_failed_are_destroyed(
    hand: Hand, scope: Scope, world: World, group: type[Group]
) -> None:
    world.broken["complete g"] = ValueError("half-way")
    with pytest.raises(ValueError, match="half-way"):
        hand.create(scope, group("g"))
    assert world.ids == ["first", "g", "second"]

    hand.destroy(scope)

    assert world.ids == []


@pytest.mark.parametrize("group", [Group, AsyncGroup])
def test_children_of_a_create_that_failed_are_gone_before_it_is_tried_again(
    hand: Hand, scope: Scope, world: World, group: type[Group]
) -> None:
    world.broken["complete g"] = ValueError("half-way")
    with pytest.raises(ValueError, match="half-way"):
        hand.create(scope, group("g"))
    world.broken.clear()

    hand.create(scope, group("g", size=2))

    assert world.ids == ["first", "g", "second"]
    assert world.times("destroy first") == world.times("destroy second") == 1
    hand.destroy(scope)
    assert world.ids == []


class Enclosing(Resource):
    """Makes what it needs to know nothing of: a nested scope and a deferred call inside itself."""

    def create(self) -> None:
        here().act("create", self)
        self.scope.run("inside").create(Thing("nested"))
        self.scope.defer(here().note, "call nested")

    def destroy(self) -> None:
        here().act("destroy", self)


@pytest.mark.parametrize("strategy", ["sequential", "parallel"])
def test_everything_a_create_left_in_its_scope_goes_after_it(
    hand: Hand, scope: Scope, world: World, strategy: Any
) -> None:
    hand.create(scope, Enclosing("e"))
    world.done.clear()

    hand.destroy(scope, strategy)

    assert world.done[0] == "destroy e"
    assert sorted(world.done[1:]) == ["call nested", "destroy nested"]


class Curious(Thing):
    """Calls its own hooks, and those of its base class."""

    def create(self) -> None:
        super().create()
        self.read()

    def read(self) -> bool:
        here().note("read itself")
        return True


def test_a_hook_may_call_hooks_of_its_own_object(hand: Hand, scope: Scope, world: World) -> None:
    hand.create(scope, Curious("a"))

    assert world.done == ["create a", "read itself"]


# Destroy


def test_a_destroyed_resource_is_gone_and_forgotten(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    hand.create(scope, kind("a"))

    hand.destroy(scope)

    assert world.ids == []
    assert not scope.owned
    assert scope.root.counts.destroyed == 1
    assert lines(scope)[-1] == records.Destroyed(1)


@pytest.mark.usefixtures("world")
def test_what_is_destroyed_is_freed_without_a_search_for_garbage(
    hand: Hand, kind: type[Thing], scope: Scope
) -> None:
    freed = weakref.ref(hand.create(scope, kind("a")))
    gc.disable()
    try:
        hand.destroy(scope)

        assert freed() is None
    finally:
        gc.enable()


def test_what_exists_can_be_looked_at_while_another_thread_destroys_it(
    scope: Scope, world: World
) -> None:
    def remove_at(moment: int, thing: Thing) -> Callable[..., Any]:
        steps = itertools.count()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            frame.f_trace_opcodes = True
            if next(steps) == moment:
                scope.remove(thing)
            return trace

        return trace

    before = sys.gettrace()
    for moment in itertools.count():
        thing = scope.create(Thing(f"a{moment}"))
        sys.settrace(remove_at(moment, thing))
        try:
            found = scope.resources
        finally:
            sys.settrace(before)

        assert found in ([], [thing])
        if world.ids:  # it has looked for less time than that
            return


def test_what_is_about_to_be_destroyed_in_a_lasting_stage_is_recorded_first(
    hand: Hand, world: World
) -> None:
    scope = new_scope(new_stage(lasting=True))
    hand.create(scope, Thing("a"))

    hand.destroy(scope)

    assert lines(scope)[-2:] == [records.Destroying(1), records.Destroyed(1)]


def test_a_destroy_that_fails_keeps_its_record_and_is_tried_again(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    hand.create(scope, kind("a"))
    world.broken["destroy a"] = Broken("busy")

    with pytest.raises(ExceptionGroup) as caught:
        hand.destroy(scope)

    (error,) = caught.value.exceptions
    assert isinstance(error, DestroyError)
    assert error.__cause__ is world.broken["destroy a"]
    assert lines(scope)[-1] == records.DestroyFailed(1, "Broken: busy")
    assert [entry.status for entry in scope.entries()] == [Status.CREATED]

    world.broken.clear()
    hand.destroy(scope)

    assert world.ids == []


def test_a_full_disk_does_not_stop_a_destroy(hand: Hand, kind: type[Thing], world: World) -> None:
    class Filling:
        room = 3

        def append(self, record: records.Record) -> None:
            if not self.room:
                raise JournalWriteError("journal", "no space left")
            self.room -= 1

    scope = new_scope(new_stage(open_journal=lambda _: Filling()))
    hand.create(scope, kind("a"))

    hand.destroy(scope)

    assert world.ids == []


def test_a_create_is_waited_for_before_it_is_destroyed(
    scope: Scope, world: World, slow: type[Slow]
) -> None:
    async def test() -> None:
        creating = asyncio.create_task(scope.acreate(slow("a")))
        await slow.begun.wait()
        closing = asyncio.create_task(scope.adestroy())
        await asyncio.sleep(0)
        assert not closing.done()
        slow.go_on.set()
        await asyncio.wait_for(asyncio.gather(creating, closing), PATIENCE)

    asyncio.run(test())

    assert world.done == ["create a", "destroy a"]


def test_what_a_create_may_still_make_that_was_left_behind_with_its_loop_stays_recorded(
    scope: Scope, world: World, slow: type[Slow]
) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(scope.acreate(slow("a")))
    loop.run_until_complete(slow.begun.wait())

    with pytest.raises(ExceptionGroup) as failed:
        scope.destroy()

    assert world.done == ["destroy a"]
    assert str(failed.value.exceptions[0]).startswith(
        "Slow 'a' could not be destroyed: MayStillAppearError: what makes it was left behind in an event loop "
        "that has stopped: it may still appear until "
    )
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    scope.destroy()
    assert world.done == ["destroy a", "destroy a"]
    assert scope.subtree() == []


def test_one_thing_is_destroyed_once_however_many_want_it_gone(scope: Scope, world: World) -> None:
    class Lingering(AsyncThing, kind="lingering"):
        async def destroy(self) -> None:
            await asyncio.sleep(0)
            await super().destroy()

    async def test() -> None:
        thing = await scope.acreate(Lingering("a"))
        await asyncio.gather(scope.adestroy(), scope.adestroy(), scope.aremove(thing))

    with pytest.warns(UserWarning, match="is defined inside a function"):
        asyncio.run(test())

    assert world.done == ["create a", "destroy a"]


class BoundToLoop(Resource):
    """Holds a client that works in one event loop only."""

    password: Env
    child: AsyncThing = output()
    port: int = output()
    destroyed: ClassVar[list[Any]] = []

    async def create(self) -> None:
        self.client = asyncio.get_running_loop()
        self.child = await AsyncThing("inner")
        self.port = 80
        here().act("create", self)

    async def destroy(self) -> None:
        here().act("destroy", self)
        self.destroyed.append((self, self.child, self.port, self.password, self.name))


def test_what_lived_in_a_loop_that_is_gone_is_destroyed_by_a_fresh_object(
    scope: Scope, world: World
) -> None:
    BoundToLoop.destroyed.clear()
    made = asyncio.run(scope.acreate(BoundToLoop("a", password=Env("PATH"))))

    scope.destroy()

    fresh, child, port, password, name = BoundToLoop.destroyed[0]
    assert fresh is not made
    assert not hasattr(fresh, "client")
    assert (child, port, password, name) == (made.child, 80, Env("PATH"), made.name)
    assert world.ids == []


def test_what_lives_in_a_running_loop_is_destroyed_there_by_itself(
    scope: Scope, world: World
) -> None:
    BoundToLoop.destroyed.clear()

    async def test() -> BoundToLoop:
        made = await scope.acreate(BoundToLoop("a", password=Env("PATH")))
        await asyncio.to_thread(scope.destroy)
        return made

    assert asyncio.run(test()) is BoundToLoop.destroyed[0][0]
    assert world.ids == []


def test_blocking_teardown_inside_a_running_loop_does_not_wait_for_that_loop(
    scope: Scope, world: World
) -> None:
    def teardown() -> None:
        scope.destroy()

    async def test() -> None:
        await scope.acreate(AsyncThing("a"))
        teardown()

    asyncio.run(asyncio.wait_for(test(), PATIENCE))

    assert world.ids == []


class FailsInLoop(AsyncThing):
    """Its create fails after it opened a client."""

    destroyed_with: ClassVar[list[object]] = []

    async def create(self) -> None:
        self.client = asyncio.get_running_loop()
        await super().create()
        raise ValueError("refused")

    async def destroy(self) -> None:
        self.destroyed_with.append(getattr(self, "client", None))
        await super().destroy()


def test_a_create_that_failed_in_a_loop_that_is_gone_is_destroyed_by_a_fresh_object(
    scope: Scope, world: World
) -> None:
    FailsInLoop.destroyed_with.clear()
    with pytest.raises(ValueError, match="refused"):
        asyncio.run(scope.acreate(FailsInLoop("a")))

    scope.destroy()

    assert FailsInLoop.destroyed_with == [None]
    assert world.ids == []


def test_an_output_that_was_not_set_is_told_when_it_is_needed(
    hand: Hand, scope: Scope, world: World
) -> None:
    world.broken["create a"] = ValueError("refused")
    thing = Thing("a")
    with pytest.raises(ValueError, match="refused"):
        hand.create(scope, thing)

    with pytest.raises(OutputNotReadyError):
        _ = thing.url


# A closed scope


def test_a_closed_scope_makes_nothing(
    hand: Hand, kind: type[Thing], scope: Scope, world: World
) -> None:
    hand.destroy(scope)

    with pytest.raises(ScopeClosedError) as caught:
        hand.create(scope, kind("a"))

    assert str(caught.value) == (
        f"Scope {scope.title} is closed: {kind.__name__} 'a' was not made.\n"
        "Make it before the scope ends, or in a wider scope (alchemy_module, alchemy_stage)."
    )
    assert world.done == []
    assert lines(scope) == []


class Tenacious(Resource):
    """Wants to be there again while it is destroyed."""

    refused: ClassVar[list[str]] = []

    def create(self) -> None: ...

    def destroy(self) -> None:
        outer = self.scope.parent
        assert outer is not None
        try:
            outer.create(Thing("again"))
        except ScopeClosedError as error:
            self.refused.append(str(error))


def test_a_closing_scope_makes_nothing(hand: Hand, scope: Scope, world: World) -> None:
    Tenacious.refused.clear()
    hand.create(scope, Tenacious("a"))

    hand.destroy(scope)

    assert Tenacious.refused == [
        f"Scope {scope.title} is closing: Thing 'again' was not made.\n"
        "Make it before the scope ends, or in a wider scope (alchemy_module, alchemy_stage)."
    ]
    assert world.done == []


# Recalled by another process


def test_a_recalled_resource_is_destroyed_like_its_own(
    hand: Hand, scope: Scope, world: World
) -> None:
    thing = hand.create(scope, ReadableThing("a", size=4))
    intent = next(line for line in lines(scope) if isinstance(line, records.Intent))
    other = new_scope(scope.root)
    again = kind_of(ReadableThing).revive("a", intent.props, {}, lambda reference: reference)
    entry = Entry.recalled(
        other, kind_of(ReadableThing), again, intent, created=False, settled=True
    )
    other.owned[entry.key] = entry

    hand.destroy(other)

    assert again.name == thing.name
    assert world.done == ["create a", "read a", "destroy a"]
    assert world.ids == []


def test_a_teardown_waits_for_another_step_only_until_its_time_is_over(
    hand: Hand, scope: Scope, world: World
) -> None:
    creation = threading.Thread(target=lambda: scope.create(Meeting("a")))
    Meeting.begun, Meeting.go_on = threading.Event(), threading.Event()
    creation.start()
    assert Meeting.begun.wait(PATIENCE)

    outcome = hand.close(scope, timeout=0.01)

    [failure] = outcome.failures
    assert failure.reason.endswith(" s (teardown_timeout 0.01 s)")
    Meeting.go_on.set()
    creation.join(PATIENCE)
    hand.destroy(scope)
    assert world.done == ["create a", "destroy a"]


class Interrupt(KeyboardInterrupt):
    """What a signal may raise at any call, and at the end of any."""


@contextmanager
def interrupted(moment: str, place: Callable[..., object]) -> Iterator[None]:
    """Interrupt what runs at the entry of *place* (``call``) or at its end (``return``)."""

    def interrupt(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is place.__code__ and event == moment:
            raise Interrupt
        return interrupt

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        with pytest.raises(Interrupt):
            yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize(
    ("moment", "place"), [("call", Turns.end), ("return", Scope.take_in)], ids=["end", "begin"]
)
def test_what_was_interrupted_at_a_call_is_destroyed_without_waiting(
    scope: Scope, world: World, moment: str, place: Callable[..., object]
) -> None:
    with interrupted(moment, place):
        scope.create(Thing("a"))

    outcome = run_blocking(scope.close(BlockingDriver(), timeout=5.0))

    assert outcome.failures == []
    assert world.ids == []


def test_what_an_interrupt_left_in_its_scope_when_it_was_gone_can_be_made_again(
    scope: Scope, world: World
) -> None:
    thing = scope.create(Thing("a"))
    with interrupted("call", Scope.forget):
        scope.remove(thing)

    again = scope.create(Thing("a"))

    assert world.done == ["create a", "destroy a", "create a"]
    assert scope.resources == [again]
