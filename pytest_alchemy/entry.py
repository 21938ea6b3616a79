"""A resource in its scope: how far it has come, what it needs, what is recorded and told of it."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pytest_alchemy import clock, records
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.loops import Loop
from pytest_alchemy.names import resource_key
from pytest_alchemy.resource import Resource
from pytest_alchemy.turns import Turns
from pytest_alchemy.values import SCALARS, referred

if TYPE_CHECKING:
    from pytest_alchemy.deferred import Owned
    from pytest_alchemy.scope import Scope


class Status(enum.Enum):
    """How far an entry has come."""

    CREATING = "creating"
    CREATED = "created"
    FAILED = "failed"  # create raised: it may exist all the same
    DESTROYED = "destroyed"


# In Python 3.11 each look at a member of an enum takes as long as three calls of functions.
CREATING: Final = Status.CREATING
CREATED: Final = Status.CREATED
FAILED: Final = Status.FAILED
DESTROYED: Final = Status.DESTROYED


class Entry(Turns):
    """
    A resource in its scope.

    Attributes:
        seq: Number within the stage, in order of creation.
        key: What tells it from everything else in its scope: kind and id.
        status: How far it has come.
        profile: The credentials that it, or what it is made inside of, asks for; empty if it takes those of its stage.
        loop: The event loop its coroutines ran on, None for plain hooks.
        resource: The object that stands for it; not set any more once it is destroyed.
        recorded: True if the journal names it; what dies with this process is not recorded.
        settled: False if a create was cut off, so that the provider may still finish it.
        failed_inside: True once the create of something inside it failed.
        half_changed: True while an update of it has not reported back.
        in_doubt: True once somebody has tried to destroy it: it may be gone.
        needed_by: What depends on it and still exists.
    """

    __slots__ = (
        "_own_scope", "at", "failed_inside", "half_changed", "id", "in_doubt", "key", "kind", "loop", "name",
        "needed_by", "needs", "parent", "profile", "props", "recorded", "resource", "scope", "seq", "settled",
        "status", "test", "where", "world",
    )  # fmt: skip

    alone: ClassVar[bool] = False

    def __init__(self, scope: Scope, kind: Kind, resource: Resource, seq: int) -> None:
        Turns.__init__(self, busy=True)  # whoever makes the entry creates the resource
        self.scope, self.kind, self.resource, self.seq = scope, kind, resource, seq
        self.id: str = resource.id
        self.key: tuple[str, str] | int = (kind.name, resource.id)
        self.status = CREATING
        self.loop: Loop | None = None
        self.recorded = self.failed_inside = self.half_changed = self.in_doubt = False
        self.settled = True
        self.world = ""
        self.where = resource._alchemy.where
        self.test = scope.root.program.test
        self.parent: Entry | None = scope.owner
        self.profile = self.profile_of(scope, resource)
        self.needed_by: set[Entry] | None = None
        self._own_scope: Scope | None = None
        self.at = clock.now()
        self.name = scope.root.name_of(scope.place, kind, resource.id)
        self.props: dict[str, Any] = {}
        self.needs: tuple[Entry, ...] = ()
        if kind.properties:
            self.props, self.needs = self.props_of(resource), self.needs_of(resource)

    @classmethod
    def recalled(
        cls,
        scope: Scope,
        kind: Kind,
        resource: Resource,
        intent: records.Intent,
        *,
        created: bool,
        settled: bool,
        props: dict[str, Any] | None = None,
        busy: bool = False,
    ) -> Self:
        """
        Return the entry of a resource that another process recorded.

        Args:
            scope: Its scope.
            kind: Its kind.
            resource: The object that stands for it.
            intent: What is recorded of it.
            created: Whether it is known to exist.
            settled: Whether its create is over.
            props: The properties of *intent*, if they are known.
            busy: Whether the caller has its turn.
        """
        entry = cls.__new__(cls)
        Turns.__init__(entry, busy=busy)
        entry.scope, entry.kind, entry.resource, entry.seq = scope, kind, resource, intent.seq
        entry.id = resource.id
        entry.key = kind.name, resource.id
        entry.status = CREATED if created else FAILED
        entry.settled, entry.recorded = settled, True
        entry.failed_inside = entry.half_changed = entry.in_doubt = False
        entry.name, entry.world, entry.profile = intent.name, intent.world, intent.profile
        if props is None:
            key = resource_key(kind.name, intent.id)
            props = scope.root.sealer.unseal(intent.path, key, intent.props)
        entry.props = props
        entry.where, entry.test, entry.at = intent.where, intent.test, intent.at
        if not settled:  # a clock that was ahead is not waited for
            entry.at = min(intent.at, clock.now())
        entry.parent, entry.needs, entry.needed_by = scope.owner, (), None
        entry.loop = entry._own_scope = None
        resource._alchemy.owner = entry
        return entry

    def __repr__(self) -> str:
        return f"<{self.title} {self.status.value}>"

    @staticmethod
    def profile_of(scope: Scope, resource: Resource) -> str:
        """Return the profile that *resource* asks for in *scope*: its own, else that of what it is made inside of."""
        return resource._alchemy.profile or (scope.owner.profile if scope.owner else "")

    @staticmethod
    def props_of(resource: Resource) -> dict[str, Any]:
        """Return the properties as plain data."""
        kind, values = kind_of(type(resource)), resource.__dict__
        return {
            name: value
            if type(value := values[name]) in SCALARS
            else kind.plain(resource.id, name, value)
            for name in kind.fields()
        }

    @staticmethod
    def needs_of(resource: Resource) -> tuple[Entry, ...]:
        """Return the entries of the resources that stand anywhere in the properties."""
        return _referred(resource, kind_of(type(resource)).fields())

    @staticmethod
    def given_by(resource: Resource) -> tuple[Entry, ...]:
        """Return the entries of the resources that stand anywhere in the outputs."""
        return _referred(resource, kind_of(type(resource)).outputs)

    @property
    def title(self) -> str:
        """How messages call it: ``D1Database 'orders'``."""
        return f"{self.kind.title} {self.id!r}"

    @property
    def parallel(self) -> bool:
        return self.kind.parallel

    @property
    def credentials(self) -> str:
        """Name of the profile in use."""
        return self.profile or self.scope.settings.profile

    def provider(self) -> str:
        """Return whose refusal of one call holds for the others: the world it lives in, else its kind."""
        return self.world or self.kind.name

    @property
    def is_planned(self) -> bool:
        return self.scope.is_planned

    @property
    def own_part(self) -> str:
        """The last part of the place of what it makes inside itself."""
        return f"{resource_key(self.kind.name, self.id)}:"

    def needed(self) -> Collection[Owned]:
        """Return what must still exist while this one is destroyed: dependencies and children."""
        if self._own_scope is None:
            return self.needs
        return [*self.needs, *self._own_scope.subtree()]

    def own_scope(self) -> Scope:
        if self._own_scope is None:
            with self.scope.root.lock:  # or what another thread makes in a second one is in no tree
                if self._own_scope is None:
                    self._own_scope = self.scope.scope_of(self)
        return self._own_scope

    def opened_scope(self) -> Scope | None:
        """Return the resource's own scope if anybody asked for it."""
        return self._own_scope

    def reference(self) -> dict[str, Any]:
        """Return what a record says to refer to this resource."""
        stage = self.scope.root
        return {
            "app": stage.settings.app,
            "stage": stage.name,
            "path": list(self.scope.place),
            "key": resource_key(self.kind.name, self.id),
            "name": self.name,
        }

    def facts(self) -> dict[str, Any]:
        """Return what a report says of it."""
        facts = facts_of(self, self.kind.title, self.id, self.world)
        return {**facts, "profile": self.credentials}

    def intent(self) -> records.Intent:
        """
        Return the line that says it is about to be created.

        Raises:
            AlchemyError: A secret in it cannot be sealed.
        """
        return records.Intent(
            seq=self.seq,
            path=self.scope.place,
            kind=self.kind.name,
            id=self.id,
            name=self.name,
            world=self.world,
            props=self.sealed(self.props) if self.props else {},
            needs=self.numbers_needed() if self.needs else (),
            parent=self.parent.seq if self.parent else 0,
            at=self.at,
            where=self.where,
            test=self.test,
            profile=self.profile,
        )

    def numbers_needed(self) -> tuple[int, ...]:
        """Return the numbers in its own journal of the resources of its own stage that it depends on."""
        if not self.needs:
            return ()
        stage = self.scope.root
        return tuple([e.seq for e in self.needs if e.recorded and e.scope.root is stage])

    def outputs(self) -> dict[str, Any]:
        """Return the outputs that are set, as plain data."""
        if not self.kind.outputs:
            return {}
        values = self.resource.__dict__
        return {
            name: self.kind.plain(self.id, name, values[name])
            for name in self.kind.outputs
            if name in values
        }

    def sealed(self, data: dict[str, Any]) -> dict[str, Any]:
        """
        Return *data*, properties or outputs, as it is recorded: with the secrets in it sealed.

        Raises:
            AlchemyError: A secret in it cannot be sealed.
        """
        if SCALARS.issuperset(map(type, data.values())):  # no secret stands in those
            return data
        key = resource_key(self.kind.name, self.id)
        return self.scope.root.sealer.seal(self.scope.place, key, data)

    def hold(self) -> None:
        """Note in everything it needs that it is needed."""
        for entry in self.needs:
            with entry.scope.root.lock:  # or two threads that come first make a set each
                if entry.needed_by is None:
                    entry.needed_by = set()
                entry.needed_by.add(self)

    def let_go(self) -> None:
        for entry in self.needs:
            if entry.needed_by is not None:
                entry.needed_by.discard(self)

    def revived(self) -> Resource:
        """Return the resource as a process that never saw it would: from what is recorded of it, with fresh clients."""
        fresh = self.kind.revive(self.id, self.props, self.outputs(), self._resolve)
        fresh._alchemy.owner = self
        return fresh

    def _resolve(self, reference: dict[str, Any]) -> Resource:
        found: list[Resource] = []
        for name in (*self.kind.fields(), *self.kind.outputs):
            referred(self.resource.__dict__.get(name), found)
        for resource in found:
            if resource.__alchemy_ref__() == reference:
                return resource
        raise LookupError(f"{self.title} refers to {reference['key']}, which is not there any more")


def _referred(resource: Resource, names: Iterable[str]) -> tuple[Entry, ...]:
    found: list[Resource] = []
    values = resource.__dict__
    for name in names:
        value = values.get(name)
        if type(value) not in SCALARS:
            referred(value, found)
    owners: dict[Entry, None] = {}
    for other in found:
        owner = other._alchemy.owner
        if isinstance(owner, Entry):
            owners[owner] = None
    return tuple(owners)


def facts_of(owned: Owned, kind: str, id: str, world: str) -> dict[str, Any]:
    """Return what a report says of *owned*, which it calls *kind* and *id*, and which lives in *world*."""
    stage = owned.scope.root
    return {
        "kind": kind,
        "id": id,
        "name": owned.name,
        "scope": owned.scope.title,
        "stage": stage.name,
        "app": stage.settings.app,
        "profile": stage.settings.profile,
        "world": world,
        "worker": stage.worker,
        "test": owned.test,
        "where": owned.where,
        "at": owned.at,
    }
