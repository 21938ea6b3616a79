"""What is recorded of a secret, and who can open it."""

from __future__ import annotations

import base64
import builtins
import hashlib
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_alchemy.errors import (
    CryptographyMissingError,
    NoPasswordError,
    SecretUnreadableError,
    WrongPasswordError,
)
from pytest_alchemy.records import Vault
from pytest_alchemy.sealed import PasswordKey, Sealer, key_of_run
from pytest_alchemy.secret import Secret

KEY = b"k" * 32
PATH, ID = ("backend",), "server-web"
TEXT = "correct horse battery"


def sealer(key: bytes = KEY, *, app: str = "shop", stage: str = "prod") -> Sealer:
    return Sealer(app, stage, lambda: key)


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """Return *data* as it comes back from a record."""
    found = msgspec.json.decode(msgspec.json.encode(sealer().seal(PATH, ID, data)))
    assert isinstance(found, dict)
    return found


def opened(text: dict[str, Any], by: Sealer, *, path: Any = PATH, id: str = ID) -> str:
    [secret] = by.unseal(path, id, text).values()
    assert isinstance(secret, Secret)
    return secret.value


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.builds(Secret, st.text()),
    lambda inside: st.lists(inside) | st.dictionaries(st.sampled_from("abc"), inside),
)


@settings(deadline=None)  # a busy machine makes single examples slow
@given(st.dictionaries(st.sampled_from("xyz"), DATA))
def test_what_was_sealed_opens_to_the_same(data: dict[str, Any]) -> None:
    assert sealer().unseal(PATH, ID, sealed(data)) == data


def test_a_record_shows_nothing_of_a_secret_and_not_that_two_are_alike() -> None:
    first = sealed({"token": Secret(TEXT), "also": [Secret(TEXT)]})
    again = sealed({"token": Secret(TEXT)})

    assert TEXT not in str(first)
    assert base64.b64encode(TEXT.encode()).decode()[:12] not in str(first)
    assert first["token"] not in (first["also"][0], again["token"])


def test_data_without_secrets_is_left_as_it_is() -> None:
    data = {"size": 1, "tags": ["a", {"b": None}]}

    assert Sealer("shop", "prod", unasked).seal(PATH, ID, data) is data
    assert Sealer("shop", "prod", unasked).unseal(PATH, ID, data) is data


def test_an_authors_dict_that_looks_like_a_sealed_secret_is_none() -> None:
    data = {"plain": {"$dict": {"$secret": "just a word"}}}

    assert sealer().unseal(PATH, ID, sealed(data)) == data


def unasked() -> bytes:
    raise AssertionError("the key was asked for")


def test_no_key_is_asked_for_before_a_value_is() -> None:
    secret = Sealer("shop", "prod", unasked).unseal(PATH, ID, sealed({"token": Secret(TEXT)}))

    assert str(secret) == "{'token': secret(***)}"
    with pytest.raises(AssertionError, match="asked for"):
        _ = secret["token"].value


@pytest.mark.parametrize(
    "open_elsewhere",
    [
        pytest.param(lambda text: opened(text, sealer(app="blog")), id="application"),
        pytest.param(lambda text: opened(text, sealer(stage="dev")), id="stage"),
        pytest.param(lambda text: opened(text, sealer(), path=("frontend",)), id="scope"),
        pytest.param(lambda text: opened(text, sealer(), id="server-api"), id="resource"),
        pytest.param(lambda text: opened({"other": text["token"]}, sealer()), id="field"),
        pytest.param(lambda text: opened(text, sealer(b"x" * 32)), id="key"),
        pytest.param(
            lambda text: opened(
                {"token": {"$secret": text["token"]["$secret"][:-8] + "AAAAAAA="}}, sealer()
            ),
            id="edited",
        ),
        pytest.param(lambda text: opened({"token": {"$secret": "?"}}, sealer()), id="no base64"),
    ],
)
def test_a_secret_opens_only_where_it_was_sealed(
    open_elsewhere: Callable[[dict[str, Any]], str],
) -> None:
    text = sealed({"token": Secret(TEXT)})
    assert opened(text, sealer()) == TEXT

    with pytest.raises(SecretUnreadableError):
        open_elsewhere(text)


def test_what_cannot_be_opened_is_named_with_what_to_do() -> None:
    with pytest.raises(SecretUnreadableError) as caught:
        opened(sealed({"token": Secret(TEXT)}), sealer(b"x" * 32))

    assert str(caught.value) == (
        "The secret 'token' of server-web in shop/prod cannot be opened: it was sealed by another user or on another "
        "machine,\nor somebody moved or edited it in the state. Declare it anew, under another id."
    )


# The stage of a test.


def test_every_run_has_a_key_of_its_own_that_every_process_of_the_user_finds() -> None:
    keys = {
        key_of_run(user, app, stage)
        for user in (KEY, b"u" * 32)
        for app, stage in (
            ("shop", "test-gw0-k3f9x2ab"),
            ("shop", "test-gw0-zzzzzzzz"),
            ("blog", "t"),
        )
    }

    assert len(keys) == 6
    assert {len(key) for key in keys} == {32}
    assert key_of_run(KEY, "shop", "t") == key_of_run(KEY, "shop", "t")


# A lasting stage.


class Keeper:
    """Keeps the vault, and counts how often a password is stretched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vault: Vault | None = None
        self.stretched = 0
        real = hashlib.scrypt

        def counted(*args: Any, **kwargs: Any) -> bytes:
            self.stretched += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(hashlib, "scrypt", counted)

    def keep(self, vault: Vault) -> None:
        self.vault = vault

    def process(self, password: str | None) -> Sealer:
        """Return the sealer of another process."""
        return Sealer("shop", "prod", PasswordKey("shop/prod", password, self.vault, self.keep))


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    return Keeper(monkeypatch)


def test_another_process_opens_it_with_the_same_password(keeper: Keeper) -> None:
    text = keeper.process("a password").seal(PATH, ID, {"token": Secret(TEXT)})

    assert opened(text, keeper.process("a password")) == TEXT


def test_a_process_stretches_its_password_once_and_only_for_a_secret(keeper: Keeper) -> None:
    process = keeper.process("a password")
    process.seal(PATH, ID, {"size": 1})
    assert keeper.stretched == 0

    for number in range(100):
        text = process.seal(PATH, ID, {"token": Secret(f"{TEXT} {number}")})
        assert opened(text, process) == f"{TEXT} {number}"

    assert keeper.stretched == 1


def test_the_vault_holds_neither_the_key_nor_the_password(keeper: Keeper) -> None:
    keeper.process("a password").check()

    assert keeper.vault is not None
    assert (keeper.vault.n, keeper.vault.r, keeper.vault.p) == (2**15, 8, 3)
    assert len(keeper.vault.salt) == 16
    assert len(keeper.vault.key) == 12 + 32 + 16  # nonce, sealed key, tag


def test_a_wrong_password_is_told_at_once(keeper: Keeper) -> None:
    keeper.process("a password").check()

    with pytest.raises(WrongPasswordError) as caught:
        keeper.process("another").check()

    assert str(caught.value) == (
        "The password is not the one that the secrets of stage shop/prod were sealed with.\n"
        "Give that one. Without any, what needs no secret can still be destroyed."
    )


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_password_nothing_is_sealed(keeper: Keeper, nothing: str | None) -> None:
    with pytest.raises(NoPasswordError) as caught:
        keeper.process(nothing).seal(PATH, ID, {"token": Secret(TEXT)})

    assert str(caught.value) == (
        "Stage shop/prod outlives its programs, so a secret in it needs a password, and none was given.\n"
        'Give it in the program: alchemy("my-app", password=os.environ["ALCHEMY_PASSWORD"]). Only commands that run '
        "no program, such as alchemy destroy, look at ALCHEMY_PASSWORD themselves."
    )
    assert keeper.vault is None


def test_without_the_library_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, module)
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(name=name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(CryptographyMissingError) as caught:
        sealer().check()

    assert str(caught.value) == (
        "A secret is to be recorded, and the library that encrypts it is not installed.\n"
        "Install it: pip install 'pytest-alchemy[secrets]'"
    )
