"""``alchemy profile``: what profiles there are, and whether they work."""

from __future__ import annotations

import click

from pytest_alchemy.cli.accounts import (
    PROVIDER,
    ProfileName,
    profile_called,
    until,
    validated,
)
from pytest_alchemy.cli.frame import Verb, VerbGroup, json_option, print_json, say, sentence
from pytest_alchemy.errors import AlchemyError
from pytest_alchemy.home import profiles

_name = click.argument(
    "name", type=ProfileName(), envvar="ALCHEMY_PROFILE", default="default", required=False
)


@click.group(
    cls=VerbGroup,
    short_help="List, show and validate profiles.",
    example="alchemy profile list\nalchemy profile validate prod",
)
def profile() -> None:
    """
    List, show and validate profiles.

    A profile is a name for credentials; NAME is that of ALCHEMY_PROFILE, else default, if it is left out.
    """


@profile.command("list", cls=Verb, example="alchemy profile list --json")
@json_option
def list_(as_json: bool) -> None:
    """List the profiles of this user on this machine."""
    found = [profile_called(name) for name in profiles()]
    if as_json:
        print_json([each.document() for each in found])
    for each in () if as_json else found:
        state = each.problem or ("logged in" if each.logged_in else "not logged in")
        click.echo(f"{each.name}  {PROVIDER} account {each.account_id or '?'}, {state}")
    if not found:
        say("There are no profiles. Make one: alchemy login")


@profile.command(cls=Verb, example="alchemy profile show prod")
@_name
@json_option
def show(name: str, as_json: bool) -> None:
    """Show what is known of profile NAME; never its token."""
    found = profile_called(name)
    if as_json:
        print_json(found.document())
        return
    click.echo(f"profile   {found.name}")
    click.echo(f"provider  {PROVIDER}")
    click.echo(f"account   {found.account_id or 'not configured'}")
    in_file = f"cannot be used: {found.problem}" if found.problem else f"in {found.file}"
    click.echo(f"token     {in_file if found.logged_in else 'none, not logged in'}")


@profile.command(cls=Verb, example="alchemy profile validate prod && alchemy deploy --profile prod")
@_name
@json_option
@click.pass_context
def validate(ctx: click.Context, name: str, as_json: bool) -> None:
    """
    Ask the provider whether the credentials of profile NAME work.

    Exit code 0: they do. 1: they are missing, expired or refused, or nobody could say; the reason is told.
    """
    try:
        credentials, token = validated(name)
    except AlchemyError as error:
        if not as_json:
            raise
        print_json({"profile": name, "valid": False, "reason": sentence(error)})
        ctx.exit(1)
    if as_json:
        expires = token.expires.isoformat() if token.expires else None
        said = {"account_id": credentials.account_id, "token_id": token.id, "expires": expires}
        print_json({"profile": name, "valid": True, **said})
    else:
        click.echo(f"Profile {name} works with account {credentials.account_id}, {until(token)}.")
