"""A test that fails shows the lines of those who wrote it."""

from __future__ import annotations

import re

import pytest

from pytest_alchemy.kinds import kind_of
from pytest_alchemy.tracebacks import are_noise
from tests.support.world import World

FAILING = """
import pytest
from kinds import AsyncFile, File
from pytest_alchemy.cloudflare import D1Database

class Bad(File):
    def create(self):
        raise ValueError("no server")  # in plain

class AsyncBad(AsyncFile):
    async def create(self):
        raise ValueError("no server")  # in async

class Parent(File):
    def create(self):
        self.scope.create(Bad("child"))  # in a parent

@pytest.mark.parametrize("kind", [Bad, AsyncBad, Parent])
def test_create(alchemy_scope, kind):
    alchemy_scope.create(kind("bad"))

@pytest.mark.asyncio
async def test_await(alchemy_scope):
    await AsyncBad("bad")

def test_changed(alchemy_scope):
    alchemy_scope.create(File("file"))
    alchemy_scope.create(File("file", broken=True))

def test_query(alchemy_scope):
    alchemy_scope.create(D1Database("db")).query("SELEC 1")

def test_remove(alchemy_scope):
    alchemy_scope.remove(File("file"))

@pytest.mark.asyncio
async def test_no_scope():
    await File("file")

class Stays(File):
    def destroy(self):
        pytest.fail("still busy")

def test_destroy(alchemy_scope):
    alchemy_scope.create(Stays("stays"))

@pytest.mark.asyncio
async def test_destroy_in_a_loop(alchemy_scope):
    await Stays("stays")

def test_destroy_of_all(alchemy_module):
    alchemy_module.create(Stays("stays"))
"""

OURS = re.compile(r"pytest_alchemy[/\\](\w+[/\\])*\w+\.py")


def test_our_frames_are_left_out(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(test_it=FAILING)

    result = world.run_apart("-p", "no:warnings", plugins="pytest_asyncio.plugin")

    result.assert_outcomes(failed=8, passed=3, errors=3)
    assert OURS.findall(result.stdout.str()) == []
    lines = FAILING.splitlines()
    out = result.stdout.str()
    for text, error in (
        ("# in plain", "ValueError"),
        ("# in async", "ValueError"),
        ("broken=True", r"[\w.]*ChangedWithinRunError"),
        ("SELEC 1", r"[\w.]*CloudflareError"),
        ("alchemy_scope.remove", r"[\w.]*NotOwnedError"),
        ('    await File("file")', r"[\w.]*NoScopeError"),
        ("still busy", "Failed"),
    ):
        [number] = [at for at, line in enumerate(lines) if text in line]
        assert re.search(rf"^test_it\.py:{number}: {error}$", out, re.MULTILINE), text


def test_all_frames_are_there_on_demand(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(test_it=FAILING)

    result = world.run_apart("-k", "test_changed", "--full-trace")

    assert OURS.search(result.stdout.str())


def test_our_own_mistakes_show_where_they_are() -> None:
    with pytest.raises(AttributeError) as caught:
        kind_of(int)  # type: ignore[arg-type]  # as a mistake would

    assert not are_noise(caught)
