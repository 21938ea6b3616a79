"""Destroying a stage by hand, from what is recorded of it."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pytest_alchemy import clock
from pytest_alchemy.cli import main
from pytest_alchemy.records import Created, Destroyed, Intent, Kept
from pytest_alchemy.state.backup import MOST, back_up, backups_of
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.locks import Holder, StageLock
from tests.support.deadstages import OTHER_KEY, Graveyard, name_of
from tests.support.limits import limit_files, obey_permissions

COMMAND = [sys.executable, "-m", "pytest_alchemy"]
LASTING: dict[str, Any] = {"run": "", "ephemeral": False, "expires": 0.0}

SLOW = """

class Slow(File):
    def destroy(self):
        if self.id == "second" and not os.environ.get("FAST"):
            (HERE / "reached").touch()
            signal.pause()
        super().destroy()
"""


def deploy(graveyard: Graveyard, *ids: str, stage: str = "pr-7", app: str = "shop") -> Path:
    """Leave a lasting stage as a program that is gone left it."""
    return graveyard.bury(*ids, stage=stage, app=app, **LASTING)


def destroy(graveyard: Graveyard, *words: str) -> Result:
    os.chdir(graveyard.path)
    return CliRunner().invoke(main, ["destroy", *words], prog_name="alchemy")


def run(
    graveyard: Graveyard, *words: str, limited: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Call the command in a process of its own, which *limited* makes short of something."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=graveyard.path,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        preexec_fn=limited,
    )


def text(said: str, graveyard: Graveyard) -> str:
    """Return what was said, with what changes from run to run written as stars."""
    said = said.replace(str(graveyard.path), "")
    return re.sub(r"\(al[ct]-[a-z0-9-]+\)", "(*)", re.sub(r"\d{8}T\d{6}\.\d{6}Z", "*", said))


def test_everything_goes_and_the_folder_with_it(graveyard: Graveyard) -> None:
    deploy(graveyard, "a", "b")

    done = run(graveyard, "destroy", "--stage", "pr-7", "--force")

    assert done.returncode == 0
    assert text(done.stdout, graveyard) == (
        "DESTROYED File b (*) in shop/pr-7/test_a.py::test_one\n"
        "DESTROYED File a (*) in shop/pr-7/test_a.py::test_one\n"
    )
    assert text(done.stderr, graveyard) == (
        "What was recorded is copied to /.alchemy/.backups/shop/pr-7/*\n"
        "2 destroyed; shop/pr-7 is gone\n"
    )
    assert graveyard.left == []
    assert not (graveyard.root / "shop").exists()


def test_the_copy_says_again_what_was_recorded(graveyard: Graveyard) -> None:
    folder = deploy(graveyard, "a")
    destroy(graveyard, "--stage=pr-7", "--force")
    [copy] = backups_of(folder)
    shutil.copytree(copy, folder)

    listed = CliRunner().invoke(main, ["state", "list"])
    again = destroy(graveyard, "--stage=pr-7", "--force")

    assert "shop/pr-7: 1 resource" in listed.output
    assert "File a (" in listed.output
    assert again.exit_code == 0  # what is gone already is no failure


def test_only_the_newest_copies_are_kept(graveyard: Graveyard) -> None:
    folder = deploy(graveyard, "a")

    copies = [back_up(folder) for _ in range(MOST + 2)]

    assert backups_of(folder) == copies[2:]


def test_a_project_that_was_moved_needs_no_deployment_to_be_destroyed(graveyard: Graveyard) -> None:
    deploy(graveyard, "a")
    moved = graveyard.path.with_name("moved")
    graveyard.path.rename(moved)
    graveyard.path = moved

    done = run(graveyard, "destroy", "--stage=pr-7", "--force")

    assert done.returncode == 0, done.stderr
    assert list((moved / "world").iterdir()) == []


def test_without_a_terminal_force_is_needed(graveyard: Graveyard) -> None:
    deploy(graveyard, "a")
    before = graveyard.snapshot()

    done = run(graveyard, "destroy", "--stage=pr-7")

    assert done.returncode == 1
    assert done.stderr == (
        "Error: Nothing in shop/pr-7 was destroyed: nobody can be asked without a terminal.\n"
        "Say --force to destroy without asking.\n"
    )
    assert graveyard.snapshot() == before


@pytest.mark.parametrize("words", [("--stage=pr-7",), ()])
@pytest.mark.parametrize(("typed", "code", "left"), [("pr-7", 0, []), ("pr-8", 1, ["a"])])
def test_on_a_terminal_the_name_has_to_be_typed(
    graveyard: Graveyard, typed: str, code: int, left: list[str], words: tuple[str, ...]
) -> None:
    deploy(graveyard, "a")
    screen, side = pty.openpty()

    process = subprocess.Popen(
        [*COMMAND, "destroy", *words],
        cwd=graveyard.path,
        env={**os.environ, "ALCHEMY_STAGE": "pr-7"},
        stdin=side,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(screen, f"{typed}\n".encode())
    _, said = process.communicate(timeout=60)
    os.close(side)
    os.close(screen)

    assert process.returncode == code
    assert text(said, graveyard).startswith(
        "1 resource in shop/pr-7 to be destroyed:\n"
        "       File a (*)\n"
        "Type the name of the stage to destroy this: "
    )
    assert ("Error: Nothing in shop/pr-7 was destroyed: that is not its name.\n" in said) is bool(
        left
    )
    assert graveyard.left == left


def test_what_fails_and_what_is_blocked_by_it_stays_and_goes_the_next_time(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, name = clock.now(), name_of("top", run=None, stage="pr-7")
    top = Intent(4, (":test_a.py::test_one",), "stuck", "top", name, "", {}, needs=(1,), at=at)
    with graveyard.kinds.open("a") as kinds:
        kinds.write(
            "\n\nclass Stuck(File):\n    def destroy(self):\n"
            '        if not os.environ.get("FREE"):\n'
            '            raise RuntimeError("it is stuck")\n        super().destroy()\n'
        )
    deploy(graveyard, "a", "b")
    graveyard.note(top, Created(4, {}, at=at), kind="Stuck", stage="pr-7")
    (graveyard.world / name).write_text("top")

    first = destroy(graveyard, "--stage=pr-7", "--force")
    left = graveyard.left
    monkeypatch.setenv("FREE", "1")
    second = destroy(graveyard, "--stage=pr-7", "--force")

    assert first.exit_code == 1
    assert text(first.output, graveyard) == (
        "What was recorded is copied to /.alchemy/.backups/shop/pr-7/*\n"
        "DESTROYED File b (*) in shop/pr-7/test_a.py::test_one\n"
        "LEFT Stuck top (*) in shop/pr-7/test_a.py::test_one\n"
        "       RuntimeError: it is stuck (tried 3 times)\n"
        "LEFT File a (*) in shop/pr-7/test_a.py::test_one\n"
        "       still needed by Stuck 'top'\n"
        "1 destroyed, 2 left; what is left of shop/pr-7 is recorded\n"
    )
    assert left == ["a", "top"]
    assert (second.exit_code, graveyard.left) == (0, [])


def test_a_killed_or_interrupted_destroy_goes_on_where_it_was(graveyard: Graveyard) -> None:
    graveyard.kinds.write_text(
        graveyard.kinds.read_text().replace("import os\n", "import os\nimport signal\n") + SLOW
    )
    deploy(graveyard)
    for seq, id in enumerate(["first", "second", "third"], 1):
        name, at = name_of(id, run=None, stage="pr-7"), clock.now()
        intent = Intent(seq, (), "slow", id, name, "", {}, at=at)
        graveyard.note(intent, Created(seq, {}, at=at), kind="Slow", stage="pr-7")
        (graveyard.world / name).write_text(id)
    process = subprocess.Popen(
        [*COMMAND, "destroy", "--stage=pr-7", "--force"],
        cwd=graveyard.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    graveyard.wait_for("reached")

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    left = graveyard.left
    os.environ["FAST"] = "1"
    try:
        again = run(graveyard, "destroy", "--stage=pr-7", "--force")
    finally:
        del os.environ["FAST"]

    assert process.returncode == 130
    assert text(said, graveyard).splitlines()[1:] == [
        "1 of 3 are destroyed, the rest of shop/pr-7 is still recorded: the same command goes on from there.",
        "Interrupted.",
    ]
    assert left == ["first", "second"]
    assert again.returncode == 0
    assert text(again.stderr, graveyard).endswith("2 destroyed; shop/pr-7 is gone\n")
    assert graveyard.left == []


def test_an_unknown_stage_lists_the_known_ones(graveyard: Graveyard) -> None:
    deploy(graveyard, "a")
    deploy(graveyard, "b", stage="prod")

    result = destroy(graveyard, "--stage=pr-8", "--force")

    assert result.exit_code == 1
    assert text(result.output, graveyard) == (
        "Error: Nothing is recorded of stage 'pr-8' under /.alchemy.\n"
        "Recorded there: shop/pr-7, shop/prod.\n"
    )
    assert graveyard.left == ["a", "b"]


def test_the_stage_of_who_names_none_is_that_of_a_deployment(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(graveyard, "a", stage="ada")
    deploy(graveyard, "b", stage="staging")
    for name, value in {"USER": "ada", "LOGNAME": "ada", "ALCHEMY_STAGE": "staging"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CI", raising=False)

    destroy(graveyard, "--force")
    after_one = graveyard.left
    monkeypatch.delenv("ALCHEMY_STAGE")
    destroy(graveyard, "--force")

    assert (after_one, graveyard.left) == (["a"], [])


def test_in_ci_the_stage_has_to_be_named(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(graveyard, "a", stage="ada")
    for name, value in {"USER": "ada", "LOGNAME": "ada", "CI": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ALCHEMY_STAGE", raising=False)

    result = destroy(graveyard, "--force")

    assert result.exit_code == 1
    assert result.output.startswith("Error: No stage was named, and in CI (the variable CI is set)")
    assert graveyard.left == ["a"]


def test_where_several_applications_have_the_stage_one_has_to_be_named(
    graveyard: Graveyard,
) -> None:
    deploy(graveyard, "a")
    deploy(graveyard, "b", app="blog")

    refused = destroy(graveyard, "--stage=pr-7", "--force")
    left = graveyard.left
    done = destroy(graveyard, "--stage=pr-7", "--app=blog", "--force")

    assert refused.exit_code == 1
    assert refused.output == (
        "Error: Several applications have a stage 'pr-7': blog, shop.\nName one: --app blog\n"
    )
    assert left == ["a", "b"]
    assert (done.exit_code, graveyard.left) == (0, ["a"])


def test_what_a_test_kept_goes_when_its_stage_is_destroyed_by_hand(graveyard: Graveyard) -> None:
    graveyard.bury("a", more=(Kept((), clock.now() + 3600),))

    result = destroy(graveyard, "--stage=test-main-k3f9x2ab", "--force")

    assert (result.exit_code, graveyard.left) == (0, [])


def test_a_stage_whose_owner_lives_is_left_alone(graveyard: Graveyard) -> None:
    owner = StageLock(deploy(graveyard, "a") / LOCK)
    owner.acquire(Holder.this_process())

    result = destroy(graveyard, "--stage=pr-7", "--force")
    owner.release()

    assert result.exit_code == 1
    assert result.output.startswith("Error: State of stage 'pr-7' is locked by ")
    assert graveyard.left == ["a"]


def test_a_stage_in_use_is_waited_for_if_asked(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = StageLock(deploy(graveyard, "a") / LOCK)
    owner.acquire(Holder.this_process())
    monkeypatch.setattr(disk, "pause", lambda _: owner.release())

    result = destroy(graveyard, "--stage=pr-7", "--force", "--lock-timeout=60")

    assert (result.exit_code, graveyard.left) == (0, [])


def test_what_somebody_else_recorded_is_not_acted_on(graveyard: Graveyard) -> None:
    graveyard.bury("a", stage="pr-7", key=OTHER_KEY, **LASTING)

    result = destroy(graveyard, "--stage=pr-7", "--force")

    assert result.exit_code == 1
    assert "was not written by this user on this machine" in result.output
    assert graveyard.left == ["a"]
    assert not graveyard.is_imported


def test_a_damaged_state_is_named_with_the_way_to_its_copy(graveyard: Graveyard) -> None:
    folder = deploy(graveyard, "a")
    copy = back_up(folder)
    journal = folder / ".journal" / "main.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"test_a.py:7"', b'"test_b.py:7"'))

    refused = destroy(graveyard, "--stage=pr-7", "--force")
    left = graveyard.left
    subprocess.run(refused.output.rpartition("put it back with: ")[2], shell=True, check=True)
    done = destroy(graveyard, "--stage=pr-7", "--force")

    assert refused.exit_code == 1
    assert f"Error: Journal {journal}, line 3: " in refused.output
    assert refused.output.endswith(
        f"Its last copy is {copy}; put it back with: find {folder} -name state.json -delete"
        f" && rm -rf {folder}/.journal && cp -r {copy}/. {folder}/\n"
    )
    assert left == ["a"]
    assert (done.exit_code, graveyard.left) == (0, [])


def test_nothing_is_called_if_no_copy_can_be_made(graveyard: Graveyard) -> None:
    deploy(graveyard, "a")
    (graveyard.root / ".backups").write_text("in the way")

    result = destroy(graveyard, "--stage=pr-7", "--force")

    assert result.exit_code == 1
    assert result.output == (
        f"Error: {graveyard.root}/.backups cannot be used: it is not a folder.\n"
        "Make it writable for this user, or choose another place: --root DIR (in tests --alchemy-root DIR).\n"
    )
    assert graveyard.left == ["a"]


def test_the_folder_of_a_stage_with_a_stranger_in_it_stays_and_is_told(
    graveyard: Graveyard,
) -> None:
    folder = deploy(graveyard, "a")
    (folder / "notes.txt").write_text("mine")

    result = destroy(graveyard, "--stage=pr-7", "--force")

    assert result.exit_code == 1
    assert result.output.endswith(
        f"Error: Nothing is left of shop/pr-7, but its folder {folder} holds files of others.\n"
    )


def test_the_stage_says_whether_it_is_destroyed_in_parallel(graveyard: Graveyard) -> None:
    graveyard.kinds.write_text(
        graveyard.kinds.read_text()
        + "\n\nimport threading\n\nMEET = threading.Barrier(2)\n\n\nclass Pair(File):\n"
        "    def destroy(self):\n        MEET.wait(20)\n        super().destroy()\n"
    )
    settings = {"app": "shop", "stage": "pr-7", "destroy": "parallel"}
    graveyard.bury(stage="pr-7", settings=settings, **LASTING)
    for seq, id in enumerate(["one", "two"], 1):
        name, at = name_of(id, run=None, stage="pr-7"), clock.now()
        intent = Intent(seq, (), "pair", id, name, "", {}, at=at)
        graveyard.note(intent, Created(seq, {}, at=at), kind="Pair", stage="pr-7")
        (graveyard.world / name).write_text(id)

    result = destroy(graveyard, "--stage=pr-7", "--force")

    assert (result.exit_code, graveyard.left) == (0, [])


def test_the_profile_of_the_command_line_is_the_one_that_is_used(graveyard: Graveyard) -> None:
    graveyard.kinds.write_text(
        graveyard.kinds.read_text() + "\n\nclass Signed(File):\n    def destroy(self):\n"
        '        (HERE / "signed").write_text(self.scope.settings.profile)\n        super().destroy()\n'
    )
    deploy(graveyard)
    intent = Intent(1, (), "signed", "s", name_of("s", run=None, stage="pr-7"), "", {})
    graveyard.note(intent, Created(1, {}), kind="Signed", stage="pr-7")

    result = destroy(graveyard, "--stage=pr-7", "--profile=ci", "--force")

    assert result.exit_code == 0
    assert (graveyard.path / "signed").read_text() == "ci"


def test_one_json_document_tells_it_all(graveyard: Graveyard) -> None:
    folder = deploy(graveyard, "a", "broken")

    done = run(graveyard, "destroy", "--stage=pr-7", "--force", "--json")

    said = json.loads(done.stdout)
    assert done.returncode == said["exit_code"] == 1
    assert {outcome["id"]: outcome["what"] for outcome in said["outcomes"]} == {
        "a": "destroyed",
        "broken": "left",
    }
    assert (said["app"], said["stage"], said["gone"]) == ("shop", "pr-7", False)
    assert (said["folder"], said["backup"]) == (str(folder), str(backups_of(folder)[-1]))


def test_the_program_may_be_named_and_is_not_run(graveyard: Graveyard) -> None:
    (graveyard.path / "infra.py").write_text("raise SystemExit('it was run')\n")

    for program in ("infra.py", "gone.py"):
        deploy(graveyard, program[0])
        result = destroy(graveyard, program, "--stage=pr-7", "--force")

        assert result.exit_code == 0
        assert result.output.endswith("1 destroyed; shop/pr-7 is gone\n")


ARGUMENTS = """
import argparse

from kinds import WORLD, File
from pytest_alchemy import alchemy


class Own(File, kind="own"):
    pass


parser = argparse.ArgumentParser()
parser.add_argument("--size"{more})
parser.parse_args()
with alchemy("shop") as app:
    raise AssertionError("it was run")
"""


@pytest.mark.parametrize("more", ["", ", required=True"])
def test_a_program_with_arguments_is_loaded_for_its_classes(
    graveyard: Graveyard, more: str
) -> None:
    program = graveyard.path / "infra.py"
    program.write_text(ARGUMENTS.replace("{more}", more))
    deploy(graveyard)
    name = name_of("a", run=None, stage="pr-7")
    made = Intent(1, (), "own", "a", name, "", {}), Created(1, {})
    graveyard.note(*made, kind="Own", stage="pr-7", module="__main__", file=program)
    (graveyard.world / name).write_text("a")

    done = run(graveyard, "destroy", "--stage=pr-7", "--force")

    assert done.returncode == 0, done.stderr
    assert graveyard.left == []


def test_a_module_that_ends_the_process_keeps_only_its_own_things(graveyard: Graveyard) -> None:
    deploy(graveyard, "a")
    stopping = graveyard.path / "stopping.py"
    stopping.write_text("import sys\n\nsys.exit('set TOKEN')\n")
    intent = Intent(2, (), "other", "b", name_of("b", run=None, stage="pr-7"), "", {})
    graveyard.note(
        intent, Created(2, {}), kind="Other", stage="pr-7", module="stopping", file=stopping
    )

    result = destroy(graveyard, "--stage=pr-7", "--force")

    assert result.exit_code == 1
    assert (
        f"Other cannot be loaded from {stopping}: SystemExit: set TOKEN "
        "(define it in a module that can be imported by itself)"
    ) in result.output
    assert graveyard.left == []


def test_an_empty_stage_is_gone_as_well(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", stage="pr-7", more=(Destroyed(1),), **LASTING)

    result = destroy(graveyard, "--stage=pr-7", "--force")

    assert result.exit_code == 0
    assert result.output.endswith("Nothing was in it; shop/pr-7 is gone\n")
    assert not folder.exists()


def test_without_room_for_the_copy_nothing_is_called(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # it would write there, too
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # Python would keep half of it
    folder = deploy(graveyard, "a", "b")

    full = run(graveyard, "destroy", "--stage=pr-7", "--force", limited=partial(limit_files, 500))
    left = graveyard.left
    again = run(graveyard, "destroy", "--stage=pr-7", "--force")

    assert full.returncode == 1
    assert text(full.stderr, graveyard) == (
        "Error: /.alchemy/.backups/shop/pr-7/*/.journal/main.jsonl cannot be used: file too large.\n"
        "Make it writable for this user, or choose another place: --root DIR (in tests --alchemy-root DIR).\n"
    )
    assert left == ["a", "b"]
    assert again.returncode == 0, again.stderr
    assert graveyard.left == []
    assert len(backups_of(folder)) == 1  # none that is not whole


def test_where_no_more_can_be_recorded_everything_is_destroyed_all_the_same(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    folder = deploy(graveyard, "a", "b")
    [journal] = (folder / ".journal").iterdir()
    room = partial(limit_files, journal.stat().st_size + 10)

    full = run(graveyard, "destroy", "--stage=pr-7", "--force", limited=room)

    assert full.returncode == 0, full.stderr
    assert graveyard.left == []
    assert not folder.exists()


def test_a_stage_that_cannot_be_written_is_left_as_it_is(graveyard: Graveyard) -> None:
    deploy(graveyard, "a")
    folders = [graveyard.root, *(path for path in graveyard.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)

    refused = run(graveyard, "destroy", "--stage=pr-7", "--force", limited=obey_permissions)
    for folder in folders:
        folder.chmod(0o700)

    assert refused.returncode == 1
    assert text(refused.stderr, graveyard) == (
        "Error: /.alchemy/.backups/shop/pr-7/* cannot be used: permission denied.\n"
        "Make it writable for this user, or choose another place: --root DIR (in tests --alchemy-root DIR).\n"
    )
    assert graveyard.left == ["a"]
    assert run(graveyard, "destroy", "--stage=pr-7", "--force").returncode == 0
    assert graveyard.left == []
