"""What was chosen for a run: flags, ini options, their order and their errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from pytest_alchemy.plugin.options import OPTIONS, Options
from pytest_alchemy.settings import STRATEGIES, Keep
from tests.support.world import World

IS_NATIVE_TOML = pytest.version_tuple >= (9, 0)


@pytest.fixture(autouse=True)
def plugin(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # After pytester, which clears the environment of pytest's own variables.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others take most of the time
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_alchemy.plugin -p no:randomly")
    for name in ("CI", "ALCHEMY_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def options(pytester: pytest.Pytester, *args: str) -> Options:
    return Options.of(pytester.parseconfig(*args))


GIVEN = [
    ("alchemy_app", "shop", "app", "shop"),
    ("alchemy_stage", "blue", "stage", "blue"),
    ("alchemy_stage", "a" * 100, "stage", "a" * 100),
    ("alchemy_destroy", "parallel", "destroy", "parallel"),
    ("alchemy_profile", "ci", "profile", "ci"),
    ("alchemy_keep", "failed", "keep", "failed"),
    ("alchemy_leaks", "off", "leaks", "off"),
    ("alchemy_durations", "7", "durations", 7),
]
PATHS = [
    ("alchemy_root", "root"),
    ("alchemy_report", "report"),
    ("alchemy_fake_account", "fake_account"),
]


SWITCHES = ("alchemy_live", "alchemy_no_sigterm")


def test_a_project_that_never_chose_pytest_asyncio_is_not_asked_for_its_options(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile("def test_plain(): pass")
    args = ("-p", "pytest_asyncio.plugin", "-W", "error")

    quiet = world.run_apart(*args)
    pytester.makeini("[pytest]\nalchemy_app = shop\nasyncio_mode = auto\n")
    asked = world.run_apart(*args)

    quiet.assert_outcomes(passed=1)
    assert quiet.stderr.str() == ""
    assert (
        '"asyncio_default_fixture_loop_scope" is unset' in asked.stdout.str() + asked.stderr.str()
    )


def test_every_option_has_a_test_here() -> None:
    tested = {given[0] for given in GIVEN} | {given[0] for given in PATHS} | set(SWITCHES)

    assert tested == {option.name for option in OPTIONS}


def test_the_choices_are_those_of_the_settings() -> None:
    choices = {option.name: option.choices for option in OPTIONS}

    assert choices["alchemy_destroy"] == STRATEGIES
    assert choices["alchemy_keep"] == get_args(Keep)


def test_without_options_everything_has_its_default(pytester: pytest.Pytester) -> None:
    given = options(pytester)

    assert given.stage == "test"
    assert given.destroy == "sequential"
    assert given.profile == "default"
    assert given.live is False
    assert given.keep == "never"
    assert given.leaks == "warn"
    assert given.report is None
    assert given.root == pytester.path / ".alchemy"
    assert given.fake_account is None


@pytest.mark.parametrize(("name", "text", "field", "value"), GIVEN)
def test_a_flag_beats_ini_and_ini_beats_the_default(
    pytester: pytest.Pytester, name: str, text: str, field: str, value: object
) -> None:
    default = getattr(options(pytester), field)
    other: dict[str, object] = {
        "alchemy_destroy": "sequential",
        "alchemy_keep": "always",
        "alchemy_leaks": "fail",
        "alchemy_durations": 0,
    }
    flag = "--" + name.replace("_", "-")

    pytester.makeini(f"[pytest]\n{name} = {text}")
    by_ini = getattr(options(pytester), field)
    by_flag = getattr(options(pytester, f"{flag}={other.get(name, 'other')}"), field)

    assert by_ini == value != default
    assert by_flag == other.get(name, "other")


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_a_bool_in_ini(pytester: pytest.Pytester, name: str) -> None:
    field = name.removeprefix("alchemy_")
    by_flag = getattr(options(pytester, "--" + name.replace("_", "-")), field)
    pytester.makeini(f"[pytest]\n{name} = yes")
    by_ini = getattr(options(pytester), field)
    overridden = getattr(options(pytester, "-o", f"{name}=false"), field)

    assert (by_flag, by_ini, overridden) == (True, True, False)


@pytest.mark.parametrize(("name", "field"), PATHS)
def test_a_path_counts_from_rootdir_in_ini_and_from_here_on_the_command_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, field: str
) -> None:
    pytester.makeini(f"[pytest]\n{name} = from/ini")
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)

    by_ini = getattr(options(pytester), field)
    by_flag = getattr(options(pytester, f"--{name.replace('_', '-')}=from/flag"), field)

    assert by_ini == pytester.path / "from" / "ini"
    assert by_flag == below / "from" / "flag"


def test_a_path_may_begin_with_the_home_folder(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(pytester.path / "home")
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("USERPROFILE", home)
    pytester.makeini("[pytest]\nalchemy_root = ~/ini")

    by_ini = options(pytester).root
    by_flag = options(pytester, "--alchemy-root=~/flag").root

    assert by_ini == Path(home) / "ini"
    assert by_flag == Path(home) / "flag"


def test_workers_have_the_options_of_their_controller(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nalchemy_report = report")
    pytester.makepyfile(
        """
        import json
        from pytest_alchemy.plugin.options import Options

        def test_probe(request):
            given = Options.of(request.config)
            with open("given.json", "w") as file:
                json.dump([given.app, given.stage, str(given.root), str(given.report)], file)
        """
    )

    result = pytester.runpytest_subprocess(
        "-pxdist", "-n1", "--alchemy-root=here", "--alchemy-stage=blue"
    )

    result.assert_outcomes(passed=1)
    here = pytester.path
    assert json.loads((here / "given.json").read_text()) == [
        here.name,
        "blue",
        str(here / "here"),
        str(here / "report"),
    ]


def test_the_profile_comes_from_the_environment_unless_it_is_given(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_PROFILE", "mine")

    by_environment = options(pytester).profile
    pytester.makeini("[pytest]\nalchemy_profile = ours")
    by_ini = options(pytester).profile
    by_flag = options(pytester, "--alchemy-profile=theirs").profile

    assert (by_environment, by_ini, by_flag) == ("mine", "ours", "theirs")


@pytest.mark.parametrize(("ci", "leaks"), [("true", "fail"), ("1", "fail"), ("", "warn")])
def test_leaks_fail_by_default_where_ci_is_set(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, leaks: str
) -> None:
    monkeypatch.setenv("CI", ci)

    by_default = options(pytester).leaks
    given = options(pytester, "--alchemy-leaks=off").leaks

    assert (by_default, given) == (leaks, "off")


def test_the_stage_is_test_in_ci_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")

    assert options(pytester).stage == "test"


@pytest.mark.parametrize(
    ("pyproject", "app"),
    [
        ('[project]\nname = "my-shop"', "my-shop"),
        ('[project]\nname = "My Shop (2)"', "My-Shop-2"),
        ('[project]\nversion = "1"', None),
        ("[tool.black]", None),
        (None, None),
    ],
)
def test_the_application_is_the_project_else_the_folder(
    pytester: pytest.Pytester, pyproject: str | None, app: str | None
) -> None:
    if pyproject is not None:
        pytester.makepyprojecttoml(pyproject)

    found = options(pytester, f"--rootdir={pytester.path}").app

    assert found == (app or pytester.path.name)


def test_the_name_of_a_folder_is_made_a_legal_one(pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("-Große Äpfel & Birnen-")

    found = options(pytester, f"--rootdir={folder}").app

    assert found == "Große-Äpfel-Birnen"


def test_pyproject_is_read_when_the_application_is_asked_for_and_only_once(
    pytester: pytest.Pytester,
) -> None:
    given = options(pytester, f"--rootdir={pytester.path}")
    file = pytester.makepyprojecttoml('[project]\nname = "late"')

    first = given.app
    file.unlink()

    assert (first, given.app) == ("late", "late")


@pytest.mark.parametrize("text", ["[project", "project = 1", "project.name.x = 1\nproject = 2"])
def test_a_broken_pyproject_is_an_error_when_its_name_is_wanted(
    pytester: pytest.Pytester, text: str
) -> None:
    ini = pytester.makefile(".ini", pytest="[pytest]")
    file = pytester.makepyprojecttoml(text)
    given = options(pytester, "-c", str(ini))  # else pytest itself reads pyproject.toml

    with pytest.raises(pytest.UsageError) as caught:
        assert given.app

    first, second = str(caught.value).splitlines()
    assert first.startswith(f"[project].name of {file} cannot be read: ")
    assert second == (
        "Mend the file, or name the application with --alchemy-app or the ini option alchemy_app"
    )
    assert options(pytester, "-c", str(ini), "--alchemy-app=named").app == "named"


NAMES = "Use 1 to 100 letters, digits, '-', '_' or '.', starting with a letter or a digit."

WRONG = [
    ("alchemy_leaks", "fial", "'fial' is not one of: fail, warn, off"),
    ("alchemy_destroy", "paralel", "'paralel' is not one of: sequential, parallel"),
    ("alchemy_keep", "Never", "'Never' is not one of: never, failed, always"),
    ("alchemy_leaks", "", "'' is not one of: fail, warn, off"),
    ("alchemy_stage", "../x", f"'../x' is not a name for a stage: it starts with '.'.\n{NAMES}"),
    ("alchemy_stage", "", f"'' is not a name for a stage: it is empty.\n{NAMES}"),
    (
        "alchemy_stage",
        "a" * 101,
        f"{'a' * 101!r} is not a name for a stage: it has 101 characters.\n{NAMES}",
    ),
    ("alchemy_app", "a b", f"'a b' is not a name for an application: it contains ' '.\n{NAMES}"),
    ("alchemy_profile", "", "the value is empty. Give one, or leave the option out"),
    ("alchemy_root", "", "the value is empty. Give one, or leave the option out"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_in_ini_names_the_option_and_what_is_valid(
    pytester: pytest.Pytester, name: str, value: str, message: str
) -> None:
    pytester.makeini(f"[pytest]\n{name} = {value}")

    with pytest.raises(pytest.UsageError) as caught:
        options(pytester)

    assert str(caught.value) == f"ini option {name}: {message}"


@pytest.mark.parametrize(("name", "value", "message"), WRONG[4:])
def test_a_wrong_value_on_the_command_line_names_the_flag(
    pytester: pytest.Pytester, name: str, value: str, message: str
) -> None:
    flag = "--" + name.replace("_", "-")

    with pytest.raises(pytest.UsageError) as caught:
        options(pytester, f"{flag}={value}")

    assert str(caught.value) == f"{flag}: {message}"


def test_a_wrong_choice_on_the_command_line_is_refused_by_the_parser(
    pytester: pytest.Pytester,
) -> None:
    with pytest.raises(pytest.UsageError) as caught:
        options(pytester, "--alchemy-leaks=fial")

    message = str(caught.value).replace("'", "")
    assert "argument --alchemy-leaks: invalid choice: fial" in message
    assert "(choose from fail, warn, off)" in message


def test_a_wrong_value_ends_the_run_before_any_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nalchemy_leaks = fial")
    pytester.makepyfile("def test_one(): pass")

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: ini option alchemy_leaks: 'fial' is not one of: fail, warn, off"]
    )
    result.stdout.no_fnmatch_line("*passed*")


def test_live_in_ini_that_is_no_bool_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nalchemy_live = maybe")

    with pytest.raises(pytest.UsageError) as caught:
        options(pytester)

    said = "ini option alchemy_live: invalid truth value 'maybe'. Write true or false"
    assert str(caught.value) == said


@pytest.mark.filterwarnings("ignore:Passing a value that is not a string")  # pytest 9 says so too
def test_a_list_is_no_value(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nalchemy_destroy = ["parallel"]')

    with pytest.raises(pytest.UsageError) as caught:
        options(pytester)

    assert str(caught.value) == (
        "ini option alchemy_destroy: ['parallel'] is not one of: sequential, parallel"
    )


@pytest.mark.skipif(not IS_NATIVE_TOML, reason="typed TOML is new in pytest 9")
def test_native_toml_has_typed_values(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml('[tool.pytest]\nalchemy_live = true\nalchemy_leaks = "off"')

    given = options(pytester)

    assert (given.live, given.leaks) == (True, "off")


@pytest.mark.skipif(not IS_NATIVE_TOML, reason="typed TOML is new in pytest 9")
@pytest.mark.parametrize("wrong", ['alchemy_live = "yes"', "alchemy_stage = 3"])
def test_native_toml_of_the_wrong_type_is_refused(pytester: pytest.Pytester, wrong: str) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest]\n{wrong}")
    name, _, value = wrong.partition(" = ")

    with pytest.raises(pytest.UsageError) as caught:
        options(pytester)

    message = str(caught.value)
    assert message.startswith(f"ini option {name}: ")
    assert value.strip('"') in message


def test_the_help_shows_every_option_in_a_group_of_its_own(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--help")

    result.stdout.fnmatch_lines(
        [
            "scopes for resources (pytest-alchemy):",
            "  --alchemy-app=NAME *",
            "  --alchemy-stage=NAME *",
            "  --alchemy-destroy={sequential,parallel}*",
            "  --alchemy-profile=NAME*",
            "  --alchemy-live *",
            "  --alchemy-keep={never,failed,always}*",
            "  --alchemy-leaks={fail,warn,off}*",
            "  --alchemy-report=DIR *",
            "  --alchemy-root=DIR *",
            "  --alchemy-fake-account=FILE*",
            "  alchemy_leaks (string):*",
        ]
    )
