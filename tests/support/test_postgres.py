from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.support import postgres

needs_initdb = pytest.mark.skipif(
    postgres.find_programs() is None, reason="initdb is not installed"
)

HOLDER = """
import sys
import tempfile
from tests.support import postgres

with postgres.server() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def test_databases_can_be_created_on_the_server(postgres_url: str) -> None:
    name = f"of_process_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")

        found = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [name]
        ).fetchall()

        connection.execute(f"DROP DATABASE {name}")
    assert found == [(1,)]


@needs_initdb
def test_a_throw_away_server_ends_with_the_killed_process_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(postgres.URL, raising=False)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        connection = psycopg.connect(holder.stdout.readline().strip())

        holder.kill()

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(60)")


def test_a_missing_server_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(postgres.URL, raising=False)
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(postgres.NoServerError) as caught, postgres.server():
        pass

    assert str(caught.value) == (
        "ALCHEMY_TEST_POSTGRES names no PostgreSQL server and initdb is not installed "
        "(Debian: apt-get install postgresql)"
    )


@needs_initdb
def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(postgres.URL, raising=False)
    with tempfile.TemporaryDirectory() as folder:  # open to the server's user, unlike pytest's own
        programs = Path(folder) / "15" / "bin"
        programs.mkdir(parents=True)
        for folder_on_the_way in (Path(folder), programs.parent, programs):
            folder_on_the_way.chmod(0o755)
        for name in ("initdb", "pg_ctl"):
            (programs / name).write_text("#!/bin/sh\necho no room on device >&2\nexit 1\n")
            (programs / name).chmod(0o755)
        monkeypatch.setattr(postgres, "DEBIAN", Path(folder))

        with pytest.raises(postgres.NoServerError) as caught, postgres.server():
            pass

    assert str(caught.value) == "PostgreSQL did not start:\nno room on device\n"
