"""The ways from resources to an account, and the resources that every test of them all takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_alchemy import lifecycle
from pytest_alchemy.ambient import current
from pytest_alchemy.cloudflare import D1Database, FakeAccount, KVNamespace, Queue, R2Bucket, Worker
from pytest_alchemy.driver import BlockingDriver, run_blocking
from pytest_alchemy.entry import Entry
from pytest_alchemy.kinds import kind_of
from pytest_alchemy.records import Intent
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings

DOORS = ("memory", "file", "http")
"""A fake account in memory, in a file, behind HTTP. With ``--alchemy-live`` the real one takes their place."""

_LONGEST_DELAY = 90.0  # what Cloudflare says of KV, and a margin


@dataclass(frozen=True)
class Thing:
    """
    A kind of resource.

    Attributes:
        cls: Its class.
        taken: Status of the refusal of a name that is taken; None if it is none to create it twice.
        properties: What its constructor needs.
    """

    cls: type[Resource]
    taken: int | None
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, id: str, **properties: Any) -> Any:
        return self.cls(id, **{**self.properties, **properties})


THINGS = (
    Thing(D1Database, 400),
    Thing(KVNamespace, 400),
    Thing(R2Bucket, 409),
    Thing(Queue, 409),
    Thing(Worker, None, {"script": "export default { fetch() { return new Response('hello') } }"}),
)

each_thing = pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.cls.__name__)
each_posted_thing = pytest.mark.parametrize(
    "thing",
    [thing for thing in THINGS if thing.taken is not None],
    ids=lambda thing: thing.cls.__name__,
)


class Door:
    """
    A way to an account.

    Args:
        settings: What scopes are opened with.
        fake: The account behind it, None for the real one.
    """

    def __init__(self, settings: Settings, fake: FakeAccount | None) -> None:
        self.settings, self._fake = settings, fake

    @property
    def is_real(self) -> bool:
        return self._fake is None

    def needs_fake(self, why: str) -> FakeAccount:
        """Return the fake account; skip the test with the real one, which is not what it needs: *why*."""
        if self._fake is None:
            pytest.skip(f"needs the fake account: {why}")
        return self._fake

    def eventually(self, read: Callable[[], Any], expected: Any) -> None:
        """Assert that *read* returns *expected*: at once, or with the real account some time later."""
        give_up = time.monotonic() + _LONGEST_DELAY
        while self.is_real and read() != expected and time.monotonic() < give_up:
            time.sleep(1)  # nobody tells when a write has reached every place
        assert read() == expected


class Caller:
    """
    Calls methods of scopes and resources by their blocking names, or by their asyncio twins.

    Args:
        runner: The loop for the twins; None for the blocking methods.
    """

    def __init__(self, runner: asyncio.Runner | None) -> None:
        self._runner = runner

    def __call__(self, target: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of *target*."""
        if self._runner is None:
            return getattr(target, method)(*args, **kwargs)

        async def twin() -> Any:
            return await getattr(target, f"a{method}")(*args, **kwargs)

        return self._runner.run(twin())


def names(scope: Scope, cls: type[Resource]) -> set[str]:
    """Return the names of everything of *cls* in the account of *scope*."""
    before = current.set(scope)
    try:
        listed, _ = run_blocking(BlockingDriver().call(cls.list))
    finally:
        current.reset(before)
    found: Iterable[str] = listed
    return set(found)


def known_by_name(scope: Scope, made: Resource) -> Entry:
    """Return what another process knows of *made* that found nothing but its name."""
    kind = kind_of(type(made))
    known = Intent(1, (), kind.name, made.id, made.name, "", {}, at=0.0)
    return Entry.recalled(scope, kind, kind.unknown(made.id), known, created=False, settled=True)


def exists(entry: Entry) -> bool:
    """Read what *entry* stands for; its outputs are known then."""
    return run_blocking(lifecycle.exists(entry, BlockingDriver()))


def clear(entry: Entry) -> None:
    """Destroy what *entry* stands for."""
    run_blocking(lifecycle.clear(entry, BlockingDriver()))
