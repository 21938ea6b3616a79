"""Each example runs with the command in its README, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
READMES = sorted(EXAMPLES.glob("*/README.md"))
LIMIT = 120.0  # seconds

KILLED_AFTER_CREATE = """
import asyncio, json, os, pathlib, signal
from postgres_database import PostgresDatabase

def test_whose_worker_is_killed(database):
    with database.connect() as connection:
        connection.execute("INSERT INTO orders (reference, total) VALUES ('A-1', 5)")
        alive = [name for name in asyncio.run(PostgresDatabase.list())]
        pathlib.Path(os.environ["ALIVE"]).write_text(json.dumps(alive))
        os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_DURING_CREATE = """
import asyncio, json, os, pathlib, signal
import psycopg
from postgres_database import PostgresDatabase

def test_whose_worker_is_killed(monkeypatch, alchemy_scope, template):
    async def send_and_die(self, command):
        server = await psycopg.AsyncConnection.connect(self.server.value, autocommit=True)
        server.pgconn.send_query(command.as_bytes(server))
        while server.pgconn.flush():
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    alive = [name for name in asyncio.run(PostgresDatabase.list())]
    pathlib.Path(os.environ["ALIVE"]).write_text(json.dumps(alive))
    monkeypatch.setattr(PostgresDatabase, "_on_server", send_and_die)
    alchemy_scope.create(PostgresDatabase("cut-off", server=template.server, template=template))
"""


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run *command* in the repository, as from a shell of its own."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**inherited, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def run_pytest(*args: str, state: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugins that the wheel brings, as its users have them: others take most of the time."""
    options = ["-p", "no:cacheprovider", "--alchemy-root", str(state), "--alchemy-leaks=fail"]
    plugins = ["-p", "alchemy", "-p", "xdist", "-p", "asyncio"]
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return run([sys.executable, "-m", "pytest", *args, *options, *plugins], **variables)


def databases_of(app: str, url: str) -> list[str]:
    """Return which databases of *app* are on the server, whoever made them."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT datname FROM pg_database").fetchall()
    return [name for (name,) in found if app in name]


@pytest.fixture
def app() -> str:
    """The name of an application that nobody else on the server has; short enough to stand in each name whole."""
    return f"ex{secrets.token_hex(3)}"


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_command_in_the_readme_runs_the_example(
    readme: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    commands = re.findall(r"^    (?:\w+=\S+ )?pytest (.+)$", readme.read_text(), re.MULTILINE)
    needs_server = "PGSERVER" in readme.read_text()
    variables = {"PGSERVER": request.getfixturevalue("postgres_url")} if needs_server else {}

    [command] = commands
    ran = run_pytest(*shlex.split(command), state=tmp_path, **variables)

    assert ran.returncode == 0, ran.stdout
    assert command == f"examples/{readme.parent.name}"
    assert "skipped" not in ran.stdout
    assert ", 0 leaked in " in ran.stdout


def test_every_example_says_how_to_run_it() -> None:
    folders = {file.parent.name for file in EXAMPLES.glob("*/pytest.ini")}

    assert {readme.parent.name for readme in READMES} == folders
    assert folders >= {"fastapi_app", "postgres", "quickstart"}


@pytest.mark.parametrize(
    ("killed", "made"),
    [
        pytest.param(KILLED_AFTER_CREATE, "orders", id="after-create"),
        pytest.param(KILLED_DURING_CREATE, "cut-off", id="during-create"),
    ],
)
def test_no_database_is_left_by_a_killed_worker(
    killed: str, made: str, postgres_url: str, app: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(EXAMPLES / "postgres", tmp_path / "postgres")
    (folder / "test_killed.py").write_text(killed)
    alive = tmp_path / "alive.json"

    ran = run_pytest(
        str(folder),
        "-n2",
        f"--alchemy-app={app}",
        state=tmp_path / "state",
        PGSERVER=postgres_url,
        ALIVE=str(alive),
    )

    assert [
        name for name in json.loads(alive.read_text()) if app in name
    ]  # so the census can see them
    assert databases_of(app, postgres_url) == [], ran.stdout
    assert re.search("1 failed, 7 passed, [1-9] reaped", ran.stdout), ran.stdout
    assert f"REAPED PostgresDatabase {made} (" in ran.stdout
    assert "REAPED PostgresDatabase template (" in ran.stdout


def test_the_demo_ends_with_an_empty_account() -> None:
    ran = run([sys.executable, "examples/demo.py"])

    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.splitlines()[-1] == "left in the account: 0"
    assert "REAPED D1Database orders (" in ran.stdout
    assert "REAPED KVNamespace carts (" in ran.stdout
