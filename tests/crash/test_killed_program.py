"""A program without pytest and without a main guard that is killed: what it made goes, and it is not run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT = 30.0

PROGRAM = '''
import os
import signal
from pathlib import Path

from pytest_alchemy import Resource, alchemy

HERE = Path(__file__).parent


class Local(Resource):
    """A file."""

    def create(self):
        (HERE / self.id).touch()

    def destroy(self):
        (HERE / self.id).unlink(missing_ok=True)


with alchemy.test("test") as scope:
    scope.create(Local("it"))
    with open(HERE / "made", "a") as file:
        print(os.getpid(), file=file)
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_program_is_cleaned_up_after_and_not_run_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    killed = subprocess.run([sys.executable, program], cwd=tmp_path, timeout=LIMIT, check=False)

    assert killed.returncode == -signal.SIGKILL
    until = time.monotonic() + LIMIT
    while (tmp_path / "it").exists() or any((tmp_path / ".alchemy").glob("*/test-*")):
        assert time.monotonic() < until, sorted(os.listdir(tmp_path))
        time.sleep(0.02)
    assert len((tmp_path / "made").read_text().split()) == 1
