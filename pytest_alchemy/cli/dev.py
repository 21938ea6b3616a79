"""``alchemy dev``: a program on a fake account of its own, run again whenever its files change."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import click

from pytest_alchemy.cli.fake import introduce, opened, variables_of
from pytest_alchemy.cli.frame import Verb, say
from pytest_alchemy.cli.program import (
    adopt_option,
    force_option,
    profile_option,
    program_argument,
)
from pytest_alchemy.cloudflare.fake import FakeAccount
from pytest_alchemy.names import folder_name
from pytest_alchemy.programs.choice import FAKE_ACCOUNT, default_stage
from pytest_alchemy.state.folders import make_private

_ACCOUNTS: Final = ".accounts"
"""Name of the folder in the root that holds the accounts."""

_LOOK: Final = 200  # milliseconds after which a watcher tells that nothing happened


@click.command(
    cls=Verb,
    short_help="Deploy a program to a fake account, again whenever it changes.",
    example="alchemy dev\nalchemy dev infra.py --port 8787",
)
@program_argument
@click.option(
    "--stage", metavar="NAME", help="The stage.  [default: $ALCHEMY_STAGE, else the user's name]"
)
@profile_option
@adopt_option
@force_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port to serve the account at.  [default: any that is free]",
)
def dev(
    program: Path, stage: str | None, profile: str | None, adopt: bool, force: bool, port: int
) -> None:
    """
    Deploy PROGRAM, alchemy_run.py by default, to a fake account, and again whenever a file beside it changes.

    A file changes if its content does. What PROGRAM itself writes there makes it run once more at most.

    The account is kept in .alchemy and served on this machine; its base URL is printed, and PROGRAM finds it in its
    environment, as whatever it starts does. Ctrl-C ends it; the account and what is in it stay.
    """
    changes = Changes(_changes_beside(program), program.resolve())
    chosen = stage or default_stage()
    with _served(_account_file(chosen), port) as variables:
        command = [sys.executable, "-m", "pytest_alchemy", "deploy", str(program)]
        command += ["--stage", chosen, *(["--profile", profile] if profile is not None else [])]
        command += ["--adopt"] * adopt + ["--force"] * force
        with suppress(KeyboardInterrupt):
            while True:
                subprocess.run(command, env={**os.environ, **variables}, check=False)  # noqa: S603 # this very command
                if not changes.came_meanwhile():
                    say(f"Waiting for changes in {program.resolve().parent}")
                    changes.wait()
    say("Ended; the account and what is in it stay.")


class Changes:
    """
    What has to be deployed, of the files that changed.

    A file that changes while the program runs was saved by its author, or written by the program. The first time the
    program runs again; a file that changes in that run too is the program's own, until it changes without a run. Only
    the program itself is always its author's.

    Args:
        watched: Tells of changes since it was last asked; an empty set if only time has passed.
        program: The file of the program.
    """

    def __init__(self, watched: Iterator[Collection[str]], program: Path) -> None:
        self._watched, self._program = watched, str(program)
        self._known: dict[str, bytes] = {}
        self._own = set[str]()
        self._is_repeated = False

    def came_meanwhile(self) -> bool:
        """Tell whether the program, which has just run, has to run again for what changed meanwhile."""
        changed = self._changed()
        if self._is_repeated:
            self._own |= changed - {self._program}
        self._is_repeated = not changed <= self._own
        return self._is_repeated

    def wait(self) -> None:
        """Wait until the content of a file changes."""
        while not (changed := self._changed()):
            pass
        self._own -= changed

    def _changed(self) -> set[str]:
        """Return the files that have changed and hold something else than before."""
        found = {file: _digest(file) for file in next(self._watched)}
        changed = {file for file, digest in found.items() if self._known.get(file) != digest}
        self._known |= found
        return changed


def _digest(file: str) -> bytes:
    """Return what tells the content of *file* from any other; a file that is gone has one as well."""
    try:
        return sha256(Path(file).read_bytes()).digest()
    except OSError:
        return b""


def _changes_beside(program: Path) -> Iterator[Collection[str]]:
    """
    Watch for changes beside *program* from now on, and return what tells of them until Ctrl-C.

    What it yields are the paths that changed, none if only time has passed.

    Raises:
        click.ClickException: What watches is not installed.
    """
    try:
        from watchfiles import DefaultFilter, watch
    except ModuleNotFoundError as error:
        raise click.ClickException(
            "alchemy dev needs watchfiles, which is not installed.\n"
            "Install it: pip install 'pytest-alchemy[serve,watch]'"
        ) from error
    ignored = DefaultFilter(ignore_dirs=[*DefaultFilter.ignore_dirs, ".alchemy"])
    changes = watch(
        program.resolve().parent,
        watch_filter=ignored,
        yield_on_timeout=True,
        rust_timeout=_LOOK,
    )
    next(changes)  # it watches from its first step on, and what changes while a program runs counts
    return ([path for _, path in found] for found in changes)


def _account_file(stage: str) -> Path:
    folder = Path(".alchemy").absolute() / _ACCOUNTS
    for each in (folder.parent, folder):
        make_private(str(each))
    return folder / f"{folder_name(stage)}.sqlite"


@contextmanager
def _served(file: Path, port: int) -> Iterator[dict[str, str]]:
    """Serve the account in *file*, print where, and yield the variables that make programs use it."""
    account = FakeAccount(str(file))
    try:
        door = opened(account, "127.0.0.1", port)
        threading.Thread(target=door.serve, name="alchemy-fake", daemon=True).start()
        variables = {**variables_of(account, door), FAKE_ACCOUNT: str(file)}
        introduce(door, variables)
        yield variables
        door.stop()
    finally:
        account.close()
