"""What the command line says to the program that it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_alchemy.errors import ContradictionError
from pytest_alchemy.programs.recorded import DecisionListener
from pytest_alchemy.settings import Phase

if TYPE_CHECKING:
    from pytest_alchemy.programs.application import Application


class Listener(DecisionListener, Protocol):
    """Is told what a program does that a command runs."""

    def opening(self, app: str, stage: str, folder: Path) -> None:
        """
        Hear that the program opens a stage, which lies in *folder*; before anything of it is read or taken.

        Raises:
            AlchemyError: It may not.
        """

    def opened(self, application: Application) -> None:
        """Hear that a stage is open."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """
    What was given on the command line; None is what was not.

    Attributes:
        app: Name of the application.
        stage: Name of the stage.
        profile: Name of the credentials.
        phase: What the program is run for.
        adopt: Take over what exists already.
        force: Update also what has not changed, and let a program that declares nothing empty its stage.
        plan_only: Call nothing that changes anything; say what would be done.
        root: The folder of all stages.
        lock_timeout: How long to wait for another owner of the stage, in seconds.
        listener: Is told what the program does.
    """

    app: str | None = None
    stage: str | None = None
    profile: str | None = None
    phase: Phase | None = None
    adopt: bool = False
    force: bool = False
    plan_only: bool = False
    root: Path | None = None
    lock_timeout: float = 0.0
    listener: Listener | None = None

    def agree(self, what: Literal["app", "stage", "profile"], said: str) -> str:
        """
        Return what the program *said* of its app, stage or profile.

        Raises:
            ContradictionError: The command line says something else.
        """
        commanded = getattr(self, what)
        if commanded is not None and commanded != said:
            raise ContradictionError(what, commanded, said)
        return said


_given = CommandLine()


def command_line() -> CommandLine:
    """Return what the command line says; nothing at all where no command runs the program."""
    return _given


@contextmanager
def commanded(given: CommandLine) -> Iterator[None]:
    """Let programs in this process hear what was *given* on the command line."""
    global _given
    before, _given = _given, given
    try:
        yield
    finally:
        _given = before
