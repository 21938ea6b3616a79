"""Deferred calls: which may be made, what other processes can make of one, and how a scope owns it."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import msgspec

from pytest_alchemy import clock, records
from pytest_alchemy.entry import CREATED, Entry, facts_of
from pytest_alchemy.turns import Turns
from pytest_alchemy.values import shown_as

if TYPE_CHECKING:
    from pytest_alchemy.scope import Scope


def check_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """
    Make sure that *function* can be deferred with these arguments.

    Raises:
        TypeError: It cannot be called like that.
    """
    if not callable(function):
        raise TypeError(
            f"scope.defer() was given {function!r}, which cannot be called.\n"
            "Pass the function and its arguments: scope.defer(delete_folder, name), not delete_folder(name)."
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"scope.defer(): {name}{signature} cannot be called like that: {error}."
        ) from None


class Call(Turns):
    """
    A deferred call in its scope.

    Attributes:
        importable: True if another process can make the call from the journal.
    """

    __slots__ = (
        "args", "at", "function", "importable", "kwargs", "needed_by", "parent", "recorded", "scope",
        "seq", "status", "test", "where",
    )  # fmt: skip

    parallel = False
    alone = True

    def __init__(
        self,
        scope: Scope,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        where: str,
    ) -> None:
        super().__init__()
        self.scope, self.where = scope, where
        self.function, self.args, self.kwargs = function, args, kwargs
        self.seq = scope.root.next_number()
        self.status = CREATED
        self.recorded = False
        self.at = clock.now()
        self.test = scope.root.program.test
        self.parent: Entry | None = scope.owner
        self.needed_by: set[Entry] | None = None
        self.importable = _home(function) is not None and _is_plain_json(args, kwargs)

    @classmethod
    def recalled(cls, scope: Scope, function: Callable[..., Any], record: records.Deferred) -> Self:
        """Return the call that another process recorded."""
        call = cls.__new__(cls)
        Turns.__init__(call)
        call.scope, call.function, call.seq, call.where = scope, function, record.seq, record.where
        call.args, call.kwargs = tuple(record.args), record.kwargs
        call.status, call.recorded, call.importable = CREATED, True, True
        call.test, call.at, call.parent, call.needed_by = record.test, record.at, scope.owner, None
        return call

    def __repr__(self) -> str:
        return f"<{self.title} {self.status.value}>"

    @property
    def title(self) -> str:
        name = getattr(self.function, "__qualname__", None) or shown_as(self.function)
        return f"deferred {shown_call(name, self.args, self.kwargs)}"

    @property
    def name(self) -> str:
        return self.title

    @property
    def key(self) -> int:
        """What tells it from everything else in its scope."""
        return self.seq

    def provider(self) -> str:
        return "deferred"

    def needed(self) -> Collection[Owned]:
        return ()

    def opened_scope(self) -> Scope | None:
        return None

    def let_go(self) -> None:
        """A call holds nothing."""

    def facts(self) -> dict[str, Any]:
        """Return what a report says of it."""
        call = self.title.removeprefix("deferred ")
        return {**facts_of(self, "deferred", call, ""), "name": call}

    def line(self) -> records.Deferred:
        """Return the record of it; without a module if no other process can make the call."""
        module = self.function.__module__ if self.importable else ""
        file = (_home(self.function) or {}).get("__file__") if self.importable else None
        return records.Deferred(
            seq=self.seq,
            path=self.scope.place,
            module=module,
            file=os.path.abspath(file) if file else "",
            function=self.function.__qualname__ if self.importable else self.title,
            args=list(self.args) if self.importable else [],
            kwargs=self.kwargs if self.importable else {},
            parent=self.parent.seq if self.parent else 0,
            at=self.at,
            where=self.where,
            test=self.test,
        )


Owned = Entry | Call
"""What a scope owns."""


def shown_call(name: str, args: Iterable[object], kwargs: Mapping[str, object]) -> str:
    """Return how messages show a call; a physical name is among its arguments most of the time, and is not cut."""
    given = [*map(shown_as, args), *(f"{key}={shown_as(value)}" for key, value in kwargs.items())]
    shown = ", ".join(given)
    return f"{name}({shown if len(shown) <= 200 else shown[:197] + '...'})"


def _home(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the names of the module that *function* can be imported from; None if no other process could."""
    name = getattr(function, "__qualname__", "")
    if not inspect.isroutine(function) or not name or "<" in name:
        return None
    first, *parts = name.split(".")
    found_by_name: dict[str, Any] = getattr(sys.modules.get(function.__module__), "__dict__", {})
    # The name may stand for another module by now, as with several conftest.py.
    own: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    for names in (found_by_name, own if own.get("__name__") == function.__module__ else {}):
        found = names.get(first)
        for part in parts:
            found = getattr(found, part, None)
        if found == function:
            return names
    return None


def _is_plain_json(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    given = [list(args), kwargs]
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(given)) == given)
    except (TypeError, ValueError, RecursionError):
        return False
