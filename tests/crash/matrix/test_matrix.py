"""Whatever dies, nothing leaks: each row of the matrix once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .driver import missing, play
from .matrix import daily
from .row import Case

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are counted in /proc and waited for by pidfd"
)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=case.id, marks=[pytest.mark.xfail(reason=case.fails)] if case.fails else []
        )
        for case in daily()
    ],
)
def test_nothing_is_left(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if reason := missing(case):
        pytest.skip(reason)
    postgres: str | None = request.getfixturevalue("postgres_url") if case.row.postgres else None

    ending = play(case, tmp_path / "run", postgres)

    assert ending.problems == [], f"{case.id}\n{ending.output}"
