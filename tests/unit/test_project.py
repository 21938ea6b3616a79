"""What pyproject.toml says in two places, it says alike."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def pyproject() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


def test_the_extra_and_the_group_for_developers_are_the_same(pyproject: dict[str, Any]) -> None:
    assert (
        pyproject["project"]["optional-dependencies"]["dev"]
        == pyproject["dependency-groups"]["dev"]
    )


def test_every_python_that_is_promised_is_in_the_range(pyproject: dict[str, Any]) -> None:
    listed = [
        text.rpartition(" ")[2]
        for text in pyproject["project"]["classifiers"]
        if text.startswith("Programming Language :: Python :: 3.")
    ]

    assert pyproject["project"]["requires-python"] == f">={listed[0]}"
    assert pyproject["tool"]["mypy"]["python_version"] == listed[0]
    assert pyproject["tool"]["ruff"]["target-version"] == "py" + listed[0].replace(".", "")
