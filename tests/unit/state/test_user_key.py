from __future__ import annotations

import os
import pickle
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_alchemy.errors import KeyFileError
from pytest_alchemy.state import keys
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.keys import remember, state_home, user_key
from tests.support.user import forget_user
from tests.unit.state.samples import child

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs what only POSIX systems have")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Ask for the key as a new process does, in a place of its own."""
    home = tmp_path / "deep" / "state"
    monkeypatch.setenv("ALCHEMY_STATE_HOME", str(home))
    forget_user()
    yield home
    forget_user()


@posix
def test_a_key_is_random_and_for_its_user_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        key = user_key()
    finally:
        os.umask(before)

    assert len(key) == 32
    assert (home / "key").read_bytes() == key
    assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [each.name for each in home.iterdir()] == ["key"]


def test_the_key_of_an_earlier_process_is_used_again() -> None:
    first = user_key()
    forget_user()

    assert user_key() == first


def test_the_environment_counts_as_it_was_at_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = user_key()
    monkeypatch.setenv("ALCHEMY_STATE_HOME", str(tmp_path / "another"))

    assert user_key() == first
    assert not (tmp_path / "another").exists()


def test_what_the_environment_was_at_the_beginning_counts_and_nothing_is_made_for_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember({"ALCHEMY_STATE_HOME": None, "HOME": str(tmp_path), "XDG_STATE_HOME": None})
    monkeypatch.delenv("HOME")

    found = state_home()

    assert found.startswith(str(tmp_path))
    assert not os.path.exists(found)
    assert "HOME" not in os.environ
    assert os.environ["ALCHEMY_STATE_HOME"] == str(home)


def test_the_environment_of_a_run_inside_of_a_test_does_not_count(tmp_path: Path) -> None:
    remember({"ALCHEMY_STATE_HOME": str(tmp_path / "outer")})

    remember({"ALCHEMY_STATE_HOME": str(tmp_path / "inner")})

    assert state_home() == str(tmp_path / "outer")


def test_a_relative_folder_is_meant_from_where_the_program_was_when_it_looked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_STATE_HOME", "state")
    monkeypatch.chdir(tmp_path)
    first = state_home()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert first == state_home() == str(tmp_path / "state")


def test_two_users_have_two_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = user_key()
    forget_user()
    monkeypatch.setenv("ALCHEMY_STATE_HOME", str(tmp_path / "another"))

    assert user_key() != first


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has its own place for state")
def test_without_the_variable_the_users_state_folder_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALCHEMY_STATE_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert state_home() == str(tmp_path / "pytest-alchemy")


def test_processes_that_start_together_get_one_key(home: Path) -> None:
    program = """
import sys
from pytest_alchemy.state.keys import user_key
print("ready", flush=True)
sys.stdin.readline()
print(user_key().hex(), flush=True)
"""
    with ExitStack() as stack:
        processes = [stack.enter_context(child(program)) for _ in range(8)]
        for process in processes:
            assert process.answer() == "ready"
        for process in processes:
            process.tell("go")
        answers = {process.answer() for process in processes}

    assert answers == {(home / "key").read_bytes().hex()}
    assert [each.name for each in home.iterdir()] == ["key"]


@posix
def test_processes_get_one_key_where_the_file_system_has_no_links(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(disk, "link", staticmethod(no_links))

    assert user_key() == (home / "key").read_bytes()
    assert [each.name for each in home.iterdir()] == ["key"]


@posix
def test_a_key_that_another_process_made_first_is_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk.link

    def too_late(source: str, target: str) -> None:
        Path(target).write_bytes(b"f" * 32)
        Path(target).chmod(0o600)
        real(source, target)

    monkeypatch.setattr(disk, "link", staticmethod(too_late))

    assert user_key() == b"f" * 32


# Keys that cannot be trusted


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_use_is_refused(home: Path, mode: int) -> None:
    user_key()
    (home / "key").chmod(mode)
    forget_user()

    with pytest.raises(KeyFileError) as caught:
        user_key()

    assert str(caught.value) == (
        f"The key file {home / 'key'} cannot be used: others may use it (mode {mode:04o}).\n"
        "Delete it if it exists, so that a new one is made, or set ALCHEMY_STATE_HOME to a folder "
        "that this user can write and nobody else can."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@posix
@pytest.mark.parametrize("dangling", [True, False])
def test_a_key_that_is_a_link_is_refused(home: Path, tmp_path: Path, dangling: bool) -> None:
    home.mkdir(parents=True)
    (home / "key").symlink_to(tmp_path / "elsewhere")
    if not dangling:
        (tmp_path / "elsewhere").write_bytes(b"k" * 32)

    with pytest.raises(KeyFileError, match="it is a link"):
        user_key()

    assert (tmp_path / "elsewhere").exists() != dangling


@posix
def test_a_key_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_key()
    forget_user()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    with pytest.raises(KeyFileError, match="belongs to user"):
        user_key()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_file_that_is_no_key_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(keys, "_PATIENCE", 0.0)
    home.mkdir(parents=True)
    (home / "key").touch(mode=0o600)
    (home / "key").write_bytes(b"k" * size)

    with pytest.raises(KeyFileError, match=f"it has {size} bytes, a key has 32"):
        user_key()


@posix
def test_a_folder_in_place_of_the_key_is_refused(home: Path) -> None:
    (home / "key").mkdir(parents=True)

    with pytest.raises(KeyFileError, match="not an ordinary file"):
        user_key()


@pytest.mark.parametrize("below", ["", "state"])
def test_where_no_key_can_be_made_the_folder_and_the_variable_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / below
    monkeypatch.setenv("ALCHEMY_STATE_HOME", str(home))

    with pytest.raises(KeyFileError) as caught:
        user_key()

    assert str(home / "key") in str(caught.value)
    assert "set ALCHEMY_STATE_HOME to a folder" in str(caught.value)


@posix
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become another user"
)
def test_a_home_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    program = """
import os, sys
from pytest_alchemy.errors import KeyFileError
from pytest_alchemy.state import keys
import platformdirs
os.setgid(65534)
os.setuid(65534)
try:
    keys.user_key()
except KeyFileError as error:
    print(error.reason)
"""
    locked = tmp_path / "locked"
    locked.mkdir()
    tmp_path.chmod(0o755)

    with child(program, ALCHEMY_STATE_HOME=str(locked / "state")) as other_user:
        assert other_user.finish() == "permission denied"
