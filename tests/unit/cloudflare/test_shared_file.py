"""One account file, several processes, some of them killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_alchemy.cloudflare.errors import FakeAccountError
from pytest_alchemy.cloudflare.fake import FakeAccount
from tests.unit.cloudflare.api import Api

ROOT = Path(__file__).parents[3]

WRITER = """
import sys
from tests.unit.cloudflare.api import Api
from pytest_alchemy.cloudflare.fake import FakeAccount

api = Api(FakeAccount(sys.argv[1]))
who, count = sys.argv[2], int(sys.argv[3])
shared = api.result("GET", "@/d1/database/shared")["uuid"]
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    api.namespace(f"{who}-{number}")
    api.query(shared, "INSERT INTO t VALUES (?)", f"{who}-{number}")
    if number % 10 == 0:
        print(number, flush=True)
"""

ENDS_EARLY = """
import atexit, sys, threading
from tests.unit.cloudflare.api import Api
from pytest_alchemy.cloudflare.fake import FakeAccount
from pytest_alchemy.cloudflare.fake.jail import Jail

def in_statement(_):
    inside.set()
    return False

inside = threading.Event()
Jail._is_late = in_statement
count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000) SELECT count(*) AS n FROM n"
thread = threading.Thread(target=lambda: print(api.query(shared, count)), daemon=True)
atexit.register(thread.join)  # called last
api = Api(FakeAccount(sys.argv[1]))
shared = api.result("GET", "@/d1/database/shared")["uuid"]
thread.start()
inside.wait()
"""


def start_writer(file: Path, who: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file), who, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "account.db"


@pytest.fixture
def api(file: Path) -> Api:
    api = Api(FakeAccount(file))
    api.query(api.database("shared"), "CREATE TABLE t (a TEXT)")
    return api


def titles(api: Api) -> set[str]:
    return {item.name for item in api.account.inventory() if item.kind == "kv"}


def test_two_processes_write_at_the_same_time_and_lose_nothing(file: Path, api: Api) -> None:
    writers = [start_writer(file, who, 40) for who in ("a", "b")]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"

    results = [writer.communicate("go\n", timeout=60) for writer in writers]

    expected = {f"{who}-{number}" for who in ("a", "b") for number in range(40)}
    assert [writer.returncode for writer in writers] == [0, 0], results
    assert titles(api) == expected
    rows = api.query(api.result("GET", "@/d1/database/shared")["uuid"], "SELECT a FROM t")
    assert {row["a"] for row in rows} == expected


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_writer_leaves_a_usable_account(file: Path, api: Api) -> None:
    writer = start_writer(file, "dead", 1_000_000)
    with writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
        while writer.stdout.readline() != "20\n":
            pass
        os.kill(writer.pid, signal.SIGKILL)

    api.namespace("alive")
    fresh = Api(FakeAccount(file))

    assert {f"dead-{number}" for number in range(20)} | {"alive"} <= titles(fresh)
    rows = fresh.query(fresh.result("GET", "@/d1/database/shared")["uuid"], "PRAGMA quick_check")
    assert rows == [{"quick_check": "ok"}]
    assert fresh.account.world == api.account.world


def test_a_process_that_ends_closes_the_account_only_after_the_request_of_another_thread(
    file: Path, api: Api
) -> None:
    api.account.close()

    ended = subprocess.run(
        [sys.executable, "-c", ENDS_EARLY, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[{'n': 500000}]\n", "")
    assert [*file.parent.glob("account.db-*")] == []  # closed, so its own files are gone


def test_an_account_in_a_file_is_the_same_to_everyone_and_comes_back(file: Path, api: Api) -> None:
    other = FakeAccount(file)
    api.account.close()

    again = FakeAccount(file)

    assert again.world == other.world
    assert again.world.startswith("file:")
    assert (again.account_id, again.api_token) == (other.account_id, other.api_token)
    assert [item.name for item in again.inventory()] == ["shared"]


def test_accounts_in_memory_and_in_other_files_are_other_worlds(
    file: Path, api: Api, tmp_path: Path
) -> None:
    other = FakeAccount(tmp_path / "other.db")

    assert len({api.account.world, other.world, FakeAccount().world}) == 3
    assert FakeAccount().world == f"memory:{os.getpid()}"


def test_a_given_id_and_token_are_kept(file: Path) -> None:
    FakeAccount(file, account_id="a" * 32, api_token="token")

    again = FakeAccount(file)

    assert (again.account_id, again.api_token) == ("a" * 32, "token")


@pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")
def test_nobody_else_can_read_the_token(file: Path, api: Api) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.with_name("account.db.d1").stat().st_mode) == 0o700


def test_the_files_of_a_deleted_database_are_removed(file: Path, api: Api) -> None:
    id = api.database("short")
    api.query(id, "CREATE TABLE t (a)")
    folder = file.with_name("account.db.d1")
    assert len(list(folder.glob(f"{id}*"))) == 1

    api.result("DELETE", f"@/d1/database/{id}")

    assert list(folder.glob(f"{id}*")) == []


def test_a_database_deleted_by_another_process_does_not_come_back(file: Path, api: Api) -> None:
    other = Api(FakeAccount(file))
    id = api.database("short")
    api.query(id, "CREATE TABLE t (a)")

    other.result("DELETE", f"@/d1/database/{id}")

    assert api.refusal("POST", f"@/d1/database/{id}/query", {"sql": "SELECT 1"})[:2] == (404, 7404)
    assert list(file.with_name("account.db.d1").glob(f"{id}*")) == []


def test_files_that_a_killed_process_left_are_removed_when_the_account_is_opened(
    file: Path, api: Api
) -> None:
    stray = file.with_name("account.db.d1") / "00000000-0000-4000-8000-000000000000.sqlite3"
    stray.touch()

    FakeAccount(file)

    assert not stray.exists()
    assert api.query(api.result("GET", "@/d1/database/shared")["uuid"], "SELECT * FROM t") == []


def test_more_databases_than_are_kept_open_can_be_used(api: Api) -> None:
    ids = [api.database(f"db{number}") for number in range(70)]
    for id in ids:
        api.query(id, "CREATE TABLE t (a)")

    counts = [api.result("GET", f"@/d1/database/{id}")["num_tables"] for id in ids]

    assert counts == [1] * 70


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # xdist has a thread as well
def test_a_forked_child_shares_the_file_with_its_parent(api: Api) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            api.namespace("child")
            code = 0
        finally:
            os._exit(code)

    _, status = os.waitpid(pid, 0)
    api.namespace("parent")

    assert status == 0
    assert titles(api) == {"child", "parent"}


def test_a_file_that_is_no_account_says_so(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database" * 100)

    with pytest.raises(FakeAccountError) as raised:
        FakeAccount(file)

    assert str(raised.value) == (
        f"The fake account {file} cannot be used: file is not a database.\n"
        "Give another file with --alchemy-fake-account, or remove this one."
    )


def test_a_damaged_database_is_a_fault_of_the_storage(file: Path, api: Api) -> None:
    id = api.database("short")
    file.with_name("account.db.d1").joinpath(f"{id}.sqlite3").write_bytes(b"damaged" * 1000)

    status, code, message = api.refusal("POST", f"@/d1/database/{id}/query", {"sql": "SELECT 1"})

    assert (status, code) == (500, 10001)
    assert message == "The fake account's storage failed: file is not a database"


def test_a_file_of_a_newer_format_is_refused(file: Path, api: Api) -> None:
    api.account.close()
    with sqlite3.connect(file) as db:
        db.execute("UPDATE account SET format = 99")
    db.close()

    with pytest.raises(FakeAccountError, match="format 99, newer than this version knows"):
        FakeAccount(file)


def test_an_account_id_has_to_be_one() -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        FakeAccount(account_id="me")
