"""What all verbs have in common."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pytest_alchemy import cli
from pytest_alchemy.cli import main
from pytest_alchemy.cli.frame import Verb


def commands(group: click.Group = main, path: str = "alchemy") -> Iterator[tuple[str, Verb]]:
    """Yield every command and its name as it is typed."""
    assert isinstance(group, Verb)
    yield path, group
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            if isinstance(command, click.Group):
                yield from commands(command, f"{path} {name}")
            else:
                assert isinstance(command, Verb), name
                yield f"{path} {name}", command


EVERY = dict(commands())


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A runner for which there is the verb ``act``."""
    monkeypatch.setitem(cli._VERBS, "act", "tests.cli.verbs")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return CliRunner()


def run(runner: CliRunner, *words: str, color: bool = False) -> Result:
    return runner.invoke(main, words, prog_name="alchemy", color=color)


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_help_with_an_example_of_itself(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split()[1:], "--help"], prog_name="alchemy")

    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith(f"Usage: {name} ")
    shown = result.stdout.partition("\nExample")[2]
    for line in EVERY[name].example.splitlines():
        assert f"  {line}\n" in shown
        assert name in line


@pytest.mark.parametrize("name", EVERY)
def test_every_example_is_understood(name: str) -> None:
    for line in EVERY[name].example.splitlines():
        said = re.split(r"[#|)&<]", line[line.index("alchemy") :])[0]
        understand(shlex.split(said)[1:])


def understand(words: list[str]) -> None:
    """Let click parse *words* as it does before a verb is called; a mistake raises its usage error."""
    command: click.Command = main
    ctx: click.Context | None = None
    while isinstance(command, click.Group):
        ctx = command.make_context("alchemy", words, parent=ctx)
        words = [*ctx._protected_args, *ctx.args]
        if not words:
            return
        _, found, words = command.resolve_command(ctx, words)
        assert found is not None
        command = found
    command.make_context("verb", words, parent=ctx)


def test_the_module_is_the_same_command() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pytest_alchemy", "--help"], capture_output=True, text=True
    )

    assert said.returncode == 0
    assert said.stdout == CliRunner().invoke(main, ["--help"], prog_name="alchemy").stdout


def test_an_error_of_ours_is_its_sentence_on_stderr(act: CliRunner) -> None:
    result = run(act, "act", "ours")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "Error: State of stage 'my-app/prod' is locked by ada on build-7, pid 12.\n"
        "Wait until it is done, or give this run its own stage.\n"
    )


def test_an_error_of_the_system_names_the_file(act: CliRunner) -> None:
    result = run(act, "act", "disk")

    assert result.exit_code == 1
    assert result.stderr == "Error: /state: No space left on device\n"


def test_errors_that_come_together_are_told_one_by_one(act: CliRunner) -> None:
    result = run(act, "act", "several")

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: 2 resources are left\n"
        "  * I/O error\n"
        "  * ValueError: odd\n"
        "    value (--debug shows where it comes from)\n"
    )


def test_what_nobody_expected_is_one_sentence_too(act: CliRunner) -> None:
    result = run(act, "act", "bug")

    assert result.exit_code == 1
    assert result.stderr == "Error: ZeroDivisionError (--debug shows where it comes from)\n"


@pytest.mark.parametrize("words", [("--debug", "act", "bug"), ("act", "bug", "--debug")])
def test_debug_lets_the_traceback_out(act: CliRunner, words: tuple[str, ...]) -> None:
    result = run(act, *words)

    assert isinstance(result.exception, ZeroDivisionError)


def test_a_word_that_is_not_understood_ends_with_exit_code_2() -> None:
    result = CliRunner().invoke(main, ["sweep", "--never"], prog_name="alchemy")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "No such option '--never'" in result.stderr
    assert "Try 'alchemy sweep --help' for help." in result.stderr


def test_an_interrupt_ends_with_exit_code_130(act: CliRunner) -> None:
    result = run(act, "act", "interrupt")

    assert result.exit_code == 130
    assert result.stderr == "Interrupted.\n"


def test_so_does_one_at_a_prompt(act: CliRunner) -> None:
    result = run(act, "act", "interrupted-prompt")

    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_so_does_a_second_one_that_comes_while_the_first_is_told(
    act: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_alchemy.cli.frame.show", interrupted)

    result = run(act, "act", "interrupt")

    assert result.exit_code == 130


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the test was started with
sys.meta_path.insert(0, Interrupt)
runpy.run_module("pytest_alchemy", run_name="__main__")
"""


def test_one_while_the_command_is_loaded_ends_it_without_a_word(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


def test_a_warning_of_ours_is_its_sentence_on_stderr(act: CliRunner) -> None:
    result = run(act, "act", "warning")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == "Warning: A password is in plain text.\n"


def test_stdout_holds_what_was_asked_for_and_stderr_the_rest(act: CliRunner) -> None:
    result = run(act, "act", "work", "--json")

    assert json.loads(result.stdout) == {"left": 0}
    assert result.stderr == "half done\n1 destroyed\n"


@pytest.mark.parametrize("words", [("-q", "act", "work"), ("act", "work", "--quiet")])
def test_quiet_leaves_what_was_asked_for(act: CliRunner, words: tuple[str, ...]) -> None:
    result = run(act, *words)

    assert json.loads(result.stdout) == {"left": 0}
    assert result.stderr == ""


def test_colours_are_for_terminals_without_no_color(
    act: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[31mred" in run(act, "act", "colours", color=True).stderr

    monkeypatch.setenv("NO_COLOR", "1")

    assert "\x1b" not in run(act, "act", "colours", color=True).output


BASH = """
source <(alchemy completion bash)
COMP_WORDS=({words}); COMP_CWORD={last}
_alchemy_completion alchemy
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("alchemy swe", "sweep"),
        ("alchemy sweep --older", "--older-than"),
        ("alchemy completion z", "zsh"),
    ],
)
def test_bash_completes_verbs_options_and_values(
    tmp_path: Path, words: str, completed: str
) -> None:
    command = tmp_path / "alchemy"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pytest_alchemy "$@"\n')
    command.chmod(0o755)
    script = BASH.format(words=words, last=len(words.split()) - 1)

    said = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (said.stdout, said.stderr) == (f"{completed}\n", "")
