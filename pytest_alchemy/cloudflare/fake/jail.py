"""SQL that cannot leave its database: one SQLite database per `Jail`, and what a request may do in it."""

from __future__ import annotations

import functools
import math
import re
import sqlite3
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_alchemy import clock

BUSY_SECONDS = 30.0
TIME_LIMIT = 30.0
"""Longest a request may compute, in seconds; the real limit."""

_STEPS_BETWEEN_LOOKS = 20_000

# The documented limits of D1; SQLite enforces them itself.
_LIMITS = {
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_LENGTH: 2_000_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 32,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}

_READING_PRAGMAS = frozenset(
    {
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "quick_check",
        "integrity_check",
        "optimize",
        "defer_foreign_keys",  # ends with the transaction
        "foreign_keys",  # no effect inside a transaction, and a request always is one
    }
)
# FTS5 asks for these itself; they may be read, not set.
_READ_ONLY_PRAGMAS = frozenset({"data_version", "page_count", "page_size"})
# These outlive a transaction, so each is put back when its request ends.
_LASTING_PRAGMAS = {
    "case_sensitive_like": "OFF",
    "ignore_check_constraints": "OFF",
    "legacy_alter_table": "OFF",
    "recursive_triggers": "OFF",
    "reverse_unordered_selects": "OFF",
}
_ALWAYS_DENIED = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})
_TRANSACTION = frozenset({sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT})
_CREATE_TEMPORARY = frozenset(
    {
        sqlite3.SQLITE_CREATE_TEMP_INDEX,
        sqlite3.SQLITE_CREATE_TEMP_TABLE,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    }
)
_CREATE = frozenset(
    {
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_CREATE_VTABLE,
    }
)
_CHANGES_SCHEMA = _CREATE | {
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_DROP_VIEW,
    sqlite3.SQLITE_DROP_VTABLE,
}
_VIRTUAL_TABLES = frozenset({"fts5", "fts5vocab"})
_UNSAFE_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_UNSAFE_TABLES = frozenset({"sqlite_dbpage", "dbstat", "sqlite_stmt"})

_NO_TRANSACTIONS = (
    "BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not available in D1: "
    "the statements of one request are a transaction already"
)
_STORAGE_FAULTS = frozenset(
    {"BUSY", "CANTOPEN", "CORRUPT", "FULL", "IOERR", "LOCKED", "NOTADB", "READONLY"}
)
_NUMBERED = re.compile(r"\?\d")
_SYNTAX_ERROR = re.compile(r'near "(.*)": syntax error', re.DOTALL)


class SqlError(Exception):
    """
    A statement failed, and with it everything its request had done.

    Attributes:
        text: The database's own words with the name of the error: ``no such table: t: SQLITE_ERROR``.
        ours: True if the storage failed, not the statement.
    """

    def __init__(self, text: str, *, ours: bool = False) -> None:
        super().__init__(text)
        self.text, self.ours = text, ours


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and the values bound to it."""

    sql: str
    params: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What one statement did.

    Attributes:
        columns: Names of the columns, which may repeat.
        rows: Rows as JSON can carry them: a blob is a list of byte values.
        changes: Number of rows inserted, changed or deleted, by triggers and cascades too.
        last_row_id: Row id of the connection's last insert.
        changed: Whether data or schema changed.
        seconds: Time it took.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    changes: int
    last_row_id: int
    changed: bool
    seconds: float


class Jail:
    """
    A connection to one database whose statements reach nothing else: no other file, no extension, no setting.

    Args:
        uri: What `sqlite3.connect` opens (``:memory:`` or a ``file:`` address).
        time_limit: Longest a request may compute, in seconds.

    Attributes:
        changed: Moment of the last change through this connection, seconds since the epoch; 0 for none.
    """

    def __init__(self, uri: str, *, time_limit: float = TIME_LIMIT) -> None:
        self._time_limit = time_limit
        # Without a statement cache: a cached statement would pass without asking the authorizer again.
        self._db = sqlite3.dbapi2.connect(  # not by the name that a test of other code replaces
            uri,
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=0,
        )
        try:
            self._prepare()
        except sqlite3.Error:
            self._db.close()
            raise
        self.changed = 0.0
        self._guarded = False
        self._lasting: set[str] = set()
        self._schema_changed = False
        self._transaction_asked = False
        self._deadline = math.inf
        self._db.set_authorizer(self._authorize)
        self._db.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)

    def run(self, statements: Sequence[Statement]) -> list[Outcome]:
        """
        Run *statements* as one transaction: all of them, or none.

        Raises:
            SqlError: One of them failed; nothing was changed.
        """
        self._deadline = clock.monotonic() + self._time_limit
        last = ""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._guarded = True
            outcomes = []
            for statement in statements:
                last = statement.sql
                outcomes.append(self._run_one(statement))
            self._guarded = False
            self._db.execute("COMMIT")
            if any(outcome.changed for outcome in outcomes):
                self.changed = clock.now()
            return outcomes
        except (
            sqlite3.Error,
            sqlite3.Warning,
            DeprecationWarning,
            ValueError,
            OverflowError,
        ) as error:
            raise self._explained(error, last) from error
        finally:
            self._guarded = False
            self._deadline = math.inf
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for pragma in self._lasting:
                self._db.execute(f"PRAGMA {pragma} = {_LASTING_PRAGMAS[pragma]}")
            self._lasting.clear()

    def content(self) -> bytes:
        """Return the whole database, as it would lie in a file; nothing if nothing was ever written."""
        return self._db.serialize() if self.size() else b""

    def restore(self, content: bytes) -> None:
        """
        Put *content*, or an empty database if it is empty, in the place of all that is there.

        Raises:
            sqlite3.Error: Another process holds on to the database.
        """
        source = sqlite3.dbapi2.connect(":memory:")
        try:
            if content:
                source.deserialize(content)
            source.backup(self._db, progress=_refuse_to_wait)
        finally:
            source.close()
        self.changed = clock.now()

    def size(self) -> int:
        """Return the size of the database, in bytes."""
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (page,) = self._db.execute("PRAGMA page_size").fetchone()
        return int(pages) * int(page)

    def table_count(self) -> int:
        """Return the number of tables."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchone()
        return int(count)

    def close(self) -> None:
        """Close the connection; closing twice is quiet."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
        self._db.execute("PRAGMA foreign_keys = ON")
        # A killed process loses nothing; only a power cut is not covered.
        self._db.execute("PRAGMA synchronous = OFF")
        for limit, value in _LIMITS.items():
            self._db.setlimit(limit, value)

    def _run_one(self, statement: Statement) -> Outcome:
        self._schema_changed = self._transaction_asked = False
        before, start = self._db.total_changes, clock.monotonic()
        cursor = _execute(self._db, statement)
        rows = [_plain(row) for row in cursor]
        changes = self._db.total_changes - before
        return Outcome(
            columns=[column[0] for column in cursor.description or ()],
            rows=rows,
            changes=changes,
            last_row_id=cursor.lastrowid or 0,
            changed=bool(changes) or self._schema_changed,
            seconds=clock.monotonic() - start,
        )

    def _authorize(
        self,
        action: int,
        first: str | None,
        second: str | None,
        database: str | None,
        _: str | None,
    ) -> int:
        if not self._guarded:
            return sqlite3.SQLITE_OK
        if action in _TRANSACTION:
            self._transaction_asked = True
            return sqlite3.SQLITE_DENY
        if action in _ALWAYS_DENIED or action in _CREATE_TEMPORARY or first in _UNSAFE_TABLES:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _UNSAFE_FUNCTIONS:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_PRAGMA:
            return self._authorize_pragma((first or "").lower(), second)
        if action in _CHANGES_SCHEMA:
            # "CREATE TABLE temp.t" is reported as an ordinary create in another database.
            if action in _CREATE and database == "temp":
                return sqlite3.SQLITE_DENY
            if (
                action == sqlite3.SQLITE_CREATE_VTABLE
                and (second or "").lower() not in _VIRTUAL_TABLES
            ):
                return sqlite3.SQLITE_DENY
            self._schema_changed = True
        return sqlite3.SQLITE_OK

    def _authorize_pragma(self, name: str, value: str | None) -> int:
        if name in _LASTING_PRAGMAS:
            if value is not None:
                self._lasting.add(name)
            return sqlite3.SQLITE_OK
        if name in _READING_PRAGMAS or (value is None and name in _READ_ONLY_PRAGMAS):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def _is_late(self) -> bool:
        return clock.monotonic() > self._deadline

    def _explained(self, error: Exception, sql: str) -> SqlError:
        name = "_".join(getattr(error, "sqlite_errorname", "SQLITE_ERROR").split("_")[:2])
        if self._transaction_asked:
            return SqlError(f"{_NO_TRANSACTIONS}: SQLITE_AUTH")
        if name == "SQLITE_INTERRUPT":
            return SqlError("D1 DB exceeded its CPU time limit and was reset.")
        text = str(error)
        if "number of bindings" in text:
            text = "Wrong number of parameter bindings for SQL query."
        elif match := _SYNTAX_ERROR.fullmatch(text):
            text += f" at offset {self._offset(sql, match[1])}"
        return SqlError(f"{text}: {name}", ours=name.removeprefix("SQLITE_") in _STORAGE_FAULTS)

    def _offset(self, sql: str, token: str) -> int:
        """Return where in *sql* the parser stopped: the first *token* that cannot follow what stands before it."""
        position = sql.find(token)
        while position >= 0:
            try:
                # Explained, so that a beginning that happens to be a whole statement is not run.
                self._db.execute("EXPLAIN " + sql[: position + len(token)])
            except sqlite3.Error as error:
                if _SYNTAX_ERROR.fullmatch(str(error)):
                    return len(sql[:position].encode())
            position = sql.find(token, position + 1)
        return 0


def _refuse_to_wait(status: int, *_: int) -> None:
    """End a copy into a database that stayed locked for `BUSY_SECONDS`; Python would try it again for ever."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


def _execute(db: sqlite3.Connection, statement: Statement) -> sqlite3.Cursor:
    if sys.version_info[:2] == (3, 12) and _NUMBERED.search(statement.sql):
        # The first releases of Python 3.12 took ?1 for a name and warned of it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return db.execute(statement.sql, statement.params)
    return db.execute(statement.sql, statement.params)


def _plain(row: Sequence[Any]) -> Sequence[Any]:
    """Return *row* as JSON can carry it."""
    return [
        list(cell)
        if type(cell) is bytes
        else None
        if type(cell) is float and not math.isfinite(cell)
        else cell
        for cell in row
    ]
