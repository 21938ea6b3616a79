"""However a test ends, what it made is destroyed, once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_alchemy import clock
from tests.support.world import World, section


def test_every_end_of_a_test_ends_its_scope(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import sys
        import unittest
        import pytest
        from kinds import File, log

        @pytest.fixture
        def database(alchemy_scope):
            return alchemy_scope.create(File("db"))

        @pytest.fixture
        def broken(database):
            raise RuntimeError("a fixture that fails after it made something")

        @pytest.fixture
        def fails_at_its_end(database):
            yield
            raise RuntimeError("a fixture that fails at its end")

        @pytest.fixture
        def fails_around(request):
            yield
            raise RuntimeError("a fixture that fails after the scope")

        def test_fails(database):
            assert database is None

        def test_skips(database):
            pytest.skip("half-way")

        @pytest.mark.xfail
        def test_fails_as_expected(database):
            raise ValueError

        def test_exits(database):
            sys.exit(1)

        def test_setup_fails(broken): pass
        def test_teardown_fails(fails_at_its_end): pass
        def test_teardown_around_fails(fails_around, database): pass
        """
    )

    result = world.run()

    result.assert_outcomes(failed=2, skipped=1, xfailed=1, errors=3, passed=2)
    assert world.log == ["create db", "destroy db"] * 7
    assert world.left == []
    assert not world.state.exists()
    assert section(result) == ["7 created, 7 destroyed, 0 leaked in shop/test-*"]


def test_stopping_at_the_first_failure_leaves_nothing(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        from kinds import File

        def test_one(alchemy_app, alchemy_stage, alchemy_module, alchemy_class, alchemy_scope):
            for scope in (alchemy_app, alchemy_stage, alchemy_module, alchemy_class, alchemy_scope):
                scope.create(File("db"))
            assert False

        def test_two(alchemy_scope):
            alchemy_scope.create(File("never"))
        """
    )

    result = world.run("-x")

    result.assert_outcomes(failed=1)
    assert world.log == ["create db"] * 5 + ["destroy db"] * 5
    assert world.left == []
    assert not world.state.exists()


def test_a_file_in_the_place_of_the_state_changes_nothing_of_the_end(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import shutil
        from kinds import File, HERE

        def test_one(alchemy_scope):
            alchemy_scope.create(File("db"))
            shutil.rmtree(HERE / ".alchemy")
            (HERE / ".alchemy").write_text("mine")
        """
    )

    result = world.run_apart()

    assert result.ret == pytest.ExitCode.OK
    assert section(result) == ["1 created, 1 destroyed, 0 leaked in shop/test-*"]
    result.stderr.no_fnmatch_line("*Error*")
    assert world.left == []
    assert world.state.read_text() == "mine"


NO_HASTE = """
from pytest_alchemy.plugin import session

session.HASTE = 60.0
"""
"""Gives the teardown of an interrupted run the time that it may need on a busy machine."""

NOR_IN_XDIST = """
from xdist.workermanage import NodeManager

NodeManager.EXIT_TIMEOUT = 60
"""
"""Lets xdist kill no worker before that."""


@pytest.mark.parametrize(
    "ending", ["raise KeyboardInterrupt", "pytest.exit('enough', returncode=9)"]
)
def test_an_interrupt_ends_every_scope(
    pytester: pytest.Pytester, world: World, ending: str
) -> None:
    pytester.makeconftest(NO_HASTE)
    pytester.makepyfile(
        f"""
        import pytest
        from kinds import AsyncFile, File

        @pytest.mark.asyncio
        async def test_one(alchemy_module, alchemy_stage, alchemy_app, alchemy_scope):
            for scope in (alchemy_app, alchemy_stage, alchemy_module, alchemy_scope):
                await scope.acreate(File("db"))
            await AsyncFile("last")
            {ending}
        """
    )

    result = world.run_apart(plugins="pytest_asyncio.plugin")

    interrupted = ending == "raise KeyboardInterrupt"
    assert result.ret == (pytest.ExitCode.INTERRUPTED if interrupted else 9)
    assert world.left == []
    assert sorted(world.log) == [
        *["create db"] * 4,
        "create last",
        *["destroy db"] * 4,
        "destroy last in same loop",
    ]
    assert not world.state.exists()
    if interrupted:
        assert section(result) == ["5 created, 5 destroyed, 0 leaked in shop/test-*"]


def test_an_interrupt_beside_a_broken_fixture_leaves_nothing(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(NO_HASTE)
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        @pytest.fixture(scope="module")
        def broken():
            yield
            raise RuntimeError("a fixture that fails at its end")

        def test_one(alchemy_stage, broken, alchemy_module, alchemy_scope):
            for scope in (alchemy_stage, alchemy_module, alchemy_scope):
                scope.create(File("db"))
            raise KeyboardInterrupt
        """
    )

    world.run_apart()

    assert sorted(world.log) == ["create db"] * 3 + ["destroy db"] * 3
    assert world.left == []
    assert not world.state.exists()


def test_one_thing_that_stays_keeps_no_other_from_going(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        from kinds import File
        from pytest_alchemy.resource import Resource

        class User(Resource):
            of: File

            def create(self): pass

            def destroy(self):
                raise RuntimeError("will not go")

        def log_call(word):
            from kinds import log
            log(word)

        def test_one(alchemy_scope):
            first = alchemy_scope.create(File("first"))
            needed = alchemy_scope.create(File("needed"))
            alchemy_scope.create(User("user", of=needed))
            alchemy_scope.defer(log_call, "called")
            alchemy_scope.create(File("last"))
        """
    )

    result = world.run()

    result.assert_outcomes(passed=1)
    assert world.log[3:] == ["destroy last", "called", "destroy first"]
    assert world.left == ["needed"]
    report = "\n".join(section(result))
    assert "4 created, 2 destroyed, 2 LEAKED" in report
    assert "RuntimeError: will not go" in report
    assert "still needed by User 'user'" in report
    assert world.state.exists()


def test_a_create_that_fails_half_way_leaves_nothing(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import WORLD, log
        from pytest_alchemy.resource import Resource

        class Half(Resource):
            def create(self):
                (WORLD / self.name).write_text(self.id)
                raise ValueError("no quota")

            def read(self):
                return (WORLD / self.name).exists()

            def destroy(self):
                (WORLD / self.name).unlink()
                log("destroy", self.id)

        class Nothing(Half, kind="nothing"):
            def create(self):
                raise ValueError("not even half")

        def test_one(alchemy_scope):
            with pytest.raises(ValueError, match="not even half"):
                alchemy_scope.create(Nothing("nothing"))
            alchemy_scope.create(Half("half"))
        """
    )

    result = world.run()

    result.assert_outcomes(failed=1)
    assert world.log == ["destroy half"]
    assert world.left == []
    assert not world.state.exists()
    result.stdout.fnmatch_lines(
        ["E *while creating Half 'half', named alt-*, declared at *test_*.py:24"]
    )


def test_tests_whose_create_skips_them_are_told_as_one(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        class Server(File):
            def create(self):
                super().create()
                pytest.skip("no server")

        @pytest.mark.parametrize("number", range(3))
        def test_server(alchemy_scope, number):
            alchemy_scope.create(Server("server"))
        """
    )

    result = world.run("-rs")

    result.stdout.fnmatch_lines(["SKIPPED [[]3[]] test_*.py:7: no server"])
    assert world.left == []


def test_a_teardown_that_takes_too_long_is_a_leak(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from kinds import AsyncFile, WORLD
        from pytest_alchemy.resource import Resource

        class Slow(Resource):
            async def create(self):
                (WORLD / self.name).write_text(self.id)

            async def destroy(self):
                await asyncio.sleep(60)

        @pytest.mark.alchemy(teardown_timeout=0.1)
        @pytest.mark.asyncio
        async def test_async(alchemy_scope):
            await Slow("async")

        @pytest.mark.alchemy(teardown_timeout=0.1)
        def test_sync(alchemy_scope):
            alchemy_scope.create(Slow("sync"))
        """
    )

    result = world.run(plugins="pytest_asyncio.plugin")

    result.assert_outcomes(passed=2)
    assert world.left == ["async", "sync"]
    lines = section(result)
    assert lines[0] == "2 created, 0 destroyed, 2 LEAKED in shop/test-*"
    assert sum("TimeoutError" in line for line in lines) == 2


def test_a_destroy_that_was_interrupted_goes_on_at_the_end(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(NO_HASTE)
    pytester.makepyfile(
        """
        from kinds import File, WORLD, log
        from pytest_alchemy.resource import Resource

        class Stubborn(Resource):
            def create(self):
                (WORLD / self.name).write_text(self.id)

            def destroy(self):
                log("destroy", self.id)
                if world_log().count("destroy stubborn") == 1:
                    raise KeyboardInterrupt
                (WORLD / self.name).unlink()

        def world_log():
            return (WORLD.parent / "log.txt").read_text().splitlines()

        def test_one(alchemy_scope):
            alchemy_scope.create(File("db"))
            alchemy_scope.create(Stubborn("stubborn"))
        """
    )

    result = world.run_apart()

    assert result.ret == pytest.ExitCode.INTERRUPTED
    # An interrupted run destroys what it can at the same time.
    assert world.log[:2] == ["create db", "destroy stubborn"]
    assert sorted(world.log[2:]) == ["destroy db", "destroy stubborn"]
    assert world.left == []
    assert not world.state.exists()


@pytest.mark.parametrize("options", ["-x", "--maxfail=1 --dist=loadfile"])
def test_workers_that_are_stopped_leave_nothing(
    pytester: pytest.Pytester, world: World, options: str
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        @pytest.mark.parametrize("number", range(12))
        def test_one(alchemy_stage, alchemy_module, alchemy_scope, number):
            for scope in (alchemy_stage, alchemy_module, alchemy_scope):
                scope.create(File("db"))
            assert number != 1
        """
    )

    result = world.run_apart("-n2", *options.split(), plugins="xdist")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert world.left == []
    assert not world.state.exists()
    [line] = section(result)
    assert " 0 leaked in shop/test-*" in line
    assert line.split()[0] == line.split()[2]


def test_an_interrupted_worker_leaves_nothing(pytester: pytest.Pytester, world: World) -> None:
    pytester.makeconftest(NO_HASTE)
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile, File

        @pytest.mark.parametrize("number", range(4))
        @pytest.mark.asyncio
        async def test_one(alchemy_stage, alchemy_scope, number):
            await alchemy_stage.acreate(File("stage"))
            await AsyncFile("db")
            if number == 1:
                raise KeyboardInterrupt
        """
    )

    result = world.run_apart("-n2", plugins="xdist pytest_asyncio.plugin")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert world.left == []
    assert not world.state.exists()


def test_ctrl_c_leaves_the_counts_of_all_workers_whole(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(NO_HASTE + NOR_IN_XDIST)
    pytester.makepyfile(
        """
        import os
        import signal
        import time
        from pathlib import Path
        import pytest
        from kinds import File

        def wait_for(marks):
            give_up = time.monotonic() + 30
            while not all(map(os.path.exists, marks)) and time.monotonic() < give_up:
                time.sleep(0.01)

        @pytest.mark.parametrize("number", range(2))
        def test_one(alchemy_stage, alchemy_scope, number):
            alchemy_stage.create(File("stage"))
            alchemy_scope.create(File("db"))
            Path(f"made-{number}").touch()
            wait_for(["made-0", "made-1"])
            if number == 1:
                os.killpg(0, signal.SIGINT)
            time.sleep(30)
        """
    )

    process = pytester.popen(
        [sys.executable, "-m", "pytest", "-palchemy", "-pxdist", "-pno:cacheprovider", "-n2"],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    output = process.communicate(timeout=90)[0].decode()

    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert world.left == []
    assert "4 created, 4 destroyed, 0 leaked" in output


@pytest.mark.parametrize(
    ("left", "code"),
    [
        ("Slow", pytest.ExitCode.INTERRUPTED),
        ("Broken", pytest.ExitCode.TESTS_FAILED),
        ("File", pytest.ExitCode.OK),
    ],
)
def test_a_run_that_leaves_anything_never_ends_with_exit_code_0(
    pytester: pytest.Pytester, world: World, left: str, code: pytest.ExitCode
) -> None:
    pytester.makeconftest(
        """
        import sys
        import time
        from kinds import File

        class Slow(File):
            def destroy(self):
                if "pytest" in sys.modules:
                    time.sleep(600)  # longer than an interrupted run has
                super().destroy()

        class Broken(File):
            def destroy(self):
                raise PermissionError
        """
    )
    pytester.makepyfile(
        f"""
        import pytest
        import pytest_alchemy.plugin.session
        from conftest import Broken, File, Slow

        if "{left}" == "Slow":
            pytest_alchemy.plugin.session.HASTE = 0.2

        def test_one(alchemy_module):
            alchemy_module.create({left}("it"))

        def test_two():
            if "{left}" != "Broken":
                pytest.exit("enough", returncode=0)
        """
    )

    result = world.run_apart("--alchemy-leaks=fail")

    assert result.ret == code


@pytest.mark.parametrize("end", ["clean", "killed", "kept"])
def test_tests_with_credentials_of_their_own_share_the_stage_of_a_run(
    pytester: pytest.Pytester, world: World, end: str
) -> None:
    pytester.makepyfile(
        f"""
        import os, signal, time
        import pytest
        from kinds import File

        @pytest.mark.alchemy(keep="{"always" if end == "kept" else "never"}")
        def test_default(alchemy_scope, alchemy_module):
            alchemy_module.create(File("shared"))
            alchemy_scope.create(File("default"))

        @pytest.mark.alchemy(profile="other")
        def test_other(alchemy_scope):
            alchemy_scope.create(File("other"))
            assert alchemy_scope.stage.startswith("test-main-")
            if {end == "killed"}:
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )

    result = world.run_apart()

    if end == "killed":
        give_up = clock.monotonic() + 60
        while world.state.exists():
            assert clock.monotonic() < give_up, "what is left is not destroyed"
            clock.pause(0.05)
    else:
        result.assert_outcomes(passed=2)
    assert {"create other", "destroy other", "destroy shared"} <= set(world.log)
    assert world.left == (["default"] if end == "kept" else [])
    assert world.state.exists() == (end == "kept")


def test_a_folder_that_became_read_only_ends_no_run(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        read_only="""
        from pytest_alchemy.state.disk import disk

        def refuse(path):
            raise OSError(30, "Read-only file system", path)

        def pytest_runtest_logfinish():
            disk.unlink = disk.rmdir = refuse
        """,
        test_one="""
        from kinds import File

        def test_one(alchemy_module):
            alchemy_module.create(File("it"))
        """,
    )

    result = world.run_apart(plugins="read_only")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 created, 1 destroyed, 0 leaked in shop/test-*"])
    assert world.state.exists()
    world.run_apart()
    assert not world.state.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_that_raises_destroys_nothing_of_its_parent(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest
        from alchemy_world import files
        from kinds import AsyncFile, File

        def fork():
            if (child := os.fork()) == 0:
                raise RuntimeError("in the child")
            os.waitpid(child, 0)

        def test_sync(alchemy_app, alchemy_stage, alchemy_module, alchemy_scope):
            for scope in (alchemy_app, alchemy_stage, alchemy_module, alchemy_scope):
                scope.create(File(f"file{len(files())}"))
            fork()
            assert len(files()) == 4

        @pytest.mark.asyncio
        async def test_async(alchemy_scope):
            await AsyncFile("async")
            fork()
            assert "async" in files()
        """,
        alchemy_world="""
        from kinds import WORLD

        def files():
            return [file.read_text() for file in WORLD.iterdir()]
        """,
    )

    result = world.run_apart("-p", "pytest_asyncio.plugin")

    assert result.ret == 0
    assert world.left == []
    assert not world.state.exists()
    result.stdout.fnmatch_lines(["5 created, 5 destroyed, 0 leaked in shop/test-*"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_makes_nothing_in_its_parents_stage_but_what_ends_with_it(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest
        from kinds import File, Note, log

        def fork(scope):
            if (child := os.fork()) == 0:
                scope.create(Note("in the child"))
                try:
                    scope.create(File("child's"))
                except BaseException as error:
                    log(str(error).replace("\\n", " ").partition(" could not be written: ")[2])
                finally:
                    os._exit(0)
            os.waitpid(child, 0)

        def test_one(alchemy_scope):
            fork(alchemy_scope)
            alchemy_scope.create(File("parent's"))
            fork(alchemy_scope)
        """
    )

    result = world.run_apart()

    result.assert_outcomes(passed=1)
    refused = [
        "create in the child",
        "this process is a fork of the one that owns it. What was to be recorded is not: "
        "make it in that process, and pass it on to the fork.",
    ]
    assert world.log == [*refused, "create parent's", *refused, "destroy parent's"]
    assert world.left == []
    assert not world.state.exists()


FORKED = """
import os
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    "Run each test in a child of its own, as pytest-forked does."
    if (child := os.fork()) == 0:
        reports = runtestprotocol(item, log=False, nextitem=None)
        os._exit(sum(report.failed for report in reports))
    _, status = os.waitpid(child, 0)
    assert status == 0, "it failed in its child"
    return True
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_tests_that_run_in_forked_children_end_their_scopes_there(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(FORKED)
    pytester.makepyfile(
        """
        import os
        import pytest
        from kinds import File, log

        class Mine(File):
            maker: int

            def destroy(self):
                super().destroy()
                log("by", "itself" if os.getpid() == self.maker else "another")

        @pytest.mark.parametrize("number", range(3))
        def test_one(alchemy_scope, number):
            alchemy_scope.create(Mine(f"file{number}", maker=os.getpid()))
        """
    )

    result = world.run_apart()

    assert result.ret == 0
    assert world.log.count("by itself") == 3
    assert world.left == []


def test_a_destroy_that_raises_an_exit_is_a_leak_and_the_rest_goes(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import sys
        import pytest
        from kinds import File

        class Exits(File, kind="exits"):
            def destroy(self):
                sys.exit(3)

        def make(scope, strategy):
            for kind, id in ((File, "a"), (Exits, "exits"), (File, "b")):
                scope.create(kind(f"{id}-{strategy}"))

        def test_one_by_one(alchemy_scope):
            make(alchemy_scope, "sequential")

        @pytest.mark.alchemy(destroy="parallel")
        def test_at_once(alchemy_scope):
            make(alchemy_scope, "parallel")
        """
    )

    result = world.run_apart("--alchemy-leaks=fail")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert world.left == ["exits-parallel", "exits-sequential"]
    result.stdout.fnmatch_lines(
        [
            "6 created, 4 destroyed, 2 LEAKED *",
            "LEAKED Exits exits-sequential *",
            "*SystemExit: 3",
            "*2 passed, 2 leaked in *",
        ]
    )


@pytest.mark.parametrize("strategy", ["sequential", "parallel"])
def test_a_verdict_in_a_destroy_is_a_leak_and_that_of_a_failure_the_test_s_as_well(
    pytester: pytest.Pytester, world: World, strategy: str
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile, File

        class Fails(File, kind="fails"):
            def destroy(self):
                pytest.fail("no server")

        class Skips(AsyncFile, kind="skips"):
            async def destroy(self):
                pytest.skip("no server")

        def make(scope, kind):
            for number, each in enumerate((File, kind, File)):
                scope.create(each(f"{kind.__name__}-{number}"))

        def test_fails(alchemy_scope):
            make(alchemy_scope, Fails)

        def test_skips(alchemy_scope):
            make(alchemy_scope, Skips)

        @pytest.mark.asyncio
        async def test_fails_in_a_loop(alchemy_scope):
            for kind in (File, Fails, File):
                await kind("loop-" + kind.__name__)

        def test_for_all(alchemy_module):
            make(alchemy_module, Fails)

        def test_at_the_end(alchemy_app):
            make(alchemy_app, Fails)
        """
    )

    result = world.run_apart(f"--alchemy-destroy={strategy}", plugins="pytest_asyncio.plugin")

    result.assert_outcomes(passed=5, errors=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert world.left == ["Fails-1", "Fails-1", "Fails-1", "Skips-1", "loop-Fails"]
    result.stdout.fnmatch_lines(
        [
            "14 created, 9 destroyed, 5 LEAKED *",
            "LEAKED Fails Fails-1 *",
            "*Failed: no server",
            "LEAKED Skips Skips-1 *",
            "*Skipped: no server",
            "ERROR *::test_fails*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_timeout_of_the_test_cuts_off_what_hangs_and_the_rest_goes(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest("import pytest_alchemy.teardown as t; t.HOOK_LIMIT = 0.5")
    pytester.makepyfile(
        """
        import threading
        import pytest
        from kinds import File

        class Hangs(File, kind="hangs"):
            def destroy(self):
                threading.Event().wait(50)

        @pytest.mark.timeout(1, method="signal")
        def test_one(alchemy_scope):
            for kind in (File, Hangs, File, Hangs, File):
                alchemy_scope.create(kind(f"{kind.__name__}-{len(alchemy_scope.resources)}"))
        """
    )

    result = world.run_apart(plugins="timeout")

    result.assert_outcomes(passed=1, errors=1)
    assert world.left == ["Hangs-1", "Hangs-3"]
    result.stdout.fnmatch_lines(
        [
            "5 created, 3 destroyed, 2 LEAKED *",
            "LEAKED Hangs Hangs-3 *",
            "*Failed: Timeout (>1.0s) from pytest-timeout.",
            "LEAKED Hangs Hangs-1 *",
            "*TimeoutError: it took too long and was cut off after 0.5 s",
            "ERROR *::test_one*",
        ]
    )
