"""``alchemy completion``: what a shell needs to complete the command's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pytest_alchemy.cli.frame import Verb


@click.command(
    cls=Verb,
    short_help="Print what a shell needs to complete this command.",
    example='eval "$(alchemy completion bash)"          # in ~/.bashrc\n'
    'eval "$(alchemy completion zsh)"           # in ~/.zshrc, after compinit\n'
    "alchemy completion fish | source           # in ~/.config/fish/config.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that makes SHELL complete the verbs and options of this command."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "alchemy", "_ALCHEMY_COMPLETE").source())
