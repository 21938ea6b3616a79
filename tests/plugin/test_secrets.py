"""Secrets in a run: nobody sees them, and every process of the run can use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.world import World, world

__all__ = ["world"]

TEXT = "correct horse battery"

VAULTS = """
import os

from kinds import WORLD, log
from pytest_alchemy import Resource, Secret, alchemy, output


class Vault(Resource):
    token: Secret
    broken: bool = False
    session: Secret = output()

    def create(self):
        (WORLD / self.name).write_text(self.id)
        self.session = alchemy.secret(self.token.value + "!")
        log("create", self.id)
        if self.broken:
            raise RuntimeError(f"no access with {self.token.value}")

    def destroy(self):
        if self.broken:
            raise RuntimeError(f"no access with {self.token.value}")
        (WORLD / self.name).unlink(missing_ok=True)
        log("destroy", self.id, "with", self.session.value == os.environ["TOKEN"] + "!")


def vault(id, **more):
    return Vault(id, token=alchemy.secret(os.environ["TOKEN"]), **more)
"""


@pytest.fixture(autouse=True)
def vaults(pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner module ``vaults``, whose secret is in the environment."""
    pytester.makepyfile(vaults=VAULTS)
    monkeypatch.setenv("TOKEN", TEXT)


def files_with_secrets(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if TEXT.encode() in path.read_bytes()]


def test_no_report_traceback_or_record_shows_a_secret(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import logging
        from vaults import vault

        def test_fails(alchemy_scope):
            made = alchemy_scope.create(vault("kept"))
            token = made.token
            print(made, vars(made), token)
            logging.getLogger("app").warning("made %s with %s", made, token)
            assert made.token == made.session

        def test_leaks(alchemy_scope):
            made = alchemy_scope.create(vault("leaked"))
            made.broken = True
        """
    )

    result = world.run_apart(
        "-vv", "--showlocals", "--alchemy-keep=failed", "--alchemy-report=reports"
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*secret(~~~) == secret(~~~)*".replace("~", "[*]"),
            "LEAKED Vault leaked*",
            "*no access with [*][*][*]*",
        ]
    )
    assert TEXT not in result.stdout.str() + result.stderr.str()
    assert world.state.exists()
    assert files_with_secrets(pytester.path) == []


def test_what_a_dead_worker_left_is_destroyed_with_its_secrets(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import os
        from vaults import vault

        def test_dies(alchemy_scope):
            alchemy_scope.create(vault("a"))
            os._exit(1)
        """
    )

    result = world.run_apart("-n1", "--max-worker-restart=0", plugins="xdist")

    result.stdout.fnmatch_lines(["*1 created, 0 destroyed, 1 reaped*"])
    assert world.left == []
    assert world.log == ["create a", "destroy a with True"]


def test_workers_share_the_secrets_of_what_they_share(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest
        from vaults import vault

        @pytest.mark.parametrize("number", range(4))
        def test_shared(alchemy_app, number):
            made = alchemy_app.create(vault("shared"))
            assert made.token.value == os.environ["TOKEN"]
            assert made.session.value == os.environ["TOKEN"] + "!"
        """
    )

    result = world.run_apart("-n2", "--dist=each", plugins="xdist")

    result.assert_outcomes(passed=8)
    assert world.log == ["create shared", "destroy shared with True"]
