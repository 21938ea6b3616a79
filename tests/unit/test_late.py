"""Modules that are imported when they are needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from pytest_alchemy.late import Late, running_loop

# They take longer to import than all of the engine, and whoever destroys what a killed run left is in a hurry.
SLOW = ("asyncio", "concurrent.futures", "email.utils", "logging", "socket", "ssl", "subprocess")

PROGRAM = f"""
import sys
import pytest_alchemy.recovery.__main__
from pytest_alchemy.late import running_loop
assert running_loop() is None
print(*(name for name in {SLOW!r} if name in sys.modules))
"""


def test_reaping_imports_nothing_slow() -> None:
    # Without what site-packages add on their own.
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{PROGRAM}"]

    done = subprocess.run(
        [command[0], "-S", *command[1:]], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


def test_a_late_module_is_the_real_one() -> None:
    late = Late("string")

    assert late.digits == "0123456789"
    with pytest.raises(AttributeError, match="no attribute 'letters'"):
        _ = late.letters


def test_a_late_module_that_is_there_already_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = Late("asyncio")

    monkeypatch.setattr(asyncio, "wait_for", None)

    assert late.wait_for is not None


def test_the_running_loop_is_the_one_of_this_thread() -> None:
    async def here() -> bool:
        elsewhere = await asyncio.to_thread(running_loop)
        return running_loop() is asyncio.get_running_loop() and elsewhere is None

    assert running_loop() is None
    assert asyncio.run(here())
