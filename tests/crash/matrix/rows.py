"""The rows: every way for a run to end that nothing may leak in."""

from __future__ import annotations

import random
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM

from .row import MODES, STYLES, Row, Step, Target

GO = Step("made", "answer")
HANG = "await areach('made')"
"""The test waits for an answer that never comes."""

TIMEOUT = ("pytest_timeout",)
MADE = """
@pytest.fixture
def made(alchemy_stage, alchemy_module, alchemy_scope):
    alchemy_stage.create(File("stage"))
    alchemy_module.create(AsyncFile("module"))
    alchemy_scope.create(File("first"))
    if "D1Database" in globals():  # the first one imports what all others use
        alchemy_scope.create(D1Database("warm"))
    reach("made")
"""
"""Makes things before the time of a test begins to run, however busy the machine is."""

# What a test does to itself, once its things exist.
OWN_DOING = (
    Row(name="assertion", body="await areach('made')\nassert False", steps=(GO,)),
    Row(
        name="setup-error-after-create",
        head="""
        @pytest.fixture
        def broken(alchemy_scope):
            alchemy_scope.create(File("in-fixture"))
            reach("made")
            raise RuntimeError("the rest of the fixture")
        """,
        fixtures="broken",
        steps=(GO,),
    ),
    Row(
        name="create-made-but-answer-lost",
        thin=True,
        body="await areach('made')\nawait alchemy_scope.acreate(AnswerLost('lost'))",
        steps=(GO,),
    ),
    Row(
        name="other-teardown-raises",
        thin=True,
        head="""
        @pytest.fixture
        def before():
            yield
            raise RuntimeError("torn down after our scope")

        @pytest.fixture
        def after(alchemy_scope):
            yield
            raise RuntimeError("torn down before our scope")
        """,
        fixtures="before, after",
        body=HANG,
        steps=(GO,),
    ),
    Row(
        name="pytest-exit",
        thin=True,
        body="await areach('made')\npytest.exit('enough', returncode=9)",
        steps=(GO,),
        codes=(9,),
        codes_n2=(1, 2, 3, 9),
    ),
    Row(
        name="timeout-signal",
        head=MADE,
        fixtures="made",
        body="await asyncio.sleep(30)",
        marks="@pytest.mark.timeout(2, method='signal', func_only=True)",
        plugins=TIMEOUT,
        steps=(GO,),
    ),
    Row(
        name="timeout-thread",
        head=MADE,
        fixtures="made",
        body="await asyncio.sleep(30)",
        marks="@pytest.mark.timeout(2, method='thread', func_only=True)",
        plugins=TIMEOUT,
        steps=(GO,),
    ),
    Row(
        name="os-exit",
        body="await areach('made')\nos._exit(7)",
        steps=(GO,),
        codes=(7,),
        codes_n2=(1,),
    ),
    Row(
        name="segfault",
        body="await areach('made')\nctypes.string_at(0)",
        steps=(GO,),
        codes=(-11,),
        codes_n2=(1,),
    ),
    Row(
        name="conftest-kind-os-exit",
        thin=True,
        conftest="""
import things

class Local(things.File):
    pass
""",
        head="from conftest import Local",
        body="await alchemy_scope.acreate(Local('local'))\nawait areach('made')\nos._exit(7)",
        steps=(GO,),
        codes=(7,),
        codes_n2=(1,),
    ),
)

# What comes from outside.
SIGNALS = (
    Row(
        name="sigkill-worker",
        body=HANG,
        steps=(Step("made", SIGKILL, "worker"),),
        codes=(-9,),
        codes_n2=(1,),
    ),
    Row(name="sigkill-session", body=HANG, steps=(Step("made", SIGKILL),), codes=(-9,)),
    Row(name="sigkill-group", body=HANG, steps=(Step("made", SIGKILL, "group"),), codes=(-9,)),
    Row(name="sigint-session", body=HANG, steps=(Step("made", SIGINT),), codes=(2,)),
    Row(
        name="sigint-group",
        body=HANG,
        steps=(Step("made", SIGINT, "group"),),
        codes=(2,),
    ),
    Row(
        name="sigkill-everybody",
        thin=True,
        body=HANG,
        steps=(Step("made", SIGKILL, "everybody"),),
        codes=(-9,),
        heir=True,
    ),
    Row(
        name="sigkill-everybody-during-create",
        thin=True,
        body="await alchemy_scope.acreate(AsyncStopping('it', stop='after-create'))",
        steps=(Step("after-create", SIGKILL, "everybody"),),
        codes=(-9,),
        heir=True,
    ),
    # However long ago it began, and however long ago its time was over.
    Row(
        name="living-run-of-old",
        thin=True,
        conftest="""
import os
from pytest_alchemy import clock

if "MATRIX_NEXT" not in os.environ:
    now = clock.now
    clock.now = lambda: now() - 7 * 86400
""",
        body="await areach('made')\nassert False",
        steps=(Step("made", "run another"),),
    ),
    Row(
        name="sigint-twice",
        head="""
        @pytest.fixture
        def slow(alchemy_scope):
            alchemy_scope.create(SlowToGo("slow", seconds=1))
        """,
        fixtures="slow",
        body=HANG,
        steps=(
            Step("made", SIGINT, "group"),
            Step("going", SIGINT, "group"),
        ),
        codes=(2, -2),
        within=8.0,
        lines=(r"[1-9]\d* unfinished, 0 leaked in m\w+/test-", "UNFINISHED SlowToGo slow"),
    ),
    Row(name="sigterm-session", body=HANG, steps=(Step("made", SIGTERM),), codes=(143,)),
    Row(
        name="sigterm-group",
        body=HANG,
        steps=(Step("made", SIGTERM, "group"),),
        codes=(143,),
    ),
    Row(name="sighup-session", body=HANG, steps=(Step("made", SIGHUP),), codes=(-1,)),
    Row(
        name="sighup-group",
        body=HANG,
        steps=(Step("made", SIGHUP, "group"),),
        codes=(-1,),
    ),
    Row(
        name="terminal-closed", thin=True, body=HANG, steps=(Step("made", "hang up"),), codes=(-1,)
    ),
)


def _kill_during(place: str, body: str, *, census: bool) -> Row:
    return Row(
        name=f"sigkill-{place}",
        body=body,
        steps=(Step(place, SIGKILL, "group", census=census),),
        codes=(-9,),
        thin=True,
    )


# The stage's own things are there already, so the census sees something at each place.
IN_FLIGHT = (
    *(
        _kill_during(
            place, f"await alchemy_scope.acreate(AsyncStopping('it', stop='{place}'))", census=True
        )
        for place in ("before-create", "after-create")
    ),
    *(
        _kill_during(
            place,
            f"await alchemy_scope.acreate(AsyncStopping('it', stop='{place}'))\n"
            f"await alchemy_scope.acreate(AsyncStopping('it', stop='{place}', version=2))",
            census=True,
        )
        for place in ("before-update", "after-update")
    ),
    *(
        _kill_during(
            place, f"await alchemy_scope.acreate(AsyncStopping('it', stop='{place}'))", census=True
        )
        for place in ("before-destroy", "after-destroy")
    ),
    Row(
        name="create-ends-3s-after-its-client",
        thin=True,
        body="await alchemy_scope.acreate(Late('late'))",
        steps=(Step("asked", SIGKILL, "group"),),
        codes=(-9,),
        notes=("served",),
        within=10.0,
    ),
    Row(
        name="create-ends-after-a-failed-test",
        thin=True,
        body="await alchemy_scope.acreate(Late('late', seconds=1.5, meet=False))",
        notes=("served",),
        within=12.0,
    ),
)

SLOW = (
    Row(
        name="teardown-of-13s-under-ctrl-c",
        body="await alchemy_scope.acreate(AsyncSlowToGo('slow', seconds=13))\nawait areach('made')",
        steps=(Step("made", SIGINT, "group"), Step("going", "answer", census=False)),
        codes=(2,),
        within=25.0,
        modes=("n2",),
        thin=True,
    ),
    Row(
        name="destroy-fails-twice",
        body="await alchemy_scope.acreate(Reluctant('reluctant', times=2))\nassert False",
        thin=True,
    ),
    Row(
        name="destroy-hangs",
        marks="@pytest.mark.alchemy(teardown_timeout=6)",
        body="await alchemy_scope.acreate(AsyncSlowToGo('stuck', seconds=3600))\nassert False",
        steps=(Step("going", "answer"),),
        left=("file stuck",),
        lines=("LEAKED (Async)?SlowToGo stuck",),
        stage_gone=False,
        modes=("serial",),
        limit=20.0,
    ),
    # The controller tries again when the workers are gone, and that hangs as well.
    Row(
        name="destroy-hangs-in-workers",
        marks="@pytest.mark.alchemy(teardown_timeout=6)",
        body="await alchemy_scope.acreate(AsyncSlowToGo('stuck', seconds=3600))\nassert False",
        steps=(Step("going", "answer"),),
        left=("file stuck",),
        lines=("LEAKED (Async)?SlowToGo stuck",),
        stage_gone=False,
        modes=("n2",),
        cleaners=60.0,
        soak=True,
    ),
)

# Nothing is made that cannot be recorded.
FULL_DISK = """
import resource

async def test_full(alchemy_scope):
    await alchemy_scope.acreate(File("first"))
    [journal] = pathlib.Path(".alchemy").glob("*/*/.journal/*.jsonl")
    size = journal.stat().st_size
    sys.dont_write_bytecode = True  # Python would keep half of it
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + {room}, resource.RLIM_INFINITY))
    try:
        for number in range(10):
            await alchemy_scope.acreate(File("second", text=str(number)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        note("made", len(os.listdir("world")))
    pytest.fail("it was made without a record")
"""
DISK = (
    *(
        Row(
            name=f"disk-full-after-{room}-bytes",
            program=FULL_DISK.replace("{room}", str(room)).replace(
                "async def", "{mark}\nasync def"
            ),
            notes=("made 1",),
            lines=("JournalWriteError",),
            modes=("serial",),
        )
        for room in (0, 40)
    ),
    Row(
        name="journal-unwritable",
        thin=True,
        program="""
        {mark}
        async def test_unwritable(alchemy_scope):
            try:
                await alchemy_scope.acreate(File("first"))
            finally:
                note("made", len(os.listdir("world")))
        """,
        options=("--alchemy-root=/dev/null/state",),
        notes=("made 0",),
        lines=("/dev/null/state",),
        styles=("sync",),
    ),
)

CRASH_ONCE = "await areach('made')\nif once('crash'): os._exit(7)"
FAILING = """
@pytest.mark.parametrize("number", range(6))
{mark}
async def test_fails(alchemy_scope, number):
    await alchemy_scope.acreate(File("it"))
    assert number % 2
"""

ORDER = (
    Row(name="first-failure", program=FAILING, thin=True, options=("-x",), codes_n2=(1, 2)),
    Row(name="maxfail", program=FAILING, thin=True, options=("--maxfail=2",), codes_n2=(1, 2)),
    Row(
        name="last-failed",
        program=FAILING,
        thin=True,
        before=(),
        options=("--lf",),
        lines=("3 failed",),
    ),
    Row(name="no-cacheprovider", program=FAILING, thin=True, options=("-p", "no:cacheprovider")),
    Row(
        name="reruns",
        thin=True,
        program=FAILING,
        plugins=("pytest_rerunfailures",),
        options=("--reruns=2",),
        lines=("3 failed, 3 passed, .*6 rerun",),
    ),
    Row(
        name="no-xdist",
        body="await areach('made')\nos._exit(7)",
        steps=(GO,),
        codes=(7,),
        modes=("serial",),
        autoload=True,
        options=("-p", "no:xdist"),
    ),
    *(
        Row(
            name=f"dist-{dist}",
            program="""
            @pytest.mark.parametrize("number", range(6))
            {mark}
            async def test_crash(alchemy_stage, alchemy_scope, number):
                await alchemy_stage.acreate(File("stage"))
                await alchemy_scope.acreate(File("own"))
                if number == 1 and once("crash"):
                    await areach("made")
                    os._exit(7)
            """,
            steps=(Step("made", "answer", everywhere=False),),
            options=(f"--dist={dist}",),
            modes=("n2",),
            styles=("sync",),
            lines=("REAPED File own", "0 leaked"),
            # xdist 3.8 waits for ever when every worker that could take a group has crashed.
            may_hang=dist == "loadgroup",
            limit=20.0 if dist == "loadgroup" else 60.0,
        )
        for dist in ("load", "loadscope", "loadfile", "loadgroup", "worksteal")
    ),
    Row(
        name="no-worker-restart",
        thin=True,
        body=CRASH_ONCE,
        steps=(Step("made", "answer"),),
        options_n2=("--max-worker-restart=0",),
        modes=("n2",),
    ),
    Row(
        name="subtests",
        thin=True,
        program="""
        {mark}
        async def test_subtests(alchemy_scope, subtests):
            for number in range(3):
                with subtests.test(number=number):
                    await alchemy_scope.acreate(File(f"it-{number}"))
                    assert number != 1
        """,
    ),
    Row(
        name="class",
        thin=True,
        program="""
        class TestThings:
            {mark}
            async def test_one(self, alchemy_class, alchemy_scope):
                await alchemy_class.acreate(File("class"))
                await alchemy_scope.acreate(File("own"))
                assert False

            {mark}
            async def test_two(self, alchemy_class, alchemy_scope):
                await alchemy_class.acreate(File("class"))
                await areach("made")
                os._exit(7)
        """,
        steps=(Step("made", "answer", everywhere=False),),
        codes=(7,),
        codes_n2=(1,),
    ),
    Row(
        name="unittest",
        thin=True,
        program="""
        import unittest

        @pytest.mark.alchemy
        class TestThings(unittest.TestCase):
            def test_fails(self):
                alchemy.current().create(File("it"))
                self.fail()

            def test_dies(self):
                alchemy.current().create(File("it"))
                reach("made")
                os._exit(7)
        """,
        steps=(Step("made", "answer", everywhere=False),),
        codes=(7,),
        codes_n2=(1,),
        styles=("sync",),
    ),
)

DATABASE = """
from postgres_database import PostgresDatabase

{mark}
async def test_database(alchemy_scope):
    template = await alchemy_scope.acreate(PostgresDatabase("template", server=alchemy.env("PGSERVER")))
    await alchemy_scope.acreate(PostgresDatabase("db", server=template.server, template=template))
    connection = template.connect()
    await areach("made")
    {body}
"""
POSTGRES = tuple(
    Row(
        name=f"postgres-{name}",
        program=DATABASE.replace("{body}", body),
        steps=(step,),
        codes=codes,
        codes_n2=codes_n2,
        postgres=True,
        thin=True,
    )
    for name, body, step, codes, codes_n2 in (
        ("assertion", "assert False", Step("made", "answer", everywhere=False), (1,), (1,)),
        ("os-exit", "os._exit(7)", Step("made", "answer", everywhere=False), (7,), (1,)),
        ("sigint", "", Step("made", SIGINT, "group", everywhere=False), (2,), (2,)),
        ("sigkill", "", Step("made", SIGKILL, "group", everywhere=False), (-9,), (-9,)),
    )
)

BUSY = """
@pytest.mark.parametrize("number", range(300))
{mark}
async def test_busy(alchemy_stage, alchemy_module, alchemy_scope, number):
    await alchemy_stage.acreate(Busy("stage", version=number))
    await alchemy_module.acreate(AsyncFile("module"))
    if once(f"begun-{os.getpid()}"):
        tell("begun")
    await alchemy_scope.acreate(Busy("first"))
    await alchemy_scope.acreate(AsyncFile("second"))
    await alchemy_scope.acreate(Busy("first", version=2))
    await alchemy_scope.aremove(await alchemy_scope.acreate(Busy("third")))
"""


def at_random(count: int) -> tuple[Row, ...]:
    """Return *count* rows in each of which something is killed at an instant that nothing announces."""
    return tuple(map(_at_random, range(count)))


def _at_random(number: int) -> Row:
    chance = random.Random(number)
    mode, style = MODES[number % 2], STYLES[number // 2 % 2]
    victims: tuple[Target, ...] = ("session", "group", "worker")
    victim = chance.choice(victims)
    return Row(
        name=f"sigkill-{victim}-at-random-{number}",
        program=BUSY,
        steps=(Step("begun", SIGKILL, victim, after=chance.uniform(0.0, 1.0)),),
        codes=(-9,),
        codes_n2=(1,) if victim == "worker" else (-9,),
        modes=(mode,),
        styles=(style,),
    )


ALL = (*OWN_DOING, *SIGNALS, *IN_FLIGHT, *SLOW, *DISK, *ORDER, *POSTGRES)
