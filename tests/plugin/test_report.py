"""What a run says of its scopes: nothing, one line, or what is still there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from tests.support.world import World, section

LEAKY = """
from kinds import File

def test_green(alchemy_scope):
    alchemy_scope.create(File("good"))
    alchemy_scope.create(File("bad", broken=True))
"""


def test_a_run_without_scopes_reads_as_without_the_plugin(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_async():
            pass

        def test_plain(tmp_path):
            pass

        @pytest.fixture
        def unused(alchemy_scope):
            pass

        def test_fails():
            assert 0
        """
    )
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    common = ["-p", "no:cacheprovider", "-p", "no:randomly", "-v", "-rA", "--color=yes"]

    plain = pytester.runpytest_subprocess("-p", "no:alchemy", *common, timeout=60)
    ours = pytester.runpytest_subprocess(*common, timeout=60)

    assert _steady(ours) == _steady(plain)
    assert ours.ret == plain.ret == pytest.ExitCode.TESTS_FAILED
    assert not world.state.exists()


def _steady(result: pytest.RunResult) -> list[str]:
    lines = [re.sub(r"\d+\.\d+s|runpytest-\d", "*", line) for line in result.outlines]
    return [line for line in lines if not line.startswith("plugins: ")]


def test_a_clean_run_is_told_in_one_line(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        from kinds import File

        def test_one(alchemy_scope, alchemy_module):
            for number in range(3):
                alchemy_scope.create(File(str(number)))
            alchemy_module.create(File("module"))
        """
    )

    result = world.run("--alchemy-leaks=fail")

    assert result.ret == pytest.ExitCode.OK
    assert section(result) == ["4 created, 4 destroyed, 0 leaked in shop/test-*"]
    result.stdout.fnmatch_lines(["=* 1 passed in *"])


def test_every_leak_is_told_with_its_test_and_line(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(test_leaky=LEAKY)

    result = world.run("--alchemy-leaks=fail")

    assert section(result) == [
        "2 created, 1 destroyed, 1 LEAKED (2 retries: 2x RuntimeError) in shop/test-*",
        "LEAKED File bad (*) in shop/test-main-*/test_leaky.py::test_green",
        "       created by test_leaky.py:5 test_green at *",
        "       RuntimeError: the disk is on fire (tried 3 times)",
        "clean up: alchemy sweep --yes",
        "exit 1: leaks fail the run (--alchemy-leaks=warn to allow)",
    ]
    result.stdout.fnmatch_lines(["=* 1 passed, 1 leaked in *"])
    assert world.left == ["bad"]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--alchemy-root=else where"], "alchemy sweep --yes --root '{path}/else where'"),
        (["--rootdir=.", "-c", "tox.ini"], "alchemy sweep --yes"),
    ],
)
def test_the_command_that_cleans_up_finds_the_stage(
    pytester: pytest.Pytester, world: World, arguments: list[str], command: str
) -> None:
    pytester.makepyfile(test_leaky=LEAKY)

    result = world.run(*arguments)

    assert f"clean up: {command.format(path=pytester.path)}" in section(result)


def test_a_leak_that_no_stage_records_has_no_command(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        from kinds import Note

        class Stuck(Note):
            def destroy(self):
                raise RuntimeError("no")

        def test_leaks(alchemy_scope):
            alchemy_scope.create(Stuck("memory"))
        """
    )

    result = world.run()

    assert "1 LEAKED" in section(result)[0]
    assert not any("clean up" in line for line in section(result))


@pytest.mark.parametrize(
    ("ci", "option", "code", "told"),
    [
        ("", [], 0, True),
        ("true", [], 1, True),
        ("true", ["--alchemy-leaks=warn"], 0, True),
        ("", ["--alchemy-leaks=fail"], 1, True),
        ("", ["-o", "alchemy_leaks=fail"], 1, True),
        ("true", ["--alchemy-leaks=off"], 0, False),
    ],
)
def test_leaks_turn_a_green_run_red_only_where_that_was_asked_for(
    pytester: pytest.Pytester,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    ci: str,
    option: list[str],
    code: int,
    told: bool,
) -> None:
    pytester.makepyfile(LEAKY)
    if ci:
        monkeypatch.setenv("CI", ci)

    result = world.run(*option)

    assert result.ret == code
    result.assert_outcomes(passed=1)
    assert any(line.startswith("LEAKED") for line in section(result)) == told
    assert "1 LEAKED" in section(result)[0]


def test_the_report_file_says_the_same(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(test_leaky=LEAKY)

    result = world.run("--alchemy-report=out", "--alchemy-leaks=fail")

    assert section(result)[-2] == "report: out/index.html (leaks.json, leaks.xml beside it)"
    report = json.loads((pytester.path / "out" / "leaks.json").read_text())
    fact, gone = report["facts"]
    assert (gone["what"], gone["id"]) == ("destroyed", "good")
    assert report["counts"]["created"] == 2
    assert report["counts"]["leaked"] == 1
    assert (fact["kind"], fact["id"]) == ("File", "bad")
    assert (fact["file"], fact["line"], fact["test"]) == (
        *("test_leaky.py", 5),
        "test_leaky.py::test_green",
    )
    assert [file.name for file in world.path.iterdir()] == [fact["name"]]


def test_what_wide_scopes_and_deferred_calls_leave_is_told(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_wide="""
        from kinds import File

        def undo(word):
            raise ValueError(word)

        def test_one(alchemy_app, alchemy_stage, alchemy_module, alchemy_scope):
            alchemy_app.create(File("app", broken=True))
            alchemy_stage.create(File("stage", broken=True))
            alchemy_module.create(File("module", broken=True))
            alchemy_scope.defer(undo, "word")
            with alchemy_scope.run("inner") as inner:
                inner.create(File("inner", broken=True))

        def test_two():
            pass
        """
    )

    result = world.run_apart("-n2", "--dist=loadfile", plugins="xdist")

    heads = [line.replace("gw1", "gw0") for line in section(result) if line.startswith("LEAKED")]
    assert sorted(heads) == [
        "LEAKED File app (*) in shop/test-run-*",
        "LEAKED File inner (*) in shop/test-gw0-*/test_wide.py::test_one/inner",
        "LEAKED File module (*) in shop/test-gw0-*/test_wide.py",
        "LEAKED File stage (*) in shop/test-gw0-*",
        "LEAKED deferred undo('word') in shop/test-gw0-*/test_wide.py::test_one",
    ]
    assert section(result)[0] == (
        "4 created, 0 destroyed, 5 LEAKED (8 retries: 6x RuntimeError, 2x ValueError) in shop/test-*"
    )
    assert world.left == ["app", "inner", "module", "stage"]


def test_where_nothing_can_be_made_a_leak_says_that_it_may_not_exist(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_down="""
        from kinds import Note

        class Row(Note):
            def create(self):
                raise ConnectionRefusedError("the server is down")

            destroy = create

        def test_one(alchemy_scope):
            alchemy_scope.create(Row("a"))
        """
    )

    result = world.run()

    assert section(result)[0].startswith("0 created, 0 destroyed, 1 LEAKED (")
    assert section(result)[3:5] == [
        "       ConnectionRefusedError: the server is down (tried 3 times)",
        "       Its create failed as well: perhaps it never existed.",
    ]


def test_a_sweep_after_the_run_tells_of_a_deferred_call_as_the_run_did(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile("def test_one(alchemy_scope): alchemy_scope.defer(lambda: 1 / 0)")
    world.run_apart("--alchemy-report=out")

    swept = pytester.run(sys.executable, "-m", "pytest_alchemy", "sweep", "--yes")

    [fact] = json.loads((pytester.path / "out" / "leaks.json").read_text())["facts"]
    assert (fact["what"], fact["name"]) == ("unrecoverable", "test_one.<locals>.<lambda>()")
    assert (swept.ret, swept.outlines[-1]) == (0, "1 forgotten")


def test_workers_tell_as_one(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        test_many="""
        import pytest
        from kinds import File

        @pytest.mark.parametrize("number", range(8))
        def test_one(alchemy_stage, alchemy_scope, number):
            alchemy_stage.create(File("stage"))
            alchemy_scope.create(File("db", broken=number == 5))
        """
    )

    result = world.run_apart("-n2", "--alchemy-leaks=fail", plugins="xdist")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    lines = section(result)
    assert lines[0] == (
        "10 created, 9 destroyed, 1 LEAKED (2 retries: 2x RuntimeError) in shop/test-*"
    )
    assert re.fullmatch(
        r"LEAKED File db \(\*\) in shop/test-gw[01]-\*/test_many.py::test_one\[5\]", lines[1]
    )
    assert re.fullmatch(
        r"       created by test_many.py:7 test_one\[5\] \[gw[01]\] at \*", lines[2]
    )
    assert world.left == ["db"]


def report_of(pytester: pytest.Pytester) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((pytester.path / "out" / "leaks.json").read_bytes())
    assert (pytester.path / "out" / "leaks.xml").exists()
    assert (pytester.path / "out" / "index.html").exists()
    return document


def test_every_resource_of_every_worker_is_in_the_report_with_its_moments(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_many="""
        import os
        import pytest
        from kinds import File, Note

        @pytest.mark.parametrize("number", range(6))
        def test_one(alchemy_app, alchemy_stage, alchemy_scope, number):
            alchemy_app.create(File("app"))
            alchemy_stage.create(File("stage"))
            alchemy_scope.create(File("db", broken=number == 5))
            alchemy_scope.create(Note("memory"))
            if number == 3:
                os._exit(7)
        """
    )

    world.run_apart("-n2", "--alchemy-report=out", plugins="xdist", timeout=120)

    document = report_of(pytester)
    facts = document["facts"]
    tests = {(each["test"], each["id"], each["what"]) for each in facts}
    for number in (0, 1, 2, 4):
        test = f"test_many.py::test_one[{number}]"
        assert {(test, "db", "destroyed"), (test, "memory", "destroyed")} <= tests
    assert ("test_many.py::test_one[5]", "db", "leaked") in tests
    assert ("test_many.py::test_one[3]", "db", "reaped") in tests
    assert [each["what"] for each in facts if each["id"] == "app"] == ["destroyed"]
    clean = [each for each in facts if each["what"] == "destroyed" and each["id"] != "app"]
    for each in clean:
        moments = [each[name] for name in MOMENTS]
        assert moments == sorted(moments), each
        assert each["worker"].startswith("gw")
        assert (each["file"], each["line"] > 0) == ("test_many.py", True)
    [leaked] = [each for each in facts if each["what"] == "leaked"]
    assert leaked["errors"] == ["RuntimeError: the disk is on fire"] * 3
    assert document["counts"]["retried"] == 2
    [reaped] = [each for each in facts if each["what"] == "reaped" and each["id"] == "db"]
    assert reaped["destroy_ended_at"] > reaped["created_at"]


MOMENTS = ("created_at", "create_ended_at", "destroy_started_at", "destroy_ended_at")


def test_a_folder_that_cannot_be_written_changes_nothing_else(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(test_leaky=LEAKY)
    (pytester.path / "out").write_text("")

    result = world.run("--alchemy-report=out")

    assert result.ret == pytest.ExitCode.OK
    told = section(result)
    assert told[1].startswith("LEAKED File bad")
    assert not any(line.startswith("report: ") for line in told)
    assert told[-2:] == [
        f"Report {pytester.path}/out/leaks.json could not be written: file exists.",
        "Name another folder with --alchemy-report.",
    ]


FULL_AT_THE_END = """
import pytest
import resource
import sys

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish():
    sys.dont_write_bytecode = True  # Python would keep half of it
    resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))
    return (yield)
"""


@pytest.mark.parametrize(("leaks", "code"), [("fail", 1), ("warn", 0)])
@pytest.mark.parametrize(
    ("room", "refused", "written"),
    [(100, "leaks.json", []), (10_000, "index.html", ["leaks.json", "leaks.xml"])],
)
def test_a_full_disk_is_named_and_changes_neither_the_report_s_lines_nor_the_exit_code(
    pytester: pytest.Pytester,
    world: World,
    leaks: str,
    code: int,
    room: int,
    refused: str,
    written: list[str],
) -> None:
    pytester.makepyfile(test_leaky=LEAKY)
    pytester.makeconftest(FULL_AT_THE_END.replace("{room}", str(room)))
    command = [sys.executable, "-m", "pytest", "-p", "alchemy", "-p", "no:cacheprovider"]
    out = pytester.path / "out"

    # What it prints goes through a pipe, which is never full.
    run = subprocess.run(
        [*command, "--alchemy-report=out", f"--alchemy-leaks={leaks}", "--color=no"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == code
    assert "2 created, 1 destroyed, 1 LEAKED" in run.stdout
    assert "LEAKED File bad" in run.stdout
    assert (
        f"Report {out}/{refused} could not be written: file too large.\n"
        "Name another folder with --alchemy-report.\n"
    ) in run.stdout
    assert sorted(file.name for file in out.iterdir()) == written


def test_a_report_is_written_even_if_the_end_of_the_run_is_interrupted(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import os
        import signal
        import time
        from kinds import Note

        class Impatient(Note):
            def destroy(self):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)

        def test_one(alchemy_app):
            alchemy_app.create(Impatient("it"))
        """
    )

    result = world.run_apart("--alchemy-report=out")

    assert result.ret != pytest.ExitCode.OK
    assert section(result)[0].startswith("1 created, 0 destroyed")
    assert report_of(pytester)["counts"]["created"] == 1


def test_what_has_no_repr_and_no_text_is_reported_all_the_same(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_mute="""
        from kinds import File

        class Mute(Exception):
            def __str__(self):
                raise ValueError("no words")

        class Shy(File):
            def __repr__(self):
                raise ValueError("not me")

            def destroy(self):
                raise Mute

        def undo(thing):
            raise RuntimeError("no")

        def test_shy(alchemy_scope):
            shy = alchemy_scope.create(Shy("shy"))
            alchemy_scope.defer(undo, shy)
        """
    )

    result = world.run("--alchemy-report=out")

    result.assert_outcomes(passed=1)
    told = "\n".join(section(result))
    assert "LEAKED Shy shy" in told
    assert "Mute: (its text cannot be had: ValueError)" in told
    assert "LEAKED deferred undo(<Shy>)" in told
    assert report_of(pytester)["counts"]["leaked"] == 2


def test_github_marks_the_line_and_gets_a_summary_from_the_controller_alone(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(test_leaky=LEAKY)
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    result = world.run_apart("-n2", "--alchemy-leaks=fail", plugins="xdist")

    marks = [line for line in result.outlines if line.startswith("::")]
    assert len(marks) == 1
    place = f"file={pytester.path.name}/test_leaky.py,line=5"
    assert marks[0].startswith(f"::error {place},title=Leaked File bad (alt-shop-")
    assert summary.read_text().count("### alchemy scopes") == 1
    assert "| leaked | File bad" in summary.read_text()


def test_what_the_code_under_test_left_is_listed_with_its_test_in_every_form(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        test_shop="""
        import httpx
        import pytest

        def opens_a_shop(account):
            base = f"https://api.cloudflare.com/client/v4/accounts/{account.account_id}"
            headers = {"Authorization": f"Bearer {account.api_token}"}
            httpx.post(f"{base}/d1/database", json={"name": "hidden"}, headers=headers)

        @pytest.mark.parametrize("number", range(3))
        def test_shop(fake_cloudflare, number):
            if number == 1:
                opens_a_shop(fake_cloudflare)
        """
    )
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    options = ("-n2", "--alchemy-report=out", "--alchemy-leaks=fail")
    result = world.run_apart(*options, plugins="xdist")

    test = "test_shop.py::test_shop[1]"
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["=* 3 passed, 1 untracked in *"])
    [head, origin, reason] = section(result)[1:4]
    assert re.fullmatch(r"UNTRACKED d1 \S+ \(hidden\) in the fake Cloudflare account", head)
    assert test in origin
    assert (
        reason == "       made by the code under test, not through a scope; removed after the test"
    )
    [fact] = report_of(pytester)["facts"]
    assert (fact["what"], fact["name"], fact["test"]) == ("untracked", "hidden", test)
    [case] = Xml.parse(pytester.path / "out" / "leaks.xml").iter("testcase")
    assert case.get("classname") == test
    assert case.find("failure") is None
    assert f"<dt>made by</dt><dd><bdi>{test}" in (pytester.path / "out" / "index.html").read_text()
    assert "| untracked |" in summary.read_text()
    assert not any(line.startswith("::") for line in result.outlines)


def test_github_s_summary_that_cannot_be_written_changes_nothing_else(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(test_leaky=LEAKY)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "no" / "summary.md"))

    result = world.run()

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["The summary of the step could not be written: *", "::warning *"])


def test_the_slowest_are_told_if_asked_for(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        test_two="""
        from kinds import File

        def test_one(alchemy_scope):
            alchemy_scope.create(File("a"))
            alchemy_scope.create(File("b"))
        """
    )

    told = section(world.run("--alchemy-durations=1"))

    assert told[0] == "2 created, 2 destroyed, 0 leaked in shop/test-*"
    assert [told[1], told[3]] == ["slowest 1 of 2 creates", "slowest 1 of 2 destroys"]
    assert re.fullmatch(r" +\d+\.\d{3} s  File [ab]  test_two.py::test_one", told[2])


def test_a_long_teardown_tells_how_far_it_is(pytester: pytest.Pytester, world: World) -> None:
    pytester.makeconftest(
        """
        from pytest_alchemy import teardown
        teardown.TELL_AFTER = 0.0
        """
    )
    pytester.makepyfile(
        test_long="""
        from kinds import File

        def test_one(alchemy_scope):
            for number in range(3):
                alchemy_scope.create(File(str(number)))
        """
    )

    loud = world.run_apart("--color=no")
    quiet = world.run_apart("-q")

    loud.stdout.fnmatch_lines(
        ["alchemy: shop/test-main-*/test_long.py::test_one: 1 of 3 destroyed after 0 s"]
    )
    assert not any("\r" in line or "\x1b" in line for line in loud.outlines)
    quiet.stdout.no_fnmatch_line("alchemy: *")


IN_A_WORKER = """
import time
from kinds import HERE, File, Note

class Slow(Note):
    def destroy(self):
        # It ends when the test has read in the terminal what it waits for.
        give_up = time.monotonic() + 30
        while not (HERE / "told").exists() and time.monotonic() < give_up:
            time.sleep(0.05)

def test_one(alchemy_scope):
    alchemy_scope.create(File("first"))
    alchemy_scope.create(Slow("slow"))
    alchemy_scope.create(File("last"))
"""
IN_A_WORKER_AND_A_LOOP = IN_A_WORKER
for plain, asynchronous in (
    ("import time", "import asyncio, pytest, time"),
    ("def destroy", "async def destroy"),
    ("time.sleep(", "await asyncio.sleep("),
    ("def test_one", "@pytest.mark.asyncio\nasync def test_one"),
    ("alchemy_scope.create(", "await alchemy_scope.acreate("),
):
    IN_A_WORKER_AND_A_LOOP = IN_A_WORKER_AND_A_LOOP.replace(plain, asynchronous)
AT_ONCE = """
from pytest_alchemy import teardown
from pytest_alchemy.plugin import progress

teardown.TELL_AFTER, progress.LOOK_EVERY = 0.2, 0.05
"""


@pytest.mark.parametrize("program", [IN_A_WORKER, IN_A_WORKER_AND_A_LOOP], ids=["sync", "async"])
@pytest.mark.parametrize("destroy", ["sequential", "parallel"])
def test_a_worker_s_long_teardown_tells_how_far_it_is_while_it_lasts(
    pytester: pytest.Pytester, world: World, destroy: str, program: str
) -> None:
    pytester.makeconftest(AT_ONCE)
    pytester.makepyfile(test_long=program)
    command = [sys.executable, "-m", "pytest", "-p", "alchemy", "-p", "no:cacheprovider"]

    with subprocess.Popen(
        [*command, "-p", "xdist", "-p", "asyncio", "-n1", f"--alchemy-destroy={destroy}"],
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        lines = []
        for line in run.stdout:
            lines.append(line)
            if line.startswith("alchemy: "):
                (pytester.path / "told").touch()

    assert run.returncode == 0
    told = [line for line in lines if line.startswith("alchemy: ")]
    assert re.fullmatch(
        r"alchemy: \[gw0\] shop/test-gw0-\w+/test_long.py::test_one: [12] of 3 destroyed after \d+ s, "
        r"waiting for Slow 'slow'\n",
        told[0],
    )
    assert not any("\r" in line or "\x1b" in line for line in lines)
    assert len(told) < 10  # each time after twice as long
    assert not list(
        Path(tempfile.gettempdir()).glob(f"pytest-alchemy-{told[0].split('-')[2][:8]}*")
    )


def test_a_quiet_run_tells_nothing_of_a_worker_s_teardown_and_a_fast_one_writes_nothing(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("tmp")))
    pytester.makeconftest(
        AT_ONCE.replace("0.2", "0.0")
        + """
import os
from pathlib import Path
from kinds import HERE, log

def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        log(*(file.name for file in (HERE / "tmp").glob("pytest-alchemy-*")))
"""
    )
    pytester.makepyfile(
        """
        from kinds import File

        def test_one(alchemy_scope):
            alchemy_scope.create(File("it"))
        """
    )

    quiet = world.run_apart("-n1", "-q", plugins="xdist")
    (pytester.path / "conftest.py").write_text(
        (pytester.path / "conftest.py").read_text().replace("TELL_AFTER, ", "OTHER, ")
    )
    fast = world.run_apart("-n1", plugins="xdist")

    quiet.stdout.no_fnmatch_line("alchemy: *")
    fast.stdout.no_fnmatch_line("alchemy: *")
    [slow_wrote, fast_wrote] = [
        line for line in world.log if "db" not in line and "it" not in line.split()
    ]
    assert slow_wrote.startswith("pytest-alchemy-")
    assert fast_wrote == ""
    assert list((pytester.path / "tmp").glob("pytest-alchemy-*")) == []


def test_a_single_slow_destroy_tells_that_it_is_waited_for(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(AT_ONCE)
    pytester.makepyfile(
        test_long="""
        import time
        from kinds import File

        class Slow(File):
            def destroy(self):
                time.sleep(1.0)  # a slow provider
                super().destroy()

        def test_one(alchemy_scope):
            alchemy_scope.create(Slow("slow"))
        """
    )

    result = world.run_apart("--color=no")

    result.stdout.fnmatch_lines(
        [
            "alchemy: shop/test-main-*/test_long.py::test_one: 0 of 1 destroyed after 0 s, waiting for Slow 'slow'"
        ]
    )
    assert world.left == []


def test_a_long_reaping_tells_how_far_it_is(pytester: pytest.Pytester, world: World) -> None:
    pytester.makeconftest(
        """
        from pytest_alchemy.plugin import reaping
        reaping.TELL_EVERY = 0.1
        """
    )
    pytester.makepyfile(
        test_dies="""
        import os, time
        from kinds import File

        class Slow(File):
            def destroy(self):
                time.sleep(1.0)  # a slow provider
                super().destroy()

        def test_one(alchemy_scope):
            alchemy_scope.create(Slow("left"))
            os._exit(3)
        """
    )

    result = world.run_apart("-n1", "--max-worker-restart=0", "--color=no", plugins="xdist")

    result.stdout.fnmatch_lines(
        ["alchemy: shop/test-gw0-*: 0 destroyed so far", "REAPED Slow left *"]
    )
    assert world.left == []


def test_what_lives_in_another_world_is_told_as_such(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_moved="""
        import os
        from kinds import File

        class Far(File):
            def world(self):
                return os.environ["FAR"]

        def test_one(alchemy_scope, monkeypatch):
            os.environ["FAR"] = "server:one"
            alchemy_scope.create(Far("db"))
            os.environ["FAR"] = "server:two"
        """
    )

    result = world.run("--alchemy-leaks=fail")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert section(result)[0] == "1 created, 0 destroyed, 1 elsewhere, 0 leaked in shop/test-*"
    assert section(result)[1].startswith("ELSEWHERE Far db (*) in shop/test-main-*")
    result.stdout.fnmatch_lines(["=* 1 passed, 1 elsewhere in *"])


@pytest.mark.parametrize("flag", ["-q", "-v"])
def test_a_narrow_quiet_or_verbose_run_counts_alike(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    pytester.makepyfile(test_leaky=LEAKY)
    monkeypatch.setenv("COLUMNS", "40")

    result = world.run_apart(flag, "--color=no")

    lines = result.outlines
    assert any("1 passed, 1 leaked in" in line for line in lines)
    assert any(line.startswith("LEAKED File bad") for line in lines)
    assert any("attempt 3: RuntimeError" in line for line in lines) is (flag == "-v")
    assert "\x1b" not in result.stdout.str()
