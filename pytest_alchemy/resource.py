"""Declaring resources: the base class and its outputs."""

from __future__ import annotations

import sys
import typing
import warnings
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pytest_alchemy.binding import Binding, GuardedHook, Output, ProfileInUse, describe
from pytest_alchemy.errors import (
    InvalidPropertyError,
    NoScopeError,
    ResourceDefinitionError,
    ResourceNeverCreatedWarning,
)
from pytest_alchemy.fields import MISSING
from pytest_alchemy.kinds import GUARDED_HOOKS, NEEDED_HOOKS, Kind, define, kind_of
from pytest_alchemy.names import check_name
from pytest_alchemy.physicalnames import NameRule
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    from pytest_alchemy.scope import Scope

__tracebackhide__ = are_noise

AwaitIn = Callable[["Resource"], "Generator[Any, None, Resource] | None"]
"""Awaits a resource in the current scope; returns None if no scope is open."""


def _no_scope(_: Resource) -> None:
    """Stand in until there are scopes at all."""


_await_in_current_scope: AwaitIn = _no_scope


def output(*, init: Literal[False] = False) -> Any:
    """
    Declare an output: a value that is known once the resource exists.

    A hook sets it (``self.host = ...``); it is recorded with the resource and there again when another process
    reads it back. Reading it earlier raises `OutputNotReadyError`.
    """
    return Output()


def _identifier(*, kw_only: Literal[False] = False) -> Any:
    """Tell type checkers that ``id`` is positional, unlike the properties."""


@typing.dataclass_transform(kw_only_default=True, field_specifiers=(output, _identifier))
class _Declared:
    """What makes type checkers see a constructor in every resource class; what stands here is no field to them."""

    if TYPE_CHECKING:
        _alchemy: Binding
        __alchemy_kind__: ClassVar[Kind]


class Resource(_Declared):
    """
    One real thing that has to be unmade: the base class of every kind.

    A subclass declares properties as annotated fields (desired state), outputs with `output`, and the hooks
    ``create`` and ``destroy``; ``read``, ``update``, ``world`` and ``list`` are optional. Hooks are plain or ``async``.

    Class keywords:
        kind: ``[a-z0-9]+``, by default the lower-cased class name.
        name_rule: What physical names the provider takes.
        create_timeout: How long after a lost answer the thing may still appear, in seconds.
        parallel: False keeps plain hooks in the calling thread under the parallel strategy too.

    Every resource takes the keyword ``profile``, the credentials that it is used with instead of the program's; what
    it makes inside itself is used with them as well. A class that has a property of that name keeps it for itself.
    """

    id: str = _identifier(kw_only=False)

    if TYPE_CHECKING:
        profile: str = ""
        """The credentials in use, known once it is created."""

        @property
        def name(self) -> str:
            """The physical name, known before ``create`` is called."""

        @property
        def scope(self) -> Scope:
            """The resource's own scope: what ``create`` makes inside it goes with it."""

    else:
        name = property(lambda self: self._alchemy.bound().name)
        scope = property(lambda self: self._alchemy.bound().own_scope())
        profile = ProfileInUse()
        _alchemy = None

        def __init__(self, id: str = MISSING, /, *more: Any, **properties: Any) -> None:
            caller = sys._getframe(1)
            self._alchemy = binding = Binding(f"{caller.f_code.co_filename}:{caller.f_lineno}")
            kind = kind_of(type(self))
            if id is MISSING:
                id = properties.pop("id", MISSING)
            if more or type(id) is not str or not kind.is_complete:
                _check_arguments(kind, id, more)
            self.id = id
            if properties or kind.fields():
                if "profile" in properties and not kind.declares("profile"):
                    binding.profile = check_name("a profile", properties.pop("profile"))
                self.__dict__.update(kind.accept(id, properties))
                self.__post_init__()
            binding.fresh = True

    def __post_init__(self) -> None:
        """Complete the properties once they are set and checked, as in a dataclass; not called for a record."""

    def create(self) -> Awaitable[None] | None:
        """Make the thing named ``self.name`` and set the outputs."""
        raise NotImplementedError

    def read(self) -> Awaitable[bool] | bool:
        """Tell whether ``self.name`` exists, and set the outputs if it does."""
        raise NotImplementedError

    def update(self, previous: Any) -> Awaitable[None] | None:
        """Make the existing thing fit the properties; *previous* holds those last applied."""
        raise NotImplementedError

    def destroy(self) -> Awaitable[None] | None:
        """Remove the thing, by ``self.name`` alone if outputs are missing; gone already is fine."""
        raise NotImplementedError

    def world(self) -> str:
        """Tell which server or account the thing lives in."""
        return ""

    @classmethod
    def list(cls) -> Awaitable[Iterable[str]] | Iterable[str]:
        """
        Return the names that exist, ours or not, so that a sweep finds what nobody recorded.

        There is no object to ask yet: the account is that of the current scope (`alchemy.current()`).
        """
        raise NotImplementedError

    def __init_subclass__(
        cls,
        *,
        kind: str | None = None,
        name_rule: NameRule | None = None,
        create_timeout: float | None = None,
        parallel: bool | None = None,
        **more: Any,
    ) -> None:
        super().__init_subclass__(**more)
        define(cls, kind, name_rule, create_timeout, parallel)

    def __await__(self) -> Generator[Any, None, Self]:
        steps = _await_in_current_scope(self)
        if steps is None:
            self._alchemy.fresh = False
            raise NoScopeError(describe(self))
        return steps  # type: ignore[return-value]  # the scope gives back what it is given, or its first instance

    def __repr__(self) -> str:
        return describe(self)

    def __alchemy_ref__(self) -> dict[str, Any]:
        """Return what a record says to refer to this resource."""
        owner = self._alchemy.owner
        if owner is None:
            raise InvalidPropertyError(
                describe(self),
                "id",
                "is used by another resource before it exists",
                "Create it first, then pass it on: the order of creation is the order of need.",
            )
        return owner.reference()

    def __del__(self) -> None:
        binding = self._alchemy
        if binding is not None and binding.fresh and not sys.is_finalizing():
            file, _, line = binding.where.rpartition(":")
            warnings.warn_explicit(
                f"{describe(self)} was made as an object, but neither created nor awaited: nothing exists.\n"
                "Create it with scope.create(...), or await it.",
                ResourceNeverCreatedWarning,
                file,
                int(line),
                source=self,
            )


def use_current_scope(await_in: AwaitIn) -> None:
    """Tell what awaiting a resource does."""
    global _await_in_current_scope
    _await_in_current_scope = await_in


Resource.__alchemy_kind__ = Kind("resource", Resource, NameRule(), 60.0, True, {})
for _hook in GUARDED_HOOKS:
    setattr(Resource, _hook, GuardedHook(_hook, vars(Resource)[_hook]))


def _check_arguments(kind: Kind, id: Any, more: tuple[Any, ...]) -> None:
    if id is MISSING:
        raise InvalidPropertyError(
            kind.title, "id", "is missing", f'Name it: {kind.title}("my-{kind.name}")'
        )
    if not isinstance(id, str):
        raise InvalidPropertyError(
            kind.title, "id", f"has to be str, not {type(id).__name__} ({id!r})"
        )
    if more:
        raise InvalidPropertyError(
            f"{kind.title} {id!r}",
            "id",
            "is the only positional argument",
            "Pass properties by keyword.",
        )
    if missing := sorted(NEEDED_HOOKS - kind.hooks.keys()):
        raise ResourceDefinitionError(
            kind.cls.__qualname__,
            f"it has no {' and no '.join(missing)}",
            "A resource can be made and unmade: define both, plain or async.",
        )
