"""What the tests of the plugin may ask for."""

from __future__ import annotations

from tests.support.world import world

__all__ = ["world"]
