"""Python's search for garbage, where there is none to find."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search() -> Iterator[None]:
    """
    Keep the collector from searching while a great many things are made that all stay.

    Each quarter that the heap grows by makes it look through all of it, the heap of the program included: reading
    a thousand records took ten times as long. What other threads drop meanwhile in cycles is found afterwards.
    """
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searches:
            gc.enable()
