"""``alchemy logout``: forget the token of a profile."""

from __future__ import annotations

import click

from pytest_alchemy.cli.accounts import profile_option
from pytest_alchemy.cli.frame import Verb, say
from pytest_alchemy.home import forget, profiles


@click.command(
    cls=Verb,
    short_help="Forget the token of a profile.",
    example="alchemy logout --profile ci\nalchemy logout --all",
)
@profile_option
@click.option("--all", "everyone", is_flag=True, help="Forget the tokens of all profiles.")
def logout(profile: str, everyone: bool) -> None:
    """
    Remove the token of a profile from this machine.

    Which account it is for stays configured. The token itself goes on to work: delete it in the provider's dashboard
    if somebody may have seen it.
    """
    gone = [file for name in (profiles() if everyone else [profile]) for file in forget(name)]
    for file in gone:
        say(f"Removed {file}.")
    if not gone:
        say("Nobody is logged in." if everyone else f"Profile {profile} is not logged in.")
