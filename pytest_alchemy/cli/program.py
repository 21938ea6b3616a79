"""Running a program that declares resources, and hearing what it does."""

from __future__ import annotations

import os
import runpy
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec import structs

from pytest_alchemy.cli.frame import sentence
from pytest_alchemy.cli.stages import naming_backups
from pytest_alchemy.errors import (
    JournalCorruptError,
    OtherRootError,
    OtherStageError,
    StageDestroyed,
    StateFileError,
    StateForeignError,
)
from pytest_alchemy.plan import Step
from pytest_alchemy.programs.choice import FAKE_ACCOUNT
from pytest_alchemy.programs.commandline import CommandLine, commanded
from pytest_alchemy.recovery.roots import nearest_root
from pytest_alchemy.state.backup import back_up
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import JOURNALS, Root
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.stagestate import load_stage

if TYPE_CHECKING:
    from pytest_alchemy.programs.application import Application
    from pytest_alchemy.programs.recorded import Planned

DEFAULT: Final = Path("alchemy_run.py")
"""The program that is run if none is named."""

program_argument = click.argument(
    "program", required=False, type=click.Path(path_type=Path), default=DEFAULT
)
"""The argument PROGRAM."""

adopt_option = click.option("--adopt", is_flag=True, help="Take over what exists already.")
"""The option ``--adopt``."""

force_option = click.option(
    "--force",
    is_flag=True,
    help="Update also what has not changed, and let a program that declares nothing empty its stage.",
)
"""The option ``--force``."""

profile_option = click.option(
    "--profile",
    metavar="NAME",
    help="The credentials.  [default: the program's, else $ALCHEMY_PROFILE, else default]",
)
"""The option ``--profile``, None if it was not given."""


@dataclass
class Told:
    """
    One thing that the program decided on.

    Attributes:
        planned: What.
        done: Whether it is done; in a plan it never is.
    """

    planned: Planned
    done: bool = False


@dataclass
class Run:
    """
    What a program did.

    Attributes:
        told: What it decided, in order.
        applications: What it opened.
        failure: What it raised, None if it went through.
        code: The exit code it asked for.
    """

    told: list[Told] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)
    failure: BaseException | None = None
    code: int = 0

    @property
    def title(self) -> str:
        """The stage as messages call it, empty if the program opened none."""
        return (
            f"{self.applications[0].app}/{self.applications[0].stage}" if self.applications else ""
        )

    def steps(self) -> Counter[Step]:
        """Return how often what was done; in a plan, how often it would be."""
        return Counter(told.planned.step for told in self.told)


class Hearing:
    """
    Hears what the program does, from whichever thread.

    Args:
        run: Is filled with it.
        save: Whether to copy a stage's state before the program changes it.
        tell: Called with the run after each thing that is decided (False) or done (True).
        anywhere: Whether a stage may begin anew here that is recorded in a folder above.

    Attributes:
        root: The folder of all stages; None before the program opens one.
    """

    def __init__(
        self, run: Run, *, save: bool, tell: Callable[[Told], object], anywhere: bool
    ) -> None:
        self._run, self._save, self._tell, self._anywhere = run, save, tell, anywhere
        self.root: Path | None = None
        self._guard = threading.Lock()
        self._stage: tuple[str, str] | None = None
        self._under_way: dict[tuple[str, str], Told] = {}

    def opening(self, app: str, stage: str, folder: Path) -> None:
        if self._stage not in (None, (app, stage)):
            raise OtherStageError("/".join(self._stage or ()), f"{app}/{stage}")
        first, self._stage = self._stage is None, (app, stage)
        self.root = folder.parent.parent
        if not self._anywhere and not (folder / JOURNALS).is_dir():
            above = nearest_root(Path.cwd())
            if (Root(above).stage_path(app, stage) / JOURNALS).is_dir():
                raise OtherRootError(f"{app}/{stage}", str(self.root), str(above))
        if first and self._save and (folder / JOURNALS).is_dir():
            load_stage(FileStore(folder, user_key()))  # a damaged state replaces no good copy
            back_up(folder)

    def opened(self, application: Application) -> None:
        self._run.applications.append(application)

    def decided(self, planned: Planned) -> None:
        with self._guard:
            told = Told(planned, done=planned.step in (Step.DESTROY, Step.KEEP))
            if planned.step is Step.REPLACE:  # it was to be updated, as long as nobody had tried
                self._run.told = [each for each in self._run.told if not _is_same(each, planned)]
            self._run.told.append(told)
            if not told.done:
                self._under_way[planned.resource, planned.scope] = told
            self._tell(told)

    def done(self, resource: str, scope: str) -> None:
        with self._guard:
            told = self._under_way.pop((resource, scope), None)
            if told is not None:  # else it was declared once more
                told.done = True
                self._tell(told)


def run_program(
    program: Path, given: CommandLine, *, save: bool, tell: Callable[[Told], object]
) -> Run:
    """
    Run *program* in this process and return what it did, also if it failed or was interrupted.

    Args:
        program: A Python file.
        given: What the command line says.
        save: Whether to copy a stage's state before the program changes it.
        tell: Called with each thing when it is decided, and again when it is done.

    Raises:
        click.ClickException: There is no such file, or the state of its stage cannot be read.
    """
    if not program.is_file():
        raise click.ClickException(
            f"There is no program {program}.\nName it: {click.get_current_context().command_path} "
            "path/to/program.py"
        )
    run = Run()
    # An account of its own in each folder holds nothing that another one's programs made.
    anywhere = given.root is not None or bool(os.environ.get(FAKE_ACCOUNT))
    hearing = Hearing(run, save=save, tell=tell, anywhere=anywhere)
    sys.path.insert(0, str(program.resolve().parent))
    sys.argv[:] = [str(program)]
    with commanded(replace(given, listener=hearing)):
        try:
            runpy.run_path(os.path.abspath(program), run_name="__main__")
        except StageDestroyed:
            pass
        except SystemExit as stop:
            run.code = _code(stop)
        except (StateFileError, StateForeignError, JournalCorruptError):
            with naming_backups(hearing.root):
                raise
        except BaseException as error:  # a cancelled task, for one
            run.failure = error
        _give_up(run)
    return run


def _give_up(run: Run) -> None:
    """Give up what the program left open: what it recorded is folded now, not at the end of this process."""
    for application in run.applications:
        application.give_up()


def _is_same(told: Told, planned: Planned) -> bool:
    return structs.replace(told.planned, step=planned.step) == planned


def _code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    click.echo(stop.code, err=True)
    return 1


def where_it_failed(program: Path, error: BaseException) -> str:
    """Return what *error* says, behind the line of *program* that it comes from."""
    file = os.path.abspath(program)
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{program}, line {error.lineno}: {error.msg}"
    place = f"{program}, line {lines[-1]}: " if lines else ""
    return place + sentence(error)
