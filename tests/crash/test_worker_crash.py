"""Workers that die: the controller destroys what they left, and says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pytest_alchemy.state.keys import HOME_VARIABLE
from tests.support.world import World, section

# One worker waits for the other, but not for ever.
MEETING = """
import time
from kinds import HERE

def arrive(name):
    (HERE / name).touch()

def meet(name):
    give_up = time.monotonic() + 20
    while not (HERE / name).exists() and time.monotonic() < give_up:
        time.sleep(0.01)
"""

WAYS_TO_DIE = {
    "exit": "os._exit(3)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "ctypes.string_at(0)",
    "fork": "os.fork() or (time.sleep(1), os._exit(0)); os.kill(os.getpid(), signal.SIGKILL)",
    "thread": "threading.Thread(target=os._exit, args=(1,)).start(); time.sleep(60)",
}


@pytest.mark.parametrize("death", WAYS_TO_DIE)
def test_what_a_dead_worker_left_is_destroyed(
    pytester: pytest.Pytester, world: World, death: str
) -> None:
    pytester.makepyfile(
        test_crash=f"""
        import ctypes, os, signal, threading, time
        import pytest
        from kinds import AsyncFile, File, Note

        def test_before(alchemy_stage):
            alchemy_stage.create(File("stage"))

        @pytest.mark.parametrize("number", range(6))
        def test_fine(alchemy_scope, number):
            alchemy_scope.create(File("fine"))

        @pytest.mark.asyncio
        async def test_dies(alchemy_module, alchemy_stage, alchemy_scope):
            await alchemy_stage.acreate(File("stage"))
            await alchemy_module.acreate(AsyncFile("module"))
            await File("plain")
            await Note("memory")
            with alchemy_scope.run("inner"):
                await AsyncFile("nested")
            {WAYS_TO_DIE[death]}
        """
    )

    result = world.run_apart("-n2", "--alchemy-leaks=fail", plugins="xdist pytest_asyncio.plugin")

    result.assert_outcomes(passed=7, failed=1)
    assert world.left == []
    assert not world.state.exists()
    lines = section(result)
    reaped = sorted(line for line in lines if line.startswith("REAPED"))
    assert [line.split()[2] for line in reaped] == ["module", "nested", "plain", "stage"]
    assert "4 reaped, 0 leaked in shop/test-*" in lines[0]
    place = lines.index(next(line for line in lines if line.startswith("REAPED File plain")))
    assert lines[place].endswith("/test_crash.py::test_dies")
    assert "created by test_crash.py:16 test_dies [gw" in lines[place + 1]
    assert "] died in test_crash.py::test_dies; destroyed in" in lines[place + 2]
    assert "worker 'gw" in result.stdout.str()


def test_several_workers_may_die(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(meeting=MEETING)
    pytester.makepyfile(
        test_crash="""
        import os
        import pytest
        from kinds import File
        from meeting import arrive, meet

        # xdist gives the first two to one worker, the next two to the other.
        @pytest.mark.parametrize("me, other", [("a", "b"), ("c", ""), ("b", "a"), *[("d", "")] * 3])
        def test_one(alchemy_scope, me, other):
            alchemy_scope.create(File(me))
            if other:
                arrive(me)
                meet(other)
                os._exit(1)
        """
    )

    result = world.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(["=* 2 failed, 4 passed, 2 reaped in *"])
    assert world.left == []
    assert not world.state.exists()


def test_each_conftest_is_told_from_the_others_of_its_name(
    pytester: pytest.Pytester, world: World
) -> None:
    files = {
        "conftest": """
            import pytest
            from kinds import File, WORLD, log

            class Flag(File):
                \"\"\"A file with the name of its folder in it.\"\"\"

                def destroy(self):
                    log("FOLDER", self.id)
                    super().destroy()

            def lower(name):
                log("FOLDER", "lowers", name)

            @pytest.fixture
            def flag(alchemy_scope):
                alchemy_scope.defer(lower, "it")
                return alchemy_scope.create(Flag("flag"))
        """,
        "test_FOLDER": "import os\ndef test_it(flag):\n    if 'FOLDER' == 'north':\n        os._exit(1)\n",
    }
    for folder in ("north", "south"):
        (pytester.path / folder).mkdir()
        for name, text in files.items():
            file = pytester.path / folder / f"{name.replace('FOLDER', folder)}.py"
            file.write_text(textwrap.dedent(text).replace("FOLDER", folder))

    result = world.run_apart("-n1", plugins="xdist")

    result.assert_outcomes(passed=1, failed=1)
    assert world.left == []
    assert [line for line in world.log if line.startswith("north")] == [
        "north flag",
        "north lowers it",
    ]
    assert "2 reaped, 0 leaked in shop/test-*" in section(result)[0]


def test_an_answer_that_got_lost_is_looked_for(pytester: pytest.Pytester, world: World) -> None:
    pytester.makeconftest(
        """
        import os
        import time
        from kinds import WORLD, log
        from pytest_alchemy.resource import Resource

        class Lost(Resource):
            \"\"\"Dies between the provider's work and its answer.\"\"\"

            def create(self):
                (WORLD / self.name).write_text(self.id)
                os._exit(1)

            def read(self):
                return (WORLD / self.name).exists()

            def destroy(self):
                (WORLD / self.name).unlink()
                log("destroyed", self.id)

        class Late(Lost, kind="late", create_timeout=20):
            \"\"\"The provider finishes after its client died.\"\"\"

            needs: Resource | None = None

            def create(self):
                if os.fork() == 0:
                    time.sleep(1.5)  # the provider at work
                    (WORLD / self.name).write_text(self.id)
                os._exit(1)

        class Never(Lost, kind="never", create_timeout=0.5):
            \"\"\"The provider never got the request.\"\"\"

            def create(self):
                os._exit(1)
        """
    )
    pytester.makepyfile(
        test_crash="""
        import pytest
        from conftest import Late, Lost, Never
        from kinds import File

        def test_lost(alchemy_scope):
            alchemy_scope.create(Lost("lost"))

        def test_late(alchemy_scope):
            needed = alchemy_scope.create(File("needed"))
            alchemy_scope.create(Late("late", needs=needed))

        def test_never(alchemy_scope):
            alchemy_scope.create(Never("never"))
        """
    )

    result = world.run_apart("-n2", plugins="xdist")

    result.assert_outcomes(failed=3)
    assert world.left == []
    assert not world.state.exists()
    assert {"destroyed lost", "destroyed late", "destroy needed"} <= set(world.log)
    assert "destroyed never" not in world.log
    reaped = [line for line in section(result) if line.startswith("REAPED")]
    assert sorted(line.split()[2] for line in reaped) == ["late", "lost", "needed", "never"]


def test_a_run_does_not_wait_for_ever_for_what_may_still_appear(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(
        """
        import os
        import pytest_alchemy.plugin.controller as controller
        from kinds import WORLD
        from pytest_alchemy.resource import Resource

        controller.PATIENCE = 3.0

        class Late(Resource, create_timeout=40):
            def create(self):
                os._exit(1)

            def read(self):
                return (WORLD / self.name).exists()

            def destroy(self):
                (WORLD / self.name).unlink()
        """
    )
    pytester.makepyfile(
        test_crash="""
        from conftest import Late

        def test_late(alchemy_scope):
            alchemy_scope.create(Late("late"))
        """
    )

    started = time.monotonic()
    result = world.run_apart("-n1", plugins="xdist")
    took = time.monotonic() - started

    result.assert_outcomes(failed=1)
    lines = section(result)
    assert lines[0] == "0 created, 0 destroyed, 1 unfinished, 0 leaked in shop/test-*"
    assert lines[1].startswith("UNFINISHED Late late")
    assert "its create got no answer: it may still appear until" in lines[3]
    assert took < 30
    # It does appear, and the reaper is still there.
    [name] = re.findall(r"Late late \((\S+)\)", result.stdout.str())
    (world.path / name).write_text("late")
    give_up = time.monotonic() + 20
    while world.state.exists() and time.monotonic() < give_up:
        time.sleep(0.05)
    assert world.left == []
    assert not world.state.exists()


def test_what_is_still_being_destroyed_when_the_run_ends_is_told(
    pytester: pytest.Pytester, world: World
) -> None:
    pytester.makeconftest(
        """
        import pytest_alchemy.plugin.controller as controller

        controller.PATIENCE = 1.5
        """
    )
    pytester.makepyfile(
        test_crash="""
        import os
        import time
        from kinds import HERE, File, log

        class Slow(File):
            def destroy(self):
                give_up = time.monotonic() + 60
                while not (HERE / "answer").exists() and time.monotonic() < give_up:
                    time.sleep(0.05)
                super().destroy()

        def test_dies(alchemy_scope):
            alchemy_scope.create(File("first"))
            alchemy_scope.create(Slow("slow"))
            alchemy_scope.create(File("last"))
            os._exit(1)
        """
    )

    result = world.run_apart("-n1", "--max-worker-restart=0", plugins="xdist")

    lines = section(result)
    told = sorted(line.split(" (")[0] for line in lines if line.split()[0].isupper())
    assert told[-2:] == ["UNFINISHED File first", "UNFINISHED Slow slow"]
    assert "its destroy takes long and goes on without this run" in "\n".join(lines)
    (pytester.path / "answer").touch()
    give_up = time.monotonic() + 30
    while world.state.exists() and time.monotonic() < give_up:
        time.sleep(0.05)
    assert world.left == []


# xdist tells of a worker's end once as a rule, twice after an interrupt, and after an internal error never.
TELLS = """
import time
import pytest
from pytest_alchemy.plugin.controller import Controller
from kinds import log

told = Controller.pytest_testnodedown

@pytest.hookimpl(optionalhook=True)
def tell(self, node, error):
    for _ in range({times}):
        started = time.monotonic()
        told(self, node, error)
        log("blocked" if time.monotonic() - started > 1.5 else "at once")

Controller.pytest_testnodedown = tell
"""


@pytest.mark.parametrize("times", [0, 2])
def test_a_worker_is_reaped_once_however_often_its_end_is_told(
    pytester: pytest.Pytester, world: World, times: int
) -> None:
    pytester.makepyfile(
        tells=TELLS.replace("{times}", str(times)),
        test_crash="""
        import os
        import time
        from kinds import File

        class Slow(File):
            def destroy(self):
                time.sleep(2)
                super().destroy()

        def test_dies(alchemy_scope):
            alchemy_scope.create(Slow("it"))
            os._exit(1)
        """,
    )

    result = world.run_apart("-n1", "--max-worker-restart=0", "-p", "tells", plugins="xdist")

    # The loop of the controller is never kept waiting.
    assert world.log == ["create it", *["at once"] * times, "destroy it"]
    assert sum(line.startswith("REAPED Slow it") for line in section(result)) == 1
    assert world.left == []
    assert not world.state.exists()


def test_what_cannot_be_destroyed_is_told(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        test_crash="""
        import os
        from kinds import File, WORLD
        from pytest_alchemy.resource import Resource

        def undo(word):
            (WORLD / word).unlink()

        def test_dies(alchemy_scope):
            class Local(Resource):
                def create(self):
                    (WORLD / self.name).write_text(self.id)

                def destroy(self):
                    (WORLD / self.name).unlink()

            alchemy_scope.create(File("broken", broken=True))
            alchemy_scope.create(Local("local"))
            alchemy_scope.create(File("fine"))
            (WORLD / "thing").write_text("thing")
            alchemy_scope.defer(undo, "thing")
            alchemy_scope.defer(lambda: None)
            os._exit(1)
        """
    )

    result = world.run_apart("-n1", "--alchemy-leaks=fail", plugins="xdist")

    lines = section(result)
    heads = [line.partition(" (")[0].partition(" in ")[0] for line in lines]
    assert "LEAKED File broken" in heads
    assert "UNRECOVERABLE Local local" in heads
    assert "REAPED File fine" in heads
    assert "REAPED deferred undo('thing')" in heads
    assert any(head.startswith("UNRECOVERABLE deferred") for head in heads)
    assert "RuntimeError: the disk is on fire" in "\n".join(lines)
    assert "it is defined inside a function" in "\n".join(lines)
    assert world.left == ["broken", "local"]
    assert world.state.exists()


def test_a_stage_that_cannot_be_read_is_told(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        test_crash="""
        import os
        from kinds import File, HERE

        def test_dies(alchemy_scope):
            alchemy_scope.create(File("db"))
            [journal] = (HERE / ".alchemy").glob("*/*/.journal/*.jsonl")
            journal.write_bytes(journal.read_bytes().replace(b'"db"', b'"bd"'))
            os._exit(1)
        """
    )

    result = world.run_apart("-n1", "--alchemy-leaks=fail", plugins="xdist")

    lines = section(result)
    assert lines[0].endswith(" 1 unrecoverable, 0 leaked in shop/test-*")
    assert lines[1].startswith("UNRECOVERABLE stage test-gw0-*")
    assert "gw0.jsonl" in lines[2]
    assert world.left == ["db"]


def test_a_module_that_kills_its_reaper_is_told(pytester: pytest.Pytester, world: World) -> None:
    pytester.makepyfile(
        test_crash="""
        import os
        import sys
        from kinds import WORLD
        from pytest_alchemy.resource import Resource

        if "pytest" not in sys.modules:
            os._exit(5)

        class Thing(Resource):
            def create(self):
                (WORLD / self.name).write_text(self.id)
                os._exit(1)

            def destroy(self): pass

        def test_dies(alchemy_scope):
            alchemy_scope.create(Thing("thing"))
        """
    )

    result = world.run_apart("-n1", plugins="xdist")

    assert "ended with exit code 5" in "\n".join(section(result))
    assert world.left == ["thing"]


def test_reaping_twice_is_quiet(
    pytester: pytest.Pytester, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(pytester.path / "home"))
    pytester.makepyfile(
        test_crash="""
        import os
        import pytest
        from kinds import File

        def test_dies(alchemy_scope):
            for number in range(20):
                alchemy_scope.create(File(str(number)))
            os._exit(1)
        """
    )
    pytester.makeconftest(
        """
        from pytest_alchemy.recovery.process import Watch

        Watch.guard = lambda *arguments, **options: None  # nobody else reaps here
        """
    )
    world.run_apart()
    [folder] = world.state.glob("shop/test-*")

    several = [_reap(folder) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in several]
    later = _reap(folder)
    later.communicate(timeout=60)

    lines = [json.loads(line) for text in said for line in text.splitlines()]
    assert [process.returncode for process in [*several, later]] == [0, 0, 0, 0]
    assert all(line["what"] == "reaped" for line in lines)
    assert sum(line == "destroy 7" for line in world.log) == 1
    assert world.left == []
    assert not world.state.exists()


def _reap(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest_alchemy.recovery", "30", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
