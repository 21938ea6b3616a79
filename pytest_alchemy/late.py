"""
Modules that are imported when something of them is first used.

Half of what importing the engine took was asyncio and what that imports. A process that destroys what a killed run left
is in a hurry, and rarely needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Late:
    """
    Stands for a module until something of it is used, and imports it then.

    What is imported already stays as it is now, whatever a test puts in its place later.

    Args:
        name: Full name of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        if (module := sys.modules.get(name)) is not None:
            here = vars(module).items()
            vars(self).update({key: value for key, value in here if not key.startswith("_")})

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)  # found at once the next time
        return value


_get_running_loop: Callable[[], AbstractEventLoop | None] | None = None


def running_loop() -> AbstractEventLoop | None:
    """Return the event loop that runs in this thread, None if there is none; imports nothing."""
    global _get_running_loop
    if _get_running_loop is None:
        # Without the module nobody can have started a loop. It may be half imported by another thread.
        _get_running_loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
        if _get_running_loop is None:
            return None
    return _get_running_loop()
