"""Profiles on the command line, and what is known of the account of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from pytest_alchemy.cloudflare.credentials import Credentials, find_credentials
from pytest_alchemy.cloudflare.errors import CredentialsError
from pytest_alchemy.cloudflare.tokens import Token, verify
from pytest_alchemy.errors import InvalidNameError
from pytest_alchemy.home import credentials_file, settings_of
from pytest_alchemy.names import check_name

if TYPE_CHECKING:
    _ToName = click.ParamType[str]
else:  # not every version of click that we take can be asked for the type
    _ToName = click.ParamType

PROVIDER: Final = "cloudflare"


class ProfileName(_ToName):
    """The name of a profile."""

    name = "profile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_name("a profile", value)
        except InvalidNameError as error:
            self.fail(str(error), param, ctx)


profile_option = click.option(
    "--profile",
    type=ProfileName(),
    envvar="ALCHEMY_PROFILE",
    default="default",
    show_default=True,
    show_envvar=True,
    help="The profile.",
)
"""The option ``--profile`` of commands about one profile."""


@dataclass(frozen=True, slots=True)
class Profile:
    """
    What is known of a profile without asking anybody.

    Attributes:
        name: Its name.
        account_id: Id of its account; empty if that is not configured.
        logged_in: Whether there is a token.
        file: Where the token is, or would be.
        problem: Why it cannot be used, empty if nothing is known against it.
    """

    name: str
    account_id: str
    logged_in: bool
    file: str
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "profile": self.name,
            "provider": PROVIDER,
            "account_id": self.account_id or None,
            "logged_in": self.logged_in,
            "file": self.file,
            "problem": self.problem or None,
        }


def profile_called(name: str) -> Profile:
    """
    Return what is known of the profile called *name*.

    Raises:
        HomeFileError: The settings of all profiles cannot be read.
    """
    file = credentials_file(name, PROVIDER)
    account_id, problem = settings_of(name, PROVIDER).get("account_id", ""), ""
    if file.exists():
        try:
            account_id = find_credentials(name).account_id
        except CredentialsError as error:
            problem = error.reason
    return Profile(name, account_id, file.exists(), str(file), problem)


def validated(name: str) -> tuple[Credentials, Token]:
    """
    Return the credentials of the profile called *name*, and what Cloudflare says of the token.

    Raises:
        CredentialsError: There are none.
        TokenRefusedError: The token does not work.
        CloudflareUnreachableError, CloudflareError: Cloudflare did not answer, or not as expected.
    """
    credentials = find_credentials(name)
    return credentials, verify(credentials.api_token, credentials.account_id)


def until(token: Token) -> str:
    """Return until when *token* works."""
    return f"until {token.expires:%Y-%m-%d %H:%M %Z}" if token.expires else "without an end"
