"""What ``alchemy state`` takes where there is much to show, as a whole process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Figure, median, run, timed
from scopes import header

from pytest_alchemy.records import AnyLine, Created, Intent, KindSeen
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.keys import HOME_VARIABLE, user_key
from pytest_alchemy.state.stagestate import fold_stage

THINGS = 10_000


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figure; *rounds* is how often the command is run."""
    with tempfile.TemporaryDirectory() as name:
        os.environ[HOME_VARIABLE] = str(Path(name, "home"))
        try:
            _record(Path(name, "project", ".alchemy", "app", "prod"))
            command = (
                "-m",
                "pytest_alchemy",
                "state",
                "--root",
                str(Path(name, "project", ".alchemy")),
            )
            shown = run(*command)
            assert f"n{THINGS}" in shown, shown[:300]
            took = median(rounds, lambda: timed(*command, cwd=name)[1])
        finally:
            del os.environ[HOME_VARIABLE]
    yield Figure(
        f"alchemy state on {THINGS:,} resources, whole process", took, "s", 1.0, note="wall"
    )


def _record(folder: Path) -> None:
    """Record a lasting stage with many resources, folded into its document."""
    store = FileStore(folder, user_key())
    lease = store.acquire()
    first = header(stage="prod", run="", ephemeral=False, expires=0.0)
    lines: list[AnyLine] = [first, KindSeen("usual", "kinds", "/src/kinds.py", "Usual")]
    for seq in range(1, THINGS + 1):
        lines.append(intent(seq))
        lines.append(Created(seq, {"address": f"somewhere-{seq}"}, at=1.8e9))
    store.append(lease, lines)
    fold_stage(store, lease)
    store.release(lease)


def intent(seq: int) -> Intent:
    """Return the record of one of them."""
    return Intent(
        seq=seq,
        path=("backend",),
        kind="usual",
        id=f"n{seq}",
        name=f"alc-app-prod-backend-n{seq}-x60kpxaepjh3uf1a2b",
        world="",
        props={"size": 1, "region": "weur"},
        at=1.8e9,
        where="/src/alchemy_run.py:33",
    )
