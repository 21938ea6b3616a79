"""A second Ctrl-C that lands in pytest's own code, where no hook sees it: what is left is told and handed over."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.support.world import World

# The controller gets the second one before it has begun to end the run; the worker while it tears down.
INTERRUPTED_TWICE = """
import os, signal, time
import pytest
from kinds import HERE

def again():
    give_up = time.monotonic() + 30
    while not (HERE / "goes").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    os.killpg(0, signal.SIGINT)
    time.sleep(1)

class Between:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self):
        try:
            return (yield)
        except KeyboardInterrupt:
            if "{place}" == "on the way out":
                again()
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self):
        if "{place}" == "in a hook":
            again()

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Between())
"""


@pytest.mark.parametrize("place", ["on the way out", "in a hook"])
def test_the_second_one_hands_over_wherever_it_lands_in_the_controller(
    pytester: pytest.Pytester, world: World, place: str
) -> None:
    pytester.makeconftest(INTERRUPTED_TWICE.replace("{place}", place))
    pytester.makepyfile(
        """
        import os, signal, sys, time
        from kinds import HERE, File

        class Slow(File):
            def destroy(self):
                if "pytest" in sys.modules:
                    (HERE / "goes").touch()
                    time.sleep(60)
                super().destroy()

        def test_one(alchemy_scope):
            alchemy_scope.create(File("first"))
            alchemy_scope.create(Slow("slow"))
            os.killpg(0, signal.SIGINT)
            time.sleep(60)
        """
    )

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-palchemy", "-pxdist", "-pno:cacheprovider", "-n1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )

    assert run.returncode in (pytest.ExitCode.INTERRUPTED, -2)
    assert "UNFINISHED Slow slow" in run.stdout
    assert "REAPED" not in run.stdout
    give_up = time.monotonic() + 30
    while world.state.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert world.left == []
