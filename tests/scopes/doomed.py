"""
A program that dies somewhere: ``python -m tests.scopes.doomed ROOT SHAPE SIZE``.

It deploys an application in the world of `tests.engine.doomed`, whose points of death it has as well.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pytest_alchemy import Resource, alchemy
from pytest_alchemy.programs.commandline import CommandLine, commanded
from pytest_alchemy.records import AnyLine, StageOpened
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.store import Lease
from tests.engine.doomed import BlindFile, File, point


class Rock(BlindFile, kind="rock"):
    """A file that cannot be changed, only replaced; nobody can ask whether it is there."""

    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy


def watch(store: type[FileStore]) -> None:
    """Let *store* tell where the program is."""
    append = store.append

    def watched(self: FileStore, lease: Lease, lines: Iterable[AnyLine]) -> None:
        for line in lines:
            what = type(line).__name__
            point(f"before {what}")
            append(self, lease, [line])
            if not isinstance(line, StageOpened):
                point(f"after {what}")

    store.append = watched  # type: ignore[method-assign]  # that is how it is watched


def deploy(root: Path, shape: str, size: int) -> None:
    """Deploy something, and something that uses it."""
    kind = Rock if shape == "replace" else File
    with (
        commanded(CommandLine(root=root, adopt=shape == "adopt")),
        alchemy("shop", stage="prod") as app,
    ):
        base = app.create(kind("base", size=size))
        app.create(File("user", uses=[base]))


def main() -> None:
    root, shape, size = sys.argv[1:]
    watch(FileStore)
    deploy(Path(root), shape, int(size))


if __name__ == "__main__":
    # As others import it, so that its kinds are found again.
    from tests.scopes import doomed

    doomed.main()
