"""A test that empties the environment before its first scope: what it leaves is still this user's."""

from __future__ import annotations

import pytest

from tests.support.world import NO_WATCHDOG, World, section

DIES = """
import os
from kinds import File, log

def test_empties(monkeypatch, request):
    for name in list(os.environ):
        monkeypatch.delenv(name)
    request.getfixturevalue("alchemy_scope").create(File("left"))
    log("home", os.environ.get("HOME"))
    os._exit(3)

def test_uses(alchemy_scope):
    alchemy_scope.create(File("fine"))
"""
FIRST_SCOPE_ASKED_FOR_IN_THE_TEST = """
import pytest

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.name == "test_empties"]
"""


@pytest.fixture(params=["collected", "asked for in the test"])
def dies(pytester: pytest.Pytester, world: World, request: pytest.FixtureRequest) -> World:
    """Return a world with a test that dies, in a session that knows of scopes beforehand, or does not."""
    pytester.makepyfile(test_dies=DIES)
    if request.param == "asked for in the test":
        pytester.makeconftest(FIRST_SCOPE_ASKED_FOR_IN_THE_TEST)
    return world


def test_the_controller_reaps_what_a_worker_left(dies: World) -> None:
    result = dies.run_apart("-n1", "--max-worker-restart=0", plugins="xdist")

    assert dies.log == ["create left", "home None", "destroy left"]
    assert dies.left == []
    assert not dies.state.exists()
    assert section(result)[1].startswith("REAPED File left")


def test_the_next_run_reaps_what_a_session_left(pytester: pytest.Pytester, dies: World) -> None:
    pytester.makepyfile(no_watchdog=NO_WATCHDOG, test_next="def test_next(alchemy_scope): pass")
    dies.run_apart("-p", "no_watchdog", "test_dies.py")
    left = dies.left
    (pytester.path / "conftest.py").unlink(missing_ok=True)

    result = dies.run_apart("test_next.py")

    assert left == ["left"]
    assert dies.left == []
    assert section(result)[1].startswith("REAPED File left")
