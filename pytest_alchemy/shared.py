"""A scope that several processes share: each resource is made once, by whichever comes first."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.structs import replace

from pytest_alchemy import declaration, lifecycle
from pytest_alchemy.binding import describe
from pytest_alchemy.driver import Driver
from pytest_alchemy.entry import Entry, Status
from pytest_alchemy.errors import ChangedWithinRunError, SharedRemoveError
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.loading import load_kind
from pytest_alchemy.names import resource_key
from pytest_alchemy.records import KindSeen
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.store import SharedRecord, SharedStage
from pytest_alchemy.tracebacks import are_noise
from pytest_alchemy.values import same

__tracebackhide__ = are_noise


class SharedScope(Scope):
    """
    The scope of a whole run under several workers.

    The first process to create an id takes a short lock; the others wait for it and get an instance that is rebuilt
    from the record. So it is with what a resource makes inside itself. Nothing is destroyed before the last process has
    ended, but for what a resource removes that it has made inside itself.
    """

    board: SharedStage
    ends_elsewhere = True

    def child(self, name: str, **more: Any) -> Scope:
        """Return a nested scope that is shared in the same way."""
        child = SharedScope(self.root, parent=self, name=name, **more)
        child.board = self.board
        return child

    async def _make(self, resource: Resource, driver: Driver) -> Resource:
        declaration.admit(self, resource)
        kind = kind_of(type(resource))
        key = resource_key(kind.name, resource.id)
        known = self.owned.get((kind.name, resource.id))
        if isinstance(known, Entry) and known.busy:  # or it would wait for the lock as long
            declaration.refuse_in_itself(known, resource)
        turn = self.board.turn(self.place, key)
        await driver.aside(turn.__enter__, lambda _: turn.__exit__(None, None, None))
        try:
            known = self.owned.get((kind.name, resource.id))
            if isinstance(known, Entry) and known.status is not Status.FAILED:
                self._refuse_change(resource, known.props, known.profile, known.where, known.test)
                return await super()._make(resource, driver)
            found = await driver.aside(lambda: self._find(self.place, kind.name, resource.id))
            if found is not None and self.owner is not None and found.intent.at < self.owner.at:
                found = None  # what is around it was made anew since, and it had to go before that
            if found is None or (
                # What a create that failed here left goes first; what one left that failed later elsewhere is below.
                known is not None and found.outputs is None and found.intent.at <= known.at
            ):
                return await super()._make(resource, driver)
            self.refuse_if_closed(describe(resource))
            said = found.intent
            self._refuse_change(resource, found.props, said.profile, said.where, said.test)
            if found.outputs is not None:
                return self._rebuilt(resource, found)
            return await self._made_anew(resource, found, driver)
        finally:
            await driver.aside(lambda: turn.__exit__(None, None, None))

    async def _remove(self, resource: Resource, driver: Driver) -> None:
        made = resource._alchemy.owner if isinstance(resource, Resource) else None
        if (
            self.owner is None
            or not isinstance(made, Entry)
            or (self.root.outlives_process(made.world) and not made.recorded)  # another's
        ):
            raise SharedRemoveError(describe(resource), self.title)
        await super()._remove(resource, driver)

    def _find(self, place: tuple[str, ...], kind: str, id: str) -> SharedRecord | None:
        """Return what some process recorded, with its secrets as values."""
        found = self.board.find(place, kind, id)
        return None if found is None else self._opened(found)

    def _opened(self, found: SharedRecord) -> SharedRecord:
        said = found.intent
        opened = partial(self.root.sealer.unseal, said.path, resource_key(said.kind, said.id))
        outputs = None if found.outputs is None else opened(found.outputs)
        return replace(found, props=opened(found.props), outputs=outputs)

    def _rebuilt(self, resource: Resource, found: SharedRecord) -> Resource:
        """Return *resource* as the process that created it knows it."""
        kind = kind_of(type(resource))
        self.root.know(kind)
        entry = self._recall(resource, found)
        outputs = kind.revive(resource.id, found.props, found.outputs or {}, self._refer).__dict__
        for name in kind.outputs:
            if name in outputs:
                resource.__dict__[name] = outputs[name]
        self.owned[kind.name, resource.id] = entry
        return resource

    async def _made_anew(self, resource: Resource, found: SharedRecord, driver: Driver) -> Resource:
        """
        Create what another process died over or failed at; what there is of it goes first, with what is inside it.

        As in a stage that outlives its programs: what was cut off half-way may have its name, and still lack the rest.
        """
        self.root.know(kind_of(type(resource)))
        leftover = self._leftover(found)
        place = (*self.place, leftover.own_part)
        inside = await driver.aside(lambda: [*map(self._opened, self.board.inside(place))])
        for entry in [leftover, *map(self._leftover, inside)]:
            if "read" not in entry.kind.hooks or await lifecycle.exists(entry, driver):
                await lifecycle.clear(entry, driver)
        return await super()._make(resource, driver)

    def _leftover(self, found: SharedRecord) -> Entry:
        kind, id = self._kind(found.seen), found.intent.id
        return self._recall(kind.revive(id, found.props, {}, self._refer), found)

    def _kind(self, seen: KindSeen) -> Kind:
        return self.root.program.kinds.get((self.app, seen.kind)) or load_kind(seen)

    def _recall(self, resource: Resource, found: SharedRecord) -> Entry:
        kind = kind_of(type(resource))
        created = found.outputs is not None
        entry = Entry.recalled(self, kind, resource, found.intent, created=created, settled=True)
        entry.recorded = False  # in this process's journal its number may stand for something else
        return entry

    def _refer(self, reference: dict[str, Any]) -> Resource:
        """Return the resource that an output refers to, rebuilt in the same way."""
        kind_name, _, id = reference["key"].partition("-")
        found = self._find(tuple(reference["path"]), kind_name, id)
        if found is None or found.outputs is None or reference["stage"] != self.root.name:
            raise LookupError(reference["key"])
        resource = self._kind(found.seen).revive(id, found.props, found.outputs, self._refer)
        self._recall(resource, found)
        return resource

    def _refuse_change(
        self, resource: Resource, props: dict[str, Any], profile: str, where: str, test: str
    ) -> None:
        declared = Entry.props_of(resource)
        changed = [name for name, value in declared.items() if not same(props.get(name), value)]
        if Entry.profile_of(self, resource) != profile:
            changed.append("profile")
        if changed:
            first = f"{where} ({test})" if test else where
            second = f"{resource._alchemy.where} ({self.root.program.test})"
            raise ChangedWithinRunError(describe(resource), changed, first, second)
