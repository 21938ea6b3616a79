"""Programs run by the command: what they do is told, planned, and goes on after they failed."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import clock
from pytest_alchemy.state.backup import backups_of
from pytest_alchemy.state.disk import disk
from tests.support.limits import limit_files, obey_permissions
from tests.support.project import COMMAND, Project, text


def test_what_was_done_is_told(project: Project) -> None:
    project.write('app.create(File("a"))', 'app.create(Fixed("b"))', 'app.create(Fixed("c"))')
    first = project.deploy()
    project.write(
        'app.create(File("a", text="new"))', 'app.create(Fixed("b", text="new"))', 'app.create(Fixed("d"))',
        'app.create(Fixed("d"))',
    )  # fmt: skip

    second = project.deploy()
    third = project.deploy()

    assert (first.returncode, second.returncode, third.returncode) == (0, 0, 0)
    assert text(first.stdout) == (
        "CREATED File 'a' (*) in shop/pr-7\n"
        "CREATED Fixed 'b' (*) in shop/pr-7\n"
        "CREATED Fixed 'c' (*) in shop/pr-7\n"
    )
    assert first.stderr == "shop/pr-7: 3 created\n"
    assert text(second.stdout) == (
        "UPDATED File 'a' (*) in shop/pr-7: text\n"
        "REPLACED Fixed 'b' (*) in shop/pr-7: text\n"
        "CREATED Fixed 'd' (*) in shop/pr-7\n"
        "DESTROYED Fixed 'c' (*) in shop/pr-7\n"
    )
    assert second.stderr == "shop/pr-7: 1 created, 1 updated, 1 replaced, 1 destroyed\n"
    assert (third.stdout, third.stderr) == ("", "shop/pr-7: 3 kept\n")
    assert project.left == ["a", "b", "d"]


ASYNC_PROGRAM = """
import asyncio

from kinds import Fixed
from pytest_alchemy import alchemy


async def main():
    async with alchemy("shop"):
        await asyncio.gather(*(Fixed(f"f{number}") for number in range(5)))


asyncio.run(main())
"""


def test_an_async_program_is_run_as_any_other(project: Project) -> None:
    (project.path / "alchemy_run.py").write_text(ASYNC_PROGRAM)

    first, second = project.deploy(), project.deploy("--plan", "--json")

    assert (first.returncode, first.stderr) == (0, "shop/pr-7: 5 created\n")
    assert len(project.left) == 5
    assert {each["step"] for each in json.loads(second.stdout)["resources"]} == {"keep"}


def test_the_program_of_the_readme_is_one(project: Project) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [program] = re.findall(
        r"^```python\n(# alchemy_run\.py\n.*?)^```", readme, re.MULTILINE | re.DOTALL
    )
    (project.path / "alchemy_run.py").write_text(program)
    account = {"ALCHEMY_FAKE_ACCOUNT": str(project.path / "account.sqlite")}

    made = project.deploy(env=account)
    gone = project.run("destroy", "--stage=pr-7", "--force", env=account)

    assert (made.returncode, made.stderr) == (0, "my-app/pr-7: 2 created\n")
    assert gone.stderr.endswith("2 destroyed; my-app/pr-7 is gone\n")


def test_a_screen_shows_what_is_going_on(project: Project) -> None:
    project.write('app.create(Fixed("a"))')
    screen, side = pty.openpty()

    process = project.start(
        "deploy", "--stage=pr-7", stderr=side, env={"TERM": "xterm", "HANG": "a"}
    )
    os.close(side)
    shown = b""
    while b"Creating Fixed 'a'" not in shown:
        shown += os.read(screen, 65536)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    os.close(screen)
    assert process.stdout is not None
    process.stdout.close()

    assert process.returncode == 130


BEFORE = ['app.create(File("a"))', 'app.create(Fixed("b"))', 'app.create(Fixed("gone"))']
CASES: dict[str, tuple[list[str], list[str]]] = {
    "nothing recorded": ([], BEFORE),
    "unchanged": (BEFORE, BEFORE),
    "changed": (
        BEFORE,
        ['app.create(File("a", text="x"))', 'app.create(Fixed("b", text="x"))', 'app.create(File("c"))'],
    ),
    "composites": (
        ['app.create(Pair("one"))', 'app.create(Pair("two"))'],
        ['app.create(Pair("two"))', 'app.create(Pair("three"))'],
    ),
    "nested": (
        ['with app.run("inner") as inner: inner.create(File("a")); inner.create(File("b"))',
         'with app.run("other") as other: other.create(File("a"))'],
        ['with app.run("inner") as inner: inner.create(File("b", text="x"))'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_plan_calls_nothing_changes_nothing_and_is_what_is_then_done(
    project: Project, case: str
) -> None:
    before, after = CASES[case]
    if before:
        project.write(*before)
        assert project.deploy().returncode == 0
    project.write(*after)
    project.took()
    snapshot = project.snapshot()

    planned = project.deploy("--plan", "--json")
    asked, unchanged = project.took(), project.snapshot() == snapshot
    done = project.deploy("--json")

    assert (planned.returncode, done.returncode) == (0, 0)
    assert asked == []
    assert unchanged

    def steps(said: str) -> list[tuple[Any, ...]]:
        fields = ("step", "resource", "name", "scope", "changed")
        return [tuple(map(str, map(each.get, fields))) for each in json.loads(said)["resources"]]

    assert steps(planned.stdout) == steps(done.stdout)
    assert steps(done.stdout)
    assert all(each["done"] for each in json.loads(done.stdout)["resources"])


def test_a_plan_for_people(project: Project) -> None:
    project.write(*BEFORE)
    project.deploy()
    project.write('app.create(File("a"))', 'app.create(Fixed("b", text="x"))')

    result = project.deploy("--plan")

    assert result.returncode == 0
    assert text(result.stdout) == (
        "REPLACE Fixed 'b' (*) in shop/pr-7: text\nDESTROY Fixed 'gone' (*) in shop/pr-7\n"
    )
    assert result.stderr == "shop/pr-7: 1 to replace, 1 to destroy, 1 to keep\n"


def test_a_deferred_call_is_told_by_its_own_words_alone(project: Project) -> None:
    project.write('app.create(Fixed("a"))', 'app.defer(log, "undone")')
    program = project.path / "alchemy_run.py"
    program.write_text(program.read_text().replace("import File", "import log, File"))
    project.deploy()
    project.write('app.create(Fixed("a"))')

    done = project.deploy()

    assert done.stdout == "DESTROYED deferred log('undone') in shop/pr-7\n"


def test_a_plan_says_which_output_it_cannot_know(project: Project) -> None:
    project.write('a = app.create(Fixed("a"))', "print(a.path)")

    planned = project.deploy("--plan")
    deployed = project.deploy()
    again = project.deploy("--plan")

    assert planned.returncode == 1
    assert planned.stderr == (
        "shop/pr-7: 1 to create\n"
        "Error: alchemy_run.py, line 7: "
        "Fixed 'a' has no 'path' in a plan: outputs are known once the resource exists.\n"
        "Deploy it first, or let the program do without: getattr(resource, 'path', None)\n"
    )
    assert (deployed.returncode, again.returncode) == (0, 0)
    assert again.stdout.splitlines()[0] in deployed.stdout.splitlines()


def test_an_update_that_asks_for_a_replacement_is_told_as_one(project: Project) -> None:
    project.write('app.create(File("a"))')
    project.deploy()
    project.write('app.create(File("a", text="short"))')

    result = project.deploy()

    assert text(result.stdout) == "REPLACED File 'a' (*) in shop/pr-7: text\n"
    assert result.stderr == "shop/pr-7: 1 replaced\n"


def test_what_exists_already_is_taken_over_only_when_asked_to(project: Project) -> None:
    project.write('app.create(Fixed("a"))')
    project.deploy()
    shutil.rmtree(project.path / ".alchemy")

    refused, taken = project.deploy(), project.deploy("--adopt")

    assert refused.returncode == 1
    assert (
        "exists already, and nothing that is recorded of shop/pr-7 says that it is yours."
        in refused.stderr
    )
    assert text(taken.stdout) == "ADOPTED Fixed 'a' (*) in shop/pr-7\n"


def test_a_program_that_declares_nothing_empties_its_stage_only_by_force(project: Project) -> None:
    project.write('app.create(Fixed("a"))')
    project.deploy()
    project.write()

    warned = project.deploy()
    left = project.left
    forced = project.deploy("--force")

    assert (warned.returncode, left) == (0, ["a"])
    assert warned.stderr.startswith(
        "Warning: The program declared nothing in shop/pr-7, so nothing"
    )
    assert (forced.returncode, project.left) == (0, [])


@pytest.mark.parametrize(
    ("options", "word", "said"),
    [
        (', stage="prod"', "--stage=pr-7", "--stage pr-7, and the program stage='prod'"),
        (', profile="prod"', "--profile=ci", "--profile ci, and the program profile='prod'"),
        ("", "--app=blog", "--app blog, and the program app='shop'"),
    ],
)
def test_a_contradiction_is_an_error_before_anything_is_called(
    project: Project, options: str, word: str, said: str
) -> None:
    project.write('app.create(Fixed("a"))', options=options)

    result = project.run("deploy", word)

    assert result.returncode == 1
    assert said in result.stderr
    assert project.took() == []
    assert not (project.path / ".alchemy").exists()


def test_run_gives_back_what_is_recorded_and_calls_nothing(project: Project) -> None:
    project.write('print(app.create(Fixed("a")).path)')
    project.deploy()
    project.took()

    read = project.run("run", "--stage=pr-7")
    project.write('app.create(Fixed("b"))')
    missing = project.run("run", "--stage=pr-7")

    assert read.returncode == 0
    [path] = read.stdout.splitlines()
    assert Path(path).read_text() == "a"
    assert missing.returncode == 1
    assert (
        "Fixed 'b' is not recorded in shop/pr-7, and the read phase creates nothing."
        in missing.stderr
    )
    assert project.took() == []


def test_a_program_that_raises_keeps_what_it_made_and_the_next_run_goes_on(
    project: Project,
) -> None:
    project.write('app.create(Fixed("old"))')
    project.deploy()
    project.write('app.create(Fixed("a"))', 'raise ValueError("half-way")')

    failed = project.deploy()
    left = project.left
    project.write('app.create(Fixed("a"))', 'app.create(Fixed("b"))')
    again = project.deploy()

    assert failed.returncode == 1
    assert text(failed.stdout) == "CREATED Fixed 'a' (*) in shop/pr-7\n"
    assert failed.stderr == (
        "shop/pr-7: 1 created\n"
        "Error: alchemy_run.py, line 7: ValueError: half-way (--debug shows where it comes from)\n"
    )
    assert left == ["a", "old"]
    assert again.stderr == "shop/pr-7: 1 created, 1 destroyed, 1 kept\n"


def test_a_stage_that_is_recorded_above_is_not_begun_anew(project: Project) -> None:
    project.write('app.create(Fixed("a"))')
    project.deploy()
    below = project.path / "below"
    below.mkdir()
    command = [*COMMAND, "deploy", "--stage=pr-7", "../alchemy_run.py"]
    call = partial(subprocess.run, cwd=below, capture_output=True, text=True, timeout=60)

    refused = call(command)
    kept = call([*command, "--root=../.alchemy"])

    root = project.path / ".alchemy"
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: ../alchemy_run.py, line 5: Nothing is recorded of shop/pr-7 under {below / '.alchemy'}, but under "
        f"{root}: it would begin anew, and make everything twice.\n"
        f"Call the command where you did before, or say which folder is meant: --root {root}\n"
    )
    assert not (below / ".alchemy").exists()
    assert (kept.returncode, kept.stderr) == (0, "shop/pr-7: 1 kept\n")


CANCELLED = """
import asyncio

from kinds import Fixed
from pytest_alchemy import alchemy


async def main():
    async with alchemy("shop"):
        await Fixed("a")
        asyncio.current_task().cancel()
        await asyncio.sleep(60)


asyncio.run(main())
"""


def test_a_program_that_is_cancelled_fails_as_any_other(project: Project) -> None:
    (project.path / "alchemy_run.py").write_text(CANCELLED)

    done = project.deploy()

    assert done.returncode == 1
    assert done.stderr == (
        "shop/pr-7: 1 created\n"
        "Error: alchemy_run.py, line 12: CancelledError (--debug shows where it comes from)\n"
    )


def test_debug_shows_where_it_comes_from(project: Project) -> None:
    project.write('raise ValueError("half-way")')

    result = project.deploy("--debug")

    assert result.returncode == 1
    assert "Traceback (most recent call last):" in result.stderr


def test_what_a_create_failed_at_is_made_again(project: Project) -> None:
    project.write('app.create(Fixed("a"))', 'app.create(Fixed("b"))')

    failed = project.deploy(env={"FAIL": "b"})
    again = project.deploy()

    assert failed.returncode == 1
    assert failed.stderr.startswith(
        "shop/pr-7: 1 created\nError: alchemy_run.py, line 7: RuntimeError: no room"
    )
    assert text(again.stdout) == "MADE AGAIN Fixed 'b' (*) in shop/pr-7\n"
    assert project.left == ["a", "b"]


def test_a_program_that_never_calls_alchemy_is_an_error(project: Project) -> None:
    (project.path / "alchemy_run.py").write_text("print('hello')\n")

    result = project.deploy()

    assert result.returncode == 1
    assert result.stderr == (
        "Error: alchemy_run.py ended without calling alchemy(): there is no stage to work on.\n"
        'Open one in it: with alchemy("my-app") as app: ...\n'
    )


def test_a_program_that_opens_a_second_stage_is_stopped_before_it_does(project: Project) -> None:
    program = "\n".join(
        f'with alchemy("shop", stage="{stage}") as app: app.create(Fixed("{stage}"))'
        for stage in ("one", "two")
    )
    (project.path / "alchemy_run.py").write_text(
        f"from kinds import Fixed\nfrom pytest_alchemy import alchemy\n{program}\n"
    )

    result = project.run("deploy")

    assert result.returncode == 1
    assert result.stderr == (
        "shop/one: 1 created\n"
        "Error: alchemy_run.py, line 4: The program opened shop/one and then shop/two: "
        "a command works on one stage.\n"
        "Nothing of shop/two was called. Let the program take the stage from the command line: --stage.\n"
    )
    assert project.left == ["one"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            None,
            "Error: There is no program alchemy_run.py.\nName it: alchemy deploy path/to/program.py\n",
        ),
        (
            "import nothing_like_it\n",
            "Error: alchemy_run.py, line 1: ModuleNotFoundError: No module named",
        ),
        ("with alchemy(\n", "Error: alchemy_run.py, line 1: '(' was never closed\n"),
        ("import sys\nsys.exit('not today')\n", "not today\n"),
        (
            "from pytest_alchemy import alchemy\nwith alchemy('shop'):\n    1 / 0\n",
            "Error: alchemy_run.py, line 3: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_program_that_cannot_run_is_told_in_a_sentence(
    project: Project, source: str | None, said: str
) -> None:
    if source is not None:
        (project.path / "alchemy_run.py").write_text(source)

    result = project.deploy()

    assert result.returncode == 1
    assert result.stderr.startswith(said)
    assert "Traceback" not in result.stderr


def interrupt(project: Project, by: int = signal.SIGINT, **env: str) -> tuple[int, str]:
    """Deploy, interrupt it *by* a signal where it hangs, and return how it ended."""
    process = project.start("deploy", "--stage=pr-7", env=env)
    give_up = clock.monotonic() + 60
    while not (project.path / "reached").exists():
        assert process.poll() is None, process.communicate()
        assert clock.monotonic() < give_up, "it did not come to where it hangs"
        disk.pause(0.01)
    process.send_signal(by)
    _, error = process.communicate(timeout=60)
    return process.returncode, error


def test_an_interrupted_create_is_recorded_and_the_next_run_goes_on(project: Project) -> None:
    project.write('app.create(Fixed("old"))')
    project.deploy()
    project.write('app.create(Fixed("a"))', 'app.create(Fixed("b"))')

    code, said = interrupt(project, HANG="b")
    left = project.left
    state = json.loads(project.run("state", "--json").stdout)
    again = project.deploy()

    assert (code, said) == (130, "shop/pr-7: 1 created\nInterrupted.\n")
    assert left == ["a", "old"]
    assert [thing["id"] for thing in state["stages"][0]["resources"]] == ["old", "a", "b"]
    assert again.returncode == 0
    assert project.left == ["a", "b"]


def test_what_was_killed_in_a_create_inside_another_is_made_again_at_once(project: Project) -> None:
    project.write('app.create(Pair("pair"))')
    interrupt(project, signal.SIGKILL, HANG="right")
    project.took()

    result = project.deploy()

    assert (result.stderr, result.returncode) == ("shop/pr-7: 1 made again\n", 0)
    assert project.took() == [
        "read right", "destroy left", "read left", "create left", "read right", "create right",
    ]  # fmt: skip
    assert project.left == ["left", "right"]
    destroyed = project.run("destroy", "--stage=pr-7", "--force")
    assert (destroyed.returncode, project.left) == (0, [])


WHOLE = """

class Whole(Resource):
    parts: list[str]

    def create(self):
        for part in self.parts:
            self.scope.create(Fixed(part))

    def destroy(self): ...
"""


def test_what_is_left_of_the_parts_of_what_is_gone_is_none_of_what_is_made_in_its_place(
    project: Project,
) -> None:
    with (project.path / "kinds.py").open("a") as kinds:
        kinds.write(WHOLE)
    again = ["from kinds import Whole", 'app.create(Whole("whole", parts=["new"]))']
    project.write(again[0], 'app.create(Whole("whole", parts=["first", "second"]))')
    project.deploy()
    project.write('app.create(Fixed("other"))')
    interrupt(project, signal.SIGKILL, HANG_AT_END="second")
    assert project.left == ["first", "other", "second"]
    project.write(*again, 'app.create(Fixed("last"))')
    (project.path / "reached").unlink()
    interrupt(project, signal.SIGKILL, HANG="last")

    result = project.deploy()

    assert (result.returncode, project.left) == (0, ["last", "new"])


def test_what_may_still_appear_inside_what_makes_other_parts_now_is_waited_for(
    project: Project,
) -> None:
    with (project.path / "kinds.py").open("a") as kinds:
        kinds.write(WHOLE)
    project.write("from kinds import Whole", 'app.create(Whole("whole", parts=["first"]))')
    interrupt(project, signal.SIGKILL, HANG="first")
    project.write("from kinds import Whole", 'app.create(Whole("whole", parts=["second"]))')

    result = project.deploy()

    assert "Fixed 'first' could not be destroyed: MayStillAppearError" in result.stderr
    assert (result.returncode, project.left) == (1, [])


def test_an_interrupted_finalization_goes_on_in_the_next_run(project: Project) -> None:
    project.write('app.create(Fixed("a"))', 'app.create(Fixed("b"))', 'app.create(Fixed("c"))')
    project.deploy()
    project.write('app.create(Fixed("a"))')

    code, _ = interrupt(project, HANG_AT_END="b")
    left = project.left
    again = project.deploy()

    assert (code, left) == (130, ["a", "b"])
    assert (again.returncode, project.left) == (0, ["a"])


def test_a_damaged_state_is_named_with_the_way_to_its_copy(project: Project) -> None:
    project.write('app.create(Fixed("a"))')
    project.deploy()
    project.write('app.create(Fixed("a"))', 'app.create(Fixed("b"))')
    project.deploy()
    state = project.path / ".alchemy" / "shop" / "pr-7" / "state.json"
    state.write_text(state.read_text()[:100])
    project.took()

    refused = project.deploy()
    called = project.took()
    command = refused.stderr.rpartition("put it back with: ")[2]
    subprocess.run(command, shell=True, check=True)
    again = project.deploy("--adopt")

    assert refused.returncode == 1
    assert f"State file {state} is damaged" in refused.stderr
    assert called == []
    assert again.returncode == 0
    assert project.left == ["a", "b"]


INNER = 'with app.run("inner") as inner: inner.create(Fixed("b"))'


def test_a_copy_that_is_older_than_a_damaged_scope_can_be_put_back(project: Project) -> None:
    project.write('app.create(Fixed("a"))')
    project.deploy()
    project.write('app.create(Fixed("a"))', INNER)
    project.deploy()
    [state] = (project.path / ".alchemy" / "shop" / "pr-7").glob("*/state.json")
    state.write_text("{")

    refused = project.deploy("--adopt")
    command = refused.stderr.rpartition("put it back with: ")[2]
    subprocess.run(command, shell=True, check=True)
    again = project.deploy("--adopt")

    assert refused.returncode == 1
    assert f"State file {state} is damaged" in refused.stderr
    assert text(again.stdout) == "ADOPTED Fixed 'b' (*) in shop/pr-7/inner\n"
    assert project.run("destroy", "--stage=pr-7", "--force").returncode == 0
    assert project.left == []


@pytest.mark.parametrize(
    ("which", "command"),
    [("state.json", "find {0.parent} -name state.json -delete"), ("*/state.json", "rm {0}")],
    ids=["stage", "nested"],
)
def test_a_damaged_state_without_a_copy_can_be_given_up(
    project: Project, which: str, command: str
) -> None:
    project.write('app.create(Fixed("a"))', INNER)
    project.deploy()
    [state] = (project.path / ".alchemy" / "shop" / "pr-7").glob(which)
    state.write_text("{")

    refused = project.deploy()
    told = refused.stderr.rpartition("without what it says: ")[2].splitlines()
    subprocess.run(told[0], shell=True, check=True)
    again = project.deploy("--adopt")

    assert refused.returncode == 1
    assert told == [command.format(state), "Then take over what exists: alchemy deploy --adopt"]
    assert again.returncode == 0
    assert project.run("destroy", "--stage=pr-7", "--force").returncode == 0
    assert project.left == []


def test_both_generations_of_what_was_replaced_are_destroyed_with_the_stage(
    project: Project,
) -> None:
    project.write('app.create(Pair("one"))')
    project.deploy()
    project.write('app.create(Pair("one", text="new"))')

    stuck = project.deploy(env={"STUCK": "left"})
    left = project.left
    gone = project.run("destroy", "--stage=pr-7", "--force")

    assert stuck.returncode == 1
    assert "it is stuck" in stuck.stderr
    assert left == ["left", "left", "right"]
    assert gone.returncode == 0, gone.stderr
    assert project.left == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_called(
    project: Project,
) -> None:
    project.write('app.create(Fixed("a"))')
    project.path.chmod(0o555)

    result = project.deploy(preexec_fn=obey_permissions if os.geteuid() == 0 else None)
    project.path.chmod(0o755)

    assert result.returncode == 1
    assert f"{project.path} cannot be used: permission denied." in result.stderr
    assert "Traceback" not in result.stderr
    assert project.left == []


def test_a_full_disk_stops_it_and_leaves_the_state_true(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # it would write there, too
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # Python would keep half of it
    project.write('for number in range(20): app.create(Fixed(f"f{number}"))')

    full = project.deploy(preexec_fn=partial(limit_files, 4000))
    left = project.left
    again = project.deploy()

    assert full.returncode == 1
    assert "Error: " in full.stderr
    assert "Traceback" not in full.stderr
    assert len(left) < 20
    assert again.returncode == 0, again.stderr
    assert len(project.left) == 20
    assert project.run("destroy", "--stage=pr-7", "--force").returncode == 0
    assert project.left == []


def test_where_its_classes_moved_to_is_recorded_although_nothing_else_changed(
    project: Project,
) -> None:
    project.write('app.create(Fixed("a"))', 'app.create(File("b"))')
    project.deploy()
    (project.path / "kinds.py").rename(project.path / "things.py")
    program = project.path / "alchemy_run.py"
    program.write_text(program.read_text().replace("from kinds", "from things"))

    moved = project.deploy()
    destroyed = project.run("destroy", "--stage=pr-7", "--force")

    assert moved.stderr == "shop/pr-7: 2 kept\n"
    assert destroyed.returncode == 0, destroyed.stdout
    assert project.left == []


def test_the_state_is_copied_where_the_program_works(project: Project) -> None:
    project.write('app.create(Fixed("a"))')
    program = project.path / "alchemy_run.py"
    (project.path / "infra").mkdir()
    program.write_text("import os\n\nos.chdir('infra')\n" + program.read_text())

    project.deploy()
    project.deploy()

    root = project.path / "infra" / ".alchemy"
    assert len(backups_of(root / "shop" / "pr-7")) == 1


DEPLOYING = """
from kinds import Fixed
from pytest_alchemy import alchemy


class Own(Fixed):
    pass


with alchemy("shop", stage="prod") as app:
    app.create(Own("a"))
    app.create(Fixed("b"))
"""


def test_a_module_that_deploys_when_it_is_imported_deploys_nothing_for_another_command(
    project: Project,
) -> None:
    (project.path / "service.py").write_text(DEPLOYING)
    call = [sys.executable, "-c", "import service"]
    subprocess.run(call, cwd=project.path, check=True, timeout=60)
    project.took()
    with (project.path / "service.py").open("a") as module:
        module.write("    app.create(Fixed('c'))\n")

    checked = project.run("state", "check")
    destroyed = project.run("destroy", "--stage=prod", "--force")

    assert (checked.returncode, checked.stdout) == (0, "")
    assert destroyed.returncode == 0, destroyed.stdout
    assert project.took() == ["read a", "read b", "destroy b", "destroy a"]
    assert project.left == []


def test_what_a_program_in_a_package_made_is_destroyed(project: Project) -> None:
    package = project.path / "infra"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "words.py").write_text("ID = 'a'\n")
    program = "from .words import ID\n" + DEPLOYING.replace('"a"', "ID")
    (package / "__main__.py").write_text(program)
    call = [sys.executable, "-m", "infra"]
    subprocess.run(call, cwd=project.path, check=True, timeout=60)

    destroyed = project.run("destroy", "--stage=prod", "--force")

    assert destroyed.returncode == 0, destroyed.stdout
    assert project.left == []
