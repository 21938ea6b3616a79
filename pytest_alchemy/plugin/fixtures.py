"""The fixtures: who opens which scope, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake import FakeCloudflare
    from pytest_alchemy.scope import Scope

    from .session import Session

NAMES = frozenset(
    {
        "alchemy_app",
        "alchemy_stage",
        "alchemy_module",
        "alchemy_class",
        "alchemy_scope",
        "fake_cloudflare",
    }
)


@pytest.fixture
def alchemy_scope(request: pytest.FixtureRequest) -> Iterator[Scope]:
    """The test's own scope: what it makes is destroyed when the test ends, whatever its end."""
    from .testscope import TestScope

    test = TestScope(_session(request), request)
    with test.entered() as scope:
        yield scope


@pytest.fixture(scope="class")
def alchemy_class(request: pytest.FixtureRequest) -> Iterator[Scope]:
    """A scope that the tests of a class share; it ends with the class."""
    yield from _session(request).wide_scope(request.node)


@pytest.fixture(scope="module")
def alchemy_module(request: pytest.FixtureRequest) -> Iterator[Scope]:
    """A scope that the tests of a module share; it ends with the module."""
    yield from _session(request).wide_scope(request.node)


@pytest.fixture(scope="session")
def alchemy_stage(request: pytest.FixtureRequest) -> Iterator[Scope]:
    """The stage of this process: one for each xdist worker; it ends with the worker."""
    yield from _session(request).wide_scope(None)


@pytest.fixture(scope="session")
def alchemy_app(request: pytest.FixtureRequest) -> Iterator[Scope]:
    """The scope of the whole run: what it owns is made once, shared by all xdist workers, and ends after the last."""
    yield from _session(request).app_scope()


@pytest.fixture
def fake_cloudflare(
    request: pytest.FixtureRequest, alchemy_scope: Scope
) -> Iterator[FakeCloudflare]:
    """
    The fake Cloudflare account of this test: its inventory, its requests, and faults to inject.

    It asks for the test's scope so that it ends before it: no fault is left when the scope destroys.
    """
    with _session(request).fake_cloudflare(request.node) as fake:
        yield fake


def _session(request: Any) -> Session:
    from . import activate

    return activate(request.config)
