"""Annotations of properties and outputs: which shape values have to have, compiled once."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from pathlib import PurePath
from typing import Any

import msgspec

from pytest_alchemy import shapes
from pytest_alchemy.secret import Secret
from pytest_alchemy.shapes import Shape
from pytest_alchemy.values import Env


def shape_of(annotation: Any) -> Shape:
    """
    Return the shape of *annotation*.

    Raises:
        TypeError: No value of that type can be recorded.
    """
    if annotation is Any or annotation is object:
        return Shape()
    if annotation is None or annotation is type(None):
        return shapes.Instance(type(None), "None")
    annotation = _without_names(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return shapes.Union(
            [shape_of(arg) for arg in typing.get_args(annotation)], _name(annotation)
        )
    if origin is typing.Literal:
        return shapes.Literal(typing.get_args(annotation))
    if origin is not None and (container := _container(origin, annotation)):
        return container
    if isinstance(annotation, type):
        return _shape_of_class(annotation)
    return _codec(annotation)


def _without_names(annotation: Any) -> Any:
    """Return what an alias, a `typing.NewType` or a mere comment (``Annotated``) stands for."""
    for name in ("__value__", "__supertype__"):
        if hasattr(annotation, name):
            return _without_names(getattr(annotation, name))
    if typing.get_origin(annotation) is typing.Annotated:
        inside, *notes = typing.get_args(annotation)
        if not any(isinstance(note, msgspec.Meta) for note in notes):
            return _without_names(inside)
    return annotation


def _container(origin: Any, annotation: Any) -> Shape | None:
    args, name = typing.get_args(annotation), _name(annotation)
    if not args and annotation != tuple[()]:
        return _shape_of_class(origin)  # typing.List and the like
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        return shapes.Tuple([shape_of(arg) for arg in args], name)
    if origin in (
        list,
        collections.abc.Sequence,
        collections.abc.Iterable,
        collections.abc.Collection,
    ):
        return shapes.Items(list, (list, tuple), shape_of(args[0]), name)
    if origin is tuple:
        return shapes.Items(tuple, (tuple, list), shape_of(args[0]), name)
    if origin in (set, frozenset, collections.abc.Set):
        made = frozenset if origin is frozenset else set
        return shapes.Items(made, (set, frozenset), shape_of(args[0]), name)
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        if args[0] is not str:
            raise TypeError(f"{name}: keys of a recorded dict have to be str")
        return shapes.Mapping(shape_of(args[1]), name)
    return None


def _shape_of_class(annotation: type) -> Shape:
    if annotation in (str, int, bool):
        return shapes.Instance(annotation)
    if annotation is float:
        return shapes.Float()
    if annotation in (list, tuple, set, frozenset):
        takes = (list, tuple) if annotation in (list, tuple) else (set, frozenset)
        return shapes.Items(annotation, takes, Shape(), annotation.__name__)
    if annotation is dict:
        return shapes.Mapping(Shape(), "dict")
    if issubclass(annotation, PurePath):
        return shapes.Path(annotation)
    if annotation is Env or annotation is Secret or hasattr(annotation, "__alchemy_ref__"):
        return shapes.Instance(annotation)
    if dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation):
        return shapes.Fields(annotation, shape_of)
    if issubclass(annotation, enum.Enum):
        msgspec.json.Decoder(annotation)  # values of some types could not be told apart
        return shapes.Enum(annotation)
    return _codec(annotation)


def _codec(annotation: Any) -> Shape:
    if isinstance(msgspec.inspect.type_info(annotation), msgspec.inspect.CustomType):
        raise TypeError(f"a value of type {_name(annotation)} cannot be recorded")
    msgspec.json.Decoder(annotation)  # raises TypeError for what it cannot read back
    return shapes.Codec(annotation)


def _name(annotation: Any) -> str:
    """Return how messages call *annotation*: classes without their modules."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return " | ".join(map(_name, args))
    if origin is typing.Literal:
        return " | ".join(map(repr, args))
    if isinstance(origin, type) and args:
        return f"{origin.__name__}[{', '.join(map(_name, args))}]"
    if isinstance(annotation, type):
        return "None" if annotation is types.NoneType else annotation.__name__
    return "..." if annotation is Ellipsis else str(annotation).replace("typing.", "")
