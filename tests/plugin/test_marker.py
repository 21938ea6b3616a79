"""The marker: what it says for a test, what it may not say, and what follows at collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_alchemy.plugin import marked_items
from pytest_alchemy.plugin.marker import (
    marker_options,
    open_scope,
    prepare_items,
    settings_for,
)
from pytest_alchemy.plugin.options import Options
from tests.support.world import World

KEYWORDS = "stage, destroy, app, profile, live, keep, teardown_timeout"
NAMES = "Use 1 to 100 letters, digits, '-', '_' or '.', starting with a letter or a digit."

# Prints the fixtures of every test as they are set up, without those that pytest makes for classes.
SETUP_LOG = """
def pytest_fixture_setup(fixturedef, request):
    print("SETUP", request.node.name, fixturedef.argname)

def pytest_runtest_logstart(nodeid):
    print("TEST", nodeid)
"""


@pytest.fixture(autouse=True)
def plugin(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # After pytester, which clears the environment of pytest's own variables.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others take most of the time
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_alchemy.plugin -p no:randomly")


def items_of(pytester: pytest.Pytester, source: str) -> dict[str, pytest.Item]:
    return {item.name: item for item in pytester.getitems(source)}


def run_options(**chosen: str | bool | Path) -> Options:
    return Options(project_name=lambda: "shop", root=Path(".alchemy"), **chosen)  # type: ignore[arg-type]


# ---- what the markers of a test say


def test_the_nearest_marker_wins_keyword_by_keyword(pytester: pytest.Pytester) -> None:
    item = items_of(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.alchemy(stage="module", app="module", keep="always", live=True)

        @pytest.mark.alchemy(stage="class", destroy="parallel", app="class")
        class TestIt:
            @pytest.mark.alchemy(stage="test", teardown_timeout=3)
            def test_one(self): pass
        """,
    )["test_one"]

    said = marker_options(item)

    assert (said.stage, said.app, said.destroy, said.keep) == (
        "test",
        "class",
        "parallel",
        "always",
    )
    assert said.live is True
    assert said.profile is None
    assert said.teardown_timeout == 3.0
    assert isinstance(said.teardown_timeout, float)


def test_a_test_without_markers_says_nothing(pytester: pytest.Pytester) -> None:
    said = marker_options(items_of(pytester, "def test_one(): pass")["test_one"])

    assert set(vars(said).values()) == {None}


def test_the_marker_of_a_parameter_beats_the_one_of_its_function(
    pytester: pytest.Pytester,
) -> None:
    items = items_of(
        pytester,
        """
        import pytest

        @pytest.mark.alchemy(stage="function", keep="failed")
        @pytest.mark.parametrize(
            "n", [1, pytest.param(2, marks=pytest.mark.alchemy(stage="parameter"))]
        )
        def test_one(n): pass
        """,
    )

    one, two = marker_options(items["test_one[1]"]), marker_options(items["test_one[2]"])

    assert (one.stage, two.stage) == ("function", "parameter")
    assert (one.keep, two.keep) == ("failed", "failed")


@pytest.mark.parametrize(
    "marks",
    [
        "pytest.mark.alchemy(stage='derived')",
        "[pytest.mark.xfail, pytest.mark.alchemy(stage='derived')]",
    ],
)
def test_the_marker_of_a_class_beats_the_one_of_its_base(
    pytester: pytest.Pytester, marks: str
) -> None:
    item = items_of(
        pytester,
        f"""
        import pytest

        @pytest.mark.alchemy(stage="base", app="base")
        class Base:
            def test_one(self): pass

        class TestDerived(Base):
            pytestmark = {marks}
        """,
    )["test_one"]

    said = marker_options(item)

    assert (said.stage, said.app) == ("derived", "base")


def test_a_marker_added_while_collecting_counts(pytester: pytest.Pytester) -> None:
    item = items_of(pytester, "def test_one(): pass")["test_one"]
    assert item.parent is not None

    item.parent.add_marker(pytest.mark.alchemy(stage="blue"))

    assert marked_items([item]) == [item]
    assert marker_options(item).stage == "blue"


def test_marked_items_are_found_wherever_the_marker_stands(pytester: pytest.Pytester) -> None:
    items = items_of(
        pytester,
        """
        import pytest

        def test_plain(): pass

        @pytest.mark.skip
        def test_other_marker(): pass

        @pytest.mark.alchemy
        def test_own(): pass

        @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.alchemy)])
        def test_parameter(n): pass

        class TestPlain:
            def test_in_plain_class(self): pass

        @pytest.mark.alchemy
        class TestMarked:
            class TestNested:
                def test_in_marked_class(self): pass
        """,
    )

    found = [item.name for item in marked_items(items.values())]

    assert found == ["test_own", "test_parameter[2]", "test_in_marked_class"]


def test_settings_are_the_markers_over_the_options(pytester: pytest.Pytester) -> None:
    item = items_of(
        pytester,
        """
        import pytest

        @pytest.mark.alchemy(stage="blue", destroy="parallel", teardown_timeout=2)
        def test_one(): pass
        """,
    )["test_one"]
    options = run_options(profile="ci", keep="failed", fake_account=Path("account.db"))

    ours, runs = settings_for(item, options), settings_for(None, options)

    assert (ours.app, ours.stage, ours.profile, ours.live) == ("shop", "blue", "ci", False)
    assert (ours.destroy, ours.keep, ours.teardown_timeout) == ("parallel", "failed", 2.0)
    assert ours.fake_account == "account.db"
    assert (runs.stage, runs.destroy, runs.teardown_timeout) == ("test", "sequential", None)


def test_markers_that_say_the_same_give_one_settings_object(pytester: pytest.Pytester) -> None:
    items = items_of(
        pytester,
        """
        import pytest

        @pytest.mark.alchemy(stage="blue", keep="failed")
        def test_one(): pass

        @pytest.mark.alchemy(keep="failed")
        @pytest.mark.alchemy(stage="blue")
        def test_two(): pass
        """,
    )
    options = run_options()

    one, two = (settings_for(item, options) for item in items.values())

    assert one is two
    assert one is not settings_for(items["test_one"], run_options())


@pytest.mark.parametrize(
    ("run_is_live", "said", "live"),
    [
        (True, "", True),
        (True, "live=True", True),
        (True, "live=False", False),
        (False, "", False),
        (False, "live=True", False),
        (False, "live=False", False),
    ],
)
def test_a_test_is_live_only_in_a_live_run(
    pytester: pytest.Pytester, run_is_live: bool, said: str, live: bool
) -> None:
    source = f"import pytest\n@pytest.mark.alchemy({said})\ndef test_one(): pass"
    item = items_of(pytester, source)["test_one"]

    assert settings_for(item, run_options(live=run_is_live)).live is live


# ---- what the marker may not say

WRONG = [
    ("'blue'", f"positional argument 'blue'. The marker takes keywords only: {KEYWORDS}"),
    (
        "stgae='x'",
        f"unknown keyword 'stgae'. Did you mean 'stage'? The keywords are: {KEYWORDS}",
    ),
    ("qqq=1", f"unknown keyword 'qqq'. The keywords are: {KEYWORDS}"),
    (
        "destroy='paralel'",
        "destroy='paralel' is not one of: sequential, parallel. Did you mean 'parallel'?",
    ),
    ("destroy=None", "destroy=None is not one of: sequential, parallel."),
    ("keep='x'", "keep='x' is not one of: never, failed, always."),
    ("keep=True", "keep=True is not one of: never, failed, always."),
    ("stage='../x'", f"stage='../x' is not a name for a stage: it starts with '.'. {NAMES}"),
    ("stage=''", f"stage='' is not a name for a stage: it is empty. {NAMES}"),
    ("stage=None", f"stage=None is not a name for a stage: it is missing. {NAMES}"),
    ("app='a/b'", f"app='a/b' is not a name for an application: it contains '/'. {NAMES}"),
    ("profile=''", "profile='' is not the name of a profile, which is a text."),
    ("profile=3", "profile=3 is not the name of a profile, which is a text."),
    ("live='yes'", "live='yes' is not one of: True, False."),
    ("live=1", "live=1 is not one of: True, False."),
    ("live=None", "live=None is not one of: True, False."),
    ("teardown_timeout=0", "teardown_timeout=0 is not a number of seconds above 0."),
    ("teardown_timeout=-1.5", "teardown_timeout=-1.5 is not a number of seconds above 0."),
    ("teardown_timeout=True", "teardown_timeout=True is not a number of seconds above 0."),
    ("teardown_timeout='5'", "teardown_timeout='5' is not a number of seconds above 0."),
    (
        "teardown_timeout=float('inf')",
        "teardown_timeout=inf is not a number of seconds above 0.",
    ),
    (
        "teardown_timeout=float('nan')",
        "teardown_timeout=nan is not a number of seconds above 0.",
    ),
]


@pytest.mark.parametrize(("said", "problem"), WRONG)
def test_a_wrong_marker_names_its_test_and_what_is_valid(
    pytester: pytest.Pytester, said: str, problem: str
) -> None:
    path = pytester.makepyfile(f"import pytest\n@pytest.mark.alchemy({said})\ndef test_one(): pass")
    (item,) = pytester.genitems([pytester.getpathnode(path)])

    with pytest.raises(pytest.UsageError) as caught:
        prepare_items(item.config, [item], marked_items([item]), run_options())

    assert str(caught.value) == (
        f"1 problem with @pytest.mark.alchemy:\n  {path.name}::test_one: {problem}"
    )


MANY_WRONG = """
import pytest

pytestmark = pytest.mark.alchemy(stage="..")

@pytest.mark.alchemy(keep="no", alive=True)
class TestIt:
    @pytest.mark.parametrize("n", range(20))
    @pytest.mark.alchemy(destroy="never")
    def test_one(self, n): pass

    @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.alchemy("blue"))])
    def test_two(self, n): pass

@pytest.mark.alchemy(destroy="parallel", keep="failed", live=False, teardown_timeout=0.5)
def test_right(): pass
"""
MANY_PROBLEMS = [
    "ERROR: 5 problems with @pytest.mark.alchemy:",
    "  test_many.py::TestIt::test_one: destroy='never' is not one of: sequential, parallel.",
    "  test_many.py::TestIt: keep='no' is not one of: never, failed, always.",
    "  test_many.py::TestIt: unknown keyword 'alive'. Did you mean 'live'? The keywords are: "
    + KEYWORDS,
    f"  test_many.py: stage='..' is not a name for a stage: it starts with '.'. {NAMES}",
    (
        "  test_many.py::TestIt::test_two[2]: positional argument 'blue'. "
        f"The marker takes keywords only: {KEYWORDS}"
    ),
]


def test_a_wrong_marker_that_is_added_while_the_tests_run_fails_its_test(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kinds import File

        @pytest.fixture
        def marked(request):
            request.applymarker(pytest.mark.alchemy(**request.param))

        @pytest.mark.parametrize(
            "marked",
            [{"kep": "never"}, {"keep": "nver"}, {"teardown_timeout": -1}, {"teardown_timeout": 5}],
            indirect=True,
        )
        def test_it(marked, alchemy_scope):
            alchemy_scope.create(File("file"))
        """
    )

    result = world.run()

    result.assert_outcomes(errors=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E*1 problem with @pytest.mark.alchemy:",
            "E*  unknown keyword 'kep'. Did you mean 'keep'? *",
            "E*  keep='nver' is not one of: never, failed, always. Did you mean 'never'?",
            "E*  teardown_timeout=-1 is not a number of seconds above 0.",
        ]
    )
    assert world.log == ["create file", "destroy file"]
    assert world.left == []


def test_every_wrong_marker_is_listed_once_and_nothing_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_many=MANY_WRONG)

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    result.stderr.fnmatch_lines(
        [line.replace("[", "[[]") for line in MANY_PROBLEMS], consecutive=True
    )


@pytest.mark.parametrize("dist", ["load", "loadgroup", "each"])
def test_under_xdist_the_controller_says_the_same_once(
    pytester: pytest.Pytester, dist: str
) -> None:
    pytester.makepyfile(test_many=MANY_WRONG)

    result = pytester.runpytest_subprocess("-pxdist", "-n2", f"--dist={dist}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    result.stderr.fnmatch_lines(
        [line.replace("[", "[[]") for line in MANY_PROBLEMS], consecutive=True
    )
    output = result.stdout.str() + result.stderr.str()
    assert output.count("problems with @pytest.mark.alchemy") == 1
    assert "INTERNALERROR" not in output


def test_a_right_marker_runs_under_xdist(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.alchemy(destroy="parallel")
        def test_one(request):
            assert "alchemy_scope" in request.fixturenames
        """
    )

    result = pytester.runpytest_subprocess("-pxdist", "-n2", "--strict-markers")

    result.assert_outcomes(passed=1)


def test_the_marker_is_described(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--markers")

    keywords = ", ".join(f"{keyword}=..." for keyword in KEYWORDS.split(", "))
    result.stdout.fnmatch_lines([f"@pytest.mark.alchemy({keywords}): *"])


# ---- the real API


LIVE = """
import pytest

@pytest.mark.alchemy(live=True)
def test_live(alchemy_scope): pass

@pytest.mark.alchemy(live=False)
def test_offline(alchemy_scope): pass
"""


def test_a_live_test_is_skipped_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=LIVE)

    result = pytester.runpytest("-rs")

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED [[]1[]] *: live=True needs the real API: run with --alchemy-live"]
    )


def test_a_skipped_live_test_sets_nothing_up(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SETUP_LOG)
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def database(alchemy_scope): pass

        @pytest.mark.alchemy(live=True, stage="blue")
        def test_live(database, alchemy_stage): pass
        """
    )

    result = pytester.runpytest("-s")

    result.assert_outcomes(skipped=1)
    result.stdout.no_fnmatch_line("SETUP*")


# ---- wider scopes


def test_a_test_may_not_leave_the_stage_of_the_wider_scope_it_asks_for(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture
        def server(alchemy_stage): pass

        @pytest.mark.alchemy(stage="blue", profile="ci")
        def test_run(server): pass

        @pytest.mark.alchemy(app="shop")
        class TestIt:
            @pytest.mark.alchemy(stage="blue")
            def test_class(self, alchemy_class): pass

            def test_module(self, alchemy_module): pass

            def test_same(self, alchemy_class, alchemy_scope): pass
        """
    )

    result = pytester.runpytest("--alchemy-app=mine")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    run = "test_it.py::test_run: alchemy_stage belongs to the run, where"
    cls = "test_it.py::TestIt::test_class: alchemy_class belongs to test_it.py::TestIt, where"
    mod = "test_it.py::TestIt::test_module: alchemy_module belongs to test_it.py, where"
    result.stderr.fnmatch_lines(
        [
            "ERROR: 4 problems with @pytest.mark.alchemy:",
            (
                f"  {run} stage='test', but the test is marked stage='blue'. "
                "Ask for alchemy_scope instead, or use one stage for both"
            ),
            (
                f"  {run} profile='default', but the test is marked profile='ci'. "
                "Ask for alchemy_scope instead, or use one profile for both"
            ),
            (
                f"  {cls} stage='test', but the test is marked stage='blue'. "
                "Ask for alchemy_scope instead, or use one stage for both"
            ),
            (
                f"  {mod} app='mine', but the test is marked app='shop'. "
                "Ask for alchemy_scope instead, or use one app for both"
            ),
        ],
        consecutive=True,
    )


def test_alchemy_class_in_a_plain_function_is_the_modules(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        pytestmark = pytest.mark.alchemy(stage="blue")

        @pytest.mark.alchemy(stage="green")
        def test_one(alchemy_class): pass

        def test_two(alchemy_class, alchemy_module): pass
        """
    )

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: 1 problem with @pytest.mark.alchemy:",
            (
                "  test_it.py::test_one: alchemy_class belongs to test_it.py, where stage='blue', "
                "but the test is marked stage='green'. *"
            ),
        ],
        consecutive=True,
    )


def test_an_offline_test_may_not_ask_for_the_live_runs_application(
    pytester: pytest.Pytester,
) -> None:
    source = """
        import pytest

        @pytest.mark.alchemy(live=False)
        def test_one(alchemy_app): pass

        @pytest.mark.alchemy(live=True, destroy="parallel", keep="always", teardown_timeout=1)
        def test_two(alchemy_app): pass
        """
    pytester.makepyfile(test_it=source)

    offline, live = pytester.runpytest(), pytester.runpytest("--alchemy-live")

    offline.assert_outcomes(passed=1, skipped=1)
    assert live.ret == pytest.ExitCode.USAGE_ERROR
    live.stderr.fnmatch_lines(
        [
            "ERROR: 1 problem with @pytest.mark.alchemy:",
            (
                "  test_it.py::test_one: alchemy_app belongs to the run, where live=True, "
                "but the test is marked live=False. Ask for alchemy_scope instead, "
                "or use one live for both"
            ),
        ],
        consecutive=True,
    )


# ---- the marker alone


def test_the_marker_alone_opens_the_scope_of_its_parameters_only(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.alchemy), 3])
        def test_one(n, request):
            assert ("alchemy_scope" in request.fixturenames) == (n == 2)

        @pytest.mark.alchemy
        def test_two(alchemy_scope, request):
            assert request.fixturenames.count("alchemy_scope") == 1
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=4)


def test_the_marker_opens_the_scope_before_the_fixtures_of_the_test_and_after_wider_ones(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(SETUP_LOG)
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def around(): pass

        @pytest.fixture(scope="module")
        def server(): pass

        @pytest.mark.alchemy
        def test_one(server): pass
        """
    )

    result = pytester.runpytest("-s")

    result.assert_outcomes(passed=1)
    ours = [
        line.split()[-1]
        for line in result.outlines
        if line.startswith("SETUP") and line.split()[-1] in {"server", "alchemy_scope", "around"}
    ]
    assert ours == ["server", "alchemy_scope", "around"]


@pytest.mark.parametrize(
    ("base", "method"),
    [("TestCase", "def"), ("IsolatedAsyncioTestCase", "async def")],
)
def test_the_marker_opens_the_scope_of_a_unittest_after_setupclass(
    pytester: pytest.Pytester, base: str, method: str
) -> None:
    pytester.makeconftest(SETUP_LOG)
    pytester.makepyfile(
        f"""
        import pytest, unittest

        @pytest.mark.alchemy(stage="blue")
        class TestIt(unittest.{base}):
            @classmethod
            def setUpClass(cls): print("SETUP class setUpClass")

            def setUp(self): print("SETUP test setUp")

            {method} test_one(self): pass

            {method} test_two(self): pass

        class TestPlain(unittest.{base}):
            {method} test_three(self): pass
        """
    )

    result = pytester.runpytest("-s")

    result.assert_outcomes(passed=3)
    wanted = {"setUpClass", "alchemy_scope", "setUp"}
    ours = [
        line.split()[-1]
        for line in result.outlines
        if line.split()[-1:] and line.split()[-1] in wanted
    ]
    assert ours == ["setUpClass", "alchemy_scope", "setUp", "alchemy_scope", "setUp"]


def test_an_item_without_fixtures_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        class Line(pytest.Item):
            def runtest(self): pass

        class Lines(pytest.File):
            def collect(self):
                item = Line.from_parent(self, name="one")
                item.add_marker(pytest.mark.alchemy(stage="blue"))
                yield item

        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".lines":
                return Lines.from_parent(parent, path=file_path)
        """
    )
    pytester.makefile(".lines", some="one")

    result = pytester.runpytest()

    result.assert_outcomes(passed=1)


def test_plain_items_are_left_alone(pytester: pytest.Pytester) -> None:
    item = items_of(pytester, "def test_one(tmp_path): pass")["test_one"]
    names = item.fixturenames  # type: ignore[attr-defined]
    before = list(names)

    prepare_items(item.config, [item], marked_items([item]), run_options())

    assert item.fixturenames is names  # type: ignore[attr-defined]
    assert names == before
    assert item.own_markers == []


def test_opening_a_scope_twice_is_quiet(pytester: pytest.Pytester) -> None:
    item = items_of(pytester, "def test_one(): pass")["test_one"]

    open_scope(item)
    open_scope(item)

    assert item.fixturenames.count("alchemy_scope") == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["some", ["always"]])
def test_a_marker_that_a_fixture_adds_is_checked_as_well(
    pytester: pytest.Pytester, world: World, value: object
) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture(autouse=True)
        def keep(request):
            request.node.add_marker(pytest.mark.alchemy(keep={value!r}))

        def test_one(keep, alchemy_scope): ...
        """
    )

    result = world.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"E*keep={value!r} is not one of: never, failed, always.".replace("[", "[[]")]
    )
