"""Whatever dies, nothing leaks: each row of the matrix once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .driver import missing, play
from .matrix import ROWS, daily
from .row import MODES, STYLES, Case

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


def test_every_row_is_run_every_day_and_every_way_to_start_one() -> None:
    wanted = {row.name for row in ROWS if not row.soak}

    ran = daily()

    assert wanted <= {case.row.name for case in ran}
    assert {(case.mode, case.style) for case in ran} == {(m, s) for m in MODES for s in STYLES}
