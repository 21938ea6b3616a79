"""What is recorded, listed, shown and compared with what exists; and who holds a stage."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pytest_alchemy import clock
from pytest_alchemy.cli import main
from pytest_alchemy.records import Created, CreateFailed, Deferred, Intent
from pytest_alchemy.recovery.process import reap_in_process
from pytest_alchemy.state.backup import back_up
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.locks import Holder, StageLock
from tests.support.deadstages import OTHER_KEY, Graveyard, name_of

COMMAND = [sys.executable, "-m", "pytest_alchemy"]
LASTING: dict[str, Any] = {"run": "", "ephemeral": False, "expires": 0.0}

OUTPUTS = """

class Sized(File):
    size: int = output()

    def read(self):
        if self.id == "unreadable":
            raise RuntimeError("no route to host")
        there = super().read()
        if there:
            self.size = (WORLD / self.name).stat().st_size
        return there


class Blind(Resource):
    def create(self): ...
    def destroy(self): ...
"""


def alchemy(graveyard: Graveyard, *words: str) -> Result:
    os.chdir(graveyard.path)
    return CliRunner().invoke(main, words, prog_name="alchemy")


def text(result: Result, graveyard: Graveyard) -> str:
    said = result.output.replace(str(graveyard.path), "")
    return re.sub(r"\(al[ct]-[a-z0-9-]+\)", "(*)", said)


def sized(graveyard: Graveyard, stage: Path, **sizes: int) -> None:
    """Record files of a size in a stage, and make them with the size of their id."""
    text = graveyard.kinds.read_text().replace("import Resource\n", "import Resource, output\n")
    graveyard.kinds.write_text(text + OUTPUTS)
    for seq, (id, size) in enumerate(sizes.items(), 1):
        name = name_of(id, run=None, stage=stage.name)
        intent = Intent(seq, (), "sized", id, name, "", {"broken": False}, at=clock.now())
        graveyard.note(intent, Created(seq, {"size": size}), kind="Sized", stage=stage.name)
        (graveyard.world / name).write_text(id)


@pytest.fixture
def stage(graveyard: Graveyard) -> Path:
    """The folder of a lasting stage in which nothing is yet."""
    return graveyard.bury(stage="prod", **LASTING)


@pytest.mark.parametrize("words", [["state"], ["state", "list"]])
def test_the_list_names_every_stage_and_what_it_owns(
    graveyard: Graveyard, words: list[str]
) -> None:
    graveyard.bury("a", "b", stage="prod", **LASTING)
    graveyard.bury("c", run="zzzzzzzz", more=(Deferred(2, (), "kinds", "", "drop", ["c"], {}),))
    before = graveyard.snapshot()

    result = alchemy(graveyard, *words)

    assert result.exit_code == 0
    assert text(result, graveyard) == (
        "shop/prod: 2 resources, last used 3 h ago\n"
        "       File a (*) in shop/prod/test_a.py::test_one\n"
        "       File b (*) in shop/prod/test_a.py::test_one\n"
        "shop/test-main-zzzzzzzz: 2 resources, last used 3 h ago\n"
        "       deferred drop('c') in shop/test-main-zzzzzzzz\n"
        "       File c (*) in shop/test-main-zzzzzzzz/test_a.py::test_one\n"
    )
    assert graveyard.snapshot() == before
    assert not graveyard.is_imported


def test_nothing_is_a_list_as_well(graveyard: Graveyard) -> None:
    said, told = alchemy(graveyard, "state"), alchemy(graveyard, "state", "--json")

    assert (said.exit_code, said.output) == (0, "Nothing is recorded here.\n")
    assert json.loads(told.stdout) == {"stages": []}
    assert not graveyard.root.exists()


def test_the_list_tells_who_holds_a_stage_who_recorded_it_and_what_cannot_be_read(
    graveyard: Graveyard,
) -> None:
    owner = StageLock(graveyard.bury("a", stage="held", **LASTING) / LOCK)
    owner.acquire(Holder("ada", 42, "build-7", clock.now()))
    graveyard.bury("b", stage="theirs", key=OTHER_KEY, **LASTING)
    broken = graveyard.bury("c", stage="broken", **LASTING)
    copy = back_up(broken)
    (broken / "state.json").write_text("{")

    result = alchemy(graveyard, "state")
    owner.release()

    lines = [line for line in text(result, graveyard).splitlines() if line.startswith("shop/")]
    assert result.exit_code == 1
    assert lines[0].startswith(
        "shop/broken: State file /.alchemy/shop/broken/state.json is damaged: "
    )
    assert (
        lines[1] == "shop/held: 1 resource, last used 3 h ago, held by ada (process 42 on build-7)"
    )
    assert lines[2] == "shop/theirs: 1 resource, last used 3 h ago, recorded by ada on build-7"
    assert (
        f"Its last copy is {copy}; put it back with: find {broken} -name state.json -delete"
        f" && rm -rf {broken}/.journal && cp -r {copy}/. {broken}/\n"
    ) in result.output


def test_the_list_as_json(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", stage="prod", **LASTING)

    result = alchemy(graveyard, "state", "list", "--json")

    [stage] = json.loads(result.stdout)["stages"]
    [thing] = stage.pop("resources")
    assert stage.pop("last_used") == thing.pop("made")
    assert stage == {
        "app": "shop",
        "stage": "prod",
        "folder": str(folder),
        "owner": None,
        "recorded_by": "ada on build-7",
        "foreign": False,
        "damaged": False,
        "reason": "",
    }
    assert thing == {
        "kind": "File",
        "id": "a",
        "name": name_of("a", run=None, stage="prod"),
        "scope": "shop/prod/test_a.py::test_one",
        "test": "test_a.py::test_one",
        "where": "test_a.py:7",
        "world": "",
        "kept_until": None,
    }


def test_the_tree_shows_scopes_inside_each_other(graveyard: Graveyard, stage: Path) -> None:
    for seq, path in enumerate([(), ("backend",), ("backend", "jobs"), ("backend",)], 1):
        name = name_of(f"f{seq}", run=None)
        graveyard.note(
            Intent(seq, path, "file", f"f{seq}", name, "", {}), kind="File", stage="prod"
        )

    said, told = alchemy(graveyard, "state", "tree"), alchemy(graveyard, "state", "tree", "--json")

    assert text(said, graveyard).splitlines()[1:] == [
        "  File f1 (*)",
        "  backend/",
        "    File f2 (*)",
        "    File f4 (*)",
        "    jobs/",
        "      File f3 (*)",
    ]
    [data] = json.loads(told.stdout)["stages"]
    assert [thing["id"] for thing in data["scopes"]["backend"]["resources"]] == ["f2", "f4"]
    assert list(data["scopes"]["backend"]["scopes"]) == ["jobs"]


@pytest.mark.parametrize("by", ["file-a", "a", name_of("a", run=None, stage="prod")])
def test_one_resource_is_shown_in_full_by_any_of_its_names(graveyard: Graveyard, by: str) -> None:
    graveyard.bury("a", "b", stage="prod", **LASTING)

    said = alchemy(graveyard, "state", "show", by)
    told = json.loads(alchemy(graveyard, "state", "show", by, "--json").stdout)

    assert said.exit_code == 0
    assert re.search(r"^props: +\{\"broken\": false\}$", said.output, re.MULTILINE)
    assert re.search(r"^where: +test_a.py:7$", said.output, re.MULTILINE)
    assert (told["key"], told["type"], told["id"]) == ("file-a", "File", "a")
    assert (told["scope"], told["created"]) == ("shop/prod/test_a.py::test_one", True)


def test_what_is_not_recorded_or_not_alone_is_not_shown(graveyard: Graveyard) -> None:
    graveyard.bury("a", stage="prod", **LASTING)
    graveyard.bury("a", stage="pr-7", **LASTING)

    none, two = alchemy(graveyard, "state", "show", "b"), alchemy(graveyard, "state", "show", "a")
    one = alchemy(graveyard, "state", "show", "a", "--stage", "prod")

    assert (none.exit_code, two.exit_code, one.exit_code) == (1, 1, 0)
    assert none.output == (
        "Error: Nothing that is recorded is called 'b'.\nalchemy state list shows what is.\n"
    )
    assert two.output == (
        "Error: 2 resources are called 'a': in shop/pr-7/test_a.py::test_one, shop/prod/test_a.py::test_one.\n"
        "Name one by its physical name, or narrow it down with --stage and --app.\n"
    )


def test_a_clean_check_ends_with_0(graveyard: Graveyard, stage: Path) -> None:
    sized(graveyard, stage, a=1, bb=2)
    graveyard.note(
        Intent(3, (), "blind", "c", "c", "", {}), Created(3, {}), kind="Blind", stage="prod"
    )
    before = graveyard.snapshot()

    result = alchemy(graveyard, "state", "check")

    assert result.exit_code == 0
    assert result.output == "shop/prod: 2 same, 1 unchecked (no read: Blind)\n"
    assert graveyard.snapshot() == before


def test_what_differs_ends_with_2(graveyard: Graveyard, stage: Path) -> None:
    sized(graveyard, stage, same=4, changed=1, gone=4, half=4)
    (graveyard.world / name_of("gone", run=None, stage="prod")).unlink()
    half = Intent(9, (), "sized", "half", name_of("half", run=None, stage="prod"), "", {})
    graveyard.note(half, CreateFailed(9, "it broke"), kind="Sized", stage="prod")

    said = alchemy(graveyard, "state", "check")
    told = alchemy(graveyard, "state", "check", "--json")

    assert said.exit_code == told.exit_code == 2
    assert sorted(text(said, graveyard).splitlines()[:-1]) == [
        "       size",
        "CHANGED Sized changed (*) in shop/prod is not as recorded",
        "GONE Sized gone (*) in shop/prod does not exist",
        "HALF-MADE Sized half (*) in shop/prod exists, and its create is recorded as failed",
    ]
    data = json.loads(told.stdout)
    assert data["exit_code"] == 2
    verdicts = {each["id"]: each["verdict"] for each in data["resources"] if each["id"] != "half"}
    assert verdicts == {"same": "same", "changed": "changed", "gone": "gone"}


def test_what_cannot_be_read_ends_with_1(graveyard: Graveyard, stage: Path) -> None:
    sized(graveyard, stage, unreadable=1, gone=1)
    (graveyard.world / name_of("gone", run=None, stage="prod")).unlink()
    lost = Intent(8, (), "lost", "x", "x", "", {})
    graveyard.note(lost, Created(8, {}), kind="Lost", stage="prod")

    result = alchemy(graveyard, "state", "check", "--stage", "prod")

    assert result.exit_code == 1
    lines = text(result, graveyard).splitlines()
    assert "FAILED Sized unreadable (*) in shop/prod could not be read" in lines
    assert "       RuntimeError: no route to host" in lines
    assert "GONE Sized gone (*) in shop/prod does not exist" in lines
    assert any("Lost cannot be loaded from" in line for line in lines)


def test_a_check_of_several_stages_wants_to_know_which(graveyard: Graveyard) -> None:
    graveyard.bury("a", stage="prod", **LASTING)
    graveyard.bury("a", stage="pr-7", **LASTING)

    result = alchemy(graveyard, "state", "check")

    assert result.exit_code == 1
    assert result.output == (
        "Error: Name the stage with --stage. Recorded here: shop/pr-7, shop/prod.\n"
    )


def lose(graveyard: Graveyard, stage: str, *ids: str) -> None:
    """Record files of a class that is gone for good, and make them."""
    for seq, id in enumerate(ids, 10):
        name = f"name-of-{id}"
        intent = Intent(seq, (), "lost", id, name, "disk 7", {}, at=clock.now())
        graveyard.note(intent, Created(seq, {}), kind="Lost", stage=stage)
        (graveyard.world / name).write_text(id)


def test_a_call_that_nobody_can_make_any_more_is_forgotten_by_the_command_that_its_failure_names(
    graveyard: Graveyard,
) -> None:
    call = Deferred(3, (), "", "", "deferred test_a.<locals>.<lambda>()", [], {}, where="a.py:7")
    folder = graveyard.bury("a", more=(call,))
    told = reap_in_process(folder, timeout=10.0)
    [said] = [each for each in told if each["what"] == "unrecoverable"]
    reason, _, way_out = said["reason"].rpartition(".\n")
    command = shlex.split(way_out.partition("forget it: alchemy ")[2])

    result = alchemy(graveyard, *command, "--force")

    assert reason.endswith("could call it: it is no module-level function")
    assert way_out.startswith("Do it by hand and then forget it: ")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("FORGOTTEN deferred test_a.<locals>.<lambda>() in shop/")
    assert not folder.exists()


def test_a_call_is_known_by_what_the_list_shows_of_it(graveyard: Graveyard) -> None:
    calls = [Deferred(seq, (), "kinds", "", "drop", [seq], {}) for seq in (2, 3)]
    graveyard.bury("a", stage="prod", **LASTING, more=tuple(calls))

    result = alchemy(graveyard, "state", "rm", "drop(3)", "--stage=prod", "--force")

    assert result.exit_code == 0, result.output
    listed = text(alchemy(graveyard, "state", "list"), graveyard)
    assert "drop(2)" in listed
    assert "drop(3)" not in listed


def test_what_nothing_can_destroy_any_more_is_forgotten_by_the_command_that_its_failure_names(
    graveyard: Graveyard,
) -> None:
    folder = graveyard.bury("a", stage="prod", **LASTING)
    lose(graveyard, "prod", "lost")
    failed = alchemy(graveyard, "destroy", "--stage=prod", "--force")
    [way_out] = (line for line in failed.output.splitlines() if "alchemy state rm" in line)
    command = shlex.split(way_out.partition("forget it: alchemy ")[2])

    result = alchemy(graveyard, *command, "--force")

    assert ". Bring its code back until this is done, or remove it by hand" in way_out
    root = str(graveyard.root)
    assert command == ["state", "rm", "name-of-lost", "--stage", "prod", "--root", root]
    assert result.exit_code == 0
    assert result.stdout == (
        "FORGOTTEN Lost lost (name-of-lost) in shop/prod\n"
        "       Nothing was called. If it still exists in disk 7, remove it by hand.\n"
    )
    assert graveyard.left == ["lost"]
    assert not folder.exists()
    copy = Path(result.stderr.removeprefix("What was recorded is copied to ").strip())
    shutil.copytree(copy, folder)
    assert alchemy(graveyard, "state", "show", "lost").exit_code == 0


def test_what_is_not_named_stays_recorded_and_is_destroyed_as_before(graveyard: Graveyard) -> None:
    graveyard.bury("a")
    lose(graveyard, "test-main-k3f9x2ab", "first", "second", "third")

    result = alchemy(
        graveyard,
        *("state", "rm", "lost-first", "name-of-second", "first", "--force", "--json"),
        "--stage=test-main-k3f9x2ab",
    )

    said = json.loads(result.stdout)
    assert [(each["what"], each["id"]) for each in said["outcomes"]] == [
        ("forgotten", "first"),
        ("forgotten", "second"),
    ]
    assert (said["app"], said["stage"]) == ("shop", "test-main-k3f9x2ab")
    assert Path(said["backup"]).is_dir()
    swept = alchemy(graveyard, "sweep", "--yes")
    fates = [line.split()[:3] for line in swept.output.splitlines() if line[0].isupper()]
    assert sorted(fates) == [["DESTROYED", "File", "a"], ["LEFT", "Lost", "third"]]
    assert graveyard.left == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a"], "Nothing in shop/prod was forgotten: nobody can be asked without a terminal."),
        (["a", "nobody", "--force"], "Nothing that is recorded is called 'nobody'."),
        (["twice", "--force"], "2 resources are called 'twice': in shop/prod, shop/prod."),
    ],
)
def test_nothing_is_forgotten_by_accident(
    graveyard: Graveyard, words: list[str], said: str
) -> None:
    graveyard.bury("a", stage="prod", **LASTING)
    lose(graveyard, "prod", "twice", "twice")
    before = graveyard.snapshot()

    result = alchemy(graveyard, "state", "rm", *words, "--stage=prod")

    assert result.exit_code == 1
    assert said in result.stderr
    assert graveyard.snapshot() == before


def test_nothing_is_forgotten_under_a_living_owner(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", stage="prod", **LASTING)
    lock = StageLock(folder / LOCK)
    lock.acquire(Holder.this_process())

    result = alchemy(graveyard, "state", "rm", "a", "--stage=prod", "--force")
    lock.release()

    assert result.exit_code == 1
    assert "State of stage 'prod' is locked by " in result.stderr
    assert alchemy(graveyard, "state", "show", "a").exit_code == 0


def test_a_lock_whose_owner_is_gone_is_no_lock(graveyard: Graveyard) -> None:
    lock = StageLock(graveyard.bury("a", stage="prod", **LASTING) / LOCK)
    lock.acquire(Holder("ada", 42, "build-7", clock.now()))
    lock.release()

    result = alchemy(graveyard, "unlock", "--stage=prod")
    told = alchemy(graveyard, "unlock", "--stage=prod", "--json")

    assert result.exit_code == 0
    assert result.output == (
        "Nobody holds shop/prod: its last owner, ada (process 42 on build-7), is gone.\n"
    )
    assert json.loads(told.stdout)["locked"] is False


def test_the_lock_of_a_living_owner_stays(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", stage="prod", **LASTING)
    program = (
        "import sys; from pytest_alchemy.state.locks import Holder, StageLock; "
        "StageLock(sys.argv[1]).acquire(Holder.this_process()); print('held', flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(folder / LOCK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"

    refused = alchemy(graveyard, "unlock", "--stage=prod")
    owner.kill()
    owner.communicate()
    done = alchemy(graveyard, "unlock", "--stage=prod")

    assert refused.exit_code == 1
    assert f"(process {owner.pid} on " in refused.output
    assert refused.output.startswith("Error: State of stage 'prod' is locked by ")
    assert done.exit_code == 0


def test_10_000_resources_are_listed_in_less_than_a_second_of_the_whole_process(
    graveyard: Graveyard,
) -> None:
    folder = graveyard.bury(stage="prod", **LASTING)
    graveyard.write_document(folder, 10_000)

    def listed() -> tuple[int, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*COMMAND, "state"], cwd=graveyard.path, capture_output=True, text=True, timeout=60
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return len(done.stdout.splitlines()), took

    runs = [listed() for _ in range(3)]

    assert {lines for lines, _ in runs} == {10_001}
    assert min(took for _, took in runs) < 1.0  # of processor time: nobody else's work counts


def test_a_profile_that_may_not_touch_the_stage_reads_nothing_there(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    graveyard.bury("a", stage="prod", profiles={"prod": ["prod"]}, **LASTING)
    monkeypatch.setenv("ALCHEMY_PROFILE", "ci")

    denied = alchemy(graveyard, "state", "check")
    imported = graveyard.is_imported
    monkeypatch.setenv("ALCHEMY_PROFILE", "prod")
    allowed = alchemy(graveyard, "state", "check")

    assert denied.exit_code == 1
    assert denied.output.startswith("Error: Profile 'ci' may not touch stage 'prod'")
    assert not imported
    assert allowed.exit_code == 0
