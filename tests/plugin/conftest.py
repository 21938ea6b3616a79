"""What the tests of the plugin may ask for."""

from __future__ import annotations

# Before the first run inside a test: pytester forgets what a run imports, but a package keeps it as its attributes, and
# classes of two ages are not the same.
import pytest_alchemy.plugin.session  # noqa: F401
from tests.support.world import world

__all__ = ["world"]
