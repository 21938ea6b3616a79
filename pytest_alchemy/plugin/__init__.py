"""
The pytest plugin's entry: loaded by every pytest run, so it imports nothing heavy and does nothing until a scope
is used.

What a run that uses scopes needs is imported by `activate`, when the first test that asks for one is collected.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from .fixtures import (
    NAMES,
    alchemy_app,
    alchemy_class,
    alchemy_module,
    alchemy_scope,
    alchemy_stage,
    fake_cloudflare,
    tell,
)
from .options import Options, add_options

if TYPE_CHECKING:
    from .session import Session

__all__ = [
    "alchemy_app",
    "alchemy_class",
    "alchemy_module",
    "alchemy_scope",
    "alchemy_stage",
    "fake_cloudflare",
]

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
    if config.option.collectonly or config.option.showfixtures:
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
    if fixturedef.argname in NAMES:
        tell(activate(request.config), request)


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
            from .session import Session

        session = config.stash[SESSION] = Session(config, config.stash[OPTIONS])
        session.register()
    return session
