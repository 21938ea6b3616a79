"""The kinds that ``--provider`` names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from pytest_alchemy.errors import KindNotLoadedError
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.loading import load_kind
from pytest_alchemy.records import KindSeen
from pytest_alchemy.resource import Resource

_FAMILIES: Final = {"cloudflare": "pytest_alchemy.cloudflare"}


def kinds_of(words: Iterable[str]) -> tuple[Kind, ...]:
    """
    Return the kinds that *words* name, each once.

    Args:
        words: ``cloudflare`` for all of Cloudflare's, ``package.module:Class`` or ``path/to/file.py:Class``.

    Raises:
        click.BadParameter: One names no resource class.
    """
    kinds: dict[Kind, None] = {}
    for word in words:
        family = _FAMILIES.get(word)
        kinds.update(dict.fromkeys(_family(family) if family else [_one(word)]))
    return tuple(kinds)


def _family(package: str) -> list[Kind]:
    module = import_module(package)
    found = (getattr(module, name) for name in dir(module) if not name.startswith("_"))
    classes = [each for each in found if isinstance(each, type) and issubclass(each, Resource)]
    return [kind_of(cls) for cls in classes if "list" in kind_of(cls).hooks]


def _one(word: str) -> Kind:
    module, colon, name = word.rpartition(":")
    if not (colon and module and name):
        raise click.BadParameter(
            f"{word!r} names no kind. Say cloudflare, package.module:Class or path/to/file.py:Class.",
            param_hint="--provider",
        )
    file = ""
    if module.endswith(".py"):
        file = os.path.abspath(module)
        module = Path(file).stem
        _make_importable(os.path.dirname(file))
    _make_importable(os.getcwd())
    try:
        return load_kind(KindSeen("", module, file, name))
    except KindNotLoadedError as error:
        raise click.BadParameter(str(error), param_hint="--provider") from error


def _make_importable(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
