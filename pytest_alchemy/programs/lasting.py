"""Scopes of a stage that outlives its programs: the blocks in which one declares, and what becomes of the rest then."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, ParamSpec, Self

from pytest_alchemy.callers import where
from pytest_alchemy.deferred import Call, check_call
from pytest_alchemy.driver import ASYNC, BLOCKING, Driver, refuse_in_coroutine, run_blocking
from pytest_alchemy.errors import BlockEndedError, NotInOtherProcessError
from pytest_alchemy.programs.declaration import declare
from pytest_alchemy.programs.recordedscope import RecordedScope
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Phase

P = ParamSpec("P")


class LastingScope(RecordedScope):
    """
    A scope of a stage that outlives its programs.

    What it is asked to create is compared with what earlier programs recorded: it is created, kept, updated in
    place, or replaced. What is recorded and no longer declared is destroyed when the scope is finalized: a nested
    one at the end of its block, the application's by `finalize`. A block that has ended is not opened again: what the
    second one declares, the end of the first one would have destroyed.
    """

    _blocks = 0
    """How many blocks of it are open: several tasks or threads may have one each."""

    @property
    def phase(self) -> Phase:
        """What its program was run for."""
        return self.recorded.wishes.phase

    @property
    def is_planned(self) -> bool:
        """Whether nothing is made in it, but only said to be: in a plan."""
        return self.recorded.wishes.plan_only

    @property
    def resources(self) -> list[Resource]:
        """The resources that exist in this scope itself, in order of creation; not what another has replaced."""
        existing = {entry.key: (entry, resource) for entry, resource in self.existing()}
        return [
            resource
            for entry, resource in existing.values()
            if existing.get((entry.kind.name, entry.id), (entry,))[0] is entry
        ]

    def child(self, name: str, **more: Any) -> Scope:
        """Return a new scope inside this one, of the same sort."""
        child = LastingScope(self.root, parent=self, name=name, **more)
        child.recorded = self.recorded
        return child

    def defer(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Call *function* once this is no longer declared, or the stage is destroyed.

        Raises:
            NotInOtherProcessError: It is no module-level function with JSON-able arguments.
            ScopeClosedError: The scope is closing or closed.
            TypeError: *function* cannot be called like that.
        """
        check_call(function, args, kwargs)
        call = Call(self, function, args, kwargs, where())
        self.refuse_if_closed(call.title)
        if not call.importable:
            raise NotInOtherProcessError(call.title, self.title)
        if self.phase != "up":
            return
        if known := self.recorded.calls(call):
            self.recorded.declared.update(live.entry.seq for live in known)
            return
        self.recorded.declared.add(call.seq)
        if not self.recorded.wishes.plan_only:
            self.root.record(call.line())
            call.recorded = True
            self.take_in(call, call.title)

    def __enter__(self) -> Self:
        refuse_in_coroutine("with", "async with")
        self._open_block()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        run_blocking(self.leave(error, BLOCKING))

    async def __aenter__(self) -> Self:
        self._open_block()
        return super().__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        Scope.__exit__(self, kind, error, trace)
        await self.leave(error, ASYNC)

    async def leave(self, error: BaseException | None, driver: Driver) -> None:
        """End the block of this scope: its program may have died half-way, or declared all that it wants."""
        if not self.root.is_ours:
            return
        with self.root.lock:
            self._blocks -= 1
            is_last = not self._blocks
        if error is not None:
            self.recorded.spared.add(self.place)
        elif is_last:
            # The resource around it may be changed in this very program, and open it again.
            if self.owner is None and self.phase == "up":
                self.start_closing()
            await self.collect(driver)

    def _open_block(self) -> None:
        with self.root.lock:
            if self.is_closing and self.parent is not None and not self.parent.is_closing:
                raise BlockEndedError(self.title)
            self._blocks += 1

    def _make(self, resource: Resource, driver: Driver) -> Coroutine[Any, Any, Resource]:
        return declare(self, resource, driver)
