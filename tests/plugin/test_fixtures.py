"""The fixtures: each scope ends when its fixture does, and every test has its own."""

from __future__ import annotations

from itertools import groupby

import pytest

from tests.support.world import World, section


def test_every_scope_ends_with_its_fixture(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        test_one="""
        from kinds import File, log

        class TestClass:
            def test_1(self, alchemy_app, alchemy_stage, alchemy_module, alchemy_class, alchemy_scope):
                alchemy_app.create(File("app"))
                alchemy_stage.create(File("stage"))
                alchemy_module.create(File("module"))
                alchemy_class.create(File("class"))
                alchemy_scope.create(File("test"))
                log("test 1")

            def test_2(self, alchemy_class, alchemy_scope):
                first = alchemy_class.create(File("class"))
                log("test 2 sees", *(resource.id for resource in alchemy_class.resources))

        def test_3():
            log("test 3")
        """,
        test_two="""
        from kinds import File, log

        def test_4(alchemy_module):
            alchemy_module.create(File("module"))
            log("test 4")

        def test_5(alchemy_module, alchemy_class):  # a class of its own, without a class
            alchemy_class.create(File("class"))
            log("test 5")
        """,
    )

    result = world.run()

    result.assert_outcomes(passed=5)
    assert world.log == [
        *("create app", "create stage", "create module", "create class", "create test"),
        *(
            "test 1",
            "destroy test",
            "test 2 sees class",
            "destroy class",
            "test 3",
            "destroy module",
        ),
        *("create module", "test 4", "create class", "test 5", "destroy class", "destroy module"),
        *("destroy stage", "destroy app"),
    ]
    assert world.left == []
    assert not world.state.exists()


def test_what_the_whole_run_shares_goes_last(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File, log
        from pytest_alchemy.resource import Resource

        class Part(Resource):
            of: File

            def create(self):
                log("create", self.id)

            def destroy(self):
                log("destroy", self.id, "while its file is there:", self.of.path != "")

        @pytest.fixture(scope="session")
        def user(alchemy_stage):
            yield
            log("user ends")

        def test_one(user, alchemy_stage, alchemy_app):
            file = alchemy_app.create(File("shared"))
            alchemy_stage.create(Part("part", of=file))
        """
    )

    result = world.run()

    result.assert_outcomes(passed=1)
    assert world.log == [
        *("create shared", "create part", "user ends"),
        *("destroy part while its file is there: True", "destroy shared"),
    ]
    assert world.left == []


def test_whoever_uses_a_scope_is_torn_down_before_it(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File, log

        @pytest.fixture
        def early():
            yield
            log("early ends")

        @pytest.fixture
        def table(alchemy_scope):
            database = alchemy_scope.create(File("database"))
            yield database
            log("table ends")
            assert database.path

        def test_1(early, table):
            log("test")

        def test_2(request):
            request.getfixturevalue("table")
            log("test")
        """
    )

    result = world.run()

    result.assert_outcomes(passed=2)
    used = ["create database", "test", "table ends", "destroy database"]
    assert world.log == [*used, "early ends", *used]


def test_the_same_id_in_two_tests_names_two_things(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File, log

        IDS = ["", "x" * 300, "a:b", "a/b", "../up", "a-b", "a_b", "A-B", "\\U0001f600", "%", ".", "a b"]

        @pytest.mark.parametrize("n", range(len(IDS)), ids=IDS)
        def test_one(alchemy_module, alchemy_scope, n):
            for scope in (alchemy_module, alchemy_scope):  # the module's is made once
                file = scope.create(File("db"))
                log("name", file.name)

        def test_two(alchemy_scope):
            log("name", alchemy_scope.create(File("db")).name)
        """
    )

    result = world.run(
        "-o", "disable_test_id_escaping_and_forfeit_all_rights_to_community_support=1"
    )

    result.assert_outcomes(passed=13)
    names = [line for line in world.log if line.startswith("name")]
    assert len(names) == 25
    assert len(set(names)) == 14
    assert world.left == []


def test_a_leak_shows_an_odd_test_id_on_one_line(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        @pytest.mark.parametrize("n", [1], ids=["a\\tb\\u2028c"])
        def test_one(alchemy_scope, n):
            alchemy_scope.create(File("db", broken=True))
        """
    )

    result = world.run(
        "-o", "disable_test_id_escaping_and_forfeit_all_rights_to_community_support=1"
    )

    result.assert_outcomes(passed=1)
    bullets = [line for line in section(result) if line.startswith("LEAKED")]
    assert len(bullets) == 1
    assert bullets[0].endswith("::test_one[a\\tb\\u2028c]")


def test_the_marker_alone_opens_a_scope(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest
        from kinds import AsyncFile, File, log
        from pytest_alchemy.scope import current

        @pytest.mark.alchemy
        def test_plain():
            current().create(File("plain"))
            log("test_plain")

        @pytest.mark.alchemy
        class TestUnit(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                assert current() is None

            def setUp(self):
                current().create(File("setUp"))

            def tearDown(self):
                log("tearDown")

            def test_unit(self):
                current().create(File("unit"))
                log("test_unit")

        @pytest.mark.alchemy
        class TestLoop(unittest.IsolatedAsyncioTestCase):
            async def test_loop(self):
                await AsyncFile("unit-loop")
                log("test_loop")

        def test_without():
            assert current() is None
        """
    )

    result = world.run()

    result.assert_outcomes(passed=4)
    assert world.log == [
        *("create plain", "test_plain", "destroy plain"),
        *("create setUp", "create unit", "test_unit", "tearDown", "destroy unit", "destroy setUp"),
        *("create unit-loop", "test_loop", "destroy unit-loop in fresh loop"),
    ]
    assert world.left == []


def test_every_attempt_of_a_flaky_test_has_its_own_scope(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile, File, log

        runs = []

        @pytest.mark.flaky(reruns=2)
        def test_sync(alchemy_scope):
            file = alchemy_scope.create(File("sync"))
            log("name", file.name)
            runs.append(file)
            assert len(runs) == 3

        @pytest.mark.flaky(reruns=2)
        @pytest.mark.asyncio
        async def test_async(alchemy_scope):
            file = await AsyncFile("async")
            log("name", file.name)
            runs.append(file)
            assert len(runs) == 6
        """
    )

    result = world.run(plugins="rerunfailures pytest_asyncio.plugin")

    result.stdout.fnmatch_lines(["*2 passed, 4 rerun*"])
    steps = [line.partition(" ")[0] for line in world.log]
    assert steps == ["create", "name", "destroy"] * 6
    assert len({line for line in world.log if line.startswith("name")}) == 6
    assert world.left == []


def test_all_examples_of_a_hypothesis_test_share_its_scope(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from hypothesis import HealthCheck, given, settings, strategies
        from kinds import AsyncFile, File

        relaxed = settings(
            max_examples=5, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
        )

        @relaxed
        @given(number=strategies.integers())
        def test_sync(alchemy_scope, number):
            alchemy_scope.create(File("sync"))

        @pytest.mark.asyncio
        @relaxed
        @given(number=strategies.integers())
        async def test_asyncio(alchemy_scope, number):
            await AsyncFile("asyncio")

        @pytest.mark.anyio
        @relaxed
        @given(number=strategies.integers())
        async def test_anyio(alchemy_scope, number):
            await AsyncFile("anyio")

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )

    result = world.run(plugins="pytest_asyncio.plugin anyio")

    result.assert_outcomes(passed=3)
    assert world.log == [
        *("create sync", "destroy sync"),
        *("create asyncio", "destroy asyncio in same loop"),
        *("create anyio", "destroy anyio in same loop"),
    ]
    assert world.left == []


def test_scopes_do_without_the_plugins_they_work_with(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        from kinds import AsyncFile, File

        def test_sync(alchemy_app, alchemy_scope):
            alchemy_app.create(File("app"))
            alchemy_scope.create(File("plain"))
            alchemy_scope.create(AsyncFile("coroutine"))
        """
    )

    result = world.run_apart("-p", "no:xdist", "-p", "no:asyncio", "-p", "no:anyio")

    result.assert_outcomes(passed=1)
    assert len(world.log) == 6
    assert world.left == []
    assert not world.state.exists()


@pytest.mark.parametrize(
    "args", ["--collect-only", "--collect-only -n2", "--setup-plan", "--fixtures"]
)
def test_looking_at_tests_touches_nothing(
    pytester: pytest.Pytester, world: World, args: str
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        @pytest.mark.alchemy(stage="other")
        def test_one(alchemy_scope):
            alchemy_scope.create(File("db"))
        """
    )
    before = {path.name for path in pytester.path.iterdir()}

    result = world.run_apart(*args.split(), plugins="xdist")

    assert result.ret == pytest.ExitCode.OK
    assert section(result) == []
    result.stdout.no_fnmatch_line("*fixtures defined from pytest_alchemy.plugin.[!f]*")
    new = {path.name for path in pytester.path.iterdir()} - before
    assert new <= {"stdout", "stderr", "runpytest-0", "runpytest-current", "__pycache__"}


def test_scopes_in_memory_need_no_disk(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import Note

        @pytest.fixture(params=range(3))
        def note(request, alchemy_scope, alchemy_module):
            alchemy_module.create(Note("module"))
            return alchemy_scope.create(Note("test"))

        def test_one(note):
            assert note.name
        """
    )
    pytester.path.joinpath("file").touch()

    # Not even the user who may write everywhere can make a folder inside a file.
    result = world.run(f"--alchemy-root={pytester.path / 'file' / 'state'}")

    result.assert_outcomes(passed=3)
    assert [key for key, _ in groupby(sorted(world.log))] == [
        *("create module", "create test", "destroy module", "destroy test")
    ]


def test_what_outlives_the_process_is_not_made_where_it_cannot_be_recorded(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        from kinds import File

        def test_one(alchemy_scope):
            alchemy_scope.create(File("db"))
        """
    )
    pytester.path.joinpath("file").touch()

    result = world.run(f"--alchemy-root={pytester.path / 'file' / 'state'}")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *StateFolderError: *file/state*"])
    assert world.log == []
    assert section(result) == ["0 created, 0 destroyed, 0 leaked in shop/test-*"]


def test_a_distribution_without_workers_is_a_plain_run(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        from kinds import File

        def test_one(alchemy_scope):
            alchemy_scope.create(File("db"))
        """
    )

    result = world.run_apart("--dist=loadfile", plugins="xdist")

    result.assert_outcomes(passed=1)
    assert "1 created, 1 destroyed, 0 leaked" in result.stdout.str()
    assert world.left == []


def test_fixtures_without_the_hooks_of_the_plugin_say_what_is_wrong(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile("def test_it(alchemy_scope): pass")

    result = world.run_apart("-p", "no:alchemy")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*UsageError: A fixture of pytest-alchemy was set up without the hooks of its plugin: "
            "that was turned off after it was loaded,",
            "*or another plugin sets up fixtures by itself. Leave out -p no:alchemy, or that plugin.",
        ]
    )


def test_the_fake_account_answers_whoever_else_patches_httpx(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(  # what pytest-httpx does
        """
        import httpx
        import pytest

        @pytest.fixture
        def mocked(monkeypatch):
            monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *_: httpx.Response(203))
        """
    )
    pytester.makepyfile(
        """
        import httpx
        from pytest_alchemy.cloudflare import Worker

        def calls_the_account(fake):
            headers = {"Authorization": f"Bearer {fake.api_token}"}
            return httpx.get("https://api.cloudflare.com/client/v4/user", headers=headers).status_code

        def test_a_mock_that_comes_first(mocked, alchemy_app, fake_cloudflare):
            worker = alchemy_app.create(Worker("api", script="export default {}"))
            assert httpx.get(worker.url).status_code == 501
            assert calls_the_account(fake_cloudflare) == 200
            assert httpx.get("https://other.example/").status_code == 203

        def test_a_mock_that_comes_last(fake_cloudflare, mocked):
            assert calls_the_account(fake_cloudflare) == 200
            assert httpx.get("https://other.example/").status_code == 203

        def test_the_mock_is_over(alchemy_scope, fake_cloudflare):
            worker = alchemy_scope.create(Worker("api", script="export default {}"))
            assert httpx.get(worker.url).status_code == 501
            assert calls_the_account(fake_cloudflare) == 200
        """
    )

    result = world.run_apart()

    result.assert_outcomes(passed=3)


def test_what_a_test_replaces_in_the_standard_library_does_not_reach_its_scope(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import AsyncFile, File
        from pytest_alchemy.cloudflare import D1Database, KVNamespace

        REPLACED = {
            "os.getpid": 7,
            "os.urandom": b"16 equal bytes..",
            "uuid.uuid4": "the same for all",
            "sqlite3.connect": None,
            "threading.Thread": None,
            "asyncio.wait_for": None,
            "asyncio.timeout": None,
        }

        @pytest.fixture(params=REPLACED)
        def replaced(request, monkeypatch):
            monkeypatch.setattr(request.param, lambda *_, **__: REPLACED[request.param])

        def test_plain(replaced, alchemy_scope):
            for number in range(2):
                alchemy_scope.create(D1Database(f"d1-{number}")).exec("CREATE TABLE t (a)")
                alchemy_scope.create(KVNamespace(f"kv-{number}"))
            alchemy_scope.create(AsyncFile("async"))
            alchemy_scope.create(File("plain"))

        @pytest.mark.asyncio
        @pytest.mark.alchemy(destroy="parallel")
        async def test_async(replaced, alchemy_scope):
            for number in range(2):
                await (await D1Database(f"d1-{number}")).aexec("CREATE TABLE t (a)")
                await KVNamespace(f"kv-{number}")
            await AsyncFile("async")
            await File("plain")
        """
    )

    result = world.run_apart("--alchemy-leaks=fail", plugins="pytest_asyncio.plugin", timeout=30)

    result.assert_outcomes(passed=14)
    assert world.left == []
