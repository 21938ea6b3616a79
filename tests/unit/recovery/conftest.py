"""What the tests of recovery may ask for."""

from __future__ import annotations

from tests.support.deadstages import graveyard

__all__ = ["graveyard"]
