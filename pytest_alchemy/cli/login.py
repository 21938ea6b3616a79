"""``alchemy login``: check a token and keep it for a profile."""

from __future__ import annotations

import re
import sys

import click

from pytest_alchemy.cli.accounts import PROVIDER, profile_option, until
from pytest_alchemy.cli.configure import checked
from pytest_alchemy.cli.frame import Verb, say
from pytest_alchemy.cloudflare.credentials import (
    ACCOUNT_VARIABLE,
    TOKEN_VARIABLE,
    find_credentials,
)
from pytest_alchemy.cloudflare.tokens import accounts, verify
from pytest_alchemy.home import configure, credentials_file, settings_of, write_json


@click.command(
    cls=Verb,
    short_help="Check a token and keep it for a profile.",
    example="alchemy login                                  # asks for the token\n"
    "alchemy login --profile ci --token-stdin < token.txt",
)
@profile_option
@click.option(
    "--account-id", metavar="ID", help="The account.  [default: the configured or only one]"
)
@click.option(
    "--token-stdin", is_flag=True, help="Read the token from standard input instead of asking."
)
def login(profile: str, account_id: str | None, token_stdin: bool) -> None:
    """
    Check a Cloudflare API token and keep it for a profile.

    The token is asked for without being shown; it is no argument, because others can read those of a running command.
    It is kept in a file that nobody else may read, once Cloudflare has said that it works.
    """
    api_token = _token(from_stdin=token_stdin)
    settings = settings_of(profile, PROVIDER)
    account = account_id or settings.get("account_id", "")
    token = verify(api_token, checked(account) if account else "")
    account = account or _only_account(api_token)
    file = credentials_file(profile, PROVIDER)
    write_json(file, {"api_token": api_token, "account_id": account})
    configure(profile, PROVIDER, {**settings, "account_id": account})
    say(f"Profile {profile} may use account {account}; token {token.id} works {until(token)}.")
    say(f"It is kept in {file}.")
    if find_credentials(profile).api_token != api_token:
        say(f"{TOKEN_VARIABLE} and {ACCOUNT_VARIABLE} are set here, and go before it.", fg="yellow")


def _token(*, from_stdin: bool) -> str:
    if from_stdin:
        text = sys.stdin.read()
    elif sys.stdin.isatty():
        text = click.prompt("API token", hide_input=True, err=True)
    else:
        raise click.UsageError(
            "Without a terminal to ask on, give the token on standard input: --token-stdin."
        )
    token: str = text.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise click.UsageError(
            "That is no token: it is empty, or has spaces or other letters in it."
        )
    return token


def _only_account(api_token: str) -> str:
    found = accounts(api_token)
    if len(found) == 1:
        return next(iter(found))
    listed = "".join(f"\n  {id}  {name}" for id, name in found.items())
    raise click.UsageError(
        f"The token can see {len(found)} accounts; say which one this profile is for: --account-id ID.{listed}"
    )
