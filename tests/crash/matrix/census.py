"""What is left in the world: counted there, never in our own state."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import psycopg

from .processes import THING, processes


class Census:
    """
    Counts what an inner run made.

    Args:
        folder: The folder of the inner run.
        marker: What its processes are known by.
        app: Part of the name of every database that it makes.
        postgres: libpq URL of the server on which it makes databases, None if it does not.
    """

    def __init__(self, folder: Path, marker: str, app: str, postgres: str | None) -> None:
        self._folder, self._marker, self._app = folder, marker, app
        self._server = psycopg.connect(postgres, autocommit=True) if postgres else None

    def take(self) -> list[str]:
        """Return what there is now: ``file NAME``, ``process NAME``, ``d1 NAME``, ``postgres NAME``."""
        files = [f"file {path.name}" for path in (self._folder / "world").iterdir()]
        running = [
            f"process {process.environment[THING]}"
            for process in processes(self._marker)
            if THING in process.environment
        ]
        return sorted(files + running + self._in_account() + self._on_server())

    def close(self) -> None:
        """Leave the server."""
        if self._server is not None:
            self._server.close()

    def _in_account(self) -> list[str]:
        account = self._folder / "account.sqlite"
        if not account.exists():
            return []
        with contextlib.closing(sqlite3.connect(account, timeout=10)) as database:
            try:
                found = database.execute("SELECT name FROM d1_databases").fetchall()
            except sqlite3.OperationalError:  # the account is just being made
                return []
        return [f"d1 {name}" for (name,) in found]

    def _on_server(self) -> list[str]:
        if self._server is None:
            return []
        found = self._server.execute("SELECT datname FROM pg_database").fetchall()
        return [f"postgres {name}" for (name,) in found if self._app in name]
