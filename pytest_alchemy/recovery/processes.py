"""Is the process that a record names still there?"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

from pytest_alchemy import clock
from pytest_alchemy.records import StageOpened

_SLACK = 2.0
"""How far the clock may have been set since, in seconds."""


def a_patron_lives(headers: Iterable[StageOpened]) -> bool:
    """
    Tell whether a controller that ends what the journals with these first lines name still runs.

    On another machine, or in another container, its number means nothing here: the locks alone tell who lives.
    """
    here = platform.node()
    return any(
        header.host == here and is_there(header.patron, header.started) for header in headers
    )


def is_there(process: int, at: float) -> bool:
    """
    Tell whether the process that had a number at some moment still runs.

    One that has ended and was collected by nobody does not; one that began later is another one. In a container the
    same few numbers come back with each run. Where there is no ``/proc``, whoever has the number counts. If the clock
    was set forward since, the process itself looks like a later one: the lock of a stage is the truth about its owner.

    Args:
        process: The number, 0 for no process.
        at: The moment, in seconds since the epoch.
    """
    if not process:
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        pass
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            said = file.read().rpartition(b")")[2].split()  # from the third field on: see proc(5)
    except OSError:
        return True
    if said[0] in (b"Z", b"X"):
        return False
    age = clock.since_boot() - int(said[19]) / os.sysconf("SC_CLK_TCK")
    return clock.now() - age <= at + _SLACK
