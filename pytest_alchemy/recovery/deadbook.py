"""What was recorded in a dead stage under one numbering, made into things that this process can destroy."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pytest_alchemy.deferred import Call, Owned
from pytest_alchemy.entry import Entry
from pytest_alchemy.errors import OtherWorldError
from pytest_alchemy.kinds import Kind
from pytest_alchemy.loading import load_function, load_kind
from pytest_alchemy.names import resource_key
from pytest_alchemy.programs.recorded import LastingEntry
from pytest_alchemy.records import Deferred, Intent, Live
from pytest_alchemy.recovery.finding import recorded_facts
from pytest_alchemy.recovery.footing import present
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import is_in_account
from pytest_alchemy.stage import Stage
from pytest_alchemy.state.stagestate import Book


@dataclass(slots=True)
class DeadBook:
    """
    What was recorded under one numbering, and the stage as it was then.

    Attributes:
        said: What was recorded.
        stage: The stage.
        folder: The stage's folder.
        referred: What was recalled so far of the whole dead stage, by what tells it apart: books share one.
        things: What was recalled of this one, by number.
        kept: Until when something is kept, by number.
    """

    said: Book
    stage: Stage
    folder: Path
    referred: dict[tuple[object, ...], Resource]
    things: dict[int, Owned] = field(default_factory=dict)
    kept: dict[int, float] = field(default_factory=dict)
    _scopes: dict[tuple[str, ...], Scope] = field(default_factory=dict)

    def recall(self, live: Live) -> Owned:
        """
        Return what *live* records, as a thing of this process; what it needs was recalled before, as `in_order` has it.

        Raises:
            KindNotLoadedError: Its class or function cannot be imported.
            InvalidPropertyError: Its record does not fit its class as it is now.
            SecretUnreadableError, NoPasswordError, WrongPasswordError: A secret in it cannot be opened.
            OtherWorldError: The account, server or endpoint at hand is not the one it was made in.
            Exception: What its `world` raised.
        """
        said = live.entry
        thing = self._call(said) if isinstance(said, Deferred) else self._resource(live, said)
        self.things[thing.seq] = thing
        return thing

    def connect(self) -> None:
        """Tell the resources what they need, once all of them are there."""
        for number, entry in self.things.items():
            if isinstance(entry, Entry):
                needs = (self.things.get(need) for need in self.said.live[number].needs)
                recorded = [each for each in needs if isinstance(each, Entry)]
                # What another process of the same stage made has no number here.
                entry.needs = tuple(dict.fromkeys([*recorded, *Entry.needs_of(entry.resource)]))

    def facts_of(self, record: Intent | Deferred) -> dict[str, Any]:
        """Return what a report says of something that was not recalled."""
        seen = self.said.kinds.get(record.kind) if isinstance(record, Intent) else None
        return recorded_facts(self.said.header, seen, record)

    def died_with_its_account(self, record: Intent | Deferred) -> bool:
        """Tell whether the fake account that a resource lived in is gone, and everything in it."""
        account = self.stage.settings.fake_account
        if not isinstance(record, Intent) or account is None:
            return False
        seen = self.said.kinds.get(record.kind)
        ours = seen is not None and is_in_account(seen.module, record.world)
        return ours and not Path(account).exists()

    def _call(self, record: Deferred) -> Call:
        scope = self._scope_at(record.path)
        here = replace(record, file=present(record.file, self.said.header, self.folder))
        call = Call.recalled(scope, load_function(here), record)
        scope.owned[call.seq] = call
        return call

    def _resource(self, live: Live, intent: Intent) -> Entry:
        seen, header = self.said.kinds[intent.kind], self.said.header
        kind = load_kind(replace(seen, file=present(seen.file, header, self.folder)))
        # Of what outlives its programs the class may have changed since.
        again = kind.revive if header.ephemeral else kind.recall
        props = self._opened(intent, live.props)
        resource = again(
            intent.id,
            props,
            self._opened(intent, live.outputs or {}),
            self._resolve,
        )
        scope = self._scope_at(intent.path)
        entry = LastingEntry.of(scope, kind, resource, live)
        entry.props = props
        entry.end()
        _check_world(kind, resource, intent)
        entry.replaced = entry.key in scope.owned  # there are two generations of it
        scope.owned[entry.key] = entry
        self.referred.setdefault(_told_apart(entry.reference()), resource)
        return entry

    def _opened(self, intent: Intent, data: dict[str, Any]) -> dict[str, Any]:
        """Return *data* with its secrets as values."""
        key = resource_key(intent.kind, intent.id)
        return self.stage.sealer.unseal(intent.path, key, data)

    def _resolve(self, reference: dict[str, Any]) -> Resource:
        # The KeyError of what is not there is a LookupError.
        return self.referred[_told_apart(reference)]

    def _scope_at(self, place: tuple[str, ...]) -> Scope:
        """Return the scope at *place*, made if need be, inside the entries and scopes around it."""
        if place not in self._scopes:
            parent = self._scope_at(place[:-1]) if place else None
            last = place[-1] if place else ""
            owner = parent.owner_of(last) if parent else None
            if owner is not None:
                self._scopes[place] = owner.own_scope()
            else:
                name = last.strip(":")
                self._scopes[place] = Scope(self.stage, parent=parent, name=name, place=place)
        return self._scopes[place]


def in_order(books: Iterable[DeadBook]) -> Iterator[tuple[DeadBook, Live]]:
    """Yield what is recorded in *books*, what a thing refers to before it; of several books the oldest first."""
    told = (zip(repeat(book), _needed_first(book.said.live)) for book in books)  # one has no end
    return heapq.merge(*told, key=lambda each: each[1].entry.at)


def _needed_first(live: dict[int, Live]) -> Iterator[Live]:
    """Yield what is recorded in the order of its numbers, but what a thing needs or is made inside before it."""
    entered: set[int] = set()
    yielded: set[int] = set()
    for first in live:
        path = [first]
        while path:
            number = path[-1]
            if number not in entered:
                entered.add(number)
                wanted = (live[number].entry.parent, *live[number].needs)
                path += [other for other in wanted if other in live and other not in entered]
            else:
                path.pop()
                if number not in yielded:
                    yielded.add(number)
                    yield live[number]


def _told_apart(reference: dict[str, Any]) -> tuple[object, ...]:
    """Return what tells the resource of *reference* from all others, as the key of a dict."""
    path = tuple(reference["path"])
    return reference["app"], reference["stage"], path, reference["key"], reference["name"]


def _check_world(kind: Kind, resource: Resource, intent: Intent) -> None:
    here = resource.world() if "world" in kind.hooks else ""
    if here != intent.world:
        raise OtherWorldError(f"{kind.title} {intent.id!r}", intent.world, here)
