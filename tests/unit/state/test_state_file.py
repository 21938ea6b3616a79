from __future__ import annotations

import json
import os
import pickle
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy.errors import (
    LinkRefusedError,
    StateFileError,
    StateFolderError,
    StateFormatError,
)
from pytest_alchemy.names import folder_name
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.statefile import decode_state, encode_state, replace_file, version_of
from tests.unit.state.samples import KEY, OTHER_KEY

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs what only POSIX systems have")

SAID: dict[str, Any] = {"version": "1.0", "scope": [], "resources": {"d1-b": {"n": 1}, "d1-a": {}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy" / "shop" / "prod"


@pytest.fixture
def store(folder: Path) -> FileStore:
    return FileStore(folder, KEY)


# What it looks like


def test_it_is_for_people_to_read() -> None:
    text = encode_state({**SAID, "digest": "x", "nonce": "y"}, KEY).decode()

    lines = [line for line in text.splitlines() if '"digest"' not in line and '"nonce"' not in line]
    assert lines == [
        "{",
        '  "resources": {',
        '    "d1-a": {},',
        '    "d1-b": {',
        '      "n": 1',
        "    }",
        "  },",
        '  "scope": [],',
        '  "version": "1.0"',
        "}",
    ]
    assert text.endswith("}\n")
    assert json.loads(text)["resources"] == SAID["resources"]


def test_no_two_files_are_alike() -> None:
    assert len({encode_state(SAID, KEY) for _ in range(100)}) == 100


def test_each_scope_has_its_folder(store: FileStore, folder: Path) -> None:
    places = ((), ("backend",), ("backend", "d1-my-db:"), (":tests/test_a.py::test_one",))
    for place in places:
        store.write(place, {**SAID, "scope": list(place)}, None)

    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}
    assert files == {
        "state.json",
        "backend/state.json",
        f"backend/{folder_name('d1-my-db:')}/state.json",
        f"{folder_name(':tests/test_a.py::test_one')}/state.json",
    }


@posix
def test_files_and_folders_are_for_this_user_alone(store: FileStore, folder: Path) -> None:
    store.write(("backend", "api"), {**SAID, "scope": ["backend", "api"]}, None)

    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert modes == {".journal": 0o700, "backend": 0o700, "api": 0o700, "state.json": 0o600}


# Whose it is


def test_what_this_user_wrote_is_trusted() -> None:
    assert decode_state(encode_state(SAID, KEY), "state.json", KEY).trusted


def test_what_another_key_signed_is_read_but_not_trusted() -> None:
    read = decode_state(encode_state(SAID, OTHER_KEY), "state.json", KEY)

    assert read.document == SAID
    assert not read.trusted


@pytest.mark.parametrize("at", range(0, 260, 7))
def test_no_edit_goes_unnoticed(at: int) -> None:
    data = encode_state(SAID, KEY)
    at %= len(data)
    edited = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    assert version_of(edited, KEY) != version_of(data, KEY)
    with suppress(StateFileError):  # then it is not even read
        assert not decode_state(edited, "state.json", KEY).trusted


def test_a_digest_within_a_text_is_no_digest() -> None:
    said = {**SAID, "a": '\n  "digest": "' + "1" * 32 + '"', "b": {"digest": "2" * 32}}

    read = decode_state(encode_state(said, KEY), "state.json", KEY)

    assert read.trusted
    assert read.document == said


# What is no state file


DAMAGED = {
    b"": "it is not JSON",
    b'{"version": "1.0", "resources": {': "it is not JSON",
    b"\xff\xfe": "it is not JSON",
    b'"\xff"': "it is not JSON",
    b"[" * 100_000: "it is not JSON",
    b"[]": "it is not a JSON object",
    b"{}": "its version is None",
    b'{"version": 1.0}': "its version is 1.0",
    b'{"version": "new"}': "its version is 'new'",
    b'{"version": "1.0"}': "it has no 'resources'",
    b'{"version": "1.0", "resources": []}': "it has no 'resources'",
    b'{"version": "1.0", "resources": {}}': "it has no 'scope'",
    b'{"version": "1.0", "resources": {}, "scope": ["other"]}': "it speaks of",
}


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_an_error_that_names_it(
    store: FileStore, folder: Path, data: bytes
) -> None:
    folder.mkdir(parents=True)
    file = folder / "state.json"
    file.write_bytes(data)

    for read in (store.documents, lambda: store.read(())):
        with pytest.raises(StateFileError) as caught:
            read()
        assert str(caught.value).startswith(f"State file {file} is damaged: {DAMAGED[data]}")

    assert file.read_bytes() == data


def test_the_message_about_a_damaged_file_says_what_to_do() -> None:
    error = StateFileError("/x/state.json", "it is not JSON: trailing comma")

    assert str(error) == (
        "State file /x/state.json is damaged: it is not JSON: trailing comma. Nothing of it is acted on.\n"
        "Restore it from a copy, or destroy what it names by hand and delete it."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("version", ["2.0", "2", "10.3.1"])
def test_a_newer_layout_is_refused(version: str) -> None:
    with pytest.raises(StateFormatError) as caught:
        decode_state(encode_state({**SAID, "version": version}, KEY), "/x/state.json", KEY)

    assert str(caught.value) == (
        f"State file /x/state.json has version {version}, this version of pytest-alchemy knows 1.0. "
        "Nothing of it is acted on.\n"
        "Use the version of pytest-alchemy that wrote it, or a newer one."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("version", ["0.9", "1.0", "1", "1.7"])
def test_layouts_with_the_same_first_number_are_read(version: str) -> None:
    read = decode_state(encode_state({**SAID, "version": version}, KEY), "state.json", KEY)

    assert read.document["version"] == version


@posix
@pytest.mark.parametrize("where", ["", "backend", "backend/state.json", "backend/.state.json.new"])
def test_links_are_not_followed(store: FileStore, folder: Path, tmp_path: Path, where: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    place = ("backend",)
    version = store.write(place, {**SAID, "scope": ["backend"]}, None)
    if (folder / where).exists():
        (folder / where).rename(elsewhere)
    else:
        elsewhere.write_text("mine")
    (folder / where).symlink_to(elsewhere)
    before = {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file()}

    with pytest.raises(LinkRefusedError):
        store.write(place, {**SAID, "scope": ["backend"]}, version)
    if where.endswith("new"):
        assert elsewhere.read_text() == "mine"
    else:
        with pytest.raises(LinkRefusedError):
            store.read(place)

    assert {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file()} == before


# Replacing a file


def test_a_write_that_fails_leaves_what_was_there(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = store.write((), SAID, None)
    before = (folder / "state.json").read_bytes()

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", staticmethod(full))
        with pytest.raises(StateFolderError, match="no space left"):
            replace_file(str(folder / "state.json"), b"new")

    assert sorted(os.listdir(folder)) == [".journal", "state.json"]
    assert (folder / "state.json").read_bytes() == before
    store.write((), SAID, version)


def test_what_a_killed_writer_left_is_in_nobodys_way(store: FileStore, folder: Path) -> None:
    place = ("backend",)
    version = store.write(place, {**SAID, "scope": ["backend"]}, None)
    draft = folder / "backend" / ".state.json.new"
    draft.write_bytes(b"half of someth")
    (folder / ".writing").write_bytes(b"")

    version = store.write(place, {**SAID, "scope": ["backend"]}, version)
    assert sorted(os.listdir(folder)) == [".journal", "backend"]

    draft.write_bytes(b"half of someth")
    store.remove(place, version)
    assert sorted(os.listdir(folder)) == [".journal"]


def test_a_damaged_number_of_the_last_lease_is_told(store: FileStore, folder: Path) -> None:
    store.release(store.acquire())
    (folder / ".fence").write_text("?")

    with pytest.raises(StateFileError, match="holds no number of a lease"):
        store.acquire()
