"""Declared against recorded: what is to be done with a resource, and what is declared no longer. Calls nothing."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_alchemy.values import same

Place = tuple[str, ...]


class Step(enum.Enum):
    """What is to be done with a declared resource."""

    CREATE = "create"
    ADOPT = "adopt"
    KEEP = "keep"
    UPDATE = "update"
    REPLACE = "replace"
    REMAKE = "remake"  # a create of it failed or was cut off: what there is of it goes first
    DESTROY = "destroy"


def changed(
    recorded: Mapping[str, Any], declared: Mapping[str, Any], default_of: Callable[[str], Any]
) -> list[str]:
    """
    Return the properties in which *declared* differs from *recorded*, both as plain data.

    A property that the class did not have yet when the record was written counts as changed only if it is given
    another value than its default; one that the class has no longer does not count.

    >>> changed({"a": 1, "gone": 2}, {"a": 1, "new": None}, lambda name: None)
    []
    """
    return [
        name
        for name, value in declared.items()
        if not same(recorded[name] if name in recorded else default_of(name), value)
    ]


def decide(
    *, exists: bool, differs: bool, half_changed: bool, can_update: bool, force: bool
) -> Step:
    """
    Return what is to be done with a resource that is recorded and declared.

    Args:
        exists: Its create is known to have succeeded.
        differs: It is declared with other properties than were last applied.
        half_changed: An update of it did not report back.
        can_update: Its kind has an ``update``.
        force: Whether to update also what has not changed.

    >>> decide(exists=True, differs=True, half_changed=False, can_update=False, force=False)
    <Step.REPLACE: 'replace'>
    """
    if not exists:
        return Step.REMAKE
    if can_update and (differs or half_changed or force):
        return Step.UPDATE
    return Step.REPLACE if differs else Step.KEEP


def undeclared(candidates: Iterable[int], needs: Mapping[int, Iterable[int]]) -> set[int]:
    """
    Return which of *candidates* nothing else needs: they may be destroyed now.

    Args:
        candidates: Numbers of what is declared no longer.
        needs: What each thing that exists needs, candidates and others, by number.

    >>> sorted(undeclared([1, 2, 3], {2: [1], 4: [2]}))  # 4 is declared, and needs 2, which needs 1
    [3]
    """
    free = set(candidates)
    waiting = [need for number, its in needs.items() if number not in free for need in its]
    while waiting:
        number = waiting.pop()
        if number in free:
            free.remove(number)
            waiting += needs.get(number, ())
    return free
