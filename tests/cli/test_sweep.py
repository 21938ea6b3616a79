"""What the command says, and what it ends with."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pytest_alchemy import clock
from pytest_alchemy.cli import main
from pytest_alchemy.cloudflare import D1Database, FakeAccount, KVNamespace
from pytest_alchemy.physicalnames import Run
from pytest_alchemy.records import Created, Deferred, Intent, Kept, KindSeen
from pytest_alchemy.settings import Settings
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.locks import Holder, StageLock
from tests.support.deadstages import DAY, OTHER_KEY, Graveyard
from tests.support.limits import obey_permissions
from tests.unit.cloudflare.scopes import open_scope

WAITS = """
import time

def wait():
    (HERE / "waits").touch()
    give_up = time.monotonic() + 60
    while not (HERE / "answer").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
"""
PLACE = (":test_a.py::test_one",)
COMMAND = [sys.executable, "-m", "pytest_alchemy"]


def sweep(graveyard: Graveyard, *words: str) -> Result:
    """Call the command in the project's folder."""
    os.chdir(graveyard.path)
    return CliRunner().invoke(main, ["sweep", *words], prog_name="alchemy")


def text(result: Result) -> str:
    """Return what was said, with what changes from run to run written as stars."""
    said = re.sub(r"\(alt-[a-z0-9-]+\)", "(*)", result.output)
    said = re.sub(r"alt-[a-z0-9-]+", "alt-*", said)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "* UTC", said)


def document(result: Result) -> dict[str, Any]:
    """Return the JSON document that was printed."""
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def sweep_as_anybody(graveyard: Graveyard, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the command in a process of its own, which may do no more than its user may."""
    return subprocess.run(
        [*COMMAND, "sweep", *words],
        cwd=graveyard.path,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=obey_permissions,
    )


def test_nothing_to_do_is_one_line(graveyard: Graveyard) -> None:
    result = sweep(graveyard)

    assert result.exit_code == 0
    assert result.output == f"Nothing to destroy under {graveyard.root}.\n"
    assert not graveyard.root.exists()


def test_the_list_says_what_would_go_what_not_and_how(graveyard: Graveyard) -> None:
    graveyard.bury("a", "b")
    graveyard.bury("lasting", run="", stage="alice", ephemeral=False)
    graveyard.bury("foreign", run="ffffffff", key=OTHER_KEY)
    graveyard.bury(
        "c",
        run="zzzzzzzz",
        used=50 * 3600.0,
        more=(
            Deferred(2, (), "kinds", "", "drop", ["uploads"], {}),
            Kept((), clock.now() - 60),
        ),
    )
    before = graveyard.snapshot()

    result = sweep(graveyard)

    assert result.exit_code == 0
    assert text(result) == (
        "STAGE shop/alice, 1 resource, last used 3 h ago: left alone, it outlives its programs\n"
        "STAGE shop/test-main-ffffffff, 1 resource, last used 3 h ago: left alone, ada on build-7 recorded it,"
        " not this user on this machine; --foreign takes it all the same\n"
        f"       it works in {graveyard.path}\n"
        f"       it imports File from {graveyard.kinds}\n"
        "STAGE shop/test-main-k3f9x2ab, 2 resources, last used 3 h ago: to be destroyed\n"
        "       File a (*) made by test_a.py::test_one\n"
        "       File b (*) made by test_a.py::test_one\n"
        "STAGE shop/test-main-zzzzzzzz, 2 resources, last used 2 d ago: to be destroyed\n"
        "       deferred drop('uploads')\n"
        "       File c (*) made by test_a.py::test_one\n"
        "4 resources in 2 stages to be destroyed; nothing was changed.\n"
        "Destroy: alchemy sweep --yes\n"
    )
    assert graveyard.snapshot() == before
    assert not graveyard.is_imported


def test_the_command_that_it_names_does_what_it_listed(graveyard: Graveyard) -> None:
    graveyard.bury("old", used=4 * 3600.0)
    graveyard.bury("young", run="yyyyyyyy", used=60.0)
    listed = sweep(graveyard, "--root", str(graveyard.root), "--older-than=1h30m", "--app", "shop")
    command = listed.output.splitlines()[-1].removeprefix("Destroy: ")

    result = sweep(graveyard, *shlex.split(command)[2:])

    assert command == (f"alchemy sweep --yes --older-than 5400s --app shop --root {graveyard.root}")
    assert result.exit_code == 0
    assert graveyard.left == ["young"]
    assert text(result) == (
        "STAGE shop/test-main-yyyyyyyy, 1 resource, last used 60 s ago: left alone,"
        " it was used within the time that --older-than spares\n"
        "DESTROYED File old (*) in shop/test-main-k3f9x2ab/test_a.py::test_one\n"
        "1 destroyed\n"
    )


def test_a_resource_with_a_profile_of_its_own_is_destroyed_with_it(graveyard: Graveyard) -> None:
    with graveyard.kinds.open("a") as kinds:
        kinds.write(
            "\n\nclass Spy(File):\n"
            "    def destroy(self):\n"
            "        (HERE / f'{self.id}.used').write_text(self.profile)\n"
        )
    spies = [
        Intent(8, PLACE, "spy", "own", "own", "", {}, profile="backup"),
        Intent(9, PLACE, "spy", "usual", "usual", "", {}),
    ]
    made = [line for spy in spies for line in (spy, Created(spy.seq, {}))]
    kind = KindSeen("spy", "kinds", str(graveyard.kinds), "Spy")
    settings = {"app": "shop", "stage": "test", "profile": "ci"}
    graveyard.bury(more=(kind, *made), settings=settings)

    assert sweep(graveyard, "--yes").exit_code == 0

    used = {file.stem: file.read_text() for file in graveyard.path.glob("*.used")}
    assert used == {"own": "backup", "usual": "ci"}


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_a_project_that_lies_elsewhere_now_is_found_where_its_stages_are(
    graveyard: Graveyard, key: bytes | None
) -> None:
    call = Deferred(2, (), "kinds", str(graveyard.kinds), "drop", ["called"], {})
    graveyard.bury("a", more=(call,), key=key)
    (graveyard.world / "called").write_text("called")
    before, graveyard.path = graveyard.path, graveyard.path.with_name("mounted-elsewhere")
    before.rename(graveyard.path)

    listed, swept = sweep(graveyard), sweep(graveyard, "--yes", "--foreign")

    assert (f"it imports File from {graveyard.path}/kinds.py" in listed.output) is bool(key)
    assert swept.exit_code == 0, swept.output
    assert list((graveyard.path / "world").iterdir()) == []
    assert not (graveyard.path / ".alchemy").exists()
    assert not before.exists()


def test_the_late_report_of_a_project_that_lies_elsewhere_now_is_written_there(
    graveyard: Graveyard,
) -> None:
    before, graveyard.path = graveyard.path, graveyard.path.with_name("mounted-elsewhere")
    graveyard.bury("a", report=str(before / "out" / "alchemy"), rootdir=str(before))
    before.rename(graveyard.path)

    swept = sweep(graveyard, "--yes")

    assert swept.exit_code == 0, swept.output
    document = json.loads((graveyard.path / "out" / "alchemy" / "leaks.json").read_text())
    assert [(fact["id"], fact["what"]) for fact in document["facts"]] == [("a", "reaped")]
    assert not before.exists()


@pytest.mark.parametrize("where", ["anybody's", "root elsewhere"])
def test_nothing_is_imported_from_where_somebody_else_may_have_put_it(
    graveyard: Graveyard, where: str
) -> None:
    graveyard.bury("a")
    before, graveyard.path = graveyard.path, graveyard.path.with_name("elsewhere")
    before.rename(graveyard.path)
    words = ["--yes"]
    if where == "anybody's":
        graveyard.path.chmod(0o777)
    else:
        (graveyard.path / ".alchemy").rename(graveyard.path / "state")
        words += ["--root", str(graveyard.path / "state")]

    swept = sweep(graveyard, *words)

    assert swept.exit_code == 1
    assert f"{before}/kinds.py" in swept.output
    assert len(list((graveyard.path / "world").iterdir())) == 1


def test_what_a_destroy_prints_fails_nothing_where_nobody_listens_any_more(
    graveyard: Graveyard,
) -> None:
    with graveyard.kinds.open("a") as kinds:
        kinds.write(
            "\n\nimport sys\n\ndef drop_aloud(name):\n"
            "    print('dropping', name, flush=True)\n"
            "    print('really', file=sys.stderr, flush=True)\n"
            "    drop(name)\n"
        )
    call = Deferred(2, (), "kinds", str(graveyard.kinds), "drop_aloud", ["called"], {})
    graveyard.bury("a", more=(call,))
    (graveyard.world / "called").write_text("called")
    reading, writing = os.pipe()
    os.close(reading)

    swept = subprocess.run(
        [*COMMAND, "sweep", "--yes"],
        cwd=graveyard.path,
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
        timeout=60,
    )
    os.close(writing)

    assert swept.returncode == 0, swept.stdout
    assert graveyard.left == []


def test_what_is_left_ends_with_exit_code_1(graveyard: Graveyard) -> None:
    graveyard.bury("a", "broken")

    result = sweep(graveyard, "--yes")

    assert result.exit_code == 1
    assert text(result) == (
        "DESTROYED File a (*) in shop/test-main-k3f9x2ab/test_a.py::test_one\n"
        "LEFT File broken (*) in shop/test-main-k3f9x2ab/test_a.py::test_one\n"
        "       RuntimeError: the disk is on fire (tried 3 times)\n"
        "1 destroyed, 1 left\n"
    )
    assert sweep(graveyard).exit_code == 0  # to list it is no failure


@pytest.mark.parametrize("depth", [0, 1])
def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
    graveyard: Graveyard, depth: int
) -> None:
    folder = [graveyard.root, graveyard.root / "shop"][depth]
    graveyard.bury("a")
    folder.chmod(0)

    refused = sweep_as_anybody(graveyard, "--yes")
    folder.chmod(0o700)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"Error: {folder} cannot be used: permission denied.\n"
        "Make it writable for this user, or choose another place: --root DIR (in tests --alchemy-root DIR).\n"
    )
    assert graveyard.left == ["a"]


def test_a_stage_that_cannot_be_looked_into_is_left_and_the_others_go(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a")
    graveyard.bury("b", run="zzzzzzzz")
    folder.chmod(0)

    swept = sweep_as_anybody(graveyard, "--yes")
    folder.chmod(0o700)

    assert swept.returncode == 1
    assert re.sub(r"\(alt-[a-z0-9-]+\)", "(*)", swept.stdout) == (
        f"STAGE shop/test-main-k3f9x2ab, unknown contents: cannot be read. {folder} cannot be used:"
        " permission denied. Make it writable for this user, or choose another place:"
        " --root DIR (in tests --alchemy-root DIR).\n"
        "LEFT stage test-main-k3f9x2ab in shop/test-main-k3f9x2ab\n"
        f"       {folder} cannot be used:"
        " permission denied. Make it writable for this user, or choose another place:"
        " --root DIR (in tests --alchemy-root DIR).\n"
        "DESTROYED File b (*) in shop/test-main-zzzzzzzz/test_a.py::test_one\n"
        "1 destroyed, 1 left\n"
    )
    assert graveyard.left == ["a"]


def test_a_damaged_stage_ends_with_exit_code_1_when_it_was_to_be_cleaned(
    graveyard: Graveyard,
) -> None:
    journal = graveyard.bury("a") / ".journal" / "main.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"test_a.py:7"', b'"test_b.py:7"'))

    listed, result = sweep(graveyard), sweep(graveyard, "--yes")

    assert (listed.exit_code, result.exit_code) == (0, 1)
    assert listed.output.splitlines()[0].startswith(
        f"STAGE shop/test-main-k3f9x2ab, unknown contents: cannot be read. Journal {journal}, line 3: "
    )
    assert result.output.splitlines()[-1] == "1 left"


def test_a_stage_of_a_living_process_is_left_alone(graveyard: Graveyard) -> None:
    lock = StageLock(graveyard.bury("a", owner=os.getpid()) / LOCK)
    lock.acquire(Holder.this_process())

    result = sweep(graveyard, "--yes")

    lock.release()
    assert result.exit_code == 0
    assert result.output == (
        "STAGE shop/test-main-k3f9x2ab, 1 resource, last used 3 h ago: left alone, its owner lives\n"
        f"Nothing to destroy under {graveyard.root}.\n"
    )
    assert graveyard.left == ["a"]


def test_a_stage_of_somebody_else_says_what_it_imports_before_it_does(graveyard: Graveyard) -> None:
    graveyard.bury("a", key=OTHER_KEY)

    result = sweep(graveyard, "--yes", "--foreign")

    assert result.exit_code == 0
    assert text(result) == (
        "STAGE shop/test-main-k3f9x2ab, 1 resource, last used 3 h ago:"
        " to be destroyed, recorded by ada on build-7\n"
        f"       it works in {graveyard.path}\n"
        f"       it imports File from {graveyard.kinds}\n"
        "DESTROYED File a (*) in shop/test-main-k3f9x2ab/test_a.py::test_one\n"
        "1 destroyed\n"
    )
    assert graveyard.left == []


def test_names_of_a_class_in_a_file_are_swept(graveyard: Graveyard) -> None:
    graveyard.make("old")
    graveyard.make("young", expires=clock.now() + DAY)
    graveyard.make("other", app="shop2")
    (graveyard.world / "precious").write_text("precious")
    words = ["--app", "shop", "--provider", "kinds.py:File"]

    listed = sweep(graveyard, *words)
    result = sweep(graveyard, *words, "--yes")

    assert text(listed) == (
        "Listing names of File\n"
        "NAME File alt-*, wanted until * UTC: to be destroyed\n"
        "1 name left alone: it may still be wanted\n"
        "2 names left alone: not provably of this application's tests\n"
        "1 found by name to be destroyed; nothing was changed.\n"
        "Destroy: alchemy sweep --yes --app shop --provider kinds.py:File\n"
    )
    assert (listed.exit_code, result.exit_code) == (0, 0)
    assert result.stdout.splitlines()[-1] == "1 destroyed"
    assert graveyard.left == ["other", "precious", "young"]


def test_a_class_is_found_by_its_module_too(graveyard: Graveyard) -> None:
    graveyard.make("old")

    result = sweep(graveyard, "--app=shop", "--provider=kinds:File", "--yes")

    assert result.exit_code == 0
    assert graveyard.left == []


def test_stages_and_names_go_in_one_sweep(graveyard: Graveyard) -> None:
    graveyard.bury("recorded", used=3 * DAY)
    graveyard.make("lost", run="llllllll")

    result = sweep(graveyard, "--app=shop", "--provider=kinds:File", "--yes")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "2 destroyed"
    assert graveyard.left == []


@pytest.mark.parametrize("as_json", [False, True])
def test_too_many_names_end_with_exit_code_1_before_anything_is_destroyed(
    graveyard: Graveyard, as_json: bool
) -> None:
    graveyard.bury("recorded")
    for number in range(4):
        graveyard.make(str(number), run=f"lllllll{number}")
    words = ["--app=shop", "--provider=kinds:File", "--max=3", *(["--json"] if as_json else [])]

    listed, result = sweep(graveyard, *words), sweep(graveyard, *words, "--yes")
    allowed = sweep(graveyard, *words, "--yes", "--max=4")

    error = "4 resources were found by name, and at most 3 are destroyed at once: nothing was destroyed."
    assert (listed.exit_code, result.exit_code, allowed.exit_code) == (0, 1, 0)
    assert error in result.output
    if as_json:
        assert document(result)["outcomes"] == []
    else:
        assert "At most 3 found by name are destroyed at once: --max 4 allows it." in listed.output
    assert graveyard.left == []


@pytest.fixture
def account(graveyard: Graveyard) -> Path:
    """A fake account in a file, with what a lost machine left in it, and a run that is wanted."""
    file = graveyard.path / "account.sqlite"
    settings = Settings("shop", "test", fake_account=str(file))
    for run in (Run("llllllll", clock.now() - DAY), Run("wwwwwwww", clock.now() + DAY)):
        scope = open_scope(settings, run=run)
        scope.create(D1Database("orders"))
        scope.create(KVNamespace("cache"))
    return file


def test_all_of_cloudflare_is_swept_by_one_word(graveyard: Graveyard, account: Path) -> None:
    words = ["--app=shop", "--provider=cloudflare", f"--fake-account={account}"]

    listed = sweep(graveyard, *words)
    result = sweep(graveyard, *words, "--yes")

    assert listed.stdout.count(": to be destroyed") == 2
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:-1]] == [
        ["DESTROYED", "D1Database"],
        ["DESTROYED", "KVNamespace"],
    ]
    left = FakeAccount(str(account)).inventory()
    assert {item.kind for item in left} == {"d1", "kv"}
    assert all("wwwwwwww" in item.name for item in left)


def test_one_json_document_says_it_all(graveyard: Graveyard) -> None:
    graveyard.bury("a", "broken")
    name = graveyard.make("lost", run="llllllll")
    words = ["--app=shop", "--provider=kinds:File", "--json"]

    listed = document(sweep(graveyard, *words))
    result = sweep(graveyard, *words, "--yes")

    done = document(result)
    [stage] = listed["stages"]
    assert (listed["root"], listed["yes"], listed["exit_code"]) == (str(graveyard.root), False, 0)
    assert (stage["app"], stage["stage"], stage["destroy"]) == ("shop", "test-main-k3f9x2ab", True)
    assert [(thing["id"], thing["destroy"]) for thing in stage["resources"]] == [
        ("a", True),
        ("broken", True),
    ]
    assert [n["name"] for n in listed["names"] if n["destroy"]] == [name]
    assert listed["outcomes"] == []
    doomed = {thing["name"] for thing in stage["resources"]} | {name}
    assert {outcome["name"] for outcome in done["outcomes"]} == doomed
    assert {o["id"] for o in done["outcomes"] if o["what"] == "left"} == {"broken"}
    assert (done["exit_code"], result.exit_code) == (1, 1)


def test_a_provider_that_is_down_ends_with_exit_code_1(graveyard: Graveyard, account: Path) -> None:
    graveyard.kinds.write_text(
        graveyard.kinds.read_text().replace("return os.listdir(WORLD)", "raise OSError('no route')")
    )
    words = [
        "--app=shop",
        "--provider=kinds:File",
        "--provider=cloudflare",
        f"--fake-account={account}",
    ]

    result = sweep(graveyard, *words)

    assert result.exit_code == 1
    assert "Error: File could not be listed: OSError: no route\n" in result.stderr
    assert result.stdout.count(": to be destroyed") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--older-than=soon"], "'soon' is not a duration. Write 45s, 90m, 2h, 1d or 1d12h."),
        (["--older-than=-2h"], "'-2h' is not a duration."),
        (
            ["--provider=cloudflare"],
            "--provider needs --app NAME: whose names are to be destroyed.",
        ),
        (["--live"], "--live says where to look for names, but no --provider says which."),
        (["--profile=ci"], "--profile says where to look for names, but no --provider says which."),
        (["--app=a b"], "'a b' is not a name for an application: it contains ' '."),
        (
            ["--app=a", "--provider=mine"],
            "'mine' names no kind. Say cloudflare, package.module:Class or",
        ),
        (["--app=a", "--provider=kinds.py:Nothing"], "Nothing cannot be loaded from"),
        (["--app=a", "--provider=kinds.py:pathlib"], "it is not a resource class any more"),
        (["--fake-account=none.sqlite"], "does not exist."),
        (["--max=-1"], "is not in the range x>=0."),
    ],
)
def test_a_command_that_is_not_understood_ends_with_exit_code_2(
    graveyard: Graveyard, words: list[str], said: str
) -> None:
    graveyard.bury("a")

    result = sweep(graveyard, *words, "--yes")

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert graveyard.left == ["a"]


def test_two_accounts_at_once_are_refused(graveyard: Graveyard, account: Path) -> None:
    result = sweep(
        graveyard, "--app=a", "--provider=cloudflare", "--live", f"--fake-account={account}"
    )

    assert result.exit_code == 2
    assert "--live and --fake-account name two accounts: sweep one at a time." in result.stderr


def test_the_offline_account_of_the_command_itself_is_refused(graveyard: Graveyard) -> None:
    result = sweep(graveyard, "--app=shop", "--provider=cloudflare", "--yes")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-2:] == [
        "Error: D1Database: there is nothing to sweep in the offline account, which ends with its process.",
        "Name the account: --live for the real one, or --fake-account FILE",
    ]


def test_the_live_account_needs_credentials(
    graveyard: Graveyard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    monkeypatch.setenv("ALCHEMY_HOME", str(graveyard.path / "empty"))

    result = sweep(graveyard, "--app=shop", "--provider=cloudflare", "--live", "--profile=ci")

    assert result.exit_code == 1
    [said] = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert said.startswith(
        "Error: D1Database, KVNamespace, Queue, R2Bucket, Worker could not be listed: "
        "CredentialsError: No Cloudflare credentials for profile 'ci': nothing is configured. Looked in "
    )
    assert "Traceback" not in result.output


def test_names_cannot_paint_on_the_screen(graveyard: Graveyard) -> None:
    graveyard.bury("\x1b[2Ja\n")

    listed, result = sweep(graveyard), sweep(graveyard, "--yes")

    for said in (listed.output, result.output):
        assert r"File \x1b[2Ja\n (" in said
        assert "\x1b" not in said


def test_the_stages_are_found_from_a_folder_below(graveyard: Graveyard) -> None:
    graveyard.bury("a")
    below = graveyard.path / "src" / "shop"
    (below / ".alchemy" / "credentials" / "default").mkdir(parents=True)
    os.chdir(below)

    result = CliRunner().invoke(main, ["sweep", "--yes"])

    assert result.exit_code == 0
    assert graveyard.left == []


@pytest.mark.parametrize("command", [COMMAND, ["alchemy"]], ids=["module", "script"])
def test_a_real_process_sweeps(graveyard: Graveyard, command: list[str]) -> None:
    if command == ["alchemy"]:
        script = Path(sys.executable).with_name("alchemy")
        if not script.exists():
            pytest.skip("the package was installed before it had the command")
        command = [str(script)]
    graveyard.bury("a", "b")

    done = run(graveyard, *command, "sweep", "--yes", "--json")
    again = run(graveyard, *command, "sweep", "--yes")

    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["outcomes"]) == 2
    assert again.stdout == f"Nothing to destroy under {graveyard.root}.\n"
    assert graveyard.left == []
    assert not graveyard.root.exists()


def test_two_sweeps_at_once_destroy_everything_once(graveyard: Graveyard) -> None:
    for number in range(3):
        graveyard.bury(str(number), run=f"aaaaaaa{number}")

    processes = [
        subprocess.Popen(
            [*COMMAND, "sweep", "--yes", "--json"],
            cwd=graveyard.path,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in processes]

    destroyed = [o["id"] for each in said for o in each["outcomes"] if o["what"] == "destroyed"]
    assert sorted(destroyed) == ["0", "1", "2"]
    assert [process.returncode for process in processes] == [0, 0]
    assert graveyard.left == []


def test_a_screen_gets_a_table(graveyard: Graveyard) -> None:
    graveyard.bury("a[red]b")
    graveyard.bury("lasting", run="", stage="alice", ephemeral=False)
    lost = graveyard.make("lost", run="llllllll")

    code, said = on_a_screen(graveyard, "sweep", "--app=shop", "--provider=kinds:File")

    assert code == 0
    assert "what happens to it" in said
    assert "File a[red]b (alt-shop" in said
    assert "left alone, it outlives its programs" in " ".join(said.split())
    assert "was wanted until" in said
    assert lost in said
    assert "Destroy: alchemy sweep --yes --app shop --provider kinds:File" in said


def run(graveyard: Graveyard, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=graveyard.path, capture_output=True, text=True, timeout=60, check=False
    )


def on_a_screen(graveyard: Graveyard, *words: str) -> tuple[int, str]:
    """Return the exit code of the command on a terminal of 200 columns, and what that shows."""
    outside, inside = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=graveyard.path,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=os.environ | {"COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(inside)
    said = b"".join(iter(lambda: read(outside), b""))
    os.close(outside)
    return process.wait(60), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(main, ["--version"])

    assert result.output == f"alchemy, version {version('pytest-alchemy')}\n"


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("sweeep", "No such command 'sweeep'. Did you mean 'sweep'?\n"),
        ("bury", "No such command 'bury'.\n"),
    ],
)
def test_a_verb_that_is_not_there_is_refused(verb: str, said: str) -> None:
    result = CliRunner().invoke(main, [verb])

    assert result.exit_code == 2
    assert result.stderr.endswith(said)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["sweep", "--help"]])
def test_help_is_there(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 0
    assert "dead runs left" in result.output


def test_what_no_process_can_ever_undo_is_told_once_more_and_forgotten(
    graveyard: Graveyard,
) -> None:
    call = Deferred(3, (), "", "", "deferred <lambda>()", [], {}, where="test_a.py:7")
    folder = graveyard.bury("a", "broken", more=(call,))

    first, second = sweep(graveyard, "--yes"), sweep(graveyard, "--yes")

    assert (
        "FORGOTTEN deferred <lambda>() in shop/test-main-k3f9x2ab\n"
        "       deferred <lambda>() cannot be loaded from test_a.py:7:"
        " only the process that deferred it could call it: it is no module-level function\n"
    ) in text(first)
    assert text(first).endswith("1 destroyed, 1 forgotten, 1 left\n")
    assert "lambda" not in second.output
    assert folder.is_dir()


def test_a_stage_with_nothing_but_what_is_forgotten_goes(graveyard: Graveyard) -> None:
    folder = graveyard.bury(more=(Deferred(1, (), "", "", "deferred <lambda>()", [], {}),))

    first, second = sweep(graveyard, "--yes", "--quiet"), sweep(graveyard, "--yes")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.output.startswith("FORGOTTEN deferred <lambda>() in ")
    assert second.output.startswith("Nothing to destroy ")
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="starts a process that waits for a signal")
def test_a_stage_that_is_just_being_cleaned_up_says_by_whom(graveyard: Graveyard) -> None:
    waiting = "def destroy(self):\n        wait()"
    kinds = graveyard.kinds.read_text().replace("def destroy(self):", waiting)
    graveyard.kinds.write_text(kinds + WAITS)
    folder = graveyard.bury("a")
    command = [sys.executable, "-m", "pytest_alchemy.recovery", "5", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as reaper:
        graveyard.wait_for("waits")

        listed, swept = sweep(graveyard), sweep(graveyard, "--yes")

        (graveyard.path / "answer").touch()
        assert reaper.wait(60) == 0

    holder = Holder.this_process()
    said = f"left alone, {holder.user} (process {reaper.pid} on {holder.host}) is cleaning it up\n"
    assert said in listed.output
    assert (swept.exit_code, said in swept.output) == (0, True)
    assert graveyard.left == []


def test_what_is_forgotten_is_in_the_report_of_its_run(
    graveyard: Graveyard, tmp_path: Path
) -> None:
    call = Deferred(1, (), "", "", "deferred <lambda>()", [], {}, where="test_a.py:7")
    graveyard.bury(more=(call,), report=str(tmp_path / "out"), rootdir=str(graveyard.path))

    result = sweep(graveyard, "--yes")

    [fact] = json.loads((tmp_path / "out" / "leaks.json").read_text())["facts"]
    assert (fact["what"], fact["id"]) == ("unrecoverable", "<lambda>()")
    assert (result.exit_code, text(result).splitlines()[-1]) == (0, "1 forgotten")


def test_no_password_of_an_error_is_printed(graveyard: Graveyard) -> None:
    kinds = graveyard.kinds.read_text().replace("the disk is on fire", "no s3://ada:hunter2@disk")
    kinds = kinds.replace("return os.listdir(WORLD)", "raise OSError('no s3://ada:hunter2@list')")
    graveyard.kinds.write_text(kinds)
    graveyard.bury("broken")
    words = ["--yes", "--provider=kinds:File", "--app=shop"]

    results = [sweep(graveyard, *words), sweep(graveyard, *words, "--json")]

    for result in results:
        assert "RuntimeError: no s3://ada:***@disk" in result.stdout
        assert "OSError: no s3://ada:***@list" in result.output
        assert "hunter2" not in result.output
