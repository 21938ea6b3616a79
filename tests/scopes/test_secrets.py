"""Programs with secrets, run again and again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pytest_alchemy import Resource, Secret, StageDestroyed, alchemy, output
from pytest_alchemy.cli import main
from pytest_alchemy.errors import NoPasswordError, WrongPasswordError

TEXT = "correct horse battery"
called: list[str] = []


class Vault(Resource, kind="vault"):
    """Takes a secret, and gives one."""

    token: Secret
    key: Secret = output()

    def create(self) -> None:
        called.append(f"create {self.id}")
        self.key = alchemy.secret(f"key of {self.token.value}")

    def update(self, previous: Vault) -> None:
        called.append(f"update {self.id}: {previous.token.value} -> {self.token.value}")

    def destroy(self) -> None:
        called.append(f"destroy {self.id}: {self.key.value}")


@pytest.fixture(autouse=True)
def stretched(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """How often a password was stretched since the test began."""
    called.clear()
    times: list[None] = []
    real = hashlib.scrypt

    def scrypt(*args: Any, **kwargs: Any) -> bytes:
        times.append(None)
        return real(*args, **kwargs)

    monkeypatch.setattr(hashlib, "scrypt", scrypt)
    return times


def deploy(*tokens: str, password: str | None = "a password", **more: Any) -> list[str]:
    """Run a program that declares a vault for each of *tokens*, and return what it called."""
    with alchemy("my-app", stage="prod", password=password, **more) as app:
        for number, token in enumerate(tokens):
            app.create(Vault(f"v{number}", token=alchemy.secret(token)))
    told, called[:] = called[:], []
    return told


def test_an_unchanged_secret_is_kept_and_a_changed_one_updated() -> None:
    assert deploy(TEXT) == ["create v0"]
    assert deploy(TEXT) == []
    assert deploy("another one") == [f"update v0: {TEXT} -> another one"]
    assert deploy("another one") == []


def test_what_is_declared_no_longer_is_destroyed_with_its_secrets() -> None:
    deploy(TEXT, "the second")

    assert deploy(TEXT) == ["destroy v1: key of the second"]


def test_the_read_phase_gives_secrets_back() -> None:
    deploy(TEXT)

    with alchemy("my-app", stage="prod", password="a password", phase="read") as app:
        vault = app.create(Vault("v0", token=alchemy.secret("not asked for")))

    assert vault.token.value == TEXT
    assert vault.key.value == f"key of {TEXT}"


def test_a_program_stretches_its_password_once_whatever_it_has_of_secrets(
    stretched: list[None],
) -> None:
    for _ in range(2):
        stretched.clear()
        with alchemy("my-app", stage="prod", password="a password") as app:
            for number in range(20):
                app.create(Vault(f"v{number}", token=alchemy.secret(f"{TEXT} {number}")))
            with app.run("backend") as backend:
                backend.create(Vault("inside", token=alchemy.secret(TEXT)))
        assert len(stretched) == 1


def test_a_program_without_secrets_stretches_none(stretched: list[None]) -> None:
    deploy()

    assert stretched == []


def test_a_wrong_password_is_told_before_anything_is_done(folder: Path) -> None:
    deploy(TEXT)
    state = folder / ".alchemy" / "my-app" / "prod" / "state.json"
    before = state.read_bytes()

    with pytest.raises(WrongPasswordError):
        deploy(TEXT, "another", password="another")

    assert called == []
    assert state.read_bytes() == before


def test_without_a_password_a_secret_is_refused_before_it_is_made() -> None:
    with pytest.raises(NoPasswordError):
        deploy(TEXT, password=None)

    assert called == []


def test_the_destroy_phase_opens_secrets_with_the_password_of_its_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ALCHEMY_PASSWORD", raising=False)
    deploy(TEXT)

    with pytest.raises(StageDestroyed):
        deploy(phase="destroy")

    assert called == [f"destroy v0: key of {TEXT}"]


def test_what_needs_a_password_is_not_tried_again_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ALCHEMY_PASSWORD", raising=False)
    deploy(TEXT)

    done = CliRunner().invoke(main, ["destroy", "--stage=prod", "--force"])

    assert done.exit_code == 1
    assert "a secret in it needs a password, and none was given." in done.output
    assert "(tried " not in done.output


def test_the_destroy_phase_tells_a_wrong_password_before_anything_is_called() -> None:
    deploy(TEXT)

    with pytest.raises(WrongPasswordError):
        deploy(password="another", phase="destroy")

    assert called == []


def test_nothing_on_disk_shows_a_secret_or_the_password(folder: Path) -> None:
    deploy(TEXT)
    deploy("another one")

    said = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b'"$secret"' in said
    for text in (TEXT, "another one", "a password"):
        assert text.encode() not in said
