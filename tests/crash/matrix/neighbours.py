"""The neighbours: plugins and tests that replace what everybody else stands on."""

from __future__ import annotations

from .row import MODES, Mode, Row, Step

# The first test ends, the second one dies: both while the neighbour is at work.
PROGRAM = """
async def make(scope):
    await scope.acreate(File("file"))
    await scope.acreate(AsyncFile("async-file"))
    await scope.acreate({third}("third"))

{marks}
async def test_ends(alchemy_scope{fixtures}):
    {body}
    await make(alchemy_scope)
    assert False

{marks}
async def test_ends_in_death(alchemy_scope{fixtures}):
    {body}
    await make(alchemy_scope)
    await areach("made")
    os._exit(7)
"""


def _neighbour(
    name: str,
    *,
    head: str = "",
    marks: str = "",
    fixtures: str = "",
    body: str = "",
    plugins: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    needs: str = "",
    needs_program: str = "",
    conftest: str = "",
    asynchronous: bool = True,
    modes: tuple[Mode, ...] = MODES,
    fails: tuple[tuple[str, str], ...] = (),
) -> Row:
    return Row(
        name=name,
        program=PROGRAM,
        head=head,
        marks=marks,
        fixtures=fixtures,
        body=body,
        plugins=plugins,
        options=options,
        needs=needs,
        conftest=conftest,
        steps=(Step("made", "answer", everywhere=False),),
        codes=(7,),
        codes_n2=(1,),
        thin=True,
        needs_program=needs_program,
        styles=("sync", "async") if asynchronous else ("sync",),
        modes=modes,
        fails=fails,
    )


DJANGO = """
from django.conf import settings

def pytest_configure():
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[])
"""

# The system's own browser; in a container it has no sandbox.
PLAYWRIGHT = """
import shutil
import pytest

@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    browser = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"]}
    return {**browser_type_launch_args, **browser}
"""

ALL = (
    _neighbour(
        "freezegun",
        head="from freezegun import freeze_time",
        marks="@freeze_time('2001-01-01')",
        needs="freezegun",
    ),
    _neighbour(
        "time-machine",
        head="import time_machine",
        marks="@time_machine.travel('2001-01-01', tick=False)",
        needs="time_machine",
    ),
    _neighbour("pyfakefs", fixtures="fs", plugins=("pyfakefs.pytest_plugin",), needs="pyfakefs"),
    _neighbour(
        "pytest-socket",
        plugins=("pytest_socket",),
        options=("--disable-socket", "--allow-unix-socket"),
        needs="pytest_socket",
    ),
    # Not even a loop can be opened then, so nobody can run asyncio tests, nor coroutine hooks in a worker of xdist.
    _neighbour(
        "pytest-socket-without-unix",
        plugins=("pytest_socket",),
        options=("--disable-socket",),
        needs="pytest_socket",
        asynchronous=False,
        modes=("serial",),
    ),
    _neighbour(
        "pytest-randomly",
        plugins=("pytest_randomly",),
        options=("--randomly-seed=1", "--randomly-dont-reorganize"),
        needs="pytest_randomly",
    ),
    _neighbour(
        "pytest-django",
        marks="@pytest.mark.django_db(transaction=True)",
        plugins=("pytest_django.plugin",),
        conftest=DJANGO,
        needs="pytest_django",
    ),
    _neighbour(
        "pytest-playwright",
        fixtures="page",
        body="page.set_content('<p>here</p>')\nassert page.inner_text('p') == 'here'",
        plugins=("pytest_playwright.pytest_playwright",),
        conftest=PLAYWRIGHT,
        needs="pytest_playwright",
        needs_program="chromium",
        asynchronous=False,
    ),
    _neighbour(
        "hypothesis",
        head="""
        from hypothesis import HealthCheck, given, settings, strategies

        twice = settings(
            max_examples=5, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        """,
        marks="@twice\n@given(value=strategies.integers())",
        fixtures="value",
        body="await alchemy_scope.acreate(File(f'file-{value % 3}'))",
        needs="hypothesis",
    ),
    _neighbour(
        "respx-mocks-of-the-user",
        head="""
        import httpx, respx
        from pytest_alchemy.cloudflare import KVNamespace
        """,
        marks="@respx.mock",
        body="""
        respx.get("https://example.org/").respond(418)
        assert httpx.get("https://example.org/").status_code == 418
        await alchemy_scope.acreate(KVNamespace("kv"))
        """,
    ),
    _neighbour(
        "home-replaced",
        fixtures="monkeypatch",
        body="monkeypatch.setenv('HOME', '/nonexistent')",
    ),
    _neighbour(
        "environment-emptied",
        fixtures="monkeypatch",
        body="for name in list(os.environ): monkeypatch.delenv(name)",
    ),
    _neighbour(
        "working-directory-removed",
        fixtures="monkeypatch, tmp_path",
        body="monkeypatch.chdir(tmp_path)\ntmp_path.rmdir()",
    ),
)
