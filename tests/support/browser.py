"""A real browser for tests: Debian's chromium, driven by playwright, else a reason why not."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REQUIRED = "ALCHEMY_REQUIRE_CHROMIUM"

# It may run as root in a container, and nothing here needs the network.
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)


class NoBrowserError(Exception):
    """There is no browser here; the text says what is missing."""


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """
    Yield a browser without a window.

    Raises:
        NoBrowserError: chromium or playwright is not installed.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise NoBrowserError("chromium is not installed (Debian: apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NoBrowserError("playwright is not installed (pip install playwright)") from None
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield chromium
        finally:
            chromium.close()


def is_required() -> bool:
    """Tell whether a missing browser is a failure rather than a reason to skip."""
    return os.environ.get(REQUIRED, "") not in ("", "0")
