"""Nothing is called or forgotten in another world, by its own teardown or by recovery."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_alchemy.cloudflare import FakeAccount, KVNamespace
from pytest_alchemy.cloudflare.credentials import ACCOUNT_VARIABLE, TOKEN_VARIABLE
from pytest_alchemy.cloudflare.fake.respx_door import HOST, answering
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.records import StageOpened
from pytest_alchemy.recovery.deadstage import DeadStage, lock_of
from pytest_alchemy.recovery.finding import Finding
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.stagefiles import StageFiles
from pytest_alchemy.state.stagestate import load_stage
from tests.unit.support.scopes import Hand

OTHER_HOST = "eu.api.example"


class Accounts:
    """Two real accounts behind the API, a patched endpoint with a third, and the credentials of two profiles."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, doors: ExitStack) -> None:
        self.folder, self.env = folder, monkeypatch
        self.first, self.second = FakeAccount(account_id="a" * 32), FakeAccount(account_id="b" * 32)
        self.patched = FakeAccount(account_id="a" * 32, api_token=self.first.api_token)
        self._doors = doors
        doors.enter_context(answering(self.patched, host=OTHER_HOST))
        monkeypatch.setenv("ALCHEMY_HOME", str(folder))
        monkeypatch.delenv("CLOUDFLARE_BASE_URL", raising=False)
        self.log_in(self.first)

    def log_in(self, account: FakeAccount) -> None:
        """From now on the API is *account*, and its credentials are at hand."""
        self.env.setenv(TOKEN_VARIABLE, account.api_token)
        self.env.setenv(ACCOUNT_VARIABLE, account.account_id)
        self._doors.enter_context(answering(account, host=HOST))

    def log_out(self) -> None:
        self.env.delenv(TOKEN_VARIABLE)
        self.env.delenv(ACCOUNT_VARIABLE)

    def write_profile(self, account: FakeAccount) -> None:
        file = self.folder / "credentials" / "team" / "cloudflare.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps({"api_token": account.api_token, "account_id": account.account_id})
        )
        file.chmod(0o600)
        self._doors.enter_context(answering(account, host=HOST))

    @property
    def asked(self) -> list[str]:
        """What anybody asked for since `forget`."""
        every = (self.first, self.second, self.patched)
        return [request.method for account in every for request in account.requests]

    def forget(self) -> None:
        for account in (self.first, self.second, self.patched):
            account.forget_requests()


@dataclass(frozen=True)
class Row:
    """
    One way for the world to change between a create and a destroy.

    Attributes:
        settings: Those of the scope in which the thing is made.
        before: Called before it is made.
        after: Called afterwards: then the world is another one.
        met: The settings of whoever meets the record; None for the same.
        says: What is said then.
        what: What the thing is called then.
    """

    settings: Callable[[Path], Settings]
    before: Callable[[Accounts], None]
    after: Callable[[Accounts], None]
    says: str
    met: Callable[[Settings], Settings] | None = None
    what: str = "elsewhere"


def live(_: Path) -> Settings:
    return Settings("shop", "test", live=True)


def in_file(folder: Path) -> Settings:
    return Settings("shop", "test", fake_account=str(folder / "account.sqlite"))


def nothing(_: Accounts) -> None:
    """Change nothing."""


def replace_file(accounts: Accounts) -> None:
    for file in accounts.folder.glob("account.sqlite*"):
        file.unlink()
    FakeAccount(accounts.folder / "account.sqlite")


ROWS = {
    "live, then offline": Row(
        live,
        nothing,
        nothing,
        "lives in cloudflare:" + "a" * 32,
        met=lambda settings: replace(settings, live=False),
    ),
    "live, then logged out": Row(
        live,
        nothing,
        Accounts.log_out,
        "No Cloudflare credentials for profile 'default'",
        what="unrecoverable",  # nobody can tell which world this is
    ),
    "one account, then another": Row(
        live,
        nothing,
        lambda accounts: accounts.log_in(accounts.second),
        "lives in cloudflare:" + "a" * 32 + ", and this is cloudflare:" + "b" * 32,
    ),
    "a profile that got other credentials": Row(
        lambda _: Settings("shop", "test", live=True, profile="team"),
        lambda accounts: accounts.write_profile(accounts.first),
        lambda accounts: accounts.write_profile(accounts.second),
        "lives in cloudflare:" + "a" * 32 + ", and this is cloudflare:" + "b" * 32,
    ),
    "profile A, then B": Row(
        lambda _: Settings("shop", "test", live=True, profile="team"),
        lambda accounts: accounts.write_profile(accounts.first),
        lambda accounts: accounts.log_in(accounts.second),
        "lives in cloudflare:" + "a" * 32 + ", and this is cloudflare:" + "b" * 32,
        met=lambda settings: replace(settings, profile="default"),
    ),
    "a patched endpoint": Row(
        live,
        lambda accounts: accounts.env.setenv(
            "CLOUDFLARE_BASE_URL", f"https://{OTHER_HOST}/client/v4"
        ),
        lambda accounts: accounts.env.delenv("CLOUDFLARE_BASE_URL"),
        f"lives in cloudflare:{'a' * 32}@https://{OTHER_HOST}/client/v4",
    ),
    "a replaced file": Row(in_file, nothing, replace_file, "lives in file:"),
}


@pytest.fixture(params=ROWS, ids=lambda name: name.replace(", ", "-").replace(" ", "-"))
def row(request: pytest.FixtureRequest) -> Row:
    return ROWS[request.param]


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with ExitStack() as doors:
        yield Accounts(tmp_path, monkeypatch, doors)


class Owner:
    """A process that makes a thing in a stage with files."""

    def __init__(self, root: Path, settings: Settings, said: Settings | None = None) -> None:
        run, self.files = new_run(3600), StageFiles(root, "main")
        self._said = said or settings

        self.stage = Stage(settings, f"test-main-{run.id}", run, Program(), self._open)
        self.scope = Scope(self.stage, name="t", place=(":t",))

    def _open(self, header: StageOpened) -> FileJournal:
        told = {**header.settings, "live": self._said.live, "profile": self._said.profile}
        return self.files.open(replace(header, settings=told))

    @property
    def folder(self) -> Path:
        assert self.files.folder is not None
        return self.files.folder

    @property
    def records(self) -> int:
        """How many things the records tell of."""
        books = load_stage(FileStore(self.folder, user_key())).books.values()
        return sum(len(book.live) for book in books)


def reap(folder: Path) -> list[Finding]:
    lock = lock_of(folder, timeout=0.0)
    try:
        return list(DeadStage(folder, user_key()).reap(lock))
    finally:
        lock.release()


def test_a_teardown_in_another_world_calls_nothing_and_forgets_nothing(
    hand: Hand, row: Row, accounts: Accounts, tmp_path: Path
) -> None:
    settings = row.settings(tmp_path)
    owner = Owner(tmp_path / "state", settings)
    row.before(accounts)
    made = hand.create(owner.scope, KVNamespace("cache"))
    row.after(accounts)
    if row.met is not None:
        owner.scope.settings = row.met(settings)
        made.scope.settings = owner.scope.settings
    accounts.forget()

    outcome = hand.close(owner.scope)

    [failure] = outcome.failures
    assert row.says in failure.reason
    assert accounts.asked == []
    assert owner.records == 1
    owner.files.end(clean=False)


def test_a_recovery_in_another_world_calls_nothing_and_forgets_nothing(
    hand: Hand, row: Row, accounts: Accounts, tmp_path: Path
) -> None:
    settings = row.settings(tmp_path)
    owner = Owner(tmp_path / "state", settings, row.met(settings) if row.met else None)
    row.before(accounts)
    hand.create(owner.scope, KVNamespace("cache"))
    owner.files.end(clean=False)
    row.after(accounts)
    accounts.forget()

    for _ in range(2):  # the second finds what the first one left as it was
        [finding] = reap(owner.folder)

        assert finding.what == row.what
        assert row.says in finding.reason
        assert accounts.asked == []
        assert owner.records == 1


def test_back_in_its_own_world_it_is_destroyed(
    hand: Hand, accounts: Accounts, tmp_path: Path
) -> None:
    owner = Owner(tmp_path / "state", live(tmp_path))
    hand.create(owner.scope, KVNamespace("cache"))
    owner.files.end(clean=False)
    accounts.log_in(accounts.second)
    reap(owner.folder)
    accounts.log_in(accounts.first)

    [finding] = reap(owner.folder)

    assert finding.what == "reaped"
    assert accounts.first.inventory() == []
    assert not owner.folder.exists()


def test_a_fake_in_the_memory_of_a_dead_process_is_not_called(
    hand: Hand, accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(tmp_path / "state", Settings("shop", "test"))
    monkeypatch.setattr(KVNamespace, "world", lambda self: "memory:999999999")
    monkeypatch.setitem(
        KVNamespace.__alchemy_kind__.hooks, "world", lambda self: "memory:999999999"
    )
    hand.create(owner.scope, KVNamespace("cache"))
    owner.files.end(clean=False)
    monkeypatch.undo()
    fake = FakeAccount()

    [finding] = reap(owner.folder)

    assert finding.what == "elsewhere"
    assert "lives in memory:999999999" in finding.reason
    assert fake.requests == []
    assert owner.records == 1


def test_a_404_from_the_question_where_it_lives_does_not_make_it_gone(
    hand: Hand, accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotFound(Exception):
        status = 404

    def lost(_: KVNamespace) -> str:
        raise NotFound("no such account")

    owner = Owner(tmp_path / "state", in_file(tmp_path))
    hand.create(owner.scope, KVNamespace("cache"))
    monkeypatch.setitem(KVNamespace.__alchemy_kind__.hooks, "world", lost)
    monkeypatch.setattr(KVNamespace, "world", lost)

    outcome = hand.close(owner.scope)

    assert [failure.reason for failure in outcome.failures] == ["NotFound: no such account"]
    assert owner.records == 1
    owner.files.end(clean=False)
