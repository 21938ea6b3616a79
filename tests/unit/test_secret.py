"""A secret shows nothing unless it is asked."""

from __future__ import annotations

import copy
import dataclasses
import gc
import logging
from typing import Any

import pytest

from pytest_alchemy import Env, Resource, Secret, alchemy, output
from pytest_alchemy.errors import InvalidPropertyError
from pytest_alchemy.lifecycle import summary
from pytest_alchemy.secret import without_secrets

TEXT = "correct horse battery"


@dataclasses.dataclass
class Login:
    user: str
    password: Secret


class Server(Resource):
    """Takes secrets wherever they may stand."""

    token: Secret | None = None
    tokens: dict[str, Secret] = {}  # noqa: RUF012  # every object gets a copy
    login: Login | None = None
    address: Env | None = None
    size: int = 1
    session: Secret = output()

    def create(self) -> None:
        self.session = alchemy.secret(f"{TEXT} session")

    def destroy(self) -> None: ...


def test_it_gives_its_text_to_whoever_asks() -> None:
    assert alchemy.secret(TEXT).value == TEXT


def test_nothing_that_prints_it_shows_its_text(caplog: pytest.LogCaptureFixture) -> None:
    secret = alchemy.secret(TEXT)
    logging.getLogger("app").error("using %s and %r", secret, {"token": secret})

    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret, caplog.text]  # noqa: UP031

    assert TEXT not in "".join(shown)
    assert shown[0] == "secret(***)"
    assert repr(Login("ada", secret)) == "Login(user='ada', password=secret(***))"


def test_it_equals_a_secret_with_the_same_text_and_nothing_else() -> None:
    secret = alchemy.secret(TEXT)

    assert secret == alchemy.secret(TEXT)
    assert hash(secret) == hash(alchemy.secret(TEXT))
    assert secret != alchemy.secret("another")
    assert secret != TEXT
    assert copy.deepcopy({"a": secret}) == {"a": secret}


@pytest.mark.parametrize("wrong", [b"correct horse", None, 4711])
def test_what_is_no_text_is_refused_without_being_shown(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        alchemy.secret(wrong)

    assert str(caught.value) == f"A secret is text, not {type(wrong).__name__}."


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {"token": TEXT},
            "Server 'web': property 'token' has to be Secret | None, not str.\n"
            "Wrap its text: alchemy.secret(...).",
        ),
        (
            {"tokens": {"a": TEXT}},
            "Server 'web': property \"tokens['a']\" has to be Secret, not str.\n"
            "Wrap its text: alchemy.secret(...).",
        ),
        (
            {"tokens": [TEXT]},
            "Server 'web': property 'tokens' has to be dict[str, Secret], not list.",
        ),
        (
            {"login": {"user": "ada", "password": TEXT}},
            "Server 'web': property 'login' has to be Login | None, not dict.",
        ),
        (
            {"login": Login("ada", TEXT)},  # type: ignore[arg-type]  # the mistake
            "Server 'web': property 'login.password' has to be Secret, not str.\n"
            "Wrap its text: alchemy.secret(...).",
        ),
        (
            {"address": f"postgres://ada:{TEXT}@db"},
            "Server 'web': property 'address' has to be Env | None, not str.\n"
            'Name the variable that holds it: alchemy.env("...").',
        ),
        ({"size": "big"}, "Server 'web': property 'size' has to be int, not str ('big')."),
    ],
)
def test_a_text_in_the_place_of_a_secret_or_a_variable_is_refused_without_being_shown(
    properties: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidPropertyError) as caught:
        Server("web", **properties)

    assert str(caught.value) == message


def test_an_error_that_quotes_a_secret_is_recorded_without_it() -> None:
    secret = alchemy.secret(TEXT)

    told = summary(ConnectionError(f"no access for ada:{secret.value}@db\nto {secret.value}"))

    assert told == "ConnectionError: no access for ada:***@db to ***"


def test_a_secret_inside_another_one_hides_nothing_of_the_longer_one() -> None:
    secrets = [alchemy.secret("correct"), alchemy.secret("correct horse")]

    assert without_secrets("is it correct horse or correct?") == "is it *** or ***?"
    assert len(secrets) == 2


def test_the_shortest_secrets_do_not_blank_out_everything() -> None:
    secrets = [alchemy.secret("a"), alchemy.secret("")]

    assert without_secrets("quagga zebra") == "quagga zebra"
    assert len(secrets) == 2


def test_a_secret_that_nobody_holds_any_more_blanks_out_nothing() -> None:
    secret = alchemy.secret("okapi-3141")
    assert without_secrets("okapi-3141 quagga") == "*** quagga"

    del secret
    gc.collect()

    assert without_secrets("okapi-3141 quagga") == "okapi-3141 quagga"
