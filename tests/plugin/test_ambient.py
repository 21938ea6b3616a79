"""The ambient scope: awaiting a resource makes it in the scope that is current here."""

from __future__ import annotations

import pytest

from tests.support.world import World, section

PLUGINS = "anyio pytest_asyncio.plugin"

BACKEND = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
def test_awaiting_a_resource_finds_the_scope_of_the_test(
    pytester: pytest.Pytester, world: World, runner: str
) -> None:
    pytester.makeconftest(BACKEND)
    pytester.makepyfile(
        """
        import asyncio
        import threading
        import pytest
        import pytest_asyncio
        from kinds import AsyncFile, File
        from pytest_alchemy.scope import current

        async_fixture = pytest.fixture if "RUNNER" == "anyio" else pytest_asyncio.fixture

        @async_fixture
        async def before():
            yield current()

        @async_fixture
        async def from_value(alchemy_scope):
            return await AsyncFile("from_value")

        @async_fixture
        async def from_generator(alchemy_scope):
            yield await AsyncFile("from_generator")
            assert current() is alchemy_scope

        async def deep():
            await asyncio.sleep(0)
            return await AsyncFile("deep")

        def awaited_in_a_thread():
            async def make():
                return await AsyncFile("thread")
            return asyncio.run(make())

        @pytest.mark.RUNNER
        async def test_one(before, from_value, from_generator, alchemy_scope):
            assert before is None
            assert current() is alchemy_scope
            await AsyncFile("body")
            await File("plain")
            await asyncio.create_task(deep())
            await asyncio.gather(*(AsyncFile(f"gathered-{n}") for n in range(3)))
            await asyncio.to_thread(awaited_in_a_thread)
            thread = threading.Thread(target=alchemy_scope.bind(lambda: found.append(current())))
            found = []
            thread.start()
            thread.join()
            assert found == [alchemy_scope]
            with alchemy_scope.run("inner") as inner:
                assert (await AsyncFile("nested")).scope.parent is inner
            assert current() is alchemy_scope
            assert [resource.id for resource in alchemy_scope.resources] == [
                "from_value", "from_generator", "body", "plain", "deep",
                "gathered-0", "gathered-1", "gathered-2", "thread",
            ]
        """.replace("RUNNER", runner)
    )

    result = world.run(plugins=PLUGINS)

    result.assert_outcomes(passed=1)
    assert len(world.log) == 20
    assert world.left == []


def test_no_scope_is_left_over_from_one_test_to_the_next(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(BACKEND)
    pytester.makepyfile(
        """
        import pytest
        import pytest_asyncio
        from kinds import AsyncFile, File
        from pytest_alchemy.ambient import current as variable
        from pytest_alchemy.scope import current

        seen = []

        @pytest.fixture(scope="module", autouse=True)
        def watcher():
            yield
            seen.append(current())

        @pytest.fixture(autouse=True)
        def outer():
            assert current() is None
            yield
            seen.append(current())

        def test_sync(alchemy_scope):
            assert current() is alchemy_scope

        @pytest.mark.asyncio
        async def test_asyncio(alchemy_scope):
            assert current() is alchemy_scope

        @pytest.mark.asyncio(loop_scope="module")
        async def test_module_loop(alchemy_scope):
            assert current() is alchemy_scope

        @pytest.mark.anyio
        async def test_anyio(alchemy_scope):
            assert current() is alchemy_scope

        def test_dirty(alchemy_module, alchemy_scope):
            alchemy_module.__enter__()  # and never left

        @pytest.mark.asyncio
        async def test_after_the_dirty_one():
            assert current() is None
            with pytest.raises(Exception, match="none is open here"):
                await AsyncFile("lost")

        def test_sets_the_variable(alchemy_module):
            variable.set(alchemy_module)

        def test_at_last():
            assert current() is None
            assert seen == [None] * 7
        """
    )

    result = world.run("-W", "error", plugins=PLUGINS)

    result.assert_outcomes(passed=8)
    assert world.log == []


def test_a_run_inside_of_a_test_leaves_its_scope_the_current_one(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        test_outer="""
        import pytest
        from kinds import File
        from pytest_alchemy.scope import current

        def test_outer(alchemy_scope, alchemy_module):
            alchemy_scope.create(File("before"))
            assert pytest.main(["-p", "alchemy", "inner.py"]) == 0
            assert current() is alchemy_scope
            alchemy_scope.create(File("after"))
        """,
        inner="""
        from kinds import File
        from pytest_alchemy.scope import current

        def test_inner(alchemy_scope, alchemy_app):
            assert current() is alchemy_scope
            alchemy_scope.create(File("inner"))
            alchemy_app.create(File("inner for all"))
        """,
    )

    result = world.run_apart("test_outer.py")

    result.assert_outcomes(passed=1)
    assert world.log == [
        "create before",
        "create inner",
        "create inner for all",
        "destroy inner",
        "destroy inner for all",
        "create after",
        "destroy after",
        "destroy before",
    ]
    assert world.left == []
    assert not world.state.exists()


def test_wide_scopes_are_current_where_they_are_entered_only(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile
        from pytest_alchemy.scope import current

        @pytest.mark.asyncio
        async def test_one(alchemy_module, alchemy_scope):
            async with alchemy_module:
                await AsyncFile("module")
                assert current() is alchemy_module
            await AsyncFile("test")

        @pytest.mark.asyncio
        async def test_two(alchemy_module):
            assert current() is None
            assert [file.id for file in alchemy_module.resources] == ["module"]
        """
    )

    result = world.run(plugins=PLUGINS)

    result.assert_outcomes(passed=2)
    assert world.log == [
        *("create module", "create test", "destroy test in same loop"),
        *("destroy module in fresh loop",),
    ]


def test_a_resource_that_is_never_made_is_warned_about(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile

        @pytest.mark.asyncio
        async def test_one(alchemy_scope):
            AsyncFile("forgotten")
        """
    )

    result = world.run_apart(plugins=PLUGINS)

    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*test_*.py:6: ResourceNeverCreatedWarning: AsyncFile 'forgotten' was made as an object, "
            "but neither created nor awaited: nothing exists."
        ]
    )
    assert section(result) == ["0 created, 0 destroyed, 0 leaked in shop/test-*"]


def test_a_blocking_call_inside_a_coroutine_names_its_twin(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile

        @pytest.mark.asyncio
        async def test_one(alchemy_scope):
            alchemy_scope.create(AsyncFile("x"))
        """
    )

    result = world.run_apart(plugins=PLUGINS)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *BlockingCallError: create() blocks*", "E *Use its twin: await acreate(...)"]
    )
    assert world.log == []
