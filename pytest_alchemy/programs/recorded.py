"""What earlier programs recorded of a lasting stage, and what the one that runs now declares of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import msgspec
from msgspec.structs import replace

from pytest_alchemy import clock, records
from pytest_alchemy.deferred import Call, Owned
from pytest_alchemy.entry import CREATING, Entry
from pytest_alchemy.kinds import Kind
from pytest_alchemy.loading import load_kind
from pytest_alchemy.names import resource_key
from pytest_alchemy.plan import Step
from pytest_alchemy.records import Deferred, Intent, KindSeen, Live
from pytest_alchemy.resource import Resource
from pytest_alchemy.settings import Phase
from pytest_alchemy.stage import Program

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """
    What a program was run for.

    Attributes:
        phase: ``up`` makes what is declared, ``read`` only gives back what is recorded.
        adopt: Take over what exists already.
        force: Update also what has not changed, and let a program that declares nothing empty its stage.
        plan_only: Call nothing that changes anything.
    """

    phase: Phase = "up"
    adopt: bool = False
    force: bool = False
    plan_only: bool = False

    @property
    def may_act(self) -> bool:
        """Whether anything may be made, changed or destroyed."""
        return self.phase == "up" and not self.plan_only


class Planned(msgspec.Struct, frozen=True):
    """
    One thing that was done, or (`Wishes.plan_only`) would be.

    What a resource makes inside itself goes with it and is not told.
    """

    step: Step
    resource: str
    name: str
    scope: str
    changed: tuple[str, ...] = ()


class DecisionListener(Protocol):
    """Is told what is decided, and when it is done."""

    def decided(self, planned: Planned) -> None:
        """Hear what is about to be done with a resource; of what is destroyed, that it is."""

    def done(self, resource: str, scope: str) -> None:
        """Hear that what was decided of a resource is done: both as `Planned` says them."""


class LastingEntry(Entry):
    """
    A resource in a stage that outlives its programs.

    Attributes:
        generation: 1, and one more with each replacement.
        replaced: True once a newer generation stands in its place; it is destroyed when the program is finalized.
        half_changed: As in `Entry`; also while an update is still due because it was adopted.
        adopting: True while what was adopted has not been made to fit: nobody knows its properties.
    """

    __slots__ = ("adopting", "generation")

    adopting: bool
    generation: int

    @classmethod
    def of(cls, scope: Any, kind: Kind, resource: Resource, live: Live) -> Self:
        """Return the entry of what *live* tells of, whose turn the caller has."""
        assert isinstance(live.entry, Intent)
        entry = cls.recalled(
            scope,
            kind,
            resource,
            live.entry,
            created=live.created,
            settled=live.settled,
            props=live.props,
            busy=True,
        )
        entry.generation = live.entry.generation
        entry.adopting = live.adopting
        entry.half_changed = live.adopting or live.updating is not None
        return entry

    @classmethod
    def new(cls, scope: Any, kind: Kind, resource: Resource, generation: int) -> Self:
        """Return the entry of what is to be created, whose turn the caller has."""
        entry = cls(scope, kind, resource, scope.root.next_number())
        entry.generation, entry.replaced = generation, False
        entry.adopting = False
        if generation > 1:  # its predecessor still has the other name
            place = (*scope.place, f":{generation}")
            entry.name = scope.root.name_of(place, kind, resource.id)
        return entry

    def become(self, resource: Resource) -> None:
        """Be what *resource* declares, which is about to be created under the same name and record."""
        self.let_go()
        self.resource, self.status, self.half_changed = resource, CREATING, False
        self.props, self.needs = self.props_of(resource), self.needs_of(resource)
        self.at, self.where = clock.now(), resource._alchemy.where

    @property
    def replaced(self) -> bool:
        return self.key == self.seq

    @replaced.setter
    def replaced(self, replaced: bool) -> None:
        # Kind and id belong to the newest generation in the scope.
        self.key = self.seq if replaced else (self.kind.name, self.id)

    @property
    def own_part(self) -> str:
        """The last part of the place of what it makes inside itself."""
        return own_part(self.kind.name, self.id, self.generation)

    def intent(self) -> records.Intent:
        intent = super().intent()
        if self.generation == 1 and not self.adopting:
            return intent
        adopted = self.sealed(self.outputs()) if self.adopting else None
        return replace(intent, generation=self.generation, adopted=adopted)


def own_part(kind: str, id: str, generation: int) -> str:
    """
    Return the last part of the place of what a resource makes inside itself.

    >>> own_part("d1", "orders", 1), own_part("d1", "orders", 2)
    ('d1-orders:', 'd1-orders:2')
    """
    return f"{resource_key(kind, id)}:{generation if generation > 1 else ''}"


@dataclass(slots=True)
class Recorded:
    """
    What is recorded of a stage, and how much of it is declared again.

    Attributes:
        lives: What is owned and was recorded by earlier programs, by number.
        kinds: Where its classes can be imported from.
        wishes: What the program was run for.
        program: The classes that it knows itself.
        app: Name of the application.
        needs: What each thing needs as far as is known now, by number.
        declared: Numbers of what the program declared.
        spared: Places in which nothing is destroyed for being undeclared.
        told: Numbers of what is not told to be destroyed, because its replacement or, in a plan, its end was.
        unfinished: Whose update is over once the things with these numbers are gone.
        listener: Is told what is decided and done.
    """

    lives: dict[int, Live]
    kinds: Mapping[str, KindSeen]
    wishes: Wishes
    program: Program
    app: str
    needs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    declared: set[int] = field(default_factory=set)
    spared: set[Place] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    unfinished: list[tuple[LastingEntry, set[int]]] = field(default_factory=list)
    listener: DecisionListener | None = None
    _noted: list[tuple[Step, Owned, Sequence[str]]] = field(default_factory=list)
    _generations: dict[tuple[Place, str, str], list[Live]] = field(default_factory=dict)
    _calls: dict[Place, list[Live]] = field(default_factory=dict)
    _places: set[Place] = field(default_factory=set)
    _around: set[Place] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, live in self.lives.items():
            entry = live.entry
            if entry.path not in self._places:
                around = {entry.path[:length] for length in range(len(entry.path))}
                self._around |= around
                self._places |= {entry.path, *around}
            if isinstance(entry, Intent):
                self.needs[number] = live.needs
                self._generations.setdefault((entry.path, entry.kind, entry.id), []).append(live)
            else:
                self._calls.setdefault(entry.path, []).append(live)
        for generations in self._generations.values():
            if len(generations) > 1:
                generations.sort(key=lambda live: live.entry.generation)  # type: ignore[union-attr]  # intents only

    @property
    def planned(self) -> list[Planned]:
        """What was decided, in order."""
        return [_planned(*noted) for noted in list(self._noted)]

    def note(self, step: Step, thing: Owned, changed: Sequence[str] = ()) -> None:
        """Note what is to be done with *thing*, or of what is destroyed, that it is."""
        if thing.parent is None and thing.seq not in self.told:
            self._tell(step, thing, changed)

    def note_replacement(self, thing: Owned) -> None:
        """Note that *thing*, which was to be updated, is to be replaced instead."""
        if thing.parent is None:
            said = next(noted for noted in reversed(self._noted) if noted[1] is thing)
            self._noted.remove(said)
            self._tell(Step.REPLACE, thing, said[2])

    def done(self, thing: Owned) -> None:
        """Note that what was decided of *thing* is done."""
        if self.listener is not None and thing.parent is None:
            self.listener.done(thing.title, thing.scope.title)

    def _tell(self, step: Step, thing: Owned, changed: Sequence[str]) -> None:
        self._noted.append((step, thing, changed))
        if self.listener is not None:
            self.listener.decided(_planned(step, thing, changed))

    def newest(self, place: Place, kind: str, id: str, *, created: bool = False) -> Live | None:
        """Return the newest generation of a resource; with *created* the newest that is known to exist."""
        generations = self._generations.get((place, kind, id))
        if not generations:
            return None
        if not created:
            return generations[-1]
        return next((live for live in reversed(generations) if live.created), None)

    def generations(self, place: Place, kind: str, id: str) -> list[Live]:
        """Return every generation of a resource, oldest first."""
        return self._generations.get((place, kind, id), [])

    def older(self, entry: LastingEntry) -> list[Live]:
        """Return the recorded generations of a resource that *entry* is to replace, or has replaced already."""
        known = self.generations(entry.scope.place, entry.kind.name, entry.id)
        return [live for live in known if live.entry.seq != entry.seq]

    def shield(self, lives: Iterable[Live]) -> None:
        """Let *lives* and what they made inside themselves be destroyed by no finalization."""
        for live in lives:
            self.declared.add(live.entry.seq)
            self.spared.add(_place_inside(live))

    def unshield(self, lives: Iterable[Live]) -> None:
        """Undo `shield`: what replaces them exists."""
        for live in lives:
            self.declared.discard(live.entry.seq)
            self.spared.discard(_place_inside(live))

    def calls(self, call: Call) -> list[Live]:
        """Return the records of the same deferred call by earlier programs; one may have made it twice."""
        line = call.line()
        said = (line.module, line.function, line.args, line.kwargs)
        return [live for live in self._calls.get(line.path, ()) if _said_of(live) == said]

    def forget(self, number: int) -> None:
        """Note that a thing is gone."""
        self.needs.pop(number, None)
        live = self.lives.pop(number, None)
        if live is None:
            return
        entry = live.entry
        if isinstance(entry, Intent):
            self._generations[entry.path, entry.kind, entry.id].remove(live)
        else:
            self._calls[entry.path].remove(live)

    def inside(self, place: Place) -> Iterator[Live]:
        """Yield what earlier programs recorded in *place* and in every place inside it."""
        depth = len(place)
        return (live for live in list(self.lives.values()) if live.entry.path[:depth] == place)

    def undeclared(self, place: Place, *, spared_from: int = 0) -> dict[int, Live]:
        """
        Return what is recorded in *place* or inside it, neither declared nor spared, by number.

        Args:
            place: Where it is.
            spared_from: How long a place has to be for being spared to count: what is around *place* may be spared for
                no longer than until it has said what is to be inside it.
        """
        depth, declared = len(place), self.declared
        return {
            number: live
            for number, live in list(self.lives.items())
            if number not in declared
            and live.entry.path[:depth] == place
            and not self.is_spared(live.entry.path, spared_from)
        }

    def is_needed_outside(self, place: Place) -> bool:
        """Tell whether anything needs what is recorded in *place* or inside it, and is not there itself."""
        if not self.has_inside(place):
            return False
        inside = {live.entry.seq for live in self.inside(place)}
        needs = dict(self.needs)  # others declare meanwhile
        return any(n not in inside and not inside.isdisjoint(its) for n, its in needs.items())

    def has_inside(self, place: Place) -> bool:
        """Tell whether anything was recorded in *place* or inside it."""
        return place in self._places

    def is_flat(self, place: Place) -> bool:
        """Tell that nothing was recorded deeper inside *place*."""
        return place not in self._around

    def scopes_in(self, place: Place) -> list[str]:
        """Return the names of the nested scopes in *place* in which something is recorded."""
        depth = len(place)
        names = {
            live.entry.path[depth] for live in self.inside(place) if len(live.entry.path) > depth
        }
        return sorted(name for name in names if ":" not in name)

    def is_spared(self, place: Place, shortest: int = 0) -> bool:
        """Tell whether *place* or one around it that is not shorter than *shortest* is spared."""
        return bool(self.spared) and any(
            place[:length] in self.spared for length in range(shortest, len(place) + 1)
        )

    def kind(self, name: str) -> Kind:
        """
        Return the kind called *name*: the program's own, else the one that is recorded.

        Raises:
            KindNotLoadedError: Its class cannot be imported.
        """
        return self.program.kinds.get((self.app, name)) or load_kind(self.kinds[name])


def _planned(step: Step, thing: Owned, changed: Sequence[str]) -> Planned:
    return Planned(step, thing.title, thing.name, thing.scope.title, tuple(changed))


def _said_of(live: Live) -> tuple[Any, ...]:
    entry = live.entry
    assert isinstance(entry, Deferred)
    return entry.module, entry.function, entry.args, entry.kwargs


def _place_inside(live: Live) -> Place:
    entry = live.entry
    assert isinstance(entry, Intent)
    return (*entry.path, own_part(entry.kind, entry.id, entry.generation))
