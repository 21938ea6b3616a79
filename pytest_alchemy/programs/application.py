"""The scope of an application: one stage of it, open in this process."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

from pytest_alchemy import scope
from pytest_alchemy.ambient import current
from pytest_alchemy.driver import Driver
from pytest_alchemy.errors import StageGivenUpError
from pytest_alchemy.outcome import Outcome
from pytest_alchemy.programs.lasting import LastingScope
from pytest_alchemy.programs.recorded import Planned, Recorded
from pytest_alchemy.settings import Strategy
from pytest_alchemy.stage import Stage


class Application(LastingScope):
    """
    A stage of an application, which this process owns until it is finalized.

    Args:
        stage: The stage.
        recorded: What earlier programs recorded of it.
        give_up: Ends the ownership of the stage, quiet if that has ended; it is told whether nothing is left in it.
        back_up: Copies what is recorded of the stage.
        destroy_strategy: How it destroys.

    Attributes:
        is_open: Whether this process still owns the stage: neither finalized nor given up.
    """

    def __init__(
        self,
        stage: Stage,
        recorded: Recorded,
        give_up: Callable[[bool], None],
        back_up: Callable[[], object],
        destroy_strategy: Strategy | None = None,
    ) -> None:
        super().__init__(stage, name=stage.settings.app, destroy_strategy=destroy_strategy)
        self.recorded = recorded
        self._give_up_stage = give_up
        self.is_open = True
        self._back_up = back_up
        self._outer: Any = None
        atexit.register(self.give_up)

    @property
    def planned(self) -> list[Planned]:
        """What was decided of everything that was declared so far, in order."""
        return self.recorded.planned

    def enter(self) -> None:
        """Make it the current scope from now on, until it is given up."""
        self._outer = current.get()
        current.set(self)

    async def collect(self, driver: Driver) -> None:
        """Destroy what is recorded and no longer declared, and close the application; quiet if it is closed."""
        if not self.is_open:
            return
        self.start_closing()  # what is declared from now on would be destroyed all the same
        try:
            await super().collect(driver)
        finally:
            self.give_up()

    async def close(
        self, driver: Driver, strategy: Strategy | None = None, timeout: float | None = None
    ) -> Outcome:
        """
        Destroy the whole stage, whose state is copied first; errors are in the outcome.

        Raises:
            StageGivenUpError: There is something to destroy, and the stage is not this program's any more.
            StateFolderError: No copy could be made; nothing was called.
        """
        if not self.is_open and self.to_destroy():
            raise StageGivenUpError(self.app, self.stage)
        self.start_closing()
        says_anything = self.recorded.lives or self.root.journal is not None
        if self.is_open and says_anything and self.recorded.wishes.may_act:
            await driver.aside(self._back_up)
        outcome = await super().close(driver, strategy, timeout)
        self.give_up(clean=not (outcome.failures or outcome.lost))
        return outcome

    async def leave(self, error: BaseException | None, driver: Driver) -> None:
        """End its block: finalize it, unless its program died half-way."""
        if error is not None or not self.root.is_ours:
            self.start_closing()
            self.give_up()
        else:
            await self.collect(driver)

    def give_up(self, clean: bool = False) -> None:
        """End the ownership of the stage; quiet if it has ended, and does what is left to do if it was interrupted."""
        self.is_open = False
        atexit.unregister(self.give_up)
        here = scope.current()
        if here is not None and here.root is self.root:  # an interrupt may have kept a block open
            current.set(self._outer)
        if self.root.is_ours:
            self._give_up_stage(clean)
