from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import clock
from pytest_alchemy.pauses import Pauses
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.runpauses import RunPauses


@pytest.fixture(params=["in memory", "of a run"])
def pauses(request: pytest.FixtureRequest, tmp_path: Path) -> Pauses:
    return (
        Pauses()
        if request.param == "in memory"
        else RunPauses(tmp_path / ".alchemy", "app", "test-run-x")
    )


def test_nobody_waits_for_a_provider_that_never_refused(pauses: Pauses) -> None:
    assert pauses.left("cloudflare:1") == 0.0


def test_everybody_waits_for_one_that_did(pauses: Pauses) -> None:
    pauses.extend("cloudflare:1", 30.0)

    assert 29.0 < pauses.left("cloudflare:1") <= 30.0
    assert pauses.left("cloudflare:2") == 0.0


def test_a_longer_pause_stays(pauses: Pauses) -> None:
    pauses.extend("p", 30.0)
    pauses.extend("p", 1.0)

    assert pauses.left("p") > 28.0


def test_a_clock_that_is_set_back_makes_no_pause_longer(
    pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses.extend("p", 30.0)
    real = clock.now()
    monkeypatch.setattr(clock, "now", lambda: real - 3600)

    assert pauses.left("p") <= 30.0


def test_a_pause_is_whole_whenever_others_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = (RunPauses(tmp_path / ".alchemy", "app", "test-run-x") for _ in range(2))
    seen, utime = [], disk.utime

    def look(*given: Any) -> None:
        seen.append(other.left("p"))
        utime(*given)
        seen.append(other.left("p"))

    monkeypatch.setattr(disk, "utime", look)

    here.extend("p", 30.0)

    assert seen == [0.0, 0.0]
    assert 20.0 < other.left("p") <= 30.0


def test_other_processes_of_the_run_wait_as_well(tmp_path: Path) -> None:
    here = RunPauses(tmp_path / ".alchemy", "app", "test-run-x")
    program = (
        "import sys; from pathlib import Path; from pytest_alchemy.state.runpauses import RunPauses; "
        "RunPauses(Path(sys.argv[1]), 'app', 'test-run-x').extend('p', 30.0)"
    )

    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / ".alchemy")], check=True, timeout=30
    )

    assert 20.0 < here.left("p") <= 30.0


def test_a_run_that_was_never_refused_touches_no_disk(tmp_path: Path) -> None:
    pauses = RunPauses(tmp_path / ".alchemy", "app", "test-run-x")

    pauses.left("p")

    assert list(tmp_path.iterdir()) == []


def test_a_pause_holds_in_this_process_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / ".alchemy").write_text("a file where a folder should be")
    pauses = RunPauses(tmp_path / ".alchemy", "app", "test-run-x")

    pauses.extend("p", 30.0)

    assert pauses.left("p") > 28.0
