"""``alchemy fake``: serve a fake Cloudflare account over HTTP."""

from __future__ import annotations

import shlex
import signal
from typing import TYPE_CHECKING

import click

from pytest_alchemy.cli.frame import Verb, say
from pytest_alchemy.cloudflare.fake import FakeAccount

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake.http_door import HttpDoor


@click.command(
    cls=Verb,
    short_help="Serve a fake Cloudflare account over HTTP.",
    example="alchemy fake                                  # in memory, at any free port\n"
    "alchemy fake --port 8787 --account account.db # kept in a file",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port to listen at.  [default: any that is free]",
)
@click.option(
    "--account",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="File that keeps the account, the same as for --alchemy-fake-account.  [default: in memory]",
)
@click.option("--account-id", metavar="ID", help="32 hexadecimal digits.  [default: random]")
@click.option("--api-token", metavar="T", help="Token that callers send.  [default: random]")
def fake(
    host: str, port: int, account: str | None, account_id: str | None, api_token: str | None
) -> None:
    """
    Serve a fake Cloudflare account for clients that are not Python: wrangler, the TypeScript SDK, curl.

    Prints its base URL, then the variables that make wrangler and the SDKs use it, and serves until Ctrl-C or
    SIGTERM. A file keeps its id and its token.
    """
    try:
        served = FakeAccount(account, account_id=account_id, api_token=api_token)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--account-id") from error
    try:
        door = opened(served, host, port)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: door.stop())
        introduce(door, variables_of(served, door))
        where = f"in {served.path}" if served.path else "in memory"
        say(f"Serving the fake account {where} until Ctrl-C.")
        door.serve()
    finally:
        served.close()


def opened(account: FakeAccount, host: str, port: int) -> HttpDoor:
    """
    Return the door of *account*, which listens already.

    Raises:
        click.ClickException: The extra ``serve`` is not installed, or nothing can listen there.
    """
    try:
        from pytest_alchemy.cloudflare.fake.http_door import HttpDoor
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        raise click.ClickException(
            "alchemy fake needs uvicorn, which is not installed.\n"
            "Install it: pip install 'pytest-alchemy[serve]'"
        ) from error
    try:
        return HttpDoor(account.handle, host, port)
    except OSError as error:
        raise click.ClickException(
            f"Nothing can be served at {host}, port {port}: {error.strerror or error}.\n"
            "Choose another with --host and --port; without --port any free one is taken."
        ) from error


def variables_of(account: FakeAccount, door: HttpDoor) -> dict[str, str]:
    """Return what has to be in the environment of a client; clients differ in the variable that they read."""
    return {
        "CLOUDFLARE_API_BASE_URL": door.base_url,
        "CLOUDFLARE_BASE_URL": door.base_url,
        "CLOUDFLARE_ACCOUNT_ID": account.account_id,
        "CLOUDFLARE_API_TOKEN": account.api_token,
    }


def introduce(door: HttpDoor, variables: dict[str, str]) -> None:
    """Print the base URL, then what a shell has to export."""
    click.echo(door.base_url)
    for variable, value in variables.items():
        click.echo(f"export {variable}={shlex.quote(value)}")
