"""What a resource class declares: its properties and outputs, read from its annotations."""

from __future__ import annotations

import copy
import inspect
import sys
import types
import typing
from dataclasses import is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from pytest_alchemy.annotations import shape_of
from pytest_alchemy.binding import Output
from pytest_alchemy.errors import ResourceDefinitionError
from pytest_alchemy.secret import Secret
from pytest_alchemy.shapes import Shape, takes

if TYPE_CHECKING:
    from pytest_alchemy.resource import Resource

MISSING: Any = object()
"""Stands for a value that was not given."""


class Field(msgspec.Struct, dict=True):
    """One property or output of a kind."""

    name: str
    annotation: Any
    shape: Shape
    default: Any = MISSING

    @cached_property
    def is_secret(self) -> bool:
        """Whether a secret may stand in it."""
        return takes(self.shape, Secret)

    @cached_property
    def _is_mutable(self) -> bool:
        return isinstance(self.default, dict | list | set) or is_dataclass(self.default)

    def default_value(self) -> Any:
        return copy.deepcopy(self.default) if self._is_mutable else self.default


def fields_of(cls: type[Resource]) -> tuple[dict[str, Field], dict[str, Field]]:
    """
    Return the properties and the outputs that *cls* declares, with those of its bases, by name.

    Raises:
        ResourceDefinitionError: An annotation names what is not defined, or a type whose values cannot be recorded.
    """
    properties: dict[str, Field] = {}
    outputs: dict[str, Field] = {}
    *classes, _ = resource_classes(cls)
    for base in reversed(classes):
        hints = _resolved(base)
        for name in annotations_of(base):
            default = base.__dict__.get(name, MISSING)
            is_output = isinstance(default, Output)
            made = _field(cls, name, hints[name], MISSING if is_output else default)
            here, other = (outputs, properties) if is_output else (properties, outputs)
            here[name] = made
            other.pop(name, None)  # a base class may have declared it as the other
    return properties, outputs


def resource_classes(cls: type[Resource]) -> list[type[Resource]]:
    """Return *cls* and its bases that are resource classes; the last one is `Resource` itself."""
    return [base for base in cls.__mro__ if hasattr(base, "__alchemy_kind__")]


def annotations_of(cls: type) -> dict[str, Any]:
    """Return the annotations of *cls* itself, names that are not defined yet left alone."""
    if sys.version_info >= (3, 14):
        import annotationlib

        found = annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    else:
        found = inspect.get_annotations(cls)
    return {name: note for name, note in found.items() if not _is_class_variable(note)}


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.removeprefix("typing.").startswith("ClassVar")
    return annotation is ClassVar or typing.get_origin(annotation) is ClassVar


def _resolved(cls: type[Resource]) -> dict[str, Any]:
    """Return the annotations of *cls* itself with every name in them looked up, in the module of *cls*."""
    # A method called `list` would otherwise hide the builtin from annotations of its own class.
    nested = {name: value for name, value in vars(cls).items() if isinstance(value, type)}
    own = types.SimpleNamespace(__annotations__=annotations_of(cls))
    module = cls.__alchemy_kind__.module
    visible = {**vars(module)} if module else {}
    try:
        return typing.get_type_hints(own, globalns=visible, localns=nested, include_extras=True)
    except NameError as error:
        raise ResourceDefinitionError(
            cls.__qualname__,
            f"an annotation names {error.name!r}, which is not defined when the first object is made",
            "Import it at module level (not only under TYPE_CHECKING).",
        ) from None


def _field(cls: type[Resource], name: str, annotation: Any, default: Any) -> Field:
    try:
        return Field(name, annotation, shape_of(annotation), default)
    except TypeError as error:
        raise ResourceDefinitionError(
            cls.__qualname__,
            f"the property {name!r} cannot be recorded: {error}",
            "Use plain data, dataclasses, paths, resources or alchemy.env(...).",
        ) from None
