"""Calling hooks as the engine does, without a scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.driver import BlockingDriver, run_blocking


def blocking(hook: Callable[[], Any], timeout: float | None = None) -> Any:
    """Call *hook* from blocking code and return what it returned."""
    deadline = None if timeout is None else clock.monotonic() + timeout
    return run_blocking(BlockingDriver().call(hook, deadline=deadline))[0]
