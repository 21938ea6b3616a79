"""
The pytest plugin's entry: loaded by every pytest run, so it imports nothing heavy and does nothing until a scope
is used.

What a run that uses scopes needs is imported by `activate`, when the first test that asks for one is collected.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

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
from .marker import prepare_items, register
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

OPTIONS = pytest.StashKey[Options]()
SESSION = pytest.StashKey["Session"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; in an xdist controller, watch over the workers."""
    register(config)
    config.stash[OPTIONS] = Options.of(config)
    # xdist distributes nothing without processes to distribute to: ``--dist loadfile`` alone is a plain run.
    distributes = config.getoption("dist", "no") != "no" and config.getoption("tx", None)
    if distributes and not hasattr(config, "workerinput"):
        from .controller import Controller

        config.pluginmanager.register(
            Controller(config, config.stash[OPTIONS]), "alchemy_controller"
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the markers, and get ready if any test uses a scope."""
    prepare_items(config, items, config.stash[OPTIONS])
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


def activate(config: pytest.Config) -> Session:
    """Return what this process knows of its scopes; the first call imports the engine."""
    session = config.stash.get(SESSION, None)
    if session is None:
        with _imported_by_python(config):
            from . import testscope  # noqa: F401 # the first test is not to wait for it
            from .session import Session

        session = config.stash[SESSION] = Session(config, config.stash[OPTIONS])
        session.register()
    return session


@contextmanager
def _imported_by_python(config: pytest.Config) -> Iterator[None]:
    """
    Import modules as Python does, not as pytest imports those of plugins: with their assertions rewritten.

    Reading what it keeps of a rewritten module takes longer than executing that; where it cannot keep anything,
    every run would rewrite the whole engine.
    """
    finders, rewriter = sys.meta_path, cast("object", config.pluginmanager.rewrite_hook)
    # A list of its own, because other threads may be going through this one.
    sys.meta_path = [finder for finder in finders if finder is not rewriter]
    try:
        yield
    finally:
        sys.meta_path = finders
