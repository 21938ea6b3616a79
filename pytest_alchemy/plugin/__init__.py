"""
The pytest plugin's entry: its hooks, and the fixtures that open scopes. It is loaded by every pytest run, so it
imports nothing heavy and does nothing until a scope is used.

What a run that uses scopes needs is imported by `activate`, when the first test that asks for one is collected. The
fixtures stand here because a module of their own would cost every run a seventh of what this one does.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from .options import Options, add_options

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake import FakeCloudflare
    from pytest_alchemy.scope import Scope

    from .session import Session

__all__ = [
    "alchemy_app",
    "alchemy_class",
    "alchemy_module",
    "alchemy_scope",
    "alchemy_stage",
    "fake_cloudflare",
]

__tracebackhide__ = True  # what stands here only hands on what is raised

NAMES = frozenset(__all__)

OPTIONS: pytest.StashKey[Options] = pytest.StashKey()
SESSION: pytest.StashKey[Session] = pytest.StashKey()

MARKER = "alchemy"
_ABOUT_MARKER = (
    f"{MARKER}(stage=..., destroy=..., app=..., profile=..., live=..., keep=..., teardown_timeout=...): "
    "open a scope of resources around the test, and choose what it uses and how it ends."
)


class Unchosen:
    """Keeps pytest-asyncio, which comes with this plugin, from asking those for a choice who never chose it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Silence its warning, which as an error (``filterwarnings = error``) would end every run."""
        try:
            unchosen = config.getini("asyncio_mode") == "strict"  # the default
        except ValueError:  # it was turned off
            return
        if unchosen:
            warnings.filterwarnings("ignore", _ASKED_FOR, pytest.PytestDeprecationWarning)


_ASKED_FOR = "The configuration option .asyncio_default_fixture_loop_scope. is unset"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options."""
    add_options(parser)
    pluginmanager.register(Unchosen(), "alchemy_unchosen")


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; in an xdist controller, watch over the workers."""
    config.addinivalue_line("markers", _ABOUT_MARKER)
    options = config.stash[OPTIONS] = Options.of(config)
    if config.getoption("dist", "no") == "no" or hasattr(config, "workerinput"):
        return
    from .marker import RefusalRelay

    config.pluginmanager.register(RefusalRelay(), "alchemy_refusal_relay")
    # xdist distributes nothing without processes to distribute to: ``--dist loadfile`` alone is a plain run.
    if config.getoption("tx", None):
        from .controller import Controller

        config.pluginmanager.register(Controller(config, options), "alchemy_controller")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the markers, and get ready if any test uses a scope."""
    if marked := marked_items(items):
        from .marker import prepare_items

        prepare_items(config, items, marked, config.stash[OPTIONS])
    if _only_shows(config):
        return
    used = {name for item in items for name in getattr(item, "fixturenames", ())} & NAMES
    if used:
        session = activate(config)
        if "alchemy_app" in used:
            session.share_account()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> None:
    """Tell the fixtures of this plugin who asks for them."""
    # Whatever else only shows sets up no fixture at all.
    if fixturedef.argname in NAMES and not getattr(request.config.option, "setupplan", False):
        tell(activate(request.config), request)


_SHOWS = ("collectonly", "showfixtures", "show_fixtures_per_test", "setupplan")


def _only_shows(config: pytest.Config) -> bool:
    """Tell whether pytest only shows what it would run, so that no scope is used."""
    return any(getattr(config.option, name, False) for name in _SHOWS)


def marked_items(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the items that have the marker, of their own or from a class, a module or a folder around them."""
    around: dict[int, bool] = {}  # by id(), because hash() of a node is a Python call
    marked = []
    for item in items:
        parent = item.parent
        inherits = around.get(id(parent))
        if inherits is None:
            inherits = parent is not None and parent.get_closest_marker(MARKER) is not None
            around[id(parent)] = inherits
        if inherits or (item.own_markers and any(mark.name == MARKER for mark in item.own_markers)):
            marked.append(item)
    return marked


def activate(config: pytest.Config) -> Session:
    """Return what this process knows of its scopes; the first call imports the engine."""
    session = config.stash.get(SESSION, None)
    if session is None:
        from .importing import imported_by_python

        with imported_by_python(config):
            from .runhooks import register
            from .session import Session

        session = config.stash[SESSION] = Session(config, config.stash[OPTIONS])
        register(session)
    return session


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
