"""SIGTERM ends a run that uses scopes as Ctrl-C does, and stays everybody else's where it was theirs."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from pytest_alchemy.plugin.signals import end_on_sigterm
from tests.support.world import World

GETS_IT = """
import os, signal
from kinds import File

def test_gets_it(alchemy_scope):
    alchemy_scope.create(File("it"))
    os.kill(os.getpid(), signal.SIGTERM)

def test_later():
    pass
"""


@pytest.mark.parametrize(("options", "code"), [((), 143), (("--alchemy-no-sigterm",), -15)])
def test_it_ends_the_run_unless_that_is_turned_off(
    pytester: pytest.Pytester, world: World, options: tuple[str, ...], code: int
) -> None:
    pytester.makepyfile(GETS_IT)

    result = world.run_apart(*options)

    assert result.ret == code
    give_up = time.monotonic() + 30  # for the watchdog, where nobody else could do it
    while world.state.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert world.left == []


def test_one_that_comes_when_the_run_is_over_ends_the_process_without_a_word(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(
        """
        import os, signal

        def pytest_unconfigure():
            os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    pytester.makepyfile("def test_it(alchemy_scope): pass")

    result = world.run_apart()

    assert result.ret == -signal.SIGTERM
    assert "Traceback" not in result.stderr.str()
    result.assert_outcomes(passed=1)


def test_a_second_one_while_pytest_deals_with_the_first_changes_nothing(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(
        """
        import os, signal

        def pytest_keyboard_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    pytester.makepyfile(GETS_IT)

    result = world.run_apart()

    assert result.ret == 143
    assert "Traceback" not in result.stderr.str()
    result.stdout.fnmatch_lines(["1 created, 1 destroyed, 0 leaked in shop/test-*"])
    assert world.left == []


@pytest.mark.parametrize("place", ["body", "destroy"])
def test_it_ends_the_run_although_something_goes_on_after_any_error(
    pytester: pytest.Pytester, world: World, place: str
) -> None:
    pytester.makepyfile(
        f"""
        import os, signal
        from kinds import File, log

        def get_it():
            if not os.path.exists("sent"):
                open("sent", "w").close()
                os.kill(os.getpid(), signal.SIGTERM)

        class Slow(File):
            def destroy(self):
                get_it()
                super().destroy()

        def test_gets_it(alchemy_scope):
            alchemy_scope.create(Slow("it"))
            if {place == "body"}:
                try:
                    get_it()
                except Exception:
                    log("went on")

        def test_later():
            log("later")
        """
    )

    result = world.run_apart()

    assert result.ret == 143
    assert [line for line in world.log if line != "went on"] == ["create it", "destroy it"]
    assert world.left == []


def test_it_stops_a_worker_in_order(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(GETS_IT)

    result = world.run_apart("-n1", plugins="xdist")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert world.log == ["create it", "destroy it"]
    assert not world.state.exists()


def test_a_handler_of_somebody_else_stays(pytester: pytest.Pytester, world: World) -> None:
    pytester.makeconftest(
        """
        import signal
        from kinds import log

        signal.signal(signal.SIGTERM, lambda number, frame: log("somebody else's"))
        """
    )
    pytester.makepyfile(GETS_IT)

    result = world.run_apart()

    result.assert_outcomes(passed=2)
    assert world.log == ["create it", "somebody else's", "destroy it"]


def test_a_forked_child_of_a_test_dies_of_it(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        """
        import os, signal, time

        def test_forks(alchemy_scope):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(writing, b".")  # a signal that comes before would be lost with the fork
                while True:
                    time.sleep(0.01)
            os.read(reading, 1)
            os.kill(child, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        """
    )

    world.run_apart().assert_outcomes(passed=1)


def test_the_default_is_back_after_the_run(pytester: pytest.Pytester, world: World) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pytester.makepyfile(
        """
        import signal

        def test_it(alchemy_scope):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        """
    )

    try:
        world.run().assert_outcomes(passed=1)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_nothing_is_handled(request: pytest.FixtureRequest) -> None:
    before = signal.getsignal(signal.SIGTERM)

    thread = threading.Thread(target=end_on_sigterm, args=(request.config,))
    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGTERM) is before
