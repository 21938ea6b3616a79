"""
Does a value fit its annotation, and how does it look in a record?

`shape_of` compiles an annotation once; the `Shape` then accepts values (when a resource is made) and revives them
from plain data (when it is read back from a record). Resources and environment variables inside a value are ours to
understand; everything else is left to msgspec.
"""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import os
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import msgspec

# Types that a caller has to pass as such, although plain data could be converted to them.
_EXACT = (
    bytes,
    bytearray,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    decimal.Decimal,
)


class Mismatch(Exception):
    """A value that does not fit; *path* leads to the place inside it (``['DB'][0]``)."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason


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


Resolve = Callable[[dict[str, Any]], Any]
"""Turns a recorded reference back into a resource."""


class Shape:
    """A compiled annotation; this one fits any value."""

    def accept(self, value: Any, path: str) -> Any:
        """Return *value*, possibly copied; raise `Mismatch` if it does not fit."""
        return value

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        """Return the value that was recorded as *data*."""
        return _revive_any(data, resolve)


class _Instance(Shape):
    """Exactly an instance of some classes (resources, `Env`, plain scalars)."""

    def __init__(self, kind: type, name: str | None = None) -> None:
        self.kind, self.name = kind, name or kind.__name__

    def accept(self, value: Any, path: str) -> Any:
        if isinstance(value, self.kind) and (self.kind is bool or type(value) is not bool):
            return value
        raise Mismatch(path, f"has to be {self.name}, not {_describe(value)}")

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        return self.accept(_revive_any(data, resolve), path)


class _Float(_Instance):
    """A float; an int will do."""

    def __init__(self) -> None:
        super().__init__(float)

    def accept(self, value: Any, path: str) -> Any:
        return float(value) if type(value) is int else super().accept(value, path)


class _Path(_Instance):
    """A `pathlib` path, recorded as text."""

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        if not isinstance(data, str):
            raise Mismatch(path, f"has to be {self.name}, not {_describe(data)}")
        return self.kind(data)


class _Union(Shape):
    def __init__(self, options: list[Shape], name: str) -> None:
        self.options, self.name = options, name

    def accept(self, value: Any, path: str) -> Any:
        return self._first(lambda option: option.accept(value, path), value, path)

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        return self._first(lambda option: option.revive(data, path, resolve), data, path)

    def _first(self, attempt: Callable[[Shape], Any], value: Any, path: str) -> Any:
        deeper: Mismatch | None = None
        for option in self.options:
            try:
                return attempt(option)
            except Mismatch as mismatch:
                if mismatch.path != path:
                    deeper = mismatch
        raise deeper or Mismatch(path, f"has to be {self.name}, not {_describe(value)}")


class _Items(Shape):
    """A list, tuple or set whose items have one shape."""

    def __init__(
        self, made: Callable[[Any], Any], takes: tuple[type, ...], item: Shape, name: str
    ) -> None:
        self.made, self.takes, self.item, self.name = made, takes, item, name

    def accept(self, value: Any, path: str) -> Any:
        if not isinstance(value, self.takes):
            raise Mismatch(path, f"has to be {self.name}, not {_describe(value)}")
        return self.made(self.item.accept(item, f"{path}[{n}]") for n, item in enumerate(value))

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        if not isinstance(data, list):
            raise Mismatch(path, f"has to be {self.name}, not {_describe(data)}")
        return self.made(self.item.revive(x, f"{path}[{n}]", resolve) for n, x in enumerate(data))


class _Tuple(Shape):
    """A tuple with a shape for each place."""

    def __init__(self, places: list[Shape], name: str) -> None:
        self.places, self.name = places, name

    def accept(self, value: Any, path: str) -> Any:
        self._check(value, tuple, path)
        return tuple(
            s.accept(v, f"{path}[{n}]")
            for n, (s, v) in enumerate(zip(self.places, value, strict=True))
        )

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        self._check(data, list, path)
        pairs = enumerate(zip(self.places, data, strict=True))
        return tuple(s.revive(v, f"{path}[{n}]", resolve) for n, (s, v) in pairs)

    def _check(self, value: Any, kind: type, path: str) -> None:
        if not isinstance(value, kind) or len(value) != len(self.places):  # type: ignore[arg-type]  # kind is sized
            raise Mismatch(path, f"has to be {self.name}, not {_describe(value)}")


class _Mapping(Shape):
    """A dict with text keys (JSON has no other) and values of one shape."""

    def __init__(self, item: Shape, name: str) -> None:
        self.item, self.name = item, name

    def accept(self, value: Any, path: str) -> Any:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise Mismatch(path, f"has to be {self.name}, not {_describe(value)}")
        return {key: self.item.accept(item, f"{path}[{key!r}]") for key, item in value.items()}

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        data = _unescape(data)
        if not isinstance(data, dict):
            raise Mismatch(path, f"has to be {self.name}, not {_describe(data)}")
        return {k: self.item.revive(v, f"{path}[{k!r}]", resolve) for k, v in data.items()}


class _Codec(Shape):
    """Anything that msgspec knows how to check: dataclasses, typed dicts, literals, enums, dates."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def accept(self, value: Any, path: str) -> Any:
        annotation = self.annotation
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return _Instance(annotation).accept(value, path)
        try:
            return msgspec.convert(value, annotation, builtin_types=_EXACT, from_attributes=True)
        except msgspec.ValidationError as error:
            raise _mismatch(error, path) from None

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        try:
            return msgspec.convert(_unescape(data), self.annotation)
        except msgspec.ValidationError as error:
            raise _mismatch(error, path) from None


def shape_of(annotation: Any) -> Shape:
    """
    Return the shape of *annotation*.

    Raises:
        TypeError: No value of that type can be recorded.
    """
    if annotation is Any or annotation is object:
        return Shape()
    if annotation is None or annotation is type(None):
        return _Instance(type(None), "None")
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _Union([shape_of(arg) for arg in typing.get_args(annotation)], _name(annotation))
    if origin is not None and (container := _container(origin, annotation)):
        return container
    if isinstance(annotation, type):
        return _shape_of_class(annotation)
    _refuse_unsupported(annotation)
    return _Codec(annotation)


def plain(value: Any) -> Any:
    """
    Return *value* as plain data for a record.

    Raises:
        TypeError: Something in it cannot be recorded.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or kind is float or value is None:
        return value
    if isinstance(value, Env):
        return {"$env": value.variable}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        data = {key: plain(item) for key, item in value.items()}
        return {"$dict": data} if len(data) == 1 and next(iter(data)).startswith("$") else data
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    if hasattr(kind, "__alchemy_ref__"):
        return {"$ref": value.__alchemy_ref__()}
    return msgspec.to_builtins(value)


def referred(value: Any, found: list[Any]) -> None:
    """Append every resource that stands anywhere inside *value* to *found*."""
    if isinstance(value, str | int | float | None):
        return
    if hasattr(type(value), "__alchemy_ref__"):
        found.append(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            referred(item, found)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            referred(item, found)


def _container(origin: Any, annotation: Any) -> Shape | None:
    args, name = typing.get_args(annotation), _name(annotation)
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        return _Tuple([shape_of(arg) for arg in args], name)
    if origin in (
        list,
        collections.abc.Sequence,
        collections.abc.Iterable,
        collections.abc.Collection,
    ):
        return _Items(list, (list, tuple), shape_of(args[0]), name)
    if origin is tuple:
        return _Items(tuple, (tuple, list), shape_of(args[0]), name)
    if origin in (set, frozenset, collections.abc.Set):
        made = frozenset if origin is frozenset else set
        return _Items(made, (set, frozenset), shape_of(args[0]), name)
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        if args[0] is not str:
            raise TypeError(f"{name}: keys of a recorded dict have to be str")
        return _Mapping(shape_of(args[1]), name)
    return None


def _shape_of_class(annotation: type) -> Shape:
    if annotation in (str, int, bool):
        return _Instance(annotation)
    if annotation is float:
        return _Float()
    if annotation in (list, tuple, set, frozenset):
        takes = (list, tuple) if annotation in (list, tuple) else (set, frozenset)
        return _Items(annotation, takes, Shape(), annotation.__name__)
    if annotation is dict:
        return _Mapping(Shape(), "dict")
    if issubclass(annotation, PurePath):
        return _Path(annotation)
    if annotation is Env or hasattr(annotation, "__alchemy_ref__"):
        return _Instance(annotation)
    _refuse_unsupported(annotation)
    return _Codec(annotation)


def _refuse_unsupported(annotation: Any) -> None:
    info = msgspec.inspect.type_info(annotation)
    if isinstance(info, msgspec.inspect.CustomType):
        raise TypeError(f"a value of type {_name(annotation)} cannot be recorded")


def _revive_any(data: Any, resolve: Resolve) -> Any:
    if isinstance(data, list):
        return [_revive_any(item, resolve) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        if "$ref" in data:
            return resolve(data["$ref"])
        if "$env" in data:
            return Env(data["$env"])
    return {key: _revive_any(item, resolve) for key, item in _unescape(data).items()}


def _unescape(data: Any) -> Any:
    return data["$dict"] if isinstance(data, dict) and len(data) == 1 and "$dict" in data else data


def _mismatch(error: msgspec.ValidationError, path: str) -> Mismatch:
    text, _, where = str(error).partition(" - at `$")
    reason = text.replace("`", "").replace("Expected ", "has to be ").replace(", got ", ", not ")
    return Mismatch(path + where.rstrip("`"), reason[0].lower() + reason[1:])


def _name(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _describe(value: Any) -> str:
    text = repr(value)
    shown = text if len(text) <= 40 else text[:37] + "..."
    return f"{type(value).__name__} ({shown})"


__all__ = ["Env", "Mismatch", "Shape", "plain", "referred", "shape_of"]
