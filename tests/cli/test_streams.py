"""What the command prints, where that is no screen and no file with room in it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.project import COMMAND, Project

PRINTING = """
import subprocess

print("hello")
subprocess.run(["echo", "hello as well"])


class Listed(Fixed):
    @classmethod
    def list(cls):
        return []
"""


def shell(project: Project, command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Let a shell call *command*, in which ``alchemy`` is the command."""
    return subprocess.run(
        ["bash", "-c", f'alchemy() {{ "$PYTHON" {" ".join(COMMAND[1:])} "$@"; }}; {command}'],
        cwd=project.path,
        env={**os.environ, "PYTHON": COMMAND[0], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_process_without_streams_deploys_and_destroys(project: Project, closed: str) -> None:
    project.write('app.create(Fixed("a"))')

    deployed = shell(project, f"alchemy deploy --stage pr-7 {closed}").returncode
    left = project.left
    looked = shell(project, f"alchemy sweep {closed}").returncode
    refused = shell(project, f"alchemy destroy --stage pr-7 {closed}")
    destroyed = shell(project, f"alchemy destroy --stage pr-7 --force {closed}").returncode

    assert (deployed, looked, refused.returncode, destroyed) == (0, 0, 1, 0)
    assert b"nobody can be asked without a terminal" in refused.stderr or "2>" in closed
    assert (left, project.left) == (["a"], [])


def test_a_character_that_the_terminal_has_not_is_escaped(project: Project) -> None:
    project.write('app.create(Fixed("d\\u00fcne"))', 'app.create(Fixed("\\u65e5"))')

    done = shell(project, "alchemy deploy --stage pr-7", PYTHONIOENCODING="latin-1")
    listed = shell(project, "alchemy state", PYTHONIOENCODING="latin-1")

    assert (done.returncode, len(project.left)) == (0, 2)
    assert rb"CREATED Fixed '\u65e5' (" in done.stdout
    assert rb"Fixed \u65e5 (" in listed.stdout
    assert "Fixed düne (".encode("latin-1") in listed.stdout


@pytest.mark.parametrize("stream", ["| true", "2>&1 | true", "> /dev/full", "2> /dev/full"])
def test_what_cannot_be_told_stops_nothing(project: Project, stream: str) -> None:
    if "full" in stream and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    project.write(*(f'app.create(Fixed("f{number}"))' for number in range(9)))

    deployed = shell(project, f"alchemy deploy --stage pr-7 {stream}; exit ${{PIPESTATUS[0]}}")
    left = project.left
    destroyed = shell(
        project, f"alchemy destroy --stage pr-7 --force {stream}; exit ${{PIPESTATUS[0]}}"
    )

    assert (deployed.returncode, len(left)) == (0, 9)
    assert (destroyed.returncode, project.left) == (0, [])


def test_nothing_that_a_program_prints_stands_beside_the_json_document(project: Project) -> None:
    with (project.path / "kinds.py").open("a") as kinds:
        kinds.write(PRINTING)
    project.write('app.create(Fixed("a"))')

    for words in (
        ("deploy", "--stage=pr-7"),
        ("state", "check", "--stage=pr-7"),
        ("sweep", "--app=shop", "--provider=kinds.py:Listed"),
        ("destroy", "--stage=pr-7", "--force"),
    ):
        done = project.run(*words, "--json")

        assert json.loads(done.stdout)["exit_code"] == 0
        assert done.stderr.count("hello") == 2, words
