"""Python's search for garbage, where there is none to find."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_searched = True


@contextmanager
def no_search() -> Iterator[None]:
    """
    Keep the collector from searching while a great many things are made that all stay.

    Each quarter that the heap grows by makes it look through all of it, the heap of the program included: reading
    a thousand records took ten times as long. What was made is taken for old at once, as if it had been looked through
    twice. What other threads drop meanwhile in cycles is found afterwards, when all of the heap is looked through.
    """
    global _inside, _searched
    with _lock:
        if not _inside:
            _searched = gc.isenabled()
        _inside += 1
    try:
        gc.disable()
        yield
    finally:
        with _lock:
            _inside -= 1
            if _searched and not _inside:
                try:
                    _take_for_old()
                finally:
                    gc.enable()


def _take_for_old() -> None:
    """Take whatever is there for old, without looking through it; not where something is frozen for good."""
    if not gc.get_freeze_count():
        try:
            gc.freeze()
        finally:
            gc.unfreeze()
