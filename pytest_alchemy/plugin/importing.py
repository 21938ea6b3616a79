"""How a run imports what its scopes need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest


@contextmanager
def imported_by_python(config: pytest.Config) -> Iterator[None]:
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
