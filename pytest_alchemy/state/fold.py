"""What a journal amounts to: what is still owned after everything that happened."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from pytest_alchemy.records import (
    Created,
    CreateFailed,
    Deferred,
    Destroyed,
    DestroyFailed,
    Destroying,
    Intent,
    Kept,
    KindSeen,
    Live,
    ProfileChanged,
    Record,
    Updating,
    Vault,
)


class LiveState(msgspec.Struct):
    """
    What a journal amounts to.

    Attributes:
        live: What is still owned, by number, in order of the numbers.
        kinds: Where the classes of the kinds can be imported from.
        kept: Which scopes are kept on purpose, in the order in which they were.
        vault: What its secrets are encrypted with, None if there never was one.
    """

    live: dict[int, Live] = {}
    kinds: dict[str, KindSeen] = {}
    kept: list[Kept] = []
    vault: Vault | None = None


def fold(records: Iterable[Record], before: LiveState | None = None) -> LiveState:
    """
    Return what is still owned after *records*.

    A create that reports back after its resource was destroyed makes it owned again: it may exist after all. A
    line about a number that nothing opened changes nothing. Folding the same records again into what they
    amounted to changes nothing either, be it all of that or the state of only some numbers.

    Args:
        records: What happened, oldest first.
        before: What was owned before them; it is used up.
    """
    state = before or LiveState()
    known: dict[int, Live] = dict(state.live)
    for record in records:
        match record:
            case KindSeen():
                state.kinds[record.kind] = record
            case Kept():
                state.kept.append(record)
            case Vault():
                state.vault = record
            case Intent():
                there = record.adopted is not None
                known[record.seq] = state.live[record.seq] = Live(
                    record,
                    created=there,
                    settled=there,
                    outputs=record.adopted,
                    props=record.props,
                    needs=record.needs,
                    adopting=there,
                )
            case Deferred():
                known[record.seq] = state.live[record.seq] = Live(record, settled=True)
            case ProfileChanged():
                entry = known.get(record.seq)
                if entry is not None and isinstance(entry.entry, Intent):
                    entry.entry = replace(entry.entry, profile=record.profile)
            case _:
                entry = known.get(record.seq)
                if entry is not None:
                    _apply(state, entry, record)
    state.live = {number: state.live[number] for number in sorted(state.live)}
    return state


def _apply(
    state: LiveState,
    entry: Live,
    record: Created | CreateFailed | Updating | Destroying | Destroyed | DestroyFailed,
) -> None:
    match record:
        case Created():
            entry.created = entry.settled = True
            entry.outputs = record.outputs
            entry.adopting = False
            entry.trust()
            if record.props is not None:
                entry.props = record.props
            entry.updating = entry.props if record.goes_on else None
            if record.needs is not None:
                entry.needs = record.needs
            state.live[record.seq] = entry
        case CreateFailed():
            entry.settled = record.settled
            entry.error = record.error
        case Updating():
            entry.updating = record.props
            if record.needs is not None:
                entry.needs = record.needs
        case Destroying():
            entry.destroying = True
        case DestroyFailed():
            entry.destroying = False
            entry.attempts = record.attempts
            entry.error = record.error
        case Destroyed():
            state.live.pop(record.seq, None)
