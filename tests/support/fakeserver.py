"""``alchemy fake`` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = [sys.executable, "-m", "pytest_alchemy", "fake"]


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Start the command; give the process, and what it printed by variable, the URL as ``url``."""
    process = subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().strip() for _ in range(5)]
            pairs = [line.removeprefix("export ").partition("=") for line in lines[1:]]
            yield process, {"url": lines[0], **{name: value for name, _, value in pairs}}
        finally:
            process.kill()
