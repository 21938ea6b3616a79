"""Kinds: what a resource class says of its own, which values that takes, and how a record becomes a resource again."""

from __future__ import annotations

import inspect
import os
import sys
import types
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pytest_alchemy.binding import Binding, GuardedHook, Output
from pytest_alchemy.callers import stack_level
from pytest_alchemy.errors import InvalidPropertyError, PlainSecretWarning, ResourceDefinitionError
from pytest_alchemy.fields import MISSING, Field, annotations_of, fields_of, resource_classes
from pytest_alchemy.names import check_kind
from pytest_alchemy.physicalnames import NameRule
from pytest_alchemy.secret import Secret
from pytest_alchemy.shapes import Mismatch, takes
from pytest_alchemy.values import Env, holds_password, plain

if TYPE_CHECKING:
    from pytest_alchemy.resource import Resource

GUARDED_HOOKS = ("create", "read", "update", "destroy")
HOOKS = (*GUARDED_HOOKS, "world", "list")
NEEDED_HOOKS = frozenset({"create", "destroy"})
UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda _: "<unknown>"})()
"""Stands for a property of something that exists, but which nobody knows; it equals nothing else."""

_DISCREET: Final = {
    Secret: "Wrap its text: alchemy.secret(...).",
    Env: 'Name the variable that holds it: alchemy.env("...").',
}
"""Where one of these belongs no message shows what was given instead, and a text gets this advice."""

_RESERVED = frozenset({"id", "name", "scope", *HOOKS})


class Kind(msgspec.Struct, eq=False):
    """
    What a resource class says of itself.

    Attributes:
        name: The kind, as recorded.
        cls: The class.
        name_rule: What physical names the provider takes.
        create_timeout: How long after a lost answer the thing may still appear, in seconds.
        parallel: False if plain hooks stay in the calling thread.
        hooks: The hooks that the class or its bases define, by name.
        properties: Declared properties by name; None until they were first needed.
        outputs: Declared outputs by name.
        gives_secrets: Whether one of them is declared as a secret.
        is_complete: Whether it has the hooks that every resource needs.
        module: The module that defined it. Its name may stand for another one by now, as with several conftest.py.
    """

    name: str
    cls: type[Resource]
    name_rule: NameRule
    create_timeout: float
    parallel: bool
    hooks: dict[str, Callable[..., Any]]
    properties: dict[str, Field] | None = None
    outputs: dict[str, Field] = {}
    gives_secrets: bool = False
    is_complete: bool = False
    module: types.ModuleType | None = None

    def __post_init__(self) -> None:
        self.is_complete = self.hooks.keys() >= NEEDED_HOOKS

    @property
    def title(self) -> str:
        return self.cls.__name__

    @property
    def file(self) -> str:
        """The source file of its class; empty if there is none."""
        module, name = self.module, self.cls.__module__
        # A class may be given the name of the module that exports it.
        if getattr(module, "__name__", name) != name:
            module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        return os.path.abspath(file) if file else ""

    @property
    def importable(self) -> bool:
        return "<locals>" not in self.cls.__qualname__

    def fields(self) -> dict[str, Field]:
        """Return the properties; annotations are resolved when the first object is made."""
        if self.properties is None:
            self.properties, self.outputs = fields_of(self.cls)
            self.gives_secrets = any(known.is_secret for known in self.outputs.values())
        return self.properties

    def declares(self, name: str) -> bool:
        """Tell whether *name* is a property or an output."""
        return name in self.fields() or name in self.outputs

    def accept(self, id: str, given: dict[str, Any]) -> dict[str, Any]:
        """
        Return the values of all properties, checked.

        Raises:
            InvalidPropertyError: A property is unknown, missing or of the wrong type.
        """
        fields = self.fields()
        if not given.keys() <= fields.keys():
            self._refuse_unknown(id, given)
        values: dict[str, Any] = {}
        for name, known in fields.items():
            value = given.get(name, MISSING)
            if value is MISSING:
                value = known.default_value()
                if value is MISSING:
                    raise InvalidPropertyError(f"{self.title} {id!r}", name, "is missing")
            else:
                try:
                    value = known.shape.accept(value, "")
                except Mismatch as mismatch:
                    raise self._refused(id, known, mismatch) from None
                if holds_password(value):
                    _warn_of_password(f"{self.title} {id!r}", name)
            values[name] = value
        return values

    def plain(self, id: str, name: str, value: Any) -> Any:
        """
        Return the value of property or output *name* as plain data.

        Raises:
            InvalidPropertyError: Something in it cannot be recorded.
        """
        try:
            return plain(value)
        except InvalidPropertyError:  # another resource in it says so itself
            raise
        except TypeError as error:
            raise InvalidPropertyError(
                f"{self.title} {id!r}", name, f"cannot be recorded: {error}"
            ) from None

    def check_outputs(self, resource: Resource) -> None:
        """
        Check the outputs that are set.

        Raises:
            InvalidPropertyError: An output is of the wrong type; it is unset, so that no record gets it.
        """
        for name, known in self.outputs.items():
            if name in resource.__dict__:
                try:
                    resource.__dict__[name] = known.shape.accept(resource.__dict__[name], "")
                except Mismatch as mismatch:
                    del resource.__dict__[name]
                    raise self._refused(resource.id, known, mismatch) from None

    def revive(
        self,
        id: str,
        props: dict[str, Any],
        outputs: dict[str, Any],
        resolve: Callable[[dict[str, Any]], Any],
    ) -> Resource:
        """
        Return the resource that was recorded with *props* and *outputs*.

        What refers to a resource that *resolve* does not find (it raises LookupError) is left unset.

        Raises:
            InvalidPropertyError: The record does not fit the class as it is now.
        """
        resource = self.cls.__new__(self.cls)
        resource._alchemy = Binding("")
        resource.id = id
        for fields, data in ((self.fields(), props), (self.outputs, outputs)):
            self._refuse_unknown(id, {name: None for name in data if name not in fields})
            for name, known in fields.items():
                if name in data:
                    try:
                        resource.__dict__[name] = known.shape.revive(data[name], "", resolve)
                    except Mismatch as mismatch:
                        raise self._refused(id, known, mismatch) from None
                    except LookupError:
                        continue  # it refers to what is gone; the name alone has to do
                elif fields is not self.outputs:
                    value = known.default_value()
                    if value is MISSING:
                        raise InvalidPropertyError(
                            f"{self.title} {id!r}", name, "is missing in its record"
                        )
                    resource.__dict__[name] = value
        return resource

    def unknown(self, id: str) -> Resource:
        """
        Return a resource of which nothing is known but that it exists.

        Properties have their defaults; those without one are unset, and so are all outputs.
        """
        resource = self.cls.__new__(self.cls)
        resource._alchemy = Binding("")
        resource.id = id
        for name, known in self.fields().items():
            value = known.default_value()
            if value is not MISSING:
                resource.__dict__[name] = value
        return resource

    def stranger(self, id: str) -> Resource:
        """
        Return a resource of which nothing is known, as an update compares it with what is declared.

        Properties have their defaults; what has none is `UNKNOWN`, which equals nothing.
        """
        resource = self.unknown(id)
        for name in self.fields():
            resource.__dict__.setdefault(name, UNKNOWN)
        return resource

    def fill(
        self,
        resource: Resource,
        fields: dict[str, Field],
        data: dict[str, Any],
        resolve: Callable[[dict[str, Any]], Any],
    ) -> None:
        """
        Set those of *fields* that *data* records and that still fit the class, which may have changed since.

        Args:
            resource: Whose they are.
            fields: The properties or the outputs of this kind.
            data: What is recorded of them.
            resolve: Returns the resource that is referred to, or raises LookupError.
        """
        for name, value in data.items():
            known = fields.get(name)
            if known is not None:
                try:  # noqa: SIM105 # `suppress` costs more than all the rest
                    resource.__dict__[name] = known.shape.revive(value, "", resolve)
                except (Mismatch, LookupError):
                    pass

    def recall(
        self,
        id: str,
        props: dict[str, Any],
        outputs: dict[str, Any],
        resolve: Callable[[dict[str, Any]], Any],
    ) -> Resource:
        """Return the resource that was recorded, as far as the record fits the class as it is now."""
        resource = self.stranger(id)
        self.fill(resource, self.fields(), props, resolve)
        self.fill(resource, self.outputs, outputs, resolve)
        return resource

    def plain_default(self, name: str) -> Any:
        """Return the default of property *name* as plain data; `UNKNOWN` if it has none."""
        value = self.fields()[name].default_value()
        return UNKNOWN if value is MISSING else self.plain("", name, value)

    def _refused(self, id: str, known: Field, mismatch: Mismatch) -> InvalidPropertyError:
        place, title = f"{known.name}{mismatch.path}", f"{self.title} {id!r}"
        for kind, remedy in _DISCREET.items():
            if takes(known.shape, kind):
                way_out = remedy if mismatch.found == "str" else ""
                return InvalidPropertyError(title, place, mismatch.discreet, way_out)
        return InvalidPropertyError(title, place, mismatch.reason)

    def _refuse_unknown(self, id: str, given: dict[str, Any]) -> None:
        for name in given:
            if name in self.fields():
                continue
            if name in self.outputs:
                raise InvalidPropertyError(
                    f"{self.title} {id!r}", name, "is an output: the resource sets it itself"
                )
            import difflib

            near = difflib.get_close_matches(name, self.fields(), 1)
            known = ", ".join(self.fields()) or "none"
            remedy = f"Did you mean {near[0]!r}?" if near else f"Its properties: {known}."
            raise InvalidPropertyError(f"{self.title} {id!r}", name, "is unknown", remedy)


def kind_of(cls: type[Resource]) -> Kind:
    """Return what *cls* says of itself."""
    return cls.__alchemy_kind__


def define(
    cls: type[Resource],
    kind: str | None,
    name_rule: NameRule | None,
    create_timeout: float | None,
    parallel: bool | None,
) -> None:
    """
    Make *cls* the class of a kind, with what it does not say taken from its parent.

    Raises:
        ResourceDefinitionError: Something in it cannot be what it seems to be.
    """
    parent = kind_of(cls)
    _check_reserved(cls)
    for hook in GUARDED_HOOKS:
        function = inspect.getattr_static(cls, hook)
        if not isinstance(function, GuardedHook):  # a class that is no resource may give it, too
            _check_hook(cls, hook, function)
            setattr(cls, hook, GuardedHook(hook, function))
    cls.__alchemy_kind__ = Kind(
        name=check_kind(cls.__name__.lower() if kind is None else kind, cls.__qualname__),
        cls=cls,
        name_rule=name_rule or parent.name_rule,
        create_timeout=parent.create_timeout if create_timeout is None else create_timeout,
        parallel=parent.parallel if parallel is None else parallel,
        hooks={hook: getattr(cls, hook) for hook in HOOKS if _overrides(cls, hook)},
        module=sys.modules.get(cls.__module__),
    )


def _check_hook(cls: type[Resource], hook: str, function: Any) -> None:
    if not inspect.isfunction(function):
        raise ResourceDefinitionError(
            cls.__qualname__,
            f"{hook!r} is not a method",
            f"Write it as def {hook}(self, ...).",
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ResourceDefinitionError(
            cls.__qualname__,
            f"{hook}() yields, so that calling it would do nothing",
            "A hook is a plain or an async method without yield; what comes after the yield belongs into destroy().",
        )


def _overrides(cls: type[Resource], hook: str) -> bool:
    root = resource_classes(cls)[-1]
    return any(hook in base.__dict__ for base in cls.__mro__ if base not in (root, object))


def _check_reserved(cls: type[Resource]) -> None:
    for name in annotations_of(cls):
        if name in _RESERVED:
            raise ResourceDefinitionError(
                cls.__qualname__,
                f"a property may not be named {name!r}, which every resource has already",
                f"Give it another name, for example {cls.__name__.lower()}_{name}.",
            )
        if name.startswith("_"):
            raise ResourceDefinitionError(
                cls.__qualname__,
                f"a property may not start with an underscore, as {name!r} does",
                "Properties and outputs are public; annotate what is none of them as ClassVar.",
            )
    for name, value in vars(cls).items():
        if isinstance(value, Output) and name not in annotations_of(cls):
            raise ResourceDefinitionError(
                cls.__qualname__,
                f"the output {name!r} has no annotation, so it would not be recorded",
                f"Say of which type it is: {name}: str = output()",
            )
    for name in ("id", "name", "scope"):
        if name in cls.__dict__:
            raise ResourceDefinitionError(
                cls.__qualname__,
                f"it may not define {name!r}, which every resource has already",
                "Give it another name.",
            )


def _warn_of_password(resource: str, name: str) -> None:
    warnings.warn(
        f"{resource}: property {name!r} seems to hold a password, which would be recorded in clear text.\n"
        "Pass alchemy.env('VARIABLE') instead: the variable's name is recorded, not its value.\n"
        "Or annotate it as Secret and pass alchemy.secret(...): that is encrypted in state and never printed.",
        PlainSecretWarning,
        stacklevel=stack_level(),
    )
