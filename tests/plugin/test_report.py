"""What a run says of its scopes: nothing, one line, or what is still there."""

from __future__ import annotations

import json
import re
from pathlib import Path

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
        "2 created, 1 destroyed, 1 LEAKED in shop/test-*",
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

    assert section(result)[-2] == f"report: {Path('out', 'leaks.json')}"
    report = json.loads((pytester.path / "out" / "leaks.json").read_text())
    [fact] = report["facts"]
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
    assert section(result)[0] == "4 created, 0 destroyed, 5 LEAKED in shop/test-*"
    assert world.left == ["app", "inner", "module", "stage"]


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
    assert lines[0] == "10 created, 9 destroyed, 1 LEAKED in shop/test-*"
    assert re.fullmatch(
        r"LEAKED File db \(\*\) in shop/test-gw[01]-\*/test_many.py::test_one\[5\]", lines[1]
    )
    assert re.fullmatch(
        r"       created by test_many.py:7 test_one\[5\] \[gw[01]\] at \*", lines[2]
    )
    assert world.left == ["db"]
