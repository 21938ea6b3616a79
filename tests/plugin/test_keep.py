"""Keeping what a test made: it stays, it is told, and it is recorded for how long."""

from __future__ import annotations

import re
import time

import pytest

from pytest_alchemy.records import Kept
from pytest_alchemy.state.journal import read_journal
from pytest_alchemy.state.keys import user_key
from tests.support.world import World, section

TESTS = """
import pytest
from kinds import AsyncFile, File, Note

@pytest.fixture
def database(alchemy_scope):
    return alchemy_scope.create(File("database"))

@pytest.fixture
def broken(alchemy_scope):
    alchemy_scope.create(File("broken"))
    raise RuntimeError("in set-up")

def test_passes(database):
    pass

def test_fails(database):
    assert 0

def test_breaks(broken):
    pass

@pytest.mark.asyncio
async def test_async(alchemy_scope):
    await AsyncFile("async")
    assert 0

@pytest.mark.alchemy(keep="never")
def test_marked(database):
    assert 0
"""


def test_what_failed_tests_made_stays(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(test_keep=TESTS)

    result = world.run(
        "--alchemy-keep=failed", "--alchemy-leaks=fail", plugins="pytest_asyncio.plugin"
    )

    result.assert_outcomes(passed=1, failed=3, errors=1)
    assert world.left == ["async", "broken", "database"]
    lines = section(result)
    assert lines[0] == "5 created, 2 destroyed, 3 kept, 0 leaked in shop/test-*"
    assert [line for line in lines if line.startswith("KEPT")] == [
        "KEPT File database (*) in shop/test-main-*/test_keep.py::test_fails",
        "KEPT File broken (*) in shop/test-main-*/test_keep.py::test_breaks",
        "KEPT AsyncFile async (*) in shop/test-main-*/test_keep.py::test_async",
    ]
    assert lines.count("       keep='failed'") == 3
    [until] = [line for line in lines if "Clean up" in line]
    assert re.fullmatch(
        r" {7}It is kept until \d{4}-\d\d-\d\d \d\d:\d\d UTC\. Clean up after that: alchemy sweep --yes",
        until,
    )
    assert len(_kept(world)) == 3
    tomorrow = pytest.approx(time.time() + 24 * 3600, abs=600)
    assert [kept.expires for kept in _kept(world)] == [tomorrow] * 3


def test_what_failed_attempts_of_a_test_made_stays_also_if_it_passes_in_the_end(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        runs = []

        @pytest.mark.flaky(reruns=2)
        def test_flaky(alchemy_scope):
            runs.append(alchemy_scope.create(File(f"attempt {len(runs) + 1}")))
            assert len(runs) == 3
        """
    )

    result = world.run("--alchemy-keep=failed", plugins="rerunfailures")

    result.stdout.fnmatch_lines(["*1 passed, 2 rerun, 2 kept*"])
    assert world.left == ["attempt 1", "attempt 2"]


def test_everything_stays_if_that_was_asked_for(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(TESTS)

    result = world.run("-o", "alchemy_keep=always", plugins="pytest_asyncio.plugin")

    result.stdout.fnmatch_lines(["=* 3 failed, 1 passed, * 4 kept*"])
    assert world.left == ["async", "broken", "database", "database"]


def test_keeping_does_not_turn_a_green_run_red(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        from kinds import File, Note

        def test_one(alchemy_scope, alchemy_module):
            alchemy_scope.create(Note("memory"))
            alchemy_scope.create(File("db"))

        def test_two(alchemy_scope):
            pass
        """
    )

    result = world.run("--alchemy-keep=always", "--alchemy-leaks=fail")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["=* 2 passed, 2 kept in *"])
    assert (
        "       It is in memory and ends with this process: --alchemy-fake-account FILE"
        in section(result)
    )
    assert len(_kept(world)) == 1


def test_what_something_kept_needs_stays_as_well(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        test_needs="""
        from kinds import File, log
        from pytest_alchemy.resource import Resource

        class Table(Resource):
            of: File

            def create(self):
                log("create", self.id)

            def destroy(self):
                log("destroy", self.id)

        def test_one(alchemy_app, alchemy_stage, alchemy_module, alchemy_scope):
            alchemy_module.create(File("unneeded"))
            server = alchemy_app.create(File("server"))
            database = alchemy_stage.create(File("database"))
            alchemy_scope.create(Table("first", of=server))
            alchemy_scope.create(Table("second", of=database))
            assert 0
        """
    )

    result = world.run("--alchemy-keep=failed", "--alchemy-leaks=fail")

    assert world.left == ["database", "server"]
    lines = section(result)
    assert lines[0] == "5 created, 1 destroyed, 4 kept, 0 leaked in shop/test-*"
    assert "       still needed by Table 'first'" in lines
    assert "       still needed by Table 'second'" in lines
    assert len(_kept(world)) == 3


def test_what_something_kept_needs_of_the_whole_run_stays_as_well(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_needs="""
        import pytest
        from kinds import File

        class Table(File):
            of: File

        @pytest.mark.parametrize("number", range(4))
        def test_one(alchemy_app, alchemy_scope, number):
            server = alchemy_app.create(File("server"))
            alchemy_scope.create(Table("table", of=server))
            assert number
        """,
        test_next="""
        from kinds import File

        def test_next(alchemy_scope):
            alchemy_scope.create(File("next"))
        """,
    )

    options = ("-n2", "--alchemy-keep=failed", "test_needs.py")
    result = world.run_apart(*options, plugins="xdist")
    world.run_apart("test_next.py").assert_outcomes(passed=1)

    assert world.left == ["server", "table"]
    lines = section(result)
    assert lines[0] == "5 created, 3 destroyed, 2 kept, 0 leaked in shop/test-*"
    assert "KEPT File server (*) in shop/test-run-*" in lines
    assert "       something that is kept needs it" in lines


def test_a_part_of_the_whole_runs_that_something_kept_needs_stays_as_well(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from kinds import File
        from pytest_alchemy import Resource, output

        class Server(Resource):
            disk: File = output()

            def create(self):
                self.disk = self.scope.create(File("disk"))

            def destroy(self): ...

        class Table(File):
            disk: File

        @pytest.mark.alchemy(keep="always")
        def test_kept(alchemy_scope, alchemy_app):
            server = alchemy_app.create(Server("server"))
            alchemy_scope.create(Table("kept", disk=server.disk))
        """
    )

    world.run_apart("-n1", plugins="xdist")

    assert world.left == ["disk", "kept"]


def test_keeping_works_in_every_worker(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        @pytest.mark.parametrize("number", range(4))
        def test_one(alchemy_scope, number):
            alchemy_scope.create(File("db"))
            assert number
        """
    )

    result = world.run_apart("-n2", "--alchemy-keep=failed", plugins="xdist")

    result.stdout.fnmatch_lines(["=* 1 failed, 3 passed, 1 kept in *"])
    assert world.left == ["db"]
    assert "       keep='failed'" in section(result)


def test_what_is_kept_in_the_account_of_the_run_is_told_to_end_with_it(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pytest_alchemy.cloudflare import D1Database

        def test_shared(alchemy_app):
            alchemy_app.create(D1Database("shared"))

        @pytest.mark.alchemy(keep="always")
        def test_kept(alchemy_scope):
            alchemy_scope.create(D1Database("kept"))
        """
    )
    ends = (
        "       It is in the fake account of this run and ends with it: --alchemy-fake-account FILE"
    )

    result = world.run_apart("-n1", plugins="xdist")
    lasting = world.run_apart("-n1", "--alchemy-fake-account=account.db", plugins="xdist")

    assert ends in section(result)
    result.stdout.fnmatch_lines(["=* 2 passed, 1 kept in *"])
    assert ends not in section(lasting)
    lasting.stdout.fnmatch_lines(["*It is kept until *", "=* 2 passed, 1 kept in *"])


def test_what_cannot_be_recorded_as_kept_is_told_to_go_with_the_next_run(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        full="""
        from pytest_alchemy.state.disk import disk

        write = disk.write

        def refuse(fd, data):
            if b'"op":"kept"' in data:
                raise OSError(28, "No space left on device")
            return write(fd, data)

        disk.write = refuse
        """,
        test_one="""
        from kinds import File

        def test_one(alchemy_scope):
            alchemy_scope.create(File("it"))
        """,
    )

    result = world.run_apart("--alchemy-keep=always", plugins="full")

    result.assert_outcomes(passed=1)
    assert world.left == ["it"]
    assert section(result)[-1] == (
        "       That could not be recorded, so the next run destroys it: no space left on device."
    )
    pytester.makepyfile(test_one="def test_two(alchemy_scope): ...")
    world.run_apart()
    assert world.left == []


def _kept(world: World) -> list[Kept]:
    journals = world.state.glob("*/*/.journal/*.jsonl")
    records = [record for path in journals for record in read_journal(path, user_key()).records]
    return [record for record in records if isinstance(record, Kept)]


@pytest.mark.parametrize(("days", "left"), [(0, ["it"]), (2, [])])
def test_the_next_run_collects_what_was_kept_when_its_time_is_over(
    pytester: pytest.Pytester,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    left: list[str],
) -> None:
    monkeypatch.setenv("SERVER", "postgresql://ada:xyzzy@db.example.org/shop")
    pytester.makepyfile(
        ago=f"""
        from pytest_alchemy import clock

        now = clock.now
        clock.now = lambda: now() - {days} * 86400
        """,
        test_fails="""
        from kinds import File
        from pytest_alchemy import Env, alchemy

        class Database(File):
            server: Env

        def test_fails(alchemy_scope):
            alchemy_scope.create(Database("it", server=alchemy.env("SERVER")))
            assert 0
        """,
        test_next="""
        from kinds import File

        def test_next(alchemy_scope):
            alchemy_scope.create(File("next"))
        """,
    )

    first = world.run_apart("-p", "ago", "--alchemy-keep=failed", "-vv", "test_fails.py")
    kept = world.left
    second = world.run_apart("test_next.py")

    assert kept == ["it"]
    assert "xyzzy" not in first.stdout.str()
    assert second.ret == 0
    assert world.left == left
    assert world.state.exists() == bool(left)
    assert any(line.startswith("REAPED Database it") for line in section(second)) != bool(left)
