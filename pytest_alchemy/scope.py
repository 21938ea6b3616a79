"""The tree of scopes: each owns resources and child scopes, and ends by destroying what it owns."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Coroutine, Generator
from operator import attrgetter
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from msgspec.structs import replace

from pytest_alchemy.ambient import current as _current
from pytest_alchemy.ambient import enter_block, leave_block
from pytest_alchemy.binding import describe
from pytest_alchemy.callers import where
from pytest_alchemy.declaration import declare
from pytest_alchemy.deferred import Call, Owned, check_call
from pytest_alchemy.driver import (
    ASYNC,
    BLOCKING,
    Driver,
    refuse_in_coroutine,
    run_blocking,
)
from pytest_alchemy.entry import CREATED, DESTROYED, Entry
from pytest_alchemy.errors import (
    BlockedError,
    NotInOtherProcessError,
    NotOwnedError,
    ScopeClosedError,
)
from pytest_alchemy.names import check_name
from pytest_alchemy.outcome import Outcome
from pytest_alchemy.physicalnames import NameRule, physical_name
from pytest_alchemy.resource import Resource, use_current_scope
from pytest_alchemy.settings import Phase, Settings, Strategy
from pytest_alchemy.stage import Stage
from pytest_alchemy.teardown import Teardown
from pytest_alchemy.tracebacks import are_noise
from pytest_alchemy.values import shown_as

__tracebackhide__ = are_noise

R = TypeVar("R", bound=Resource)
P = ParamSpec("P")
T = TypeVar("T")

OWN_PART = re.compile(r"[^:].*:\d*", re.DOTALL)
"""The last part of the place of what a resource made inside itself: no nested scope's name has a colon."""


class _State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


_OPEN, _CLOSING, _CLOSED = _State
_by_number = attrgetter("seq")


class Scope:
    """
    A node of the scope tree.

    Blocking methods have an asyncio twin with an a-prefix; a blocking one that is called directly inside a coroutine
    fails at once and names its twin.

    Attributes:
        name: The scope's own name; of a test scope the test's node id.
        parent: The scope around it; None for a stage.
        children: Nested scopes by name.
    """

    ends_elsewhere = False
    """Whether another process destroys what it owns, also if this one ends as it should."""

    def __init__(
        self,
        stage: Stage,
        *,
        parent: Scope | None = None,
        name: str = "",
        place: tuple[str, ...] = (),
        settings: Settings | None = None,
        destroy_strategy: Strategy | None = None,
        owner: Entry | None = None,
    ) -> None:
        self.root, self.parent, self.name, self.owner = stage, parent, name, owner
        # `path`, with a colon where a name is not one that a nested scope could have.
        self.place = place
        self._settings: Settings = settings or (parent._settings if parent else stage.settings)
        self.children: dict[str, Scope] = {}
        self.owned: dict[tuple[str, str] | int, Owned] = {}
        self._strategy = destroy_strategy
        self._state = _OPEN

    def __repr__(self) -> str:
        return f"<Scope {self.title}, {self._state.value}, {len(self.subtree())} to destroy>"

    @property
    def settings(self) -> Settings:
        """What was chosen for it."""
        profile = self.owner.profile if self.owner else ""
        return replace(self._settings, profile=profile) if profile else self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def app(self) -> str:
        """Name of the application."""
        return self.settings.app

    @property
    def stage(self) -> str:
        """Full name of the stage, ``test-gw0-<run>`` in a test."""
        return self.root.name

    @property
    def phase(self) -> Phase:
        """What its program was run for; tests always bring their resources ``up``."""
        return "up"

    @property
    def is_planned(self) -> bool:
        """Whether nothing is made in it, but only said to be: in a plan."""
        return False

    @property
    def path(self) -> tuple[str, ...]:
        """Names of the scopes below the stage that lead here, this one's last."""
        above = self.parent.path if self.parent else ()
        return (*above, self.name) if self.place else above

    @functools.cached_property
    def title(self) -> str:
        """How messages call it: ``my-app/test-gw0-k3f9x2ab/backend``."""
        return "/".join((self.root.title, *self.path))

    @property
    def is_closing(self) -> bool:
        """Whether nothing may be made in it any more."""
        return self._state is not _OPEN

    @property
    def destroy_strategy(self) -> Strategy:
        """``sequential`` or ``parallel``: given to this scope, or taken from the one around it."""
        if self._strategy is not None:
            return self._strategy
        return self.settings.destroy

    @property
    def resources(self) -> list[Resource]:
        """The resources that exist in this scope itself, in order of creation."""
        return [resource for _, resource in self.existing()]

    def create(self, resource: R) -> R:
        """
        Create *resource* here and return it; its record is written first.

        The same kind and id again with equal properties returns the first instance; with changed ones the
        resource is updated, if its class can.

        Raises:
            ScopeClosedError: The scope is closing or closed.
            ChangedWithinRunError: Declared twice with different properties, and the class has no ``update``.
            Exception: What the resource's ``create`` raised; what it left behind is destroyed with the scope.
        """
        refuse_in_coroutine("create", "acreate")
        return run_blocking(self._make(resource, BLOCKING))  # type: ignore[return-value]  # what it was given

    async def acreate(self, resource: R) -> R:
        """Create *resource* here; asyncio twin of `create`, with coroutine hooks in the caller's loop."""
        return await self._make(resource, ASYNC)  # type: ignore[return-value]  # what it was given

    def remove(self, resource: Resource) -> None:
        """
        Destroy *resource* and its children now, before the scope ends.

        Raises:
            NotOwnedError: It was not created in this scope, or is gone already.
            BlockedError: Something that exists still needs it; nothing was destroyed.
            ExceptionGroup: It could not be destroyed; its record is kept.
        """
        refuse_in_coroutine("remove", "aremove")
        run_blocking(self._remove(resource, BLOCKING))

    async def aremove(self, resource: Resource) -> None:
        """Destroy *resource* now; asyncio twin of `remove`."""
        await self._remove(resource, ASYNC)

    def destroy(self, strategy: Strategy | None = None) -> None:
        """
        Destroy everything under this scope and close it; a second call destroys what the first could not.

        Raises:
            ExceptionGroup: One `DestroyError` for each resource that is still there.
        """
        refuse_in_coroutine("destroy", "adestroy")
        run_blocking(self.close(BLOCKING, strategy)).raise_failures(self.title)

    async def adestroy(self, strategy: Strategy | None = None) -> None:
        """Destroy everything under this scope; asyncio twin of `destroy`."""
        (await self.close(ASYNC, strategy)).raise_failures(self.title)

    def finalize(self) -> None:
        """Have no effect: a test's scope ends by destroying everything, and so does what is nested in it."""
        refuse_in_coroutine("finalize", "afinalize")

    async def afinalize(self) -> None:
        """Have no effect; asyncio twin of `finalize`."""

    def finalize_nested(self, name: str) -> None:
        """Have no effect, as `finalize`."""
        refuse_in_coroutine("finalize_nested", "afinalize_nested")

    async def afinalize_nested(self, name: str) -> None:
        """Have no effect, as `finalize`."""

    def defer(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Call *function* (plain or async) when the scope ends, in reverse order with everything else it owns.

        A module-level function with JSON-able arguments is called even if this process dies; any other one
        only while the process lives: in a scope that all workers of a run share it is refused.

        Raises:
            ScopeClosedError: The scope is closing or closed.
            NotInOtherProcessError: All workers share the scope, and no other process could make the call.
            TypeError: *function* cannot be called like that.
        """
        check_call(function, args, kwargs)
        self.refuse_if_closed(
            f"the deferred call of {shown_as(getattr(function, '__qualname__', function))}"
        )
        call = Call(self, function, args, kwargs, where())
        if self.ends_elsewhere and not call.importable:
            raise NotInOtherProcessError(call.title, self.title)
        self.root.record(call.line())
        call.recorded = True
        self.take_in(call, call.title)

    def physical_name(self, id: str, max: int = 63) -> str:
        """Return a name of ours for something that no resource class stands for; the same for the same *id*."""
        return physical_name(
            app=self.root.settings.app,
            stage=self.root.name,
            path=self.place,
            kind="name",
            id=id,
            run=self.root.run,
            rule=NameRule(max=max),
        )

    def run(self, name: str, destroy_strategy: Strategy | None = None) -> Scope:
        """
        Return the nested scope *name*, to be used with ``with`` or ``async with``.

        In a test, what a nested scope owns is destroyed with the test.

        Raises:
            InvalidNameError: *name* is not a name.
        """
        check_name("a scope", name)
        with self.root.lock:  # or what another thread makes in a second one is in no tree
            if name not in self.children:
                self.refuse_if_closed(f"the scope {name!r}")
                self.children[name] = self.child(
                    name,
                    place=(*self.place, name),
                    settings=self._settings,
                    destroy_strategy=destroy_strategy or self._strategy,
                    owner=self.owner,
                )
            return self.children[name]

    def bind(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return *function* with this scope as the current one while it runs, for threads of your own."""

        @functools.wraps(function)
        def bound(*args: P.args, **kwargs: P.kwargs) -> T:
            before = _current.get()
            try:
                _current.set(self)
                return function(*args, **kwargs)
            finally:
                _current.set(before)

        return bound

    def __enter__(self) -> Self:
        enter_block(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        leave_block(self)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    # What the rest of the package uses.

    def entries(self) -> list[Entry]:
        """Return what this scope itself owns as resources, in order of creation."""
        return [owned for owned in list(self.owned.values()) if isinstance(owned, Entry)]

    def existing(self) -> list[tuple[Entry, Resource]]:
        """Return what exists in this scope itself, with the objects that stand for it, in order of creation."""
        # The object first: another thread may be destroying it, and takes its object from it last.
        found = [(entry, getattr(entry, "resource", None)) for entry in self.entries()]
        return [
            (e, resource) for e, resource in found if resource is not None and e.status is CREATED
        ]

    def subtree(self) -> list[Owned]:
        """Return everything under this scope: its own, its resources' children, its nested scopes'."""
        found: list[Owned] = []
        for owned in list(self.owned.values()):
            if owned.status is not DESTROYED:
                found.append(owned)
            if scope := owned.opened_scope():
                found += scope.subtree()
        for child in list(self.children.values()):
            found += child.subtree()
        return found

    def owner_of(self, part: str) -> Entry | None:
        """Return the entry here whose own scope is at *part*."""
        if not OWN_PART.fullmatch(part):
            return None
        kind, _, id = part.rpartition(":")[0].partition("-")
        newest = self.owned.get((kind, id))
        if isinstance(newest, Entry) and newest.own_part == part:
            return newest
        return next((entry for entry in self.entries() if entry.own_part == part), None)

    def scope_of(self, entry: Entry) -> Scope:
        """Return a new scope for the children of *entry*."""
        return self.child(
            entry.id,
            place=(*self.place, entry.own_part),
            settings=self._settings,
            destroy_strategy=self._strategy,
            owner=entry,
        )

    def take_in(self, owned: Owned, wanted: object) -> bool:
        """
        Own *owned* from now on, unless something else stands in its place.

        Returns:
            False if something does: nothing has changed then.

        Raises:
            ScopeClosedError: The scope is closing or closed.
        """
        with self.root.lock:  # so that nothing slips in after a teardown has seen what there is
            self.refuse_if_closed(wanted)
            return self.owned.setdefault(owned.key, owned) is owned

    def forget(self, owned: Owned) -> None:
        """Own *owned* no longer: it is gone. While children of it are left, it remains as the way to them."""
        inside = owned.opened_scope()
        if inside is not None and inside.subtree():
            return
        key = owned.key
        if self.owned.get(key) is owned:
            del self.owned[key]
        if self.owner is not None and self.owner.status is DESTROYED:
            self.owner.scope.forget(self.owner)

    def refuse_if_closed(self, wanted: object) -> None:
        """
        Refuse to make anything here once this scope or one around it is closing.

        Args:
            wanted: What was to be made, as messages call it.

        Raises:
            ScopeClosedError: It is.
        """
        scope: Scope | None = self
        while scope is not None:
            if scope._state is not _OPEN:
                shown = wanted if isinstance(wanted, str) else shown_as(wanted)
                raise ScopeClosedError(scope.title, scope._state.value, shown)
            scope = scope.parent

    def start_closing(self) -> None:
        """Refuse everything new from now on; what exists is destroyed by `close`."""
        with self.root.lock:
            if self._state is _OPEN:
                self._state = _CLOSING

    def close_if_empty(self) -> bool:
        """Close it if there is nothing in it, and tell whether that is so."""
        with self.root.lock:
            if self.owned or self.children:
                return False
            self._state = _CLOSED
            return True

    async def close(
        self, driver: Driver, strategy: Strategy | None = None, timeout: float | None = None
    ) -> Outcome:
        """Destroy everything under this scope and say what became of it; errors are in the outcome."""
        self.start_closing()
        if things := self.to_destroy():
            teardown = Teardown(things, driver, timeout)
            outcome = await teardown.run(strategy or self.destroy_strategy)
        else:
            outcome = Outcome()
        self._state = _CLOSED
        return outcome

    def to_destroy(self) -> list[Owned]:
        """Return everything under this scope, in order of creation."""
        return sorted(self.subtree(), key=_by_number)

    def child(self, name: str, **more: Any) -> Scope:
        """Return a new scope inside this one, of the same sort."""
        return Scope(self.root, parent=self, name=name, **more)

    def _make(self, resource: Resource, driver: Driver) -> Coroutine[Any, Any, Resource]:
        return declare(self, resource, driver)

    async def unmake(self, entry: Entry, driver: Driver) -> None:
        """
        Destroy one resource and its children now.

        Raises:
            BlockedError: Something that exists still needs one of them; nothing was destroyed.
            ExceptionGroup: Some of it could not be destroyed; its record is kept.
        """
        inside = entry.opened_scope()
        own = [entry] if entry.status is not DESTROYED else []
        things = sorted([*own, *(inside.subtree() if inside else ())], key=_by_number)
        for thing in things:
            outside = set(thing.needed_by or ()).difference(things)
            if outside:
                raise BlockedError(thing.title, sorted(other.title for other in outside))
        outcome = await Teardown(things, driver, None).run(self.destroy_strategy)
        outcome.raise_failures(entry.title)

    async def _remove(self, resource: Resource, driver: Driver) -> None:
        if not isinstance(resource, Resource):
            raise NotOwnedError(self.title, shown_as(resource))
        owner = resource._alchemy.owner
        if not isinstance(owner, Entry) or self.owned.get(owner.key) is not owner:
            raise NotOwnedError(self.title, describe(resource))
        await self.unmake(owner, driver)


def current() -> Scope | None:
    """Return the scope that is current here; inside a hook the resource's own."""
    here = _current.get()
    return here.own_scope() if isinstance(here, Entry) else here


def _await_in_current(resource: Resource) -> Generator[Any, None, Resource] | None:
    scope = current()
    return None if scope is None else scope.acreate(resource).__await__()


use_current_scope(_await_in_current)

__all__ = ["Scope", "current"]
