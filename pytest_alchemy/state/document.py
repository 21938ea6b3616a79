"""What the document of a scope says of the things that it owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from pytest_alchemy import clock
from pytest_alchemy.errors import StateFileError
from pytest_alchemy.names import resource_key
from pytest_alchemy.records import Deferred, Intent, KindSeen, Live
from pytest_alchemy.store import Place, Versioned


class _Thing(msgspec.Struct, kw_only=True, gc=False):
    """
    What is said of a resource or a call; the meaning is that of `Live` and of its record.

    Attributes:
        journal: What its number belongs to (`StageOpened.lineage`).
        number: Its number there.
        created_at: Moment of its record, in ISO format, to the microsecond.
    """

    journal: str
    number: int
    created_at: str
    created: bool = False
    settled: bool = True
    outputs: dict[str, Any] | None = None
    props: dict[str, Any] = {}
    needs: tuple[int, ...] = ()
    updating: dict[str, Any] | None = None
    adopting: bool = False
    destroying: bool = False
    attempts: int = 0
    error: str = ""
    parent: int = 0
    where: str = ""
    test: str = ""


class _Resource(_Thing, kw_only=True, gc=False):
    type: str
    id: str
    name: str
    kind: str
    world: str
    generation: int = 1
    profile: str = ""

    def record(self, place: Place) -> Intent:
        return Intent(
            seq=self.number,
            path=place,
            kind=self.kind,
            id=self.id,
            name=self.name,
            world=self.world,
            props=self.props,
            needs=self.needs,
            parent=self.parent,
            at=_seconds(self.created_at),
            where=self.where,
            test=self.test,
            generation=self.generation,
            profile=self.profile,
        )


class _Call(_Thing, kw_only=True, gc=False):
    module: str
    file: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]

    def record(self, place: Place) -> Deferred:
        return Deferred(
            seq=self.number,
            path=place,
            module=self.module,
            file=self.file,
            function=self.function,
            args=self.args,
            kwargs=self.kwargs,
            parent=self.parent,
            at=_seconds(self.created_at),
            where=self.where,
            test=self.test,
        )


_GROUPS: Mapping[str, type[_Resource | _Call]] = {"resources": _Resource, "deferred": _Call}
_KNOWN = {group: frozenset(shape.__struct_fields__) for group, shape in _GROUPS.items()}


class Sheet:
    """
    The document of one scope while it is written anew.

    Args:
        before: Its document so far; what else stands in it is kept.
    """

    def __init__(self, before: dict[str, Any]) -> None:
        self._more = _strangers(before)
        self._things: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in _GROUPS}

    def put(self, lineage: str, live: Live, seen: KindSeen | None) -> None:
        """Say what is known of *live*, whose number belongs to *lineage* and whose class is *seen*."""
        entry = live.entry
        if isinstance(entry, Intent):
            group, key = "resources", resource_key(entry.kind, entry.id)
        else:
            group, key = "deferred", str(entry.seq)
        while key in self._things[group]:  # one that another process could not create, say
            key += "#"
        said = _said(lineage, live, seen)
        if self._more:
            said = {**self._more.get((group, lineage, entry.seq), {}), **said}
        self._things[group][key] = said

    def groups(self) -> dict[str, dict[str, Any]]:
        """Return ``resources``, and the other groups that have something in them."""
        return {
            name: things for name, things in self._things.items() if things or name == "resources"
        }


def things_in(read: Versioned, place: Place) -> Iterator[tuple[str, Live]]:
    """
    Yield what the document of the scope at *place* says is owned, with what its number belongs to.

    Raises:
        StateFileError: It says something else.
    """
    for group, shape in _GROUPS.items():
        things = read.document.get(group, {})
        if not isinstance(things, dict):
            raise StateFileError(read.source, f"{group!r} is no JSON object")
        for key, said in things.items():
            try:
                thing = msgspec.convert(said, shape)
                record = thing.record(place)
            except (msgspec.ValidationError, ValueError) as error:
                raise StateFileError(read.source, f"{key!r}: {error}") from error
            yield (
                thing.journal,
                Live(
                    record,
                    created=thing.created,
                    settled=thing.settled,
                    outputs=thing.outputs,
                    props=thing.props,
                    needs=thing.needs,
                    updating=thing.updating,
                    adopting=thing.adopting,
                    destroying=thing.destroying,
                    attempts=thing.attempts,
                    error=thing.error,
                ),
            )


def normal(live: Live) -> Live:
    """Return *live* as it comes back from a document: instants to the microsecond, the rest as last recorded."""
    entry = live.entry
    at = round(entry.at, 6)
    if isinstance(entry, Intent):
        same_props = entry.props is live.props and entry.adopted is None
        if at != entry.at or not same_props or entry.needs != live.needs:
            live.entry = msgspec.structs.replace(
                entry, at=at, props=live.props, needs=live.needs, adopted=None
            )
    elif at != entry.at:
        live.entry = msgspec.structs.replace(entry, at=at)
    return live


def text_of(seconds: float) -> str:
    """Return a moment as documents say it: ``2026-11-23T14:03:22.250000+00:00``."""
    return clock.instant(seconds).isoformat()


def moment_in(read: Versioned, field: str) -> float:
    """
    Return the moment that a document tells in *field*.

    Raises:
        StateFileError: It is none.
    """
    try:
        return _seconds(read.document[field])
    except (TypeError, ValueError) as error:
        found = read.document[field]
        raise StateFileError(read.source, f"{field!r} is no moment: {found!r}") from error


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _said(lineage: str, live: Live, seen: KindSeen | None) -> dict[str, Any]:
    """Return what a document says of *live*: what is in `_Resource` or `_Call`, but for what goes without saying."""
    entry = live.entry
    said: dict[str, Any] = {
        "journal": lineage,
        "number": entry.seq,
        "created_at": text_of(entry.at),
    }
    if isinstance(entry, Intent):
        said["type"] = seen.qualname.rpartition(".")[2] if seen else entry.kind
        said |= {"id": entry.id, "name": entry.name, "kind": entry.kind, "world": entry.world}
        said |= {"generation": entry.generation} if entry.generation > 1 else {}
        said |= {"profile": entry.profile} if entry.profile else {}
    else:
        said |= {"module": entry.module, "file": entry.file, "function": entry.function}
        said |= {"args": entry.args, "kwargs": entry.kwargs}
    if live.needs:
        said["needs"] = list(live.needs)
    if live.outputs is not None:
        said["outputs"] = live.outputs
    if live.updating is not None:
        said["updating"] = live.updating
    if not live.settled:
        said["settled"] = False
    for name in ("created", "adopting", "destroying", "attempts", "error", "props"):
        if value := getattr(live, name):
            said[name] = value
    for name in ("parent", "where", "test"):
        if value := getattr(entry, name):
            said[name] = value
    return said


def _strangers(document: dict[str, Any]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return what *document* says of its things beyond what is known here, by group, journal and number."""
    found = {}
    for group, known in _KNOWN.items():
        for said in document.get(group, {}).values():
            more = {name: value for name, value in said.items() if name not in known}
            if more:
                found[group, said["journal"], said["number"]] = more
    return found
