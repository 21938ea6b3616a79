"""What mypy and pyright make of good programs and of bad ones, whose wrong lines end in ``# error``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 150

Lines = dict[str, set[int]]


def ask_mypy(cache: Path) -> Iterable[tuple[str, int]]:
    """Yield the file and line of every error that mypy finds."""
    options = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={cache}"]
    run = _run("mypy", *options, str(PROGRAMS))
    assert run.returncode in (0, 1), run.stdout + run.stderr
    for file, line in re.findall(r"^(.+?):(\d+): error:", run.stdout, re.MULTILINE):
        yield file, int(line)


def ask_pyright(_: Path) -> Iterable[tuple[str, int]]:
    """Yield the file and line of every error that pyright finds."""
    run = _run(
        "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(PROGRAMS)
    )
    if not run.stdout.startswith("{"):
        _not_available(f"pyright did not run:\n{run.stdout}{run.stderr}")
    for found in json.loads(run.stdout)["generalDiagnostics"]:
        if found["severity"] == "error":
            yield found["file"], found["range"]["start"]["line"] + 1


@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("ask", [ask_mypy, ask_pyright])
def test_a_type_checker_objects_to_the_wrong_lines_and_to_no_others(
    ask: Callable[[Path], Iterable[tuple[str, int]]], tmp_path: Path
) -> None:
    expected = _expected()

    found: Lines = {name: set() for name in expected}
    for file, line in ask(tmp_path):
        found.setdefault(_name(ROOT / file), set()).add(line)

    assert found == expected


def test_there_are_good_programs_and_bad_ones() -> None:
    wrong = {name: bool(lines) for name, lines in _expected().items()}

    assert {name for name, is_wrong in wrong.items() if is_wrong} == {
        name for name in wrong if name.startswith("bad/")
    }
    assert {name.partition("/")[0] for name in wrong} == {"good", "bad"}


def _expected() -> Lines:
    return {
        _name(program): {
            number
            for number, line in enumerate(program.read_text().splitlines(), start=1)
            if line.endswith("# error")
        }
        for program in PROGRAMS.rglob("*.py")
    }


def _name(file: Path) -> str:
    return file.relative_to(PROGRAMS).as_posix()


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        _not_available(f"{words[0]} took more than {SECONDS} s")


def _not_available(reason: str) -> NoReturn:
    """Pyright may have to fetch Node.js first: without a network that is no fault of ours, except in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
