"""What all workers of a run share: made once, known to all, destroyed after the last."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.support.world import World, section

PARTS = """
import os, pathlib, time
from pytest_alchemy.resource import Resource, output
from kinds import File, HERE, WORLD, log

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

def both(name):
    "Return when tests on both workers have come here."
    (HERE / f"{name}-{WORKER}").touch()
    give_up = time.monotonic() + 30
    while len(list(HERE.glob(f"{name}-gw*"))) < 2:
        assert time.monotonic() < give_up, "the other worker did not come"
        time.sleep(0.01)

class Server(Resource):
    size: int = 1
    made_by: str = output()
    disk: File = output()
    def create(self):
        self.disk = self.scope.create(File("disk"))
        (WORLD / self.name).write_text("server")
        self.made_by = WORKER
        log("made server")
    def read(self):
        self.made_by = "found"
        return (WORLD / self.name).exists()
    def destroy(self):
        (WORLD / self.name).unlink(missing_ok=True)
        log("destroyed server")
"""


@pytest.fixture
def parts(pytester: pytest.Pytester, world: World) -> World:
    pytester.makepyfile(parts=PARTS)
    return world


def test_it_is_made_once_known_to_all_and_destroyed_after_the_last_worker(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from parts import HERE, WORLD, Server, both, log

        def test_one(alchemy_app):
            both("start")
            server = alchemy_app.create(Server("main"))
            assert alchemy_app.create(Server("main")) is server
            assert (WORLD / server.name).exists() and (WORLD / server.disk.name).read_text() == "disk"
            log("knows", server.name, server.made_by, server.disk.path)
            both("end")

        @pytest.mark.asyncio
        async def test_two(alchemy_app):
            server = await alchemy_app.acreate(Server("main"))
            log("knows", server.name, server.made_by, server.disk.path)
        """
    )

    # Both workers run every test.
    result = parts.run_apart("-n2", "--dist=each", plugins="xdist asyncio")

    assert result.ret == 0
    counts = Counter(parts.log)
    assert counts["made server"] == counts["destroyed server"] == 1
    assert [count for line, count in counts.items() if line.startswith("knows ")] == [4]
    assert parts.log[-2:] == ["destroyed server", "destroy disk"]
    assert parts.left == []
    assert not parts.state.exists()
    assert section(result) == ["2 created, 2 destroyed, 0 leaked in shop/test-*"]


@pytest.mark.parametrize(
    ("second", "what"), [("size=9", "size"), ('size=1, profile="other"', "profile")]
)
def test_two_tests_that_want_it_differently_are_both_named(
    pytester: pytest.Pytester, parts: World, second: str, what: str
) -> None:
    pytester.makepyfile(
        test_app=f"""
        from parts import Server, both

        def test_small(alchemy_app):
            alchemy_app.create(Server("main", size=1))
            both("made")

        def test_large(alchemy_app):
            both("made")
            alchemy_app.create(Server("main", {second}))
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"E*ChangedWithinRunError: Server 'main' is declared twice in one scope with different {what}:",
            "E*first at *test_app.py:4 (test_app.py::test_small), then at *test_app.py:9 (test_app.py::test_large).",
        ]
    )
    assert parts.left == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_its_first_creator_died_over_is_resolved_by_the_next(
    pytester: pytest.Pytester, parts: World, when: str
) -> None:
    pytester.makepyfile(
        test_app=f"""
        import os, signal
        from parts import HERE, WORLD, File, Server, WORKER, log

        class Deadly(Server, kind="deadly", create_timeout=1.0):
            def create(self):
                first = not (HERE / "died").exists()
                (HERE / "died").touch()
                if first and "{when}" == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                super().create()
                if first:
                    os.kill(os.getpid(), signal.SIGKILL)

        def test_one(alchemy_app):
            server = alchemy_app.create(Deadly("main"))
            assert (WORLD / server.name).exists()

        def test_two(alchemy_app):
            server = alchemy_app.create(Deadly("main"))
            assert (WORLD / server.name).exists()
            log("has it,", "found" if server.made_by == "found" else "made")
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=1, failed=1)
    assert parts.left == []
    assert not parts.state.exists()


@pytest.mark.parametrize("base", ["Server", "Blind"])
def test_what_its_first_creator_left_half_made_goes_with_all_its_parts_before_it_is_made_anew(
    pytester: pytest.Pytester, parts: World, base: str
) -> None:
    pytester.makepyfile(
        test_app=f"""
        import os, signal
        from kinds import File
        from parts import HERE, WORLD, Server, log
        from pytest_alchemy import Resource, output

        class Strict(File):
            def create(self):
                assert not (WORLD / self.name).exists(), f"{{self.id}} is there already"
                super().create()

        class Blind(Resource):
            create = Server.create
            destroy = Server.destroy

        class Deadly({base}, kind="deadly", create_timeout=1.0):
            disk: Strict = output()
            user: Strict = output()

            def create(self):
                self.disk = self.scope.create(Strict("disk"))
                (WORLD / self.name).write_text("server")
                if not (HERE / "died").exists():
                    (HERE / "died").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                self.user = self.scope.create(Strict("user"))
                log("made server")

        def test_one(alchemy_app):
            server = alchemy_app.create(Deadly("main"))
            assert (WORLD / server.user.name).exists()
            assert (WORLD / server.disk.name).exists()

        test_two = test_one
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=1, failed=1)
    made = ["create disk", "create user", "made server"]
    assert parts.log[:6] == ["create disk", "destroyed server", "destroy disk", *made]
    assert parts.left == []
    assert not parts.state.exists()


def test_what_creates_that_failed_in_several_workers_left_goes_before_it_is_made_anew(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from kinds import File
        from parts import HERE, WORLD, Server, both, log

        class Strict(File):
            def create(self):
                assert not (WORLD / self.name).exists(), f"{self.id} is there already"
                super().create()

        class Fails(Server, kind="fails"):
            def create(self):
                self.disk = self.scope.create(Strict("disk"))
                for attempt in ("first", "second"):
                    if not (HERE / attempt).exists():
                        (HERE / attempt).touch()
                        raise RuntimeError(f"the {attempt} time")
                self.made_by = "the third"

        @pytest.mark.parametrize("number", range(2))
        def test_one(alchemy_app, number):
            for attempt in range(3):
                if attempt % 2 == number:
                    if attempt < 2:
                        with pytest.raises(RuntimeError, match="time"):
                            alchemy_app.create(Fails("main"))
                    else:
                        assert alchemy_app.create(Fails("main")).made_by == "the third"
                both(f"attempt {attempt}")
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=2)
    assert parts.left == []
    assert not parts.state.exists()


def test_what_a_create_that_failed_made_goes_before_it_is_created_again(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from parts import HERE, File

        class Lost(File):
            def create(self):
                super().create()
                if not (HERE / "lost").exists():
                    (HERE / "lost").touch()
                    raise TimeoutError("no answer")

        def test_one(alchemy_app):
            with pytest.raises(TimeoutError):
                alchemy_app.create(Lost("main"))

        def test_two(alchemy_app):
            assert alchemy_app.create(Lost("main")) is alchemy_app.create(Lost("main"))
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    result.assert_outcomes(passed=2)
    assert parts.log == ["create main", "destroy main"] * 2
    assert parts.left == []
    assert not parts.state.exists()


def test_what_one_worker_made_stays_while_what_another_made_needs_it(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        from parts import File, both

        class Table(File):
            database: File

        def test_one(alchemy_app):
            alchemy_app.create(File("database"))
            both("made")
            both("used")

        def test_two(alchemy_app):
            alchemy_app.create(File("other"))  # its number is that of the database in the other worker
            both("made")
            database = alchemy_app.create(File("database"))
            alchemy_app.create(Table("stuck", broken=True, database=database))
            both("used")
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=2)
    assert parts.left == ["database", "stuck"]
    assert [line.strip() for line in section(result)][::3] == [
        "3 created, 1 destroyed, 2 LEAKED in shop/test-*",
        "RuntimeError: the disk is on fire (tried 3 times)",
        "still needed by Table 'stuck'",
    ]


def test_nothing_is_left_of_a_pause_that_all_workers_kept(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_busy="""
        from parts import HERE, File

        class Busy(File):
            def destroy(self):
                if not (HERE / "refused").exists():
                    (HERE / "refused").touch()
                    error = RuntimeError("too many")
                    error.status, error.retry_after = 429, 0.1
                    raise error
                super().destroy()

        def test_one(alchemy_scope):
            alchemy_scope.create(Busy("one"))
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    assert section(result) == ["1 created, 1 destroyed, 0 leaked (1 retry: 1x 429) in shop/test-*"]
    assert parts.left == []
    assert not parts.state.exists()


def test_what_it_makes_inside_itself_is_made_once_as_well(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from parts import File, Server, both

        class Busy(Server):
            def create(self):
                self.scope.remove(self.scope.create(File("draft")))
                super().create()

            def user(self, name):
                return self.scope.create(File(name))

        @pytest.mark.parametrize("number", range(2))
        def test_one(alchemy_app, number):
            both("here")
            server = alchemy_app.create(Busy("main"))
            server.user("ada")
            both("made")
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=2)
    made = ["draft", "destroy draft", "disk", "server", "ada"]
    assert [line.removeprefix("create ").removeprefix("made ") for line in parts.log[:5]] == made
    assert sorted(parts.log[5:]) == ["destroy ada", "destroy disk", "destroyed server"]
    assert parts.left == []


def test_what_one_worker_made_inside_it_is_not_for_another_to_remove(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from parts import File, Server, WORKER, both
        from pytest_alchemy.errors import SharedRemoveError

        @pytest.mark.parametrize("number", range(2))
        def test_one(alchemy_app, number):
            both("here")
            server = alchemy_app.create(Server("main"))
            disk = server.scope.create(File("disk"))
            if server.made_by != WORKER:
                with pytest.raises(SharedRemoveError, match="'disk' belongs to shop/test-run-"):
                    server.scope.remove(disk)
            both("done")
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=2)
    assert parts.left == []


def test_what_only_the_worker_itself_could_call_is_not_deferred_in_it(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from parts import log
        from pytest_alchemy.errors import NotInOtherProcessError

        def test_one(alchemy_app):
            alchemy_app.defer(log, "called")
            with pytest.raises(NotInOtherProcessError) as refused:
                alchemy_app.defer(lambda: log("lost"))
            log(refused.value.scope.partition("-run-")[0])
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    result.assert_outcomes(passed=1)
    assert parts.log == ["shop/test", "called"]
    assert not parts.state.exists()


def test_one_of_the_workers_may_not_remove_it(pytester: pytest.Pytester, parts: World) -> None:
    pytester.makepyfile(
        test_app="""
        from parts import Server

        def test_one(alchemy_app):
            alchemy_app.remove(alchemy_app.create(Server("main")))
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*SharedRemoveError: Server 'main' belongs to shop/test-run-*"])
    assert parts.left == []


def test_what_nobody_can_destroy_any_more_because_its_record_was_deleted_is_a_leak(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_app="""
        import shutil
        from parts import HERE, File

        def test_one(alchemy_app):
            alchemy_app.create(File("lost"))
            shutil.rmtree(HERE / ".alchemy")
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    assert parts.left == ["lost"]
    head, thing, _, reason = section(result)
    assert head == "1 created, 0 destroyed, 1 LEAKED in shop/test-*"
    assert thing == "LEAKED File lost (*) in shop/test-run-*"
    assert reason == "       its record was deleted while in use"


def test_all_workers_see_one_account(pytester: pytest.Pytester, parts: World) -> None:
    pytester.makepyfile(
        test_app="""
        import pytest
        from parts import WORKER, both
        from pytest_alchemy.cloudflare import D1Database, KVNamespace

        @pytest.mark.parametrize("number", range(2))
        def test_one(alchemy_app, alchemy_scope, fake_cloudflare, number):
            db = alchemy_app.create(D1Database("orders"))
            db.exec("CREATE TABLE IF NOT EXISTS seen (worker TEXT)")
            own = alchemy_scope.create(KVNamespace("cache"))
            db.query("INSERT INTO seen VALUES (?)", WORKER)
            both("told")
            assert db.query("SELECT count(DISTINCT worker) AS n FROM seen").rows == [{"n": 2}]
            assert {db.name, own.name} <= {item.name for item in fake_cloudflare.inventory()}
            both("looked")
        """
    )

    result = parts.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=2)
    assert not parts.state.exists()
    assert section(result) == ["3 created, 3 destroyed, 0 leaked in shop/test-*"]


def test_a_worker_sees_one_account_also_where_no_test_names_the_scope_of_the_run(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(  # as steps of pytest-bdd and lazy fixtures do
        """
        from pytest_alchemy.cloudflare import D1Database, Worker

        def test_one(request):
            app, scope = map(request.getfixturevalue, ("alchemy_app", "alchemy_scope"))
            orders = app.create(D1Database("orders"))
            own = scope.create(D1Database("own"))
            scope.create(Worker("api", script="export default {}", bindings={"A": orders, "B": own}))
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    result.assert_outcomes(passed=1)
    assert section(result) == ["3 created, 3 destroyed, 0 leaked in shop/test-*"]


def test_what_hung_is_tried_no_second_time_and_keeps_nothing_else_from_being_destroyed(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makepyfile(
        test_hung="""
        import time
        import pytest
        from parts import File, log

        class Hung(File):
            def destroy(self):
                log("hangs")
                time.sleep(600)

        def test_shared(alchemy_app):
            alchemy_app.create(File("shared"))

        @pytest.mark.alchemy(teardown_timeout=0.5)
        def test_hung(alchemy_scope):
            alchemy_scope.create(Hung("stuck"))
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    told = section(result)
    assert told[0] == "2 created, 1 destroyed, 1 LEAKED in shop/test-*"
    assert re.fullmatch(
        r" +TimeoutError: it took too long and was cut off after 0\.\d+ s \(teardown_timeout 0\.5 s\)",
        told[3],
    )
    assert Counter(parts.log)["hangs"] == 1
    assert parts.left == ["stuck"]


def test_what_hangs_of_what_all_share_is_cut_off_told_and_keeps_nothing_else_from_going(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makeconftest(
        """
        import sys
        from pytest_alchemy import teardown
        from pytest_alchemy.plugin import controller

        controller.PATIENCE = 0.1  # shorter than what hangs may take
        teardown.HOOK_LIMIT = 1.0
        """
    )
    pytester.makepyfile(
        test_hung="""
        import conftest
        import time
        from parts import File, log

        class Hung(File):
            def destroy(self):
                log("hangs")
                time.sleep(600)

        def test_shared(alchemy_app):
            alchemy_app.create(File("shared"))
            alchemy_app.create(Hung("stuck"))
        """
    )

    result = parts.run_apart("-n1", "--alchemy-leaks=fail", plugins="xdist")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = section(result)
    assert told[0] == "2 created, 1 destroyed, 1 LEAKED in shop/test-*"
    assert told[1].startswith("LEAKED Hung stuck")
    assert "TimeoutError: it took too long and was cut off after 1 s" in told[3]
    assert Counter(parts.log)["hangs"] == 1
    assert parts.left == ["stuck"]


def test_after_an_interrupt_nobody_waits_for_what_hangs_of_what_all_share(
    pytester: pytest.Pytester, parts: World
) -> None:
    pytester.makeconftest(
        """
        from pytest_alchemy.plugin import controller

        controller.PATIENCE = 0.5
        """
    )
    pytester.makepyfile(
        test_hung="""
        import pytest
        import time
        from parts import File

        class Hung(File):
            def destroy(self):
                time.sleep(600)

        def test_shared(alchemy_app):
            alchemy_app.create(Hung("stuck"))
            raise KeyboardInterrupt
        """
    )

    result = parts.run_apart("-n1", plugins="xdist")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    told = section(result)
    assert told[0] == "1 created, 0 destroyed, 1 unfinished, 0 leaked in shop/test-*"
    assert told[1].startswith("UNFINISHED Hung stuck")
    assert "its destroy takes long and goes on without this run" in told[3]


def test_the_durations_of_what_is_shared_are_told(pytester: pytest.Pytester, parts: World) -> None:
    pytester.makepyfile(
        test_one="""
        from parts import File

        def test_one(alchemy_app, alchemy_scope):
            alchemy_app.create(File("shared"))
            alchemy_scope.create(File("own"))
        """
    )

    told = section(parts.run_apart("-n1", "--alchemy-durations=0", plugins="xdist"))

    assert told[0] == "2 created, 2 destroyed, 0 leaked in shop/test-*"
    assert [line for line in told if line.startswith("slowest")] == [
        "slowest 2 of 2 creates",
        "slowest 2 of 2 destroys",
    ]
    assert sum("s  File shared  test_one.py::test_one" in line for line in told) == 2
