"""What runs that are dead have left, and nobody has cleaned up: the next run that uses a scope does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_alchemy import clock

from .reaping import Reaping, Reapings

if TYPE_CHECKING:
    from pytest_alchemy.report.facts import Fact

PATIENCE = 10.0
"""How long a run waits at its end for what it cleans up after others, in seconds; the reaping goes on after that."""


class Leftovers(threading.Thread):
    """
    Finds the stages of dead runs and has them reaped while the tests run.

    A stage whose owner lives is never touched, nor one that outlives its programs, is kept, or was not made by this
    user on this machine.

    Args:
        root: The folder of all stages.
        run: Id of this run, whose stages are left alone.
    """

    def __init__(self, root: Path, run: str) -> None:
        super().__init__(name="alchemy-leftovers", daemon=True)
        self._root, self._own = root, run
        self._reapings: list[Reaping] = []
        if os.path.isdir(root):
            # Not by the thread: a test that runs meanwhile may have put something else in the place of `os`.
            from pytest_alchemy.recovery.reapable import reapable_of

            self._reapable_of = reapable_of
            self.start()

    def run(self) -> None:
        """Start reaping every stage that may be reaped."""
        # Not together with those of this run, which would have to wait for what hangs here.
        reapings = Reapings()
        for folder in self._stages():
            self._reapings.append(reapings.begin(folder, timeout=0.0))

    def facts(self, tell: Callable[[str], None], patience: float | None = None) -> Iterator[Fact]:
        """
        Yield what became of each thing, and *tell* how far it is; what is still there fails nobody else's run.

        With no *patience* at all nobody waits for anything, nor looks at what is still there.
        """
        patience = PATIENCE if patience is None else patience
        give_up = clock.monotonic() + patience
        if self.ident is not None:
            self.join(patience)
        for reaping in list(self._reapings) if patience else ():
            left = give_up - clock.monotonic()
            late = "this run ends before it is destroyed"
            for fact in reaping.results(left, tell, late=late):
                if (fact.what, fact.kind) != ("unfinished", "stage"):  # others clean it up already
                    yield _of_another_run(fact)

    def _stages(self) -> list[Path]:
        from pytest_alchemy.errors import AlchemyError
        from pytest_alchemy.state.folders import Root
        from pytest_alchemy.state.keys import user_key

        try:
            others = (each for each in Root(self._root).stages() if self._own not in each.name)
            return self._reapable_of(others, user_key())
        except (AlchemyError, OSError):
            return []  # cleaning up after others is a courtesy: this run says itself what it cannot use


def _of_another_run(fact: Fact) -> Fact:
    if fact.what == "reaped":
        return fact.changed(reason=fact.reason or "left behind by an earlier run")
    if fact.is_leak or fact.what == "unfinished":
        return fact.changed(
            what="unfinished", reason=f"left behind by an earlier run: {fact.reason}"
        )
    return fact
