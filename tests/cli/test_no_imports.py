"""What only commands and programs need is not imported by anybody's tests."""

from __future__ import annotations

import pytest

from tests.support.world import World, world

__all__ = ["world"]

CONFTEST = """
import sys

def pytest_unconfigure(config):
    heavy = {"click", "rich", "pytest_alchemy.cli", "pytest_alchemy.programs"} & set(sys.modules)
    print("IMPORTED", sorted(heavy))
"""

TESTS = """
from kinds import File

def test_leaks(alchemy_scope):
    alchemy_scope.create(File("bad", broken=True))

def test_keeps(alchemy_scope):
    alchemy_scope.create(File("kept"))
    assert 0
"""


def test_no_test_run_imports_what_commands_and_programs_need(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)

    result = world.run_apart("--alchemy-keep=failed")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["clean up: alchemy sweep --yes", "*IMPORTED []"])
