"""What the tests of the command may ask for."""

from __future__ import annotations

from tests.support.deadstages import graveyard
from tests.support.project import project

__all__ = ["graveyard", "project"]
