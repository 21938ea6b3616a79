"""What a scope makes with secrets, and what its records tell of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_alchemy import Resource, Secret, alchemy, output
from pytest_alchemy.errors import ChangedWithinRunError, NoPasswordError, WrongPasswordError
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.records import Intent
from pytest_alchemy.recovery.deadstage import DeadStage, lock_of
from pytest_alchemy.recovery.finding import Finding
from pytest_alchemy.scope import Scope
from pytest_alchemy.sealed import key_of_run
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.lasting import LastingStage
from pytest_alchemy.state.stagefiles import StageFiles
from pytest_alchemy.state.stagestate import StageState

TEXT = "correct horse battery"
SESSION = "session of staple"

made: list[str] = []
destroyed: list[str] = []


class Server(Resource):
    """Is made with a token, and gives another one."""

    token: Secret
    size: int = 1
    session: Secret = output()

    def create(self) -> None:
        made.append(self.token.value)
        self.session = alchemy.secret(SESSION)

    def update(self, previous: Server) -> None:
        made.append(f"{previous.token.value} -> {self.token.value}")

    def destroy(self) -> None:
        destroyed.append(f"{self.token.value}, {self.session.value}")


class Giver(Resource):
    """Nothing of it is a secret but what it gives."""

    session: Secret = output()

    def create(self) -> None:
        made.append(self.id)
        self.session = alchemy.secret(SESSION)

    def destroy(self) -> None: ...


class Quoter(Resource):
    """Fails, and quotes what it was given."""

    token: Secret

    def create(self) -> None:
        raise RuntimeError(f"no access with {self.token.value}")

    def destroy(self) -> None:
        raise RuntimeError(f"no access with {self.token.value}")


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    made.clear()
    destroyed.clear()


class Prod:
    """A lasting stage, from the view of one program after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lasting: LastingStage
        self.state: StageState

    def program(self, password: str | None) -> Scope:
        """Return the stage's scope as the next program has it."""
        self.lasting = LastingStage(FileStore(self.folder, user_key()))
        self.state = self.lasting.open()
        stage = Stage(
            Settings("shop", "prod"),
            "prod",
            None,
            Program(),
            self.lasting.journal,
            first_number=self.state.next_number,
        )
        try:
            stage.use_password(password, self.state.vault)
        except BaseException:
            self.lasting.end(clean=False)
            raise
        return Scope(stage)

    def end(self) -> None:
        self.lasting.end(clean=False)

    @property
    def token(self) -> dict[str, str]:
        """What is recorded of the only thing's token."""
        [book] = self.state.books.values()
        [live] = book.live.values()
        assert isinstance(live.entry, Intent)
        found: dict[str, str] = live.props["token"]
        return found


@pytest.fixture
def prod(tmp_path: Path) -> Prod:
    return Prod(tmp_path / "shop" / "prod")


def test_a_lasting_stage_records_secrets_encrypted(prod: Prod) -> None:
    scope = prod.program("a password")
    scope.create(Server("web", token=alchemy.secret(TEXT)))
    scope.create(Server("web", token=alchemy.secret(TEXT), size=2))
    journal = everything_in(prod.folder)
    prod.end()
    document = everything_in(prod.folder)

    assert made == [TEXT, f"{TEXT} -> {TEXT}"]
    assert (prod.folder / "state.json").exists()
    for recorded in (journal, document):
        assert re.search(r'"token": ?{"\$secret":', recorded.replace("\n", "").replace("  ", ""))
        assert TEXT not in recorded
        assert SESSION not in recorded
        assert "a password" not in recorded


def test_the_next_program_opens_them_with_the_password(prod: Prod) -> None:
    prod.program("a password").create(Server("web", token=alchemy.secret(TEXT)))
    prod.end()

    stage = prod.program("a password").root
    token = stage.sealer.unseal((), "server-web", {"token": prod.token})["token"]

    assert token == alchemy.secret(TEXT)
    assert token != alchemy.secret("another")
    prod.end()


def test_a_wrong_password_is_told_when_the_stage_is_opened(prod: Prod) -> None:
    prod.program("a password").create(Server("web", token=alchemy.secret(TEXT)))
    prod.end()
    before = (prod.folder / "state.json").read_bytes()

    with pytest.raises(WrongPasswordError):
        prod.program("another")

    assert (prod.folder / "state.json").read_bytes() == before


@pytest.mark.parametrize(
    "declare",
    [
        pytest.param(lambda: Server("web", token=alchemy.secret(TEXT)), id="property"),
        pytest.param(lambda: Giver("web"), id="output"),
    ],
)
def test_without_a_password_nothing_with_a_secret_is_made(
    prod: Prod, declare: Callable[[], Resource]
) -> None:
    scope = prod.program(None)

    with pytest.raises(NoPasswordError):
        scope.create(declare())

    assert made == []
    assert scope.resources == []
    prod.end()
    assert not prod.state.owns_anything()


def test_what_needs_no_secret_needs_no_password(prod: Prod) -> None:
    prod.program("a password").create(Server("web", token=alchemy.secret(TEXT)))
    prod.end()

    stage = prod.program(None).root
    token = stage.sealer.unseal((), "server-web", {"token": prod.token})["token"]
    prod.end()

    assert repr(token) == "secret(***)"
    with pytest.raises(NoPasswordError):
        _ = token.value


@pytest.fixture
def left(prod: Prod) -> Callable[[], list[Finding]]:
    """A lasting stage that a command without a program is to destroy."""
    scope = prod.program("a password")
    scope.create(Server("web", token=alchemy.secret(TEXT)))
    scope.create(Giver("giver"))
    prod.end()

    def reap() -> list[Finding]:
        lock = lock_of(prod.folder, timeout=0.0)
        try:
            return list(DeadStage(prod.folder, user_key()).reap(lock))
        finally:
            lock.release()

    return reap


def test_a_command_without_a_program_finds_the_password_in_the_environment(
    left: Callable[[], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", "a password")

    assert [finding.what for finding in left()] == ["reaped", "reaped"]
    assert destroyed == [f"{TEXT}, {SESSION}"]


def test_without_it_only_what_needs_a_secret_is_left(
    left: Callable[[], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALCHEMY_PASSWORD", raising=False)

    found = {finding.what: finding for finding in left()}

    assert found["reaped"].facts["id"] == "giver"
    assert found["leaked"].facts["id"] == "web"
    assert found["leaked"].reason.startswith(
        "NoPasswordError: Stage shop/prod outlives its programs"
    )


def test_with_a_wrong_one_nothing_is_called(
    left: Callable[[], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", "another")

    with pytest.raises(WrongPasswordError):
        left()

    assert destroyed == []


def everything_in(folder: Path) -> str:
    """Return all files in *folder* as one text."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "\n".join(path.read_text(errors="replace") for path in files)


# The stage of a test.


class Run:
    """A test's stage, recorded in files."""

    def __init__(self, root: Path) -> None:
        run = new_run(3600)
        name = f"test-main-{run.id}"
        self.files = StageFiles(root, "main")
        self.stage = Stage(
            Settings("shop", "test"),
            name,
            run,
            Program(),
            self.files.open,
            key=lambda: key_of_run(user_key(), "shop", name),
        )
        self.scope = Scope(self.stage, parent=Scope(self.stage), name="t", place=(":t",))

    @property
    def folder(self) -> Path:
        assert self.files.folder is not None
        return self.files.folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "root")


def test_the_stage_of_a_test_needs_no_password(run: Run) -> None:
    run.scope.create(Server("web", token=alchemy.secret(TEXT)))
    recorded = everything_in(run.folder)
    run.scope.destroy()
    run.files.end(clean=True)

    assert "$secret" in recorded
    assert TEXT not in recorded
    assert SESSION not in recorded
    assert destroyed == [f"{TEXT}, {SESSION}"]


def test_what_a_dead_run_left_is_destroyed_with_its_secrets(run: Run, tmp_path: Path) -> None:
    run.scope.create(Server("web", token=alchemy.secret(TEXT)))
    dead = tmp_path / "dead" / "shop" / run.folder.name
    shutil.copytree(run.folder, dead)
    run.files.end(clean=False)

    lock = lock_of(dead, timeout=0.0)
    findings = list(DeadStage(dead, user_key()).reap(lock))

    assert [finding.what for finding in findings] == ["reaped"]
    assert destroyed == [f"{TEXT}, {SESSION}"]


def test_a_copy_of_the_folder_is_worth_nothing_without_the_users_key(run: Run) -> None:
    run.scope.create(Server("web", token=alchemy.secret(TEXT)))
    name = run.stage.name
    run.files.end(clean=False)

    others = key_of_run(b"o" * 32, "shop", name)

    assert others != key_of_run(user_key(), "shop", name)
    assert others.hex() not in everything_in(run.folder)
    assert key_of_run(user_key(), "shop", name).hex() not in everything_in(run.folder)


def test_declaring_it_again_with_the_same_secret_changes_nothing(run: Run) -> None:
    first = run.scope.create(Server("web", token=alchemy.secret(TEXT)))

    assert run.scope.create(Server("web", token=alchemy.secret(TEXT))) is first
    assert made == [TEXT]

    run.scope.create(Server("web", token=alchemy.secret("another")))

    assert made == [TEXT, f"{TEXT} -> another"]
    run.scope.destroy()
    run.files.end(clean=True)


def test_a_change_that_is_refused_shows_neither_secret(run: Run) -> None:
    class Fixed(Resource):
        token: Secret

        def create(self) -> None: ...

        def destroy(self) -> None: ...

        def world(self) -> str:
            return run.stage._memory

    with pytest.warns(match="inside a function"):
        run.scope.create(Fixed("a", token=alchemy.secret(TEXT)))

    with pytest.raises(ChangedWithinRunError, match="token") as caught:
        run.scope.create(Fixed("a", token=alchemy.secret("another one")))

    assert TEXT not in str(caught.value)
    assert "another one" not in str(caught.value)
    run.scope.destroy()


def test_a_failure_that_quotes_a_secret_is_recorded_without_it(run: Run) -> None:
    with pytest.raises(RuntimeError):
        run.scope.create(Quoter("a", token=alchemy.secret(TEXT)))
    with pytest.raises(ExceptionGroup) as caught:
        run.scope.destroy()

    recorded = everything_in(run.folder)
    run.files.end(clean=False)
    assert "no access with ***" in recorded
    assert TEXT not in recorded
    assert TEXT not in caught.value.message
