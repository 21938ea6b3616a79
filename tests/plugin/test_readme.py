"""The programs that the README and the pages under docs show are programs."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from pytest_alchemy.cloudflare import FakeAccount

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def few(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return options that load what the wheel brings and nothing else: that takes most of the time."""
    # After pytester, which clears the environment of pytest's own variables.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return ["-p", "alchemy", "-p", "asyncio"]


def test_the_program_that_opens_the_readme_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_users=program_with("def test_a_user_is_stored"))

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["2 created, 2 destroyed, 0 leaked in *"])


def test_the_cloudflare_programs_of_the_readme_pass(
    pytester: pytest.Pytester, few: list[str]
) -> None:
    resources = program_with("def test_an_order_goes_its_way")
    faults = program_with("def test_a_busy_api_is_asked_again")
    pytester.makepyfile(test_orders=f"{resources}\n\n{faults}")

    result = pytester.runpytest_subprocess(*few)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["5 created, 5 destroyed, 0 leaked in *"])


def test_the_official_client_finds_what_the_readme_says(
    pytester: pytest.Pytester, few: list[str]
) -> None:
    pytest.importorskip("cloudflare")
    resources = program_with("def test_an_order_goes_its_way")
    sdk = program_with("def test_the_code_under_test_finds_the_database")
    pytester.makepyfile(test_orders=f"{resources}\n\n{sdk}")

    result = pytester.runpytest_subprocess(*few, "-k", "code_under_test")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 created, 1 destroyed, 0 leaked in *"])


def test_the_resource_of_the_readme_makes_and_drops_a_database(
    pytester: pytest.Pytester, few: list[str], monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    psycopg = pytest.importorskip("psycopg")
    pytester.makepyfile(test_orders=program_with("class PostgresDatabase"))
    monkeypatch.setenv("PGSERVER", postgres_url)
    app = f"ex{secrets.token_hex(3)}"  # others make databases on this server meanwhile
    pytester.makeini(f"[pytest]\nalchemy_app = {app}\n")

    result = pytester.runpytest_subprocess(*few)

    result.assert_outcomes(passed=1)
    assert f"1 created, 1 destroyed, 0 leaked in {app}/" in result.stdout.str()
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute("SELECT datname FROM pg_database").fetchall()
    assert [name for (name,) in found if app in name] == []


def test_the_secrets_of_the_readme_are_secrets(pytester: pytest.Pytester, few: list[str]) -> None:
    pytester.makepyfile(
        test_api=program_with("class ApiServer"),
        provider="def log_in(name, password): return f'{name} with {password}'",
    )

    result = pytester.runpytest_subprocess(*few, "--alchemy-keep=always")

    result.assert_outcomes(passed=1)
    [journal] = pytester.path.rglob("*.jsonl")
    assert "$secret" in journal.read_text()
    assert "correct horse" not in journal.read_text()


def test_the_async_program_makes_what_it_declares(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_FAKE_ACCOUNT", "account.sqlite")
    program = pytester.makepyfile(program=program_with("asyncio.run(main())"))

    runs = [pytester.runpython(program) for _ in range(2)]

    assert [run.ret for run in runs] == [0, 0]
    account = FakeAccount(path=pytester.path / "account.sqlite")
    assert sorted(item.kind for item in account.inventory()) == ["d1", "kv"]


def program_with(words: str) -> str:
    """Return the one program of the pages that contains *words*."""
    text = "\n".join(page.read_text() for page in PAGES)
    programs: list[str] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (program,) = (program for program in programs if words in program)
    return program
