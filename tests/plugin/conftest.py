"""What the tests of the plugin may ask for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from tests.support.world import world

__all__ = ["world"]

LEAVES_SOCKETS = version("pytest-asyncio").startswith("1.1.")
"""Whether loops of its own are never closed."""


@pytest.fixture(autouse=True)
def sockets_of_inner_runs() -> Iterator[None]:
    """
    Collect what inner runs in this process leave behind when they are over.

    Inside of one, where warnings may be errors, an unclosed socket is written down with the help of the parser; if it
    is found while a file is parsed, Python 3.11 takes that file's tree for broken.
    """
    if not LEAVES_SOCKETS:
        yield
        return
    gc.disable()
    yield
    gc.enable()
    gc.collect()
