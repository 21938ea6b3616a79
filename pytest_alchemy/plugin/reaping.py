"""One dead stage that is being reaped while the run goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.report.facts import Fact

_at_once = threading.BoundedSemaphore(4)


class Reaping(threading.Thread):
    """
    Has the stage in *folder* reaped by a process of its own, and notes what that says.

    The process goes on without this thread, and the thread keeps nobody from ending.

    Args:
        folder: The stage's folder.
        timeout: How long to wait for the stage's lock, in seconds.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        super().__init__(name=f"alchemy-reap-{folder.name}", daemon=True)
        self._folder, self._timeout = folder, timeout
        self._facts: list[Fact] = []
        self.start()

    def run(self) -> None:
        from pytest_alchemy.recovery.process import reap_in_process

        with _at_once:
            started = clock.monotonic()
            for line in reap_in_process(self._folder, self._timeout):
                self._facts.append(self._fact(line, clock.monotonic() - started))

    def facts(self, patience: float) -> list[Fact]:
        """Return what became of each thing so far, after at most *patience* seconds of waiting for the end."""
        self.join(max(0.0, patience))
        return list(self._facts)

    def _fact(self, line: dict[str, Any], seconds: float) -> Fact:
        what, reason = line["what"], line["reason"]
        if "facts" in line:
            return Fact(
                what=what,
                reason=reason,
                seconds=seconds,
                ended=clock.now(),
                errors=tuple(line.get("errors", ())),
                **line["facts"],
            )
        app, stage = self._folder.parent.name, self._folder.name
        return Fact(
            what=what,
            reason=reason,
            kind="stage",
            id=stage,
            name=stage,
            scope=f"{app}/{stage}",
            stage=stage,
            app=app,
        )
