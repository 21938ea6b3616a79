"""The command's streams: there, able to take any text, and never in the way of the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


def complete_streams() -> None:
    """
    Give this process the streams that it was started without, and let standard output take every character.

    Without them the next file that is opened, a journal say, would get what others print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 # for as long as we live
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def show(text: str, *, fg: str | None = None, err: bool = False) -> None:
    """
    Print *text* on standard output, or with *err* on standard error.

    What cannot be printed (nobody reads the pipe any more, the disk is full) is lost, and so is all that follows:
    it is no reason to stop a deployment half-way.
    """
    try:
        click.secho(text, fg=fg, err=err)
    except OSError:
        _point_nowhere((sys.stderr if err else sys.stdout).fileno())


@contextmanager
def kept_for_document(as_json: bool) -> Iterator[None]:
    """
    Keep standard output for the one JSON document that follows, if there is to be one.

    What a program or a hook prints meanwhile, and what they start, goes to standard error.
    """
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _point_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
