"""What the resources of an account have in common: hooks that run operations, and where they run."""

from __future__ import annotations

import builtins
import types
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, overload
from urllib.parse import quote

from pytest_alchemy.binding import describe
from pytest_alchemy.cloudflare.account import account_for, current_settings
from pytest_alchemy.cloudflare.client import TRIES, Api, Failure, Operation, T, arun, run, run_hook
from pytest_alchemy.cloudflare.errors import (
    CloudflareError,
    CloudflareUnreachableError,
)
from pytest_alchemy.errors import MustReplaceError
from pytest_alchemy.resource import Resource
from pytest_alchemy.tracebacks import are_noise

__tracebackhide__ = are_noise

Names = Awaitable[Iterable[str]] | Iterable[str]


class AccountResource(Resource, kind="account"):
    """
    A thing in a Cloudflare account.

    A subclass says in operations what its hooks do: ``_create``, ``_read``, ``_destroy`` and, for all that exist,
    ``_names``. A kind that can be changed adds the hook ``update`` itself.
    """

    def create(self) -> Awaitable[None] | None:
        return run_hook(self.scope.settings, self._create_once)

    def read(self) -> Awaitable[bool] | bool:
        return run_hook(self.scope.settings, self._read)

    def destroy(self) -> Awaitable[None] | None:
        return run_hook(self.scope.settings, self._destroy)

    def world(self) -> str:
        return account_for(self.scope.settings).world

    @classmethod
    def list(cls) -> Names:
        return run_hook(current_settings(f"{cls.__name__}.list()"), cls._names)

    async def _create(self, api: Api) -> None:
        """Make it and set the outputs."""
        raise NotImplementedError

    async def _read(self, api: Api) -> bool:
        """Tell whether it exists, by its name, and set the outputs if it does."""
        raise NotImplementedError

    async def _destroy(self, api: Api) -> None:
        """Remove it; gone already is fine."""
        raise NotImplementedError

    @classmethod
    async def _names(cls, api: Api) -> Iterable[str]:
        """Return the names of all that exist in the account."""
        raise NotImplementedError

    async def _create_once(self, api: Api) -> None:
        """Make it; after a lost answer look for it by its name before it is asked for once more."""
        failure: Failure | None = None
        for attempt in range(1, TRIES + 1):
            try:
                return await self._create(api)
            except (CloudflareError, CloudflareUnreachableError) as error:
                # The first answer is believed: what has this name already is somebody else's.
                if failure is None and not api.may_repeat(error):
                    raise
                if failure is None or isinstance(error, CloudflareUnreachableError):
                    failure = error
            await api.pause(attempt, failure)
            if await self._read(api):
                return None
        assert failure is not None
        raise failure

    def _run(self, operation: Operation[T]) -> T:
        return run(self.scope.settings, operation)

    async def _arun(self, operation: Operation[T]) -> T:
        return await arun(self.scope.settings, operation)


def refuse_fixed(resource: AccountResource, previous: AccountResource, *names: str) -> None:
    """
    Refuse an update of what Cloudflare sets once and for all.

    Raises:
        MustReplaceError: One of the properties *names* was changed.
    """
    changed = [name for name in names if getattr(resource, name) != getattr(previous, name)]
    if changed:
        raise MustReplaceError(
            describe(resource), f"{' and '.join(changed)} stays as it was when it was created"
        )


def quoted_key(key: str) -> str:
    """
    Return *key* as one part of a path.

    Raises:
        ValueError: It is empty, or would be taken for a step in the path.
    """
    if key in ("", ".", ".."):
        raise ValueError(f"{key!r} is no key: a key may not be empty, '.' or '..'")
    return quote(key, safe="")


class _Keys(Protocol):
    """What ``list`` is on an object."""

    def __call__(self, prefix: str = "") -> builtins.list[str]: ...


class lists_keys:  # noqa: N801 (a decorator)
    """
    Make *method* the ``list`` of a kind that holds keys.

    Called on an object it returns the keys in it; on the class it stays the hook, which returns the names that exist.
    """

    def __init__(self, method: Callable[..., builtins.list[str]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__
        self.__wrapped__ = method

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Callable[[], Names]: ...
    @overload
    def __get__(self, instance: AccountResource, owner: type[Any]) -> _Keys: ...
    def __get__(self, instance: AccountResource | None, owner: type[Any]) -> Any:
        if instance is None:
            return AccountResource.__dict__["list"].__get__(None, owner)
        return types.MethodType(self._method, instance)
