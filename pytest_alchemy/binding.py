"""What the engine keeps with a resource object, and what guards its hooks and outputs until it exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, overload

import msgspec

from pytest_alchemy.errors import HookCalledError, OutputNotReadyError
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    from pytest_alchemy.resource import Resource
    from pytest_alchemy.scope import Scope

__tracebackhide__ = are_noise


class Owner(Protocol):
    """What a resource belongs to once it is created."""

    name: str

    @property
    def credentials(self) -> str:
        """Name of the profile in use."""

    @property
    def is_planned(self) -> bool:
        """Whether nothing is made, but only said to be."""

    def own_scope(self) -> Scope:
        """Return the resource's own scope."""

    def reference(self) -> dict[str, Any]:
        """Return what a record says to refer to the resource."""


class Binding(msgspec.Struct, eq=False):
    """
    What the engine keeps with a resource object.

    Attributes:
        where: ``file:line`` of the code that made the object.
        fresh: True while nobody has created it.
        hooks_open: How many hooks of it the engine is running.
        owner: What it belongs to; None before it is created.
        profile: The profile that its author gave it; empty if it takes that of the scope.
    """

    where: str
    fresh: bool = False
    hooks_open: int = 0
    owner: Owner | None = None
    profile: str = ""

    def bound(self) -> Owner:
        if self.owner is None:
            raise AttributeError(
                "This resource belongs to no scope yet: it has a name and a scope once it is created."
            )
        return self.owner


class ProfileInUse:
    """Gives the profile that a resource is used with, unless its class has a property of that name."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Resource, owner: type) -> str: ...
    def __get__(self, instance: Resource | None, owner: type) -> Self | str:
        if instance is None:
            return self
        binding = instance._alchemy
        if binding.owner is None and binding.profile:
            return binding.profile
        return binding.bound().credentials


class Output:
    """Stands in the class where an output has no value yet."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Resource | None, owner: type) -> Any:
        if instance is None:
            return self
        binding = instance._alchemy
        bound = None if binding is None or binding.hooks_open else binding.owner
        is_planned = bound is not None and bound.is_planned
        raise OutputNotReadyError(describe(instance), self.name, bound is not None, is_planned)


class GuardedHook:
    """A hook in its class: callable by the engine and by other hooks of the same object only."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __get__(self, instance: Resource | None, owner: type) -> Any:
        if instance is None:
            return self.function
        if instance._alchemy.hooks_open:
            return self.function.__get__(instance, owner)
        hook = self.name

        def refuse(*_: Any, **__: Any) -> NoReturn:
            raise HookCalledError(describe(instance), hook)

        return refuse


def describe(resource: Resource) -> str:
    """Return how messages call *resource*: ``D1Database 'orders'``."""
    return f"{type(resource).__name__} {getattr(resource, 'id', '?')!r}"
