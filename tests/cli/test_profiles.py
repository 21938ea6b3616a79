"""Logging in and out, and what is told of profiles."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_alchemy.cli import main
from pytest_alchemy.cloudflare import FakeAccount
from pytest_alchemy.cloudflare.credentials import find_credentials
from pytest_alchemy.cloudflare.fake.respx_door import answering
from tests.support.fakeserver import serving


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder; nothing is configured."""
    for name in (
        "CLOUDFLARE_API_TOKEN",
        "CLOUDFLARE_ACCOUNT_ID",
        "CLOUDFLARE_BASE_URL",
        "ALCHEMY_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALCHEMY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def account() -> Iterator[FakeAccount]:
    """The account that answers for Cloudflare."""
    with answering(FakeAccount()) as account:
        yield account


def alchemy(*words: str, text: str = "") -> Result:
    """Call the command with *text* on its standard input, which is no terminal."""
    return CliRunner().invoke(main, words, input=text, prog_name="alchemy")


def login(account: FakeAccount, *words: str) -> Result:
    return alchemy("login", "--token-stdin", *words, text=f"{account.api_token}\n")


def test_a_token_on_standard_input_is_checked_and_kept(account: FakeAccount, home: Path) -> None:
    result = login(account, "--profile", "ci")

    file = home / "credentials" / "ci" / "cloudflare.json"
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == (
        f"Profile ci may use account {account.account_id}; token 1{account.account_id[1:]} works without an end.\n"
        f"It is kept in {file}.\n"
    )
    assert find_credentials("ci").api_token == account.api_token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert account.api_token not in (home / "config.json").read_text()


def test_a_login_that_the_environment_goes_before_says_so(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "another")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "b" * 32)

    default, named = login(account), login(account, "--profile", "ci")

    assert default.stderr.splitlines()[-1] == (
        "CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID are set here, and go before it."
    )
    assert "go before it" not in named.stderr


def test_a_token_that_does_not_work_is_not_kept(account: FakeAccount, home: Path) -> None:
    result = alchemy("login", "--token-stdin", text="some-other-token")

    assert result.exit_code == 1
    assert "Error: Cloudflare does not take the token: Invalid API Token." in result.stderr
    assert "some-other-token" not in result.output
    assert not home.exists()


@pytest.mark.parametrize("text", ["", "  \n", "two words", "tökén"])
def test_what_cannot_be_a_token_is_refused_without_being_shown(text: str) -> None:
    result = alchemy("login", "--token-stdin", text=text)

    assert result.exit_code == 2
    assert "That is no token" in result.stderr
    assert not text.strip() or text not in result.output


def test_a_token_is_no_argument_and_is_not_asked_for_without_a_terminal() -> None:
    as_option = alchemy("login", "--token", "secret-token")
    as_argument = alchemy("login", "secret-token")
    unasked = alchemy("login")

    assert [each.exit_code for each in (as_option, as_argument, unasked)] == [2, 2, 2]
    assert "give the token on standard input: --token-stdin" in unasked.stderr


def test_on_a_terminal_the_token_is_asked_for_and_not_shown(home: Path) -> None:
    with serving() as (_, told):
        terminal, inside = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest_alchemy", "login"],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            env={**os.environ, "CLOUDFLARE_BASE_URL": told["url"]},
        )
        os.close(inside)
        shown = b""
        while b"API token:" not in shown:
            shown += os.read(terminal, 1000)
        os.write(terminal, told["CLOUDFLARE_API_TOKEN"].encode() + b"\n")
        shown += rest_of(terminal)
        process.wait(timeout=30)

    assert process.returncode == 0
    assert told["CLOUDFLARE_API_TOKEN"] not in shown.decode()
    assert b"Profile default may use account" in shown
    assert find_credentials("default").api_token == told["CLOUDFLARE_API_TOKEN"]


def rest_of(terminal: int) -> bytes:
    """Return what is still written to *terminal* until its last writer ends."""
    shown = b""
    try:
        while more := os.read(terminal, 1000):
            shown += more
    except OSError:  # Linux says so when nobody has the other end open
        pass
    os.close(terminal)
    return shown


def test_a_profile_is_configured_without_a_token(account: FakeAccount, home: Path) -> None:
    result = alchemy("configure", "--profile", "ci", "--account-id", account.account_id)
    settings = json.loads((home / "config.json").read_text())

    assert result.exit_code == 0
    assert settings == {"profiles": {"ci": {"cloudflare": {"account_id": account.account_id}}}}
    assert alchemy("profile", "list").stdout == (
        f"ci  cloudflare account {account.account_id}, not logged in\n"
    )
    assert login(account, "--profile", "ci").exit_code == 0
    assert find_credentials("ci").account_id == account.account_id


@pytest.mark.parametrize("command", ["configure", "login"])
def test_an_account_id_that_is_none_is_refused(account: FakeAccount, command: str) -> None:
    words = ["--token-stdin"] if command == "login" else []

    result = alchemy(command, "--account-id", "My account", *words, text=account.api_token)

    assert result.exit_code == 2
    assert "'My account' is no account id: those have 32 digits" in result.stderr


def test_profiles_are_listed_and_shown_without_their_tokens(
    account: FakeAccount, home: Path
) -> None:
    login(account, "--profile", "ci")
    alchemy("configure", "--profile", "prod", "--account-id", "b" * 32)
    told = [
        alchemy("profile", "list"),
        alchemy("profile", "list", "--json"),
        alchemy("profile", "show", "ci"),
        alchemy("profile", "show", "ci", "--json"),
    ]

    assert {each.exit_code for each in told} == {0}
    assert not any(account.api_token in each.output for each in told)
    assert told[0].stdout == (
        f"ci  cloudflare account {account.account_id}, logged in\n"
        f"prod  cloudflare account {'b' * 32}, not logged in\n"
    )
    assert [each["profile"] for each in json.loads(told[1].stdout)] == ["ci", "prod"]
    file = home / "credentials" / "ci" / "cloudflare.json"
    assert told[2].stdout == (
        f"profile   ci\nprovider  cloudflare\naccount   {account.account_id}\ntoken     in {file}\n"
    )
    assert json.loads(told[3].stdout) == {
        "profile": "ci",
        "provider": "cloudflare",
        "account_id": account.account_id,
        "logged_in": True,
        "file": str(file),
        "problem": None,
    }


def test_without_profiles_the_list_says_how_to_make_one() -> None:
    result = alchemy("profile", "list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "There are no profiles. Make one: alchemy login\n"
    assert alchemy("profile", "list", "--json").stdout == "[]\n"


def test_credentials_that_others_may_read_are_refused(account: FakeAccount, home: Path) -> None:
    login(account, "--profile", "ci")
    file = home / "credentials" / "ci" / "cloudflare.json"
    file.chmod(0o644)

    listed, result = alchemy("profile", "list"), alchemy("profile", "validate", "ci")

    reason = f"{file}: others may read it (mode 644): chmod 600 it, and change the token"
    assert listed.exit_code == 0
    assert reason in listed.stdout
    assert result.exit_code == 1
    assert reason in result.stderr
    assert account.api_token not in listed.output + result.output


def test_validate_says_that_a_profile_works(account: FakeAccount) -> None:
    login(account)

    result, said = alchemy("profile", "validate"), alchemy("profile", "validate", "--json")

    assert (result.exit_code, said.exit_code) == (0, 0)
    assert (
        result.stdout
        == f"Profile default works with account {account.account_id}, without an end.\n"
    )
    assert json.loads(said.stdout)["valid"] is True


def test_validate_ends_with_1_and_the_reason_if_it_does_not(account: FakeAccount) -> None:
    missing = alchemy("profile", "validate", "prod")
    login(account, "--profile", "prod")
    account.fail(method="GET", path="/user/tokens/verify", status=401)
    account.fail(method="GET", path=f"/accounts/{account.account_id}/tokens/verify", status=401)
    refused = alchemy("profile", "validate", "prod", "--json")

    assert missing.exit_code == 1
    assert "No Cloudflare credentials for profile 'prod': nothing is configured." in missing.stderr
    assert refused.exit_code == 1
    said = json.loads(refused.stdout)
    assert (said["profile"], said["valid"]) == ("prod", False)
    assert said["reason"].startswith("Cloudflare does not take the token: ")


def test_logging_out_forgets_one_token_or_all(account: FakeAccount, home: Path) -> None:
    for profile in ("ci", "prod", "dev"):
        login(account, "--profile", profile)
    folder = home / "credentials"

    one, again = alchemy("logout", "--profile", "ci"), alchemy("logout", "--profile", "ci")
    assert one.stderr == f"Removed {folder / 'ci' / 'cloudflare.json'}.\n"
    assert again.stderr == "Profile ci is not logged in.\n"
    assert sorted(each.name for each in folder.iterdir()) == ["dev", "prod"]

    every, again = alchemy("logout", "--all"), alchemy("logout", "--all")
    assert every.stderr.count("Removed") == 2
    assert again.stderr == "Nobody is logged in.\n"
    assert list(folder.iterdir()) == []
    assert "ci" in json.loads((home / "config.json").read_text())["profiles"]


def test_alchemy_profile_names_the_profile(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_PROFILE", "ci")
    login(account)

    assert alchemy("profile", "show", "--json").stdout.count('"profile": "ci"') == 1
    assert find_credentials("ci").account_id == account.account_id


@pytest.mark.parametrize("name", ["../prod", "a/b", ".hidden", ""])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str, account: FakeAccount) -> None:
    result = login(account, "--profile", name)

    assert result.exit_code == 2
    assert "is not a name for a profile" in result.stderr


def test_a_folder_that_cannot_be_written_is_told(account: FakeAccount, home: Path) -> None:
    home.mkdir()
    (home / "credentials").write_text("a file in its place")

    result = login(account)

    assert result.exit_code == 1
    assert "it cannot be written" in result.stderr
    assert account.api_token not in result.output
