"""The fixtures: who opens which scope, and when it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake import FakeCloudflare
    from pytest_alchemy.scope import Scope

    from .session import Session

__tracebackhide__ = True  # they only hand on what is raised

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


# A fixture that takes `request` as an argument costs each test in which it stands a twelfth of what pytest needs for
# an empty one (pytest 9.2 inspects the signature of a new definition of it, three times). So these are told.
_asking = threading.local()


def tell(session: Session, request: pytest.FixtureRequest) -> None:
    """Say who asks for the fixture of this module that is called next in this thread."""
    _asking.now = session, request


def _asked() -> tuple[Session, pytest.FixtureRequest]:
    """
    Return what was told; first line of every fixture here, for others may be set up inside it.

    Raises:
        pytest.UsageError: Nothing was: no hook of this plugin runs around its fixtures.
    """
    try:
        told: tuple[Session, pytest.FixtureRequest] = _asking.now
    except AttributeError:
        raise pytest.UsageError(
            "A fixture of pytest-alchemy was set up without the hooks of its plugin: that was turned off after it was "
            "loaded,\nor another plugin sets up fixtures by itself. Leave out -p no:alchemy, or that plugin."
        ) from None
    del _asking.now
    return told


@pytest.fixture
def alchemy_scope() -> Iterator[Scope]:
    """The test's own scope: what it makes is destroyed when the test ends, whatever its end."""
    session, request = _asked()
    test = session.test(request)
    try:
        yield test.enter()
    finally:
        test.leave()


@pytest.fixture(scope="class")
def alchemy_class() -> Iterator[Scope]:
    """A scope that the tests of a class share; it ends with the class."""
    session, request = _asked()
    yield from session.wide_scope(request.node)


@pytest.fixture(scope="module")
def alchemy_module() -> Iterator[Scope]:
    """A scope that the tests of a module share; it ends with the module."""
    session, request = _asked()
    yield from session.wide_scope(request.node)


@pytest.fixture(scope="session")
def alchemy_stage() -> Iterator[Scope]:
    """The stage of this process: one for each xdist worker; it ends with the worker."""
    session, _ = _asked()
    yield from session.wide_scope(None)


@pytest.fixture(scope="session")
def alchemy_app() -> Iterator[Scope]:
    """The scope of the whole run: what it owns is made once, shared by all xdist workers, and ends after the last."""
    session, _ = _asked()
    yield from session.app_scope()


@pytest.fixture
def fake_cloudflare(alchemy_scope: Scope) -> Iterator[FakeCloudflare]:
    """
    The fake Cloudflare account of this test: its inventory, its requests, and faults to inject.

    It asks for the test's scope so that it ends before it: no fault is left when the scope destroys.
    """
    session, request = _asked()
    with session.fake_cloudflare(request.node) as fake:
        yield fake
