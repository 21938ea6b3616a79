"""The user's own folder, and who may look into it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from pytest_alchemy.errors import HomeFileError
from pytest_alchemy.home import (
    config_file,
    configure,
    credentials_file,
    forget,
    profiles,
    read_json,
    settings_of,
    write_json,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that ALCHEMY_HOME names; it does not exist yet."""
    chosen = tmp_path / "some" / "home"
    monkeypatch.setenv("ALCHEMY_HOME", str(chosen))
    return chosen


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_in_the_users_home_unless_alchemy_home_moves_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config_file() == folder / "config.json"

    monkeypatch.delenv("ALCHEMY_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("USERPROFILE", "/home/ada")

    assert config_file() == Path("/home/ada/.alchemy/config.json")
    assert credentials_file("ci", "cloudflare") == Path(
        "/home/ada/.alchemy/credentials/ci/cloudflare.json"
    )


@posix
def test_what_is_written_is_for_nobody_else_to_read(folder: Path) -> None:
    file = credentials_file("ci", "cloudflare")
    before = os.umask(0)
    try:
        write_json(file, {"api_token": "one"})
        write_json(file, {"api_token": "two"})
    finally:
        os.umask(before)

    assert mode(file) == 0o600
    assert {mode(each) for each in (folder, folder / "credentials", file.parent)} == {0o700}
    assert read_json(file, private=True) == {"api_token": "two"}
    assert [each.name for each in file.parent.iterdir()] == ["cloudflare.json"]


@posix
def test_folders_that_others_could_enter_are_closed(folder: Path) -> None:
    (folder / "credentials").mkdir(parents=True)
    (folder / "credentials").chmod(0o755)

    write_json(credentials_file("ci", "cloudflare"), {})

    assert mode(folder / "credentials") == 0o700


@posix
def test_a_file_that_others_may_read_is_refused(folder: Path) -> None:
    file = credentials_file("ci", "cloudflare")
    write_json(file, {"api_token": "token"})
    file.chmod(0o640)

    with pytest.raises(HomeFileError) as caught:
        read_json(file, private=True)

    assert str(caught.value) == (
        f"{file}: others may read it (mode 640): chmod 600 it, and change the token."
    )


def test_a_file_that_is_none_is_told(folder: Path) -> None:
    write_json(config_file(), {})
    assert read_json(folder / "missing.json") is None
    config_file().write_text("[]")
    with pytest.raises(HomeFileError, match="it holds no JSON object"):
        read_json(config_file())

    config_file().write_text("{")
    with pytest.raises(HomeFileError, match="it cannot be read"):
        read_json(config_file())


def test_settings_of_one_profile_leave_the_others_alone(folder: Path) -> None:
    configure("ci", "cloudflare", {"account_id": "a"})
    configure("prod", "cloudflare", {"account_id": "b"})
    configure("ci", "cloudflare", {"account_id": "c"})

    assert settings_of("ci", "cloudflare") == {"account_id": "c"}
    assert settings_of("prod", "cloudflare") == {"account_id": "b"}
    assert settings_of("dev", "cloudflare") == {}


def test_damaged_settings_are_not_written_over(folder: Path) -> None:
    write_json(config_file(), {"profiles": {"ci": []}})

    with pytest.raises(HomeFileError, match="it has no JSON object at 'ci'"):
        configure("ci", "cloudflare", {})

    assert read_json(config_file()) == {"profiles": {"ci": []}}


def test_what_is_configured_or_has_credentials_is_a_profile(folder: Path) -> None:
    assert profiles() == []
    configure("prod", "cloudflare", {})
    write_json(credentials_file("ci", "cloudflare"), {})

    assert profiles() == ["ci", "prod"]


def test_forgetting_removes_credentials_and_nothing_else(folder: Path) -> None:
    configure("ci", "cloudflare", {"account_id": "a"})
    for profile in ("ci", "prod"):
        write_json(credentials_file(profile, "cloudflare"), {})

    gone = forget("ci")

    assert gone == [credentials_file("ci", "cloudflare")]
    assert forget("ci") == []
    assert not gone[0].parent.exists()
    assert credentials_file("prod", "cloudflare").exists()
    assert settings_of("ci", "cloudflare") == {"account_id": "a"}
