"""
Shapes of values: which values fit one, and how they come back from a record.

A `Shape` accepts values (when a resource is made) and revives them from plain data (when it is read back from a
record). Resources and environment variables inside a value are ours to understand; everything else is left to msgspec.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import typing
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import msgspec

from pytest_alchemy.values import SCALARS, Resolve, is_special, plain, revive, unescape

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
    """
    A value that does not fit.

    Attributes:
        path: The way to the place inside it (``['DB'][0]``).
        reason: Why it does not fit.
        discreet: The same without showing anything of the value.
        found: Name of the value's type, empty if that is not the reason.
    """

    def __init__(self, path: str, reason: str, discreet: str = "", found: str = "") -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason
        self.discreet, self.found = discreet or reason, found

    def within(self, path: str, place: str) -> Mismatch:
        """Return the mismatch with *place*, where in the value at *path* it was found."""
        inside = self.path[len(path) :]
        return Mismatch(f"{path}{place}{inside}", self.reason, self.discreet, self.found)

    @classmethod
    def of(cls, path: str, expected: str, value: Any) -> Self:
        """Return the mismatch of *value* with what was *expected* instead."""
        found = type(value).__name__
        discreet = f"has to be {expected}, not {found}"
        text = repr(value)
        shown = text if len(text) <= 40 else text[:37] + "..."
        return cls(path, f"{discreet} ({shown})", discreet, found)


class Shape:
    """A compiled annotation; this one fits any value."""

    def accept(self, value: Any, path: str) -> Any:
        """Return *value*, possibly copied; raise `Mismatch` if it does not fit."""
        return value

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        """Return the value that was recorded as *data*."""
        return revive(data, resolve)

    def inside(self) -> Iterable[Shape]:
        """Return the shapes of what a value is made of."""
        return ()


class Instance(Shape):
    """Exactly an instance of some classes (resources, `Env`, plain scalars)."""

    def __init__(self, kind: type, name: str | None = None) -> None:
        self.kind, self.name = kind, name or kind.__name__

    def accept(self, value: Any, path: str) -> Any:
        if type(value) is self.kind:
            return value
        if isinstance(value, self.kind) and (self.kind is bool or type(value) is not bool):
            return value
        raise Mismatch.of(path, self.name, value)

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        return self.accept(data if type(data) in SCALARS else revive(data, resolve), path)


class Float(Instance):
    """A float; an int will do."""

    def __init__(self) -> None:
        super().__init__(float)

    def accept(self, value: Any, path: str) -> Any:
        return float(value) if type(value) is int else super().accept(value, path)


class Path(Instance):
    """A `pathlib` path, recorded as text."""

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        if not isinstance(data, str):
            raise Mismatch.of(path, self.name, data)
        return self.kind(data)


class Union(Shape):
    """Any of some shapes."""

    def __init__(self, options: list[Shape], name: str) -> None:
        self.options, self.name = options, name

    def inside(self) -> Iterable[Shape]:
        return self.options

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
        raise deeper or Mismatch.of(path, self.name, value)


class Items(Shape):
    """A list, tuple or set whose items have one shape."""

    def __init__(
        self, made: Callable[[Any], Any], takes: tuple[type[Any], ...], item: Shape, name: str
    ) -> None:
        self.made, self.takes, self.item, self.name = made, takes, item, name

    def inside(self) -> Iterable[Shape]:
        return (self.item,)

    def accept(self, value: Any, path: str) -> Any:
        if not isinstance(value, self.takes):
            raise Mismatch.of(path, self.name, value)
        accept, items = self.item.accept, []
        try:
            for item in value:
                items.append(accept(item, path))  # noqa: PERF401  # how far it came is needed below
        except Mismatch as mismatch:  # the way to it is put together only now
            raise mismatch.within(path, f"[{len(items)}]") from None
        return self.made(items)

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        if not isinstance(data, list):
            raise Mismatch.of(path, self.name, data)
        items: list[Any] = data
        return self.made(self.item.revive(x, f"{path}[{n}]", resolve) for n, x in enumerate(items))


class Tuple(Shape):
    """A tuple with a shape for each place."""

    def __init__(self, places: list[Shape], name: str) -> None:
        self.places, self.name = places, name

    def inside(self) -> Iterable[Shape]:
        return self.places

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
            raise Mismatch.of(path, self.name, value)


class Mapping(Shape):
    """A dict with text keys (JSON has no other) and values of one shape."""

    def __init__(self, item: Shape, name: str) -> None:
        self.item, self.name = item, name

    def inside(self) -> Iterable[Shape]:
        return (self.item,)

    def accept(self, value: Any, path: str) -> Any:
        if not isinstance(value, collections.abc.Mapping) or not all(
            isinstance(key, str) for key in value
        ):
            raise Mismatch.of(path, self.name, value)
        return {key: self.item.accept(item, f"{path}[{key!r}]") for key, item in value.items()}

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        data = _author_dict(data, self.name, path)
        return {k: self.item.revive(v, f"{path}[{k!r}]", resolve) for k, v in data.items()}


class Fields(Shape):
    """
    A dataclass or a typed dict: named fields with a shape each.

    The shapes are compiled by *shape_of* when they are first needed, because a class may refer to itself.
    """

    def __init__(self, cls: type, shape_of: Callable[[Any], Shape]) -> None:
        self.cls, self.name, self._shape_of = cls, cls.__name__, shape_of
        self.is_dict = typing.is_typeddict(cls)
        self._shapes: dict[str, Shape] | None = None

    @property
    def shapes(self) -> dict[str, Shape]:
        if self._shapes is None:
            hints = typing.get_type_hints(self.cls)
            if not self.is_dict:
                hints = {f.name: hints[f.name] for f in dataclasses.fields(self.cls)}
            self._shapes = {name: self._shape_of(hint) for name, hint in hints.items()}
        return self._shapes

    def inside(self) -> Iterable[Shape]:
        return self.shapes.values()

    def accept(self, value: Any, path: str) -> Any:
        kind: type[Any] = dict if self.is_dict else self.cls
        if not isinstance(value, kind):
            raise Mismatch.of(path, self.name, value)
        if self.is_dict:
            self._check_keys(value, path)
            return {
                key: self.shapes[key].accept(item, f"{path}[{key!r}]")
                for key, item in value.items()
            }
        for name, shape in self.shapes.items():
            shape.accept(getattr(value, name), f"{path}.{name}")
        return value

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        data = _author_dict(data, self.name, path)
        self._check_keys(data, path)
        found = {}
        for key, item in data.items():
            place = f"{path}[{key!r}]" if self.is_dict else f"{path}.{key}"
            found[key] = self.shapes[key].revive(item, place, resolve)
        return found if self.is_dict else self._made(found)

    def _check_keys(self, data: dict[str, Any], path: str) -> None:
        if unknown := [key for key in data if key not in self.shapes]:
            raise Mismatch(path, f"has no field {unknown[0]!r} as {self.name}")
        if missing := sorted(self._required() - data.keys()):
            raise Mismatch(path, f"misses the field {missing[0]!r} of {self.name}")

    def _required(self) -> set[str]:
        if self.is_dict:
            return set(self.cls.__required_keys__)  # type: ignore[attr-defined]  # a typed dict has it
        missing = dataclasses.MISSING
        return {
            field.name
            for field in dataclasses.fields(self.cls)
            if field.init and field.default is missing and field.default_factory is missing
        }

    def _made(self, found: dict[str, Any]) -> Any:
        """Return the instance with these fields; those that its constructor does not take are set afterwards."""
        later = {f.name for f in dataclasses.fields(self.cls) if not f.init}
        made = self.cls(**{name: value for name, value in found.items() if name not in later})
        for name in later & found.keys():
            object.__setattr__(made, name, found[name])
        return made


class Literal(Shape):
    """One of some values."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values

    def accept(self, value: Any, path: str) -> Any:
        return self._found(self.values, value, path)

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        return self._found([plain(value) for value in self.values], data, path)

    def _found(self, forms: Sequence[Any], value: Any, path: str) -> Any:
        for known, form in zip(self.values, forms, strict=True):
            if value == form and type(value) is type(form):
                return known
        expected = " or ".join(map(repr, self.values))
        raise Mismatch.of(path, expected, value)


class Enum(Instance):
    """A member of an enumeration, recorded as its value."""

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        try:
            return self.kind(data)
        except ValueError:
            raise Mismatch.of(path, f"a value of {self.name}", data) from None


class Codec(Shape):
    """Anything else that msgspec knows how to check: dates, bytes, decimals, its own structs."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def accept(self, value: Any, path: str) -> Any:
        try:
            return msgspec.convert(
                value, self.annotation, builtin_types=_EXACT, from_attributes=True
            )
        except msgspec.ValidationError as error:
            raise _mismatch(error, path) from None

    def revive(self, data: Any, path: str, resolve: Resolve) -> Any:
        try:
            return msgspec.convert(revive(data, resolve), self.annotation)
        except msgspec.ValidationError as error:
            raise _mismatch(error, path) from None


def takes(shape: Shape, kind: type) -> bool:
    """Tell whether a value of *shape* may have a *kind*, `Secret` or `Env`, anywhere in it."""
    waiting, seen = [shape], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, Instance) and each.kind is kind:
            return True
        if isinstance(each, Fields):
            if each.cls in seen:  # it may refer to itself
                continue
            seen.add(each.cls)
        waiting += each.inside()
    return False


def _author_dict(data: Any, name: str, path: str) -> dict[str, Any]:
    """Return the author's dict that was recorded as *data*."""
    found = unescape(data)
    if isinstance(found, dict) and (found is not data or not is_special(found)):
        return found
    raise Mismatch.of(path, name, data)


def _mismatch(error: msgspec.ValidationError, path: str) -> Mismatch:
    text, _, where = str(error).partition(" - at `$")
    reason = text.replace("`", "").replace("Expected ", "has to be ").replace(", got ", ", not ")
    if not reason.startswith("has to be"):
        reason = f"does not fit: {reason[0].lower()}{reason[1:]}"
    return Mismatch(path + where.rstrip("`"), reason)
