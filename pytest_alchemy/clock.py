"""
Time and randomness that no test can freeze or reseed.

Tests replace ``time.time`` (by hand, with freezegun, with time-machine) and reseed ``random``. What
decides whether something is still wanted, or makes a name unique, must not follow them:

* The clocks come from a copy of the ``time`` module that is in nobody's reach: it is not in
  ``sys.modules``, and its functions are other objects than those that freezegun looks for. It is
  right even if the clock was already frozen when this module was imported.
* time-machine changes the C functions under every copy of the module (of the wall clock, not of the
  monotonic one), and offers a documented way around itself, ``time_machine.escape_hatch``.
* Random text comes from the operating system, which has no seed, and not through a name that a test may replace:
  code that makes ids with ``uuid.uuid4`` is often tested with one that always gives the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec
from typing import Any

_DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
_TO_DIGIT = bytes(_DIGITS[byte % 36] for byte in range(256))
_UNEVEN = bytes(range(252, 256))  # 252 is 7 * 36: bytes above it would favour low digits
# A sum with a real datetime is a real datetime, whatever replaces the name `datetime` meanwhile.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _private_time() -> Any:
    """Return a copy of the ``time`` module that nobody else holds."""
    spec = time.__spec__
    if spec.loader is None:
        return time
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_time = _private_time()
_wall = _time.time
_sleep = _time.sleep

random_bytes: Callable[[int], bytes] = os.urandom
"""Return that many random bytes."""

monotonic: Callable[[], float] = _time.monotonic
"""Return seconds since some fixed moment; it never goes back."""


def since_boot() -> float:
    """Return how long the system has been running, sleep included, in seconds; Linux only."""
    return _time.clock_gettime(_time.CLOCK_BOOTTIME)  # type: ignore[no-any-return]


def now() -> float:
    """Return the real time, in seconds since the epoch (UTC)."""
    machine = sys.modules.get("time_machine")
    if machine is not None:
        try:
            if machine.escape_hatch.is_travelling():
                return machine.escape_hatch.time.time()  # type: ignore[no-any-return]
        except (AttributeError, ValueError):  # half imported, or the journey ended in between
            pass
    return _wall()  # type: ignore[no-any-return]


def pause(seconds: float) -> None:
    """Block the thread for *seconds* of real time."""
    _sleep(seconds)


def token(length: int) -> str:
    """
    Return random text that no seed repeats.

    Args:
        length: Number of characters, from 0.

    Returns:
        Digits and lower-case letters, each of the 36 equally likely (5.17 bits per character).
    """
    text = b""
    while len(text) < length:
        text += random_bytes(length + 8).translate(_TO_DIGIT, _UNEVEN)
    return text[:length].decode()


def instant(seconds: float) -> datetime:
    """
    Return *seconds* since the epoch as an aware moment in UTC.

    >>> instant(0.5).isoformat()
    '1970-01-01T00:00:00.500000+00:00'
    """
    return _EPOCH + timedelta(seconds=seconds)


def uuid4() -> str:
    """Return a random UUID."""
    from uuid import UUID

    return str(UUID(bytes=random_bytes(16), version=4))
