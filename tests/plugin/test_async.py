"""Async tests: each scope is torn down in its test's own loop, whoever runs that loop."""

from __future__ import annotations

import pytest

from tests.support.world import World, section

ASYNCIO = "pytest_asyncio.plugin"

LOOP_SCOPES = """
import asyncio
import pytest
import pytest_asyncio
from kinds import AsyncFile, File, log

@pytest_asyncio.fixture
async def database(alchemy_scope):
    file = await AsyncFile("fixture")
    yield file
    log("database ends")

SCOPES = ["function", "class", "module", "package", "session"]

@pytest.mark.asyncio
async def test_default(database, alchemy_scope):
    assert database is await alchemy_scope.acreate(AsyncFile("fixture"))

@pytest.mark.asyncio(loop_scope="function")
async def test_function(alchemy_scope):
    await AsyncFile("function")

@pytest.mark.asyncio(loop_scope="module")
async def test_module(alchemy_scope):
    await AsyncFile("module")

@pytest.mark.asyncio(loop_scope="package")
async def test_package(alchemy_scope):
    await AsyncFile("package")

@pytest.mark.asyncio(loop_scope="session")
async def test_session(alchemy_scope):
    await AsyncFile("session")

@pytest.mark.asyncio(loop_scope="class")
class TestClass:
    async def test_class(self, alchemy_scope):
        await AsyncFile("class")

    @pytest.mark.parametrize("n", [1, 2])
    async def test_again(self, alchemy_scope, n):
        await AsyncFile(f"again-{n}")

    @staticmethod
    async def test_static(alchemy_scope):
        await AsyncFile("static")
"""
MADE = ["function", "module", "package", "session", "class", "again-1", "again-2", "static"]


def steps(*ids: str) -> list[str]:
    return [line for id in ids for line in (f"create {id}", f"destroy {id} in same loop")]


def test_asyncio_tests_end_in_their_own_loop(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(LOOP_SCOPES)

    result = world.run("-W", "error", plugins=ASYNCIO)

    result.assert_outcomes(passed=9)
    assert world.log == [
        *("create fixture", "database ends", "destroy fixture in same loop"),
        *steps(*MADE),
    ]
    assert world.left == []
    assert not world.state.exists()


def test_auto_mode_and_a_default_loop_scope_change_nothing(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(LOOP_SCOPES.replace("@pytest.mark.asyncio\n", ""))

    result = world.run(
        "-W", "error", "-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=module",
        "-o", "asyncio_default_fixture_loop_scope=module", plugins=ASYNCIO,
    )  # fmt: skip

    result.assert_outcomes(passed=9)
    assert world.log == [
        *("create fixture", "database ends", "destroy fixture in same loop"),
        *steps(*MADE),
    ]


@pytest.mark.parametrize("mode", ["no", "strict", "auto"])
def test_anyio_tests_end_in_their_own_loop(
    pytester: pytest.Pytester, world: World, mode: str
) -> None:
    pytester.makepyfile(
        """
        import anyio
        import pytest
        from kinds import AsyncFile, File, log

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def earlier(anyio_backend):
            yield

        @pytest.fixture
        def database(alchemy_scope):
            return alchemy_scope.create(File("fixture"))

        @pytest.mark.anyio
        async def test_one(alchemy_scope):
            await AsyncFile("one")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(alchemy_scope.acreate, AsyncFile("task"))

        @pytest.mark.anyio
        class TestClass:
            async def test_two(self, earlier, database, alchemy_scope):
                await AsyncFile("two")
        """
    )
    plugins = "anyio" if mode == "no" else f"anyio {ASYNCIO}"
    options = [] if mode == "no" else ["-o", f"asyncio_mode={mode}"]

    result = world.run(*options, plugins=plugins)

    result.assert_outcomes(passed=2)
    assert world.log == [
        *("create one", "create task", "destroy task in same loop", "destroy one in same loop"),
        *("create fixture", "create two", "destroy two in same loop", "destroy fixture"),
    ]
    assert world.left == []


def test_another_event_loop_than_asyncio_is_refused(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(
        """
        import inspect
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "another"

        @pytest.hookimpl(tryfirst=True)
        def pytest_fixture_setup(fixturedef, request):
            if inspect.isasyncgenfunction(fixturedef.func):  # a runner of another sort
                try:
                    fixturedef.func(request).asend(None).send(None)
                except BaseException as error:
                    fixturedef.cached_result = None, 0, (error, error.__traceback__)
                    raise
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.anyio
        async def test_one(anyio_backend, alchemy_scope):
            pass
        """
    )

    result = world.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E *::test_one does not run on asyncio, and alchemy_scope works on asyncio only.",
            'E *Let the test run there: a fixture anyio_backend that returns "asyncio"',
        ]
    )


def test_a_sync_fixture_makes_things_for_an_async_test(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        import pytest_asyncio
        from kinds import AsyncFile, File, log

        @pytest.fixture
        def plain(alchemy_scope):
            return alchemy_scope.create(File("plain"))

        @pytest.fixture
        def coroutine(request):
            return request.getfixturevalue("alchemy_scope").create(AsyncFile("coroutine"))

        @pytest_asyncio.fixture(loop_scope="module")
        async def elsewhere(alchemy_scope):
            return await AsyncFile("elsewhere")

        @pytest.mark.asyncio
        async def test_one(plain, coroutine, elsewhere, alchemy_scope):
            assert len(alchemy_scope.resources) == 3
            await alchemy_scope.aremove(plain)
            log("test")
        """
    )

    result = world.run(plugins=ASYNCIO)

    result.assert_outcomes(passed=1)
    assert world.log == [
        *("create plain", "create coroutine", "create elsewhere", "destroy plain", "test"),
        # The module's loop does not run between two steps of it, so the client there is of no use.
        "destroy elsewhere in fresh loop",
        # What a sync fixture made lives on a loop of ours, and that still runs.
        "destroy coroutine in same loop",
    ]


def test_what_starts_a_loop_of_its_own_is_destroyed_without_that_of_the_test(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from kinds import AsyncFile, File

        def run_alone(coroutine):
            loop = asyncio.new_event_loop()  # unlike asyncio.run it takes the loop from nobody
            try:
                loop.run_until_complete(coroutine)
            finally:
                coroutine.close()
                loop.close()

        class Blocking(File):
            def create(self):
                run_alone(asyncio.sleep(0))
                super().create()

            def destroy(self):
                run_alone(asyncio.sleep(0))
                super().destroy()

        @pytest.fixture
        def files(alchemy_scope):
            alchemy_scope.create(File("below"))
            alchemy_scope.create(Blocking("blocking"))

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.asyncio
        async def test_asyncio(files):
            await AsyncFile("async")

        @pytest.mark.anyio
        async def test_anyio(files):
            await AsyncFile("async")

        @pytest.mark.asyncio
        async def test_broken(alchemy_scope):
            await File("broken", broken=True)
        """
    )

    result = world.run_apart(plugins=f"anyio {ASYNCIO}")

    result.assert_outcomes(passed=3)
    one = ["create below", "create blocking", "create async", "destroy async in same loop"]
    assert world.log == [*[*one, "destroy below", "destroy blocking"] * 2, "create broken"]
    assert world.left == ["broken"]
    result.stdout.fnmatch_lines(
        ["7 created, 6 destroyed, 1 LEAKED *", "*RuntimeError: the disk is on fire (tried 4 times)"]
    )


def test_an_async_fixture_makes_things_for_a_sync_test(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        import pytest_asyncio
        from kinds import AsyncFile, File, log

        @pytest_asyncio.fixture
        async def database(alchemy_scope):
            yield await AsyncFile("database")
            await alchemy_scope.acreate(AsyncFile("late"))
            log("fixture ends")

        def test_one(database, alchemy_scope):
            alchemy_scope.create(File("plain"))
        """
    )

    result = world.run(plugins=ASYNCIO)

    result.assert_outcomes(passed=1)
    assert world.log == [
        *("create database", "create plain", "create late", "fixture ends"),
        # The fixture's loop is not running any more.
        *("destroy late in fresh loop", "destroy plain", "destroy database in fresh loop"),
    ]


def test_a_task_that_outlives_its_test_makes_nothing_more(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from kinds import AsyncFile, WORLD, log
        from pytest_alchemy.resource import Resource

        class Slow(Resource):
            async def create(self):
                log("create", self.id)
                await asyncio.sleep(0.2)
                (WORLD / self.name).write_text(self.id)

            async def destroy(self):
                (WORLD / self.name).unlink()
                log("destroy", self.id)

        class Stuck(Slow, kind="stuck"):
            async def create(self):
                (WORLD / self.name).write_text(self.id)
                await asyncio.sleep(3600)

        async def make(*resources):
            for resource in resources:
                try:
                    await resource
                except Exception as error:
                    log(type(error).__name__)

        tasks = set()

        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize(
            "first", [Slow, pytest.param(Stuck, marks=pytest.mark.alchemy(teardown_timeout=0.2))]
        )
        async def test_one(alchemy_scope, first):
            tasks.add(asyncio.create_task(make(first("first"), AsyncFile("second"))))
            await asyncio.sleep(0.05)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_later():
            await asyncio.sleep(0.1)
        """
    )

    result = world.run_apart(plugins=ASYNCIO, timeout=20)

    result.assert_outcomes(passed=3)
    assert sorted(world.log) == ["ScopeClosedError", "create first", "destroy first"]
    # Nobody can tell what a create that never ends may still do, so it stays on record.
    lines = section(result)
    assert lines[0] == "1 created, 1 destroyed, 1 LEAKED in shop/test-*"
    assert lines[1].startswith("LEAKED Stuck first")
    assert "TimeoutError" in lines[3]
    assert world.state.exists()


def test_wide_scopes_serve_async_tests(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile, File, log

        pytestmark = pytest.mark.asyncio

        async def test_one(alchemy_module, alchemy_class):
            await alchemy_module.acreate(AsyncFile("module"))
            async with alchemy_class:
                await File("class")

        async def test_two(alchemy_module, alchemy_stage, alchemy_app):
            first = await alchemy_module.acreate(AsyncFile("module"))
            assert [first] == alchemy_module.resources
            await alchemy_stage.acreate(AsyncFile("stage"))
            await alchemy_app.acreate(AsyncFile("app"))
        """
    )

    result = world.run(plugins=ASYNCIO)

    result.assert_outcomes(passed=2)
    assert world.log == [
        *("create module", "create class", "destroy class", "create stage", "create app"),
        # Their loops are over: destroyed from the record.
        *(f"destroy {id} in fresh loop" for id in ("module", "stage", "app")),
    ]
    assert world.left == []


def test_asking_for_the_scope_inside_a_coroutine_is_refused(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        import pytest_asyncio

        @pytest.mark.asyncio
        async def test_asyncio(request):
            request.getfixturevalue("alchemy_scope")

        @pytest.mark.anyio
        async def test_anyio(request):
            request.getfixturevalue("alchemy_scope")

        @pytest_asyncio.fixture
        async def database(request):
            request.getfixturevalue("alchemy_scope")

        @pytest.mark.asyncio
        async def test_fixture(database):
            pass

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )

    result = world.run(plugins=f"anyio {ASYNCIO}")

    result.assert_outcomes(failed=2, errors=1)
    text = result.stdout.str()
    for test in ("test_asyncio", "test_anyio", "test_fixture"):
        assert (
            f"::{test} asked for alchemy_scope with request.getfixturevalue() inside a coroutine.\n"
            "E           Ask for it as an argument of the test: async def test_x(alchemy_scope)\n"
        ) in text


def test_a_body_that_a_timeout_left_running_is_stopped(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from kinds import AsyncFile, log
        from pytest_alchemy.errors import ScopeClosedError

        async def work_for_ever():
            await AsyncFile("first")
            for number in range(10_000):
                await asyncio.sleep(0.02)

        async def will_not_stop():
            try:
                await work_for_ever()
            except asyncio.CancelledError:
                log("cancelled")
                try:
                    await AsyncFile("too late")
                except ScopeClosedError as error:
                    log("refused")
                log("ends")
                raise

        @pytest.mark.timeout(0.5, method="signal", func_only=True)
        @pytest.mark.asyncio
        async def test_asyncio(alchemy_scope):
            await will_not_stop()

        @pytest.mark.timeout(0.5, method="signal", func_only=True)
        @pytest.mark.anyio
        async def test_anyio(alchemy_scope):
            await will_not_stop()

        def test_after():
            log("after")

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )

    result = world.run_apart(plugins=f"anyio {ASYNCIO} timeout")

    result.assert_outcomes(failed=2, passed=1)
    stopped = ["create first", "cancelled", "refused", "ends", "destroy first in same loop"]
    assert world.log == [*stopped, *stopped, "after"]
    assert world.left == []


def test_a_body_that_ignores_its_cancellation_is_not_waited_for_for_ever(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(
        """
        import pytest_alchemy.plugin.testscope as testscope
        testscope.BODY_GRACE = 0.1
        """
    )
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from kinds import AsyncFile, log

        @pytest.mark.timeout(0.5, method="signal", func_only=True)
        @pytest.mark.asyncio
        async def test_one(alchemy_scope):
            await AsyncFile("first")
            while True:
                try:
                    await asyncio.sleep(0.2)  # the signal is to find it here
                except asyncio.CancelledError:
                    log("ignored")
                if not alchemy_scope.resources:
                    return
        """
    )

    result = world.run_apart(plugins=f"{ASYNCIO} timeout")

    result.assert_outcomes(failed=1)
    assert world.log[:3] == ["create first", "ignored", "destroy first in same loop"]
    assert world.left == []


def test_a_broken_loop_does_not_keep_a_scope_from_ending(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from kinds import AsyncFile, File, log

        @pytest.fixture
        def vandal(alchemy_scope):
            loops = []
            yield loops
            loops[0].close()

        @pytest.mark.asyncio
        async def test_stopped(alchemy_scope):
            await AsyncFile("stopped")
            asyncio.get_running_loop().stop()
            await asyncio.sleep(10)

        @pytest.mark.asyncio
        async def test_closed(vandal, alchemy_scope):
            vandal.append(asyncio.get_running_loop())
            await AsyncFile("closed")
            await File("plain")

        @pytest.mark.asyncio
        async def test_next(alchemy_scope):
            await AsyncFile("next")
        """
    )

    result = world.run_apart(plugins=ASYNCIO)

    assert result.parseoutcomes()["failed"] == 1
    assert result.parseoutcomes()["passed"] == 2
    result.stdout.fnmatch_lines(
        [
            "E *RuntimeError: Event loop is closed",
            "E *RuntimeError: Event loop stopped before Future completed.",
        ]
    )
    assert world.log == [
        *steps("stopped"),
        *("create closed", "create plain", "destroy plain", "destroy closed in fresh loop"),
        *steps("next"),
    ]
    assert world.left == []
    assert not world.state.exists()


def test_nothing_of_a_scope_is_kept_when_its_test_is_over(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(
        """
        import gc

        def pytest_sessionfinish():
            from pytest_alchemy.scope import Scope

            gc.collect()
            print("scopes:", sum(isinstance(each, Scope) for each in gc.get_objects()))
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile, File

        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", range(3))
        async def test_async(alchemy_scope, number):
            await AsyncFile("it")

        @pytest.mark.parametrize("number", range(3))
        def test_plain(alchemy_scope, number):
            alchemy_scope.create(File("it"))
        """
    )

    result = world.run_apart("-s", plugins=ASYNCIO)

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*scopes: [01]"])  # the oldest pytest keeps the last one
