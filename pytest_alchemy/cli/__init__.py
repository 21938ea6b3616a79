"""
The command ``alchemy``: one verb per module, imported when it is called.

No test run imports this package or what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from pytest_alchemy.cli.frame import VerbGroup, telling_failures, uncoloured
from pytest_alchemy.cli.streams import complete_streams

_VERBS: Final = {
    "completion": "pytest_alchemy.cli.completion",
    "configure": "pytest_alchemy.cli.configure",
    "deploy": "pytest_alchemy.cli.deploy",
    "destroy": "pytest_alchemy.cli.destroy",
    "dev": "pytest_alchemy.cli.dev",
    "fake": "pytest_alchemy.cli.fake",
    "login": "pytest_alchemy.cli.login",
    "logout": "pytest_alchemy.cli.logout",
    "profile": "pytest_alchemy.cli.profile",
    "run": "pytest_alchemy.cli.deploy",
    "state": "pytest_alchemy.cli.state",
    "sweep": "pytest_alchemy.cli.sweep",
    "unlock": "pytest_alchemy.cli.unlock",
}
"""The module of each verb; its command has the verb's name."""


class _Verbs(VerbGroup):
    """A group that imports a verb's module when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command = getattr(import_module(_VERBS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches  # click itself has not seen the verbs

            near = get_close_matches(args[0], _VERBS, 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        complete_streams()
        with telling_failures():
            return super().invoke(ctx)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    example="alchemy sweep",
)
@click.version_option(package_name="pytest-alchemy", prog_name="alchemy")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Look after what tests and programs made outside their own process."""
    ctx.color = uncoloured()
