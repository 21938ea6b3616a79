"""
What pytest shows of a test that fails: the frames of those who wrote it, and not ours between them.

A module whose frames are to be left out has `are_noise` as its ``__tracebackhide__``. All of them are there with
``--full-trace``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_alchemy.errors import AlchemyError

if TYPE_CHECKING:
    import pytest


def are_noise(failure: pytest.ExceptionInfo[BaseException] | None) -> bool:
    """Tell whether our frames say nothing of *failure*: a mistake of ours is no error that we raise on purpose."""
    if failure is None:
        return False
    trace = failure.tb
    while trace.tb_next is not None:
        trace = trace.tb_next
    ours = str(trace.tb_frame.f_globals.get("__name__", "")).startswith("pytest_alchemy.")
    return not ours or isinstance(failure.value, AlchemyError)
