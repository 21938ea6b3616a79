"""What became of a teardown: how much is gone, and what is still there and why."""

from __future__ import annotations

import msgspec

from pytest_alchemy.deferred import Owned
from pytest_alchemy.errors import BlockedError, DestroyError, MayStillAppearError
from pytest_alchemy.lifecycle import summary


class Failure(msgspec.Struct):
    """Something that is still there: its destroy failed, or (*blockers*) it is needed by what is still there."""

    owned: Owned
    error: BaseException | None
    blockers: tuple[str, ...] = ()
    attempts: int = 1
    late: str = ""  # why it was not tried once more
    errors: tuple[str, ...] = ()  # of every attempt, oldest first

    @property
    def reason(self) -> str:
        if self.error is None:
            return f"still needed by {', '.join(self.blockers)}"
        tried = f" (tried {self.attempts} times)" if self.attempts > 1 else ""
        return summary(self.error) + tried + (f"; {self.late}" if self.late else "")

    def as_error(self) -> DestroyError:
        if self.error is None:
            return BlockedError(self.owned.title, self.blockers)
        error = DestroyError(self.owned.title, self.reason)
        error.__cause__ = self.error
        return error


class Outcome(msgspec.Struct):
    """
    What became of a teardown.

    Attributes:
        destroyed: How many things are gone.
        failures: What is still there.
        lost: What is recorded and still there, and whose code cannot be loaded.
    """

    destroyed: int = 0
    failures: list[Failure] = []
    lost: list[DestroyError] = []

    @property
    def may_only_appear(self) -> bool:
        """Whether nothing is left but what does not exist now, and may still appear."""
        errors = (failure.error for failure in self.failures)
        return not self.lost and all(isinstance(error, MayStillAppearError) for error in errors)

    def raise_failures(self, what: str) -> None:
        """
        Raise what failed.

        Raises:
            ExceptionGroup: One `DestroyError` for each thing that is still there.
        """
        errors = [*(failure.as_error() for failure in self.failures), *self.lost]
        if errors:
            total = self.destroyed + len(errors)
            raise ExceptionGroup(
                f"{len(errors)} of {total} resources of {what} could not be destroyed", errors
            )
