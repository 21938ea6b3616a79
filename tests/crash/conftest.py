"""What the tests about crashes may ask for."""

from __future__ import annotations

from tests.support.world import world

__all__ = ["world"]
