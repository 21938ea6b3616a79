"""``alchemy configure``: say which account a profile is for."""

from __future__ import annotations

import re
import shlex
import sys

import click

from pytest_alchemy.cli.accounts import PROVIDER, profile_option
from pytest_alchemy.cli.frame import Verb, say
from pytest_alchemy.home import config_file, settings_of
from pytest_alchemy.home import configure as write_settings


@click.command(
    cls=Verb,
    short_help="Say which account a profile is for.",
    example="alchemy configure --profile ci --account-id 0123456789abcdef0123456789abcdef",
)
@profile_option
@click.option("--account-id", metavar="ID", help="The account.  [default: asked for]")
def configure(profile: str, account_id: str | None) -> None:
    """
    Say which Cloudflare account a profile is for.

    Nothing secret is asked for or written; the token comes with alchemy login.
    """
    settings = settings_of(profile, PROVIDER)
    if account_id is None:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "Without a terminal to ask on, name the account: --account-id ID."
            )
        account_id = click.prompt("Account id", default=settings.get("account_id"), err=True)
    write_settings(profile, PROVIDER, {**settings, "account_id": checked(account_id)})
    say(f"Profile {profile} is for account {account_id}, says {config_file()}.")
    say(f"Next: alchemy login --profile {shlex.quote(profile)}")


def checked(account_id: str) -> str:
    """
    Return *account_id*.

    Raises:
        click.BadParameter: It cannot be one.
    """
    if not re.fullmatch(r"[0-9a-f]{32}", account_id):
        raise click.BadParameter(
            f"{account_id!r} is no account id: those have 32 digits 0-9 and a-f, and stand in the address of "
            "the dashboard.",
            param_hint="--account-id",
        )
    return account_id
