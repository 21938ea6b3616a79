"""Where an account keeps what it holds: one SQLite database for itself, and one for each D1 database."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pytest_alchemy import clock, forks
from pytest_alchemy.cloudflare.errors import FakeAccountError
from pytest_alchemy.cloudflare.fake.jail import BUSY_SECONDS, TIME_LIMIT, Jail

_FORMAT = 1
_MOST_OPEN = 64
_TICK = 0.01
_ACCOUNT_TABLE = """
    CREATE TABLE IF NOT EXISTS account (
        only INTEGER PRIMARY KEY CHECK (only = 1), format INTEGER NOT NULL, account_id TEXT NOT NULL,
        api_token TEXT NOT NULL, world TEXT NOT NULL, created REAL NOT NULL
    )"""


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Whose account it is.

    Attributes:
        account_id: 32 hexadecimal digits.
        api_token: The token that its owner sends.
        world: What tells this account from every other one.
        created: Moment of its making, seconds since the epoch.
    """

    account_id: str
    api_token: str
    world: str
    created: float


class Storage:
    """
    Everything an account holds, in memory or in a file that several processes share.

    A transaction survives the death of any process; a writer waits for the others.

    Args:
        path: The file; None for memory.
        tables: SQL that makes the products' tables.
        account_id: Id to take, or None for the file's own or a random one.
        api_token: Token to take, or None for the file's own or a random one.
        time_limit: Longest that one D1 request may compute, in seconds.

    Raises:
        FakeAccountError: The file cannot be used.
    """

    def __init__(
        self,
        path: Path | None,
        tables: Iterable[str],
        *,
        account_id: str | None = None,
        api_token: str | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self.path = path
        self._after: list[Callable[[], None]] = []
        self.databases = Databases(path and path.with_name(path.name + ".d1"), time_limit)
        try:
            self.db = _connect(path)
            try:
                self.identity = self._set_up(tables, account_id, api_token)
            except BaseException:
                self.db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise FakeAccountError(str(path), str(error)) from error

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[None]:
        """Run the block as one transaction: an exception undoes all of it."""
        db = self.db
        db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            self._after.clear()
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        while self._after:
            self._after.pop()()

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call *action* once the running transaction is committed, not at all if it is undone."""
        self._after.append(action)

    def remove_strays(self, known: Callable[[Storage], Iterable[str]]) -> None:
        """Remove the files of databases that a killed process had begun to make or to delete."""
        if self.path is not None:
            # A file made by an unfinished request is behind its lock.
            with self.transaction(writes=True):
                self.databases.keep_only(set(known(self)))

    def close(self) -> None:
        """Close all connections; what is in memory is gone. Closing twice is quiet."""
        self.databases.close()
        self.db.close()

    def _set_up(
        self, tables: Iterable[str], account_id: str | None, api_token: str | None
    ) -> Identity:
        with self.transaction(writes=True):
            for table in (_ACCOUNT_TABLE, *tables):
                self.db.execute(table)
            return self._identify(account_id, api_token)

    def _identify(self, account_id: str | None, api_token: str | None) -> Identity:
        row = self.db.execute(
            "SELECT format, account_id, api_token, world, created FROM account"
        ).fetchone()
        if row is None:
            world = (
                f"memory:{forks.process_id()}" if self.path is None else f"file:{clock.token(16)}"
            )
            row = (_FORMAT, clock.random_bytes(16).hex(), clock.token(40), world, clock.now())
        if row[0] > _FORMAT:
            raise FakeAccountError(
                str(self.path), f"it is of format {row[0]}, newer than this version knows"
            )
        identity = Identity(account_id or row[1], api_token or row[2], row[3], row[4])
        self.db.execute(
            "INSERT OR REPLACE INTO account VALUES (1, ?, ?, ?, ?, ?)",
            (_FORMAT, identity.account_id, identity.api_token, identity.world, identity.created),
        )
        return identity


class Databases:
    """
    The SQLite databases behind the D1 databases.

    Args:
        folder: Where their files are; None keeps them in memory.
        time_limit: Longest that one request may compute, in seconds.
    """

    def __init__(self, folder: Path | None, time_limit: float) -> None:
        self._folder, self._time_limit = folder, time_limit
        self._open: OrderedDict[str, Jail] = OrderedDict()

    def make(self, id: str) -> None:
        """Make the empty database *id*."""
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self._file(id), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def open(self, id: str) -> Jail:
        """
        Return the database *id*, which exists.

        Raises:
            sqlite3.Error: Its file cannot be opened.
        """
        jail = self._open.get(id)
        if jail is None:
            jail = Jail(self._uri(id), time_limit=self._time_limit)
            self._open[id] = jail
            while self._folder is not None and len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(id)
        return jail

    def changed_at(self, id: str) -> float:
        """Return the moment of the last change of the database *id*, by whatever process; 0 if there was none."""
        ours = self.open(id).changed
        if self._folder is None:
            return ours
        file = os.stat(self._file(id))
        if not file.st_size:
            return 0.0
        # A file's time stands still between two ticks of the kernel, so one that is later is another process's.
        return ours if file.st_mtime <= ours else file.st_mtime + _TICK

    def forget(self, id: str) -> None:
        """Close the database *id* if it is open."""
        jail = self._open.pop(id, None)
        if jail is not None:
            jail.close()

    def remove(self, id: str) -> None:
        """Remove the database *id* with its files; gone already is fine."""
        self.forget(id)
        if self._folder is not None:
            file = self._file(id)
            for suffix in ("", "-journal", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(file + suffix)

    def keep_only(self, known: set[str]) -> None:
        """Remove the files of all databases that are not *known*."""
        if self._folder is not None and self._folder.is_dir():
            for file in list(self._folder.glob("*.sqlite3")):
                if file.stem not in known:
                    self.remove(file.stem)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def _file(self, id: str) -> str:
        assert self._folder is not None
        return str(self._folder / f"{id}.sqlite3")

    def _uri(self, id: str) -> str:
        # Never creates: a database that another process has just deleted must not come back.
        return ":memory:" if self._folder is None else f"file:{quote(self._file(id))}?mode=rw"


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds the token
    db = sqlite3.dbapi2.connect(  # not by the name that a test of other code replaces
        ":memory:" if path is None else path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if path is not None:
            _share(db)
        # A killed process loses nothing; only a power cut is not covered.
        db.execute("PRAGMA synchronous = OFF")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _share(db: sqlite3.Connection) -> None:
    """Let readers and a writer of several processes work on *db* at the same time."""
    give_up = clock.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # Changing the mode does not always wait for a process that is changing it too.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or clock.monotonic() > give_up:
                raise
            time.sleep(0.005)
