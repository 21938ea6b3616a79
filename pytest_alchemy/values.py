"""
How a value looks in a record.

Records are plain data. What has a meaning of its own is a dict with one key: ``{"$env": variable}``,
``{"$secret": encrypted text}``, ``{"$ref": reference to a resource}``; a dict of the author's that looks like one is
wrapped as ``{"$dict": ...}``. A secret stays what it is, a `Secret`, until it is recorded.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

from pytest_alchemy.secret import Secret

SCALARS: Final = frozenset({str, int, bool, type(None)})
"""Types whose values are their own record, and in which nothing else stands."""

_SEVERAL: Final = (list, tuple, set, frozenset)

Resolve = Callable[[dict[str, Any]], Any]
"""Turns a recorded reference back into a resource."""


class Env:
    """
    A value that is looked up in the environment when it is needed.

    The variable's name is recorded, never its value, so whoever destroys the resource resolves it again.
    """

    __slots__ = ("variable",)

    def __init__(self, variable: str) -> None:
        if not isinstance(variable, str) or not variable or "=" in variable or "\0" in variable:
            raise ValueError(f"{variable!r} is not the name of an environment variable")
        self.variable = variable

    @property
    def value(self) -> str:
        """
        The variable's value now.

        Raises:
            LookupError: The variable is not set.
        """
        try:
            return os.environ[self.variable]
        except KeyError:
            raise LookupError(
                f"The environment variable {self.variable} is not set, but a resource needs it.\n"
                "Set it where the tests run and wherever what they leave is cleaned up."
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Env) and other.variable == self.variable

    def __hash__(self) -> int:
        return hash((Env, self.variable))

    def __repr__(self) -> str:
        return f"env({self.variable!r})"


def plain(value: Any) -> Any:
    """
    Return *value* as plain data for a record.

    Raises:
        TypeError: Something in it cannot be recorded.
    """
    kind = type(value)
    if kind in SCALARS:
        return value
    if kind is list:
        return [item if type(item) in SCALARS else plain(item) for item in value]
    if isinstance(value, _SEVERAL):
        items = [plain(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    if hasattr(kind, "__alchemy_ref__"):
        return {"$ref": value.__alchemy_ref__()}
    if kind is float:
        return _finite(value)
    if isinstance(value, Env):
        return {"$env": value.variable}
    if isinstance(value, Secret):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return _plain_dict(value.items())
    return _plain_other(value)


def same(one: Any, other: Any) -> bool:
    """
    Tell whether two pieces of plain data say the same; unlike in Python, a flag is no number.

    >>> same([1, {"a": True}], [1, {"a": 1}]), same(1, 1.0)
    (False, True)
    """
    return one == other and _alike(one, other)


def says(data: Any, value: Any) -> bool:
    """
    Tell whether plain *data* says the same as `plain` would of *value*; sooner than both do.

    Raises:
        TypeError: Something in the value cannot be recorded.
    """
    kind = type(value)
    if kind in SCALARS:
        return data is value or (data == value and (type(data) is bool) is (kind is bool))
    if kind is list:
        return type(data) is list and len(data) == len(value) and all(map(says, data, value))
    if hasattr(kind, "__alchemy_ref__"):
        return bool(data == {"$ref": value.__alchemy_ref__()})  # text alone
    return same(data, plain(value))


def _alike(one: Any, other: Any) -> bool:
    """Tell whether equal pieces of plain data have their flags in the same places."""
    kind = one.__class__
    if kind is dict:
        for name, value in one.items():
            its = other[name]
            if value is not its and value.__class__ is not str and not _alike(value, its):
                return False
    elif kind is list:
        for value, its in zip(one, other, strict=True):
            if value.__class__ is not str and not _alike(value, its):
                return False
    return (kind is bool) is (other.__class__ is bool)


def referred(value: Any, found: list[Any]) -> None:
    """Append every resource that stands anywhere inside *value* to *found*."""
    kind = type(value)
    if kind in SCALARS:
        return
    if isinstance(value, _SEVERAL):
        for item in value:
            referred(item, found)
    elif hasattr(kind, "__alchemy_ref__"):
        found.append(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            referred(item, found)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            referred(getattr(value, field.name), found)


def holds_password(value: Any) -> bool:
    """Tell whether a text ``...://user:password@...`` stands anywhere inside *value*, not in what it refers to."""
    kind = type(value)
    if kind is str:
        user, at, _ = value.partition("://")[2].partition("/")[0].rpartition("@")
        return bool(at and user.partition(":")[2])
    if kind in SCALARS or hasattr(kind, "__alchemy_ref__"):
        return False
    if isinstance(value, _SEVERAL):
        return any(map(holds_password, value))
    if isinstance(value, Mapping):
        return any(map(holds_password, value.values()))
    return dataclasses.is_dataclass(value) and any(
        holds_password(getattr(value, field.name)) for field in dataclasses.fields(value)
    )


def shown_as(value: object) -> str:
    """Return how messages show *value*: its repr, or its type if that has no repr that works."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def variables(data: Any) -> Iterator[str]:
    """Yield the environment variables that recorded *data* refers to."""
    if isinstance(data, dict):
        if len(data) == 1 and "$env" in data:
            yield data["$env"]
        else:
            for item in data.values():
                if item.__class__ not in SCALARS:
                    yield from variables(item)
    elif isinstance(data, list):
        for item in data:
            yield from variables(item)


def holds_secrets(data: Any) -> bool:
    """Tell whether a secret, sealed or not, stands anywhere in plain *data*."""
    if isinstance(data, dict):
        if len(data) == 1:
            if "$secret" in data:
                return True
            data = unescape(data)
        return any(holds_secrets(item) for item in data.values())
    if isinstance(data, list):
        return any(holds_secrets(item) for item in data)
    return isinstance(data, Secret)


def map_secrets(data: Any, change: Callable[[Any], Any]) -> Any:
    """Return plain *data* with every secret in it, sealed or not, as *change* has it."""
    if isinstance(data, list):
        return [map_secrets(item, change) for item in data]
    if isinstance(data, Secret):
        return change(data)
    if not isinstance(data, dict):
        return data
    if len(data) == 1 and "$secret" in data:
        return change(data)
    inside = unescape(data)
    found = {key: map_secrets(item, change) for key, item in inside.items()}
    return found if inside is data else {"$dict": found}


def revive(data: Any, resolve: Resolve) -> Any:
    """Return what was recorded as *data*, as far as that can be told without its annotation."""
    if isinstance(data, list):
        return [revive(item, resolve) for item in data]
    if not isinstance(data, dict):
        return data
    if "$ref" in data and len(data) == 1:
        return resolve(data["$ref"])
    if "$env" in data and len(data) == 1:
        return Env(data["$env"])
    return {key: revive(item, resolve) for key, item in unescape(data).items()}


def unescape(data: Any) -> Any:
    """Return the author's dict that was recorded as *data*; anything else as it is."""
    return data["$dict"] if is_special(data) and "$dict" in data else data


def is_special(data: Any) -> bool:
    """Whether *data* is a dict of ours, which has a meaning of its own."""
    return isinstance(data, dict) and len(data) == 1 and next(iter(data)).startswith("$")


def _plain_other(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _plain_dict((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, enum.Enum):
        return plain(value.value)
    for scalar in (str, int, float):
        if isinstance(value, scalar):  # a subclass of the author's
            return plain(scalar(value))
    found = msgspec.to_builtins(value)
    return found if isinstance(found, str) else plain(found)


def _plain_dict(items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    data = {}
    for key, item in items:
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} of a dict is not text")
        data[str(key)] = plain(item)
    return {"$dict": data} if is_special(data) else data


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise TypeError(f"{number} is no number that a record can hold")
    return number
