from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from pytest_alchemy.errors import LinkRefusedError, StageLockedError, StateFolderError
from pytest_alchemy.state.disk import refusal
from pytest_alchemy.state.folders import JOURNALS, LOCK, Root
from pytest_alchemy.state.journal import FileJournal
from pytest_alchemy.state.locks import Holder, is_held
from tests.unit.state.samples import KEY, child, header

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs what only POSIX systems have")

ME = Holder("ada", 4711, "build-7", 1.7e9)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "project" / ".alchemy")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Making


def test_nothing_is_made_before_the_first_stage(root: Root) -> None:
    root.stage_path("shop", "prod")

    assert list(root.stages()) == []
    assert not root.path.exists()


@posix
def test_folders_are_private_and_keep_out_of_version_control(root: Root) -> None:
    before = os.umask(0)
    try:
        folder = root.make_stage("shop", "prod")
    finally:
        os.umask(before)

    made = [root.path, folder.parent, folder, folder / JOURNALS]
    assert [mode(each) for each in made] == [0o700] * 4
    assert folder == root.path / "shop" / "prod"
    assert (root.path / ".gitignore").read_text() == "*\n"


def test_making_a_stage_again_is_quiet(root: Root) -> None:
    folder = root.make_stage("shop", "prod")
    (root.path / ".gitignore").write_text("*.json\n")
    (folder / "state.json").touch()

    assert root.make_stage("shop", "prod") == folder
    assert (root.path / ".gitignore").read_text() == "*.json\n"
    assert (folder / "state.json").exists()


@posix
def test_an_open_folder_of_the_user_becomes_private(root: Root) -> None:
    root.path.mkdir(parents=True, mode=0o755)

    root.make_stage("shop", "prod")

    assert mode(root.path) == 0o700


@posix
@pytest.mark.parametrize("ignored", [None, "dist/\n"])
def test_a_folder_that_was_named_and_holds_other_things_stays_as_it_is(
    tmp_path: Path, ignored: str | None
) -> None:
    project = tmp_path / "project"
    project.mkdir(mode=0o755)
    (project / "setup.py").touch()
    if ignored:
        (project / ".gitignore").write_text(ignored)
    before = {path.name for path in project.iterdir()}

    folder = Root(project).make_stage("shop", "prod")
    Root(project).make_stage("shop", "dev")

    assert (mode(project), mode(folder.parent)) == (0o755, 0o700)
    assert {path.name for path in project.iterdir()} == {*before, "shop"}
    assert not ignored or (project / ".gitignore").read_text() == ignored


def test_a_link_to_a_folder_that_holds_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "setup.py").touch()
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(LinkRefusedError):
        Root(tmp_path / "state").make_stage("shop", "prod")


@posix
@pytest.mark.parametrize("where", ["", "shop", "shop/prod", "shop/prod/.journal", ".gitignore"])
@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_in_place_of_any_folder_is_refused(
    root: Root, tmp_path: Path, where: str, dangling: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if not dangling:
        elsewhere.mkdir()
    link = root.path / where
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)

    with pytest.raises(LinkRefusedError) as caught:
        root.make_stage("shop", "prod")

    assert caught.value.path == str(link)
    assert elsewhere.exists() != dangling
    assert dangling or list(elsewhere.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_refused(root: Root) -> None:
    root.path.parent.mkdir()
    root.path.write_text("")

    with pytest.raises(StateFolderError) as caught:
        root.make_stage("shop", "prod")

    assert str(caught.value) == (
        f"{root.path} cannot be used: it is not a folder.\n"
        "Make it writable for this user, or choose another place: --root DIR (in tests --alchemy-root DIR)."
    )


@posix
def test_a_place_where_no_folder_can_be_is_refused_with_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateFolderError, match="not a directory"):
        Root(tmp_path / "file" / ".alchemy").make_stage("shop", "prod")


@posix
def test_a_folder_that_can_never_be_made_is_not_tried_for_ever(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    with pytest.raises(StateFolderError, match="a folder above it is missing"):
        Root(tmp_path / "link" / ".alchemy").make_stage("shop", "prod")


@posix
def test_whose_folder_stands_in_the_way_is_told(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.make_stage("shop", "prod")
    refused = PermissionError(13, "Permission denied", str(root.path / "shop" / "pr-7" / "new"))

    assert str(refusal("", refused)) == (
        f"{root.path / 'shop'} cannot be used: permission denied.\n"
        "Make it writable for this user, or choose another place: --root DIR (in tests --alchemy-root DIR)."
    )
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert refusal("", refused).reason == f"permission denied, it belongs to user {owner}"


# Finding


def test_stages_are_found_and_links_and_strangers_passed_over(root: Root, tmp_path: Path) -> None:
    prod, test = root.make_stage("shop", "prod"), root.make_stage("shop", "test-gw0-k3")
    blog = root.make_stage("blog", "prod")
    (root.path / ".reports" / "k3" / JOURNALS).mkdir(parents=True)
    (root.path / "shop" / "no-stage").mkdir()
    (root.path / "shop" / "file").touch()
    if sys.platform != "win32":
        (root.path / "link").symlink_to(root.path / "shop")
        (root.path / "shop" / "link").symlink_to(prod)

    assert list(root.stages()) == [blog, prod, test]


# Removing


def test_a_stage_is_gone_without_trace_after_a_clean_end(root: Root) -> None:
    folder, lock = root.hold_stage("shop", "test-main-k3", ME)
    journal = FileJournal.open(folder / JOURNALS / "main", header(), key=KEY, durable=False)
    journal.close()

    gone = root.remove_if_empty(folder, journals=[journal.path, folder / "never-was"], lock=lock)

    assert gone
    assert not lock.held
    assert list(root.path.parent.iterdir()) == []


def test_what_somebody_else_has_in_a_stage_stays(root: Root) -> None:
    folder, lock = root.hold_stage("shop", "test-run-k3", ME, lock=".lock-gw0")
    _, other = root.hold_stage("shop", "test-run-k3", ME, lock=".lock-gw1")
    (folder / JOURNALS / "gw1").touch()

    gone = root.remove_if_empty(folder, lock=lock)

    assert not gone
    assert not (folder / ".lock-gw0").exists()
    assert is_held(folder / ".lock-gw1")
    assert (folder / JOURNALS / "gw1").exists()
    other.release()


def test_what_stands_in_the_place_of_the_root_stays(root: Root) -> None:
    folder, lock = root.hold_stage("shop", "test-main-k3", ME)
    shutil.rmtree(root.path)
    root.path.write_text("a file of the user's")

    gone = root.remove_if_empty(folder, journals=[folder / JOURNALS / "main"], lock=lock)

    assert not gone
    assert not lock.held
    assert root.path.read_text() == "a file of the user's"


def test_other_stages_and_applications_stay(root: Root) -> None:
    prod = root.make_stage("shop", "prod")
    blog = root.make_stage("blog", "prod")
    folder = root.make_stage("shop", "test-main-k3")

    assert root.remove_if_empty(folder)
    assert root.remove_if_empty(blog)

    assert list(root.stages()) == [prod]
    assert (root.path / ".gitignore").exists()


def test_a_root_with_something_of_the_users_stays(root: Root) -> None:
    folder = root.make_stage("shop", "test-main-k3")
    (root.path / ".gitignore").write_text("# mine\n")

    assert root.remove_if_empty(folder)

    assert (root.path / ".gitignore").read_text() == "# mine\n"


def test_removing_twice_is_quiet(root: Root) -> None:
    folder = root.make_stage("shop", "test-main-k3")

    assert root.remove_if_empty(folder)
    assert root.remove_if_empty(folder)


def test_a_held_stage_is_not_given_to_another_and_stays(root: Root) -> None:
    folder, lock = root.hold_stage("shop", "prod", ME)

    with pytest.raises(StageLockedError, match="stage 'prod' is locked by ada"):
        root.hold_stage("shop", "prod", ME)

    assert is_held(folder / LOCK)
    lock.release()


@posix
def test_a_stage_whose_folder_cannot_be_made_whole_is_not_kept_from_the_next(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = root.make, iter(range(2))

    def make(folder: Path) -> Path:
        if next(calls, 0) == 1:  # the lock is taken by then
            raise StateFolderError(str(folder), "the disk is full")
        return real(folder)

    monkeypatch.setattr(root, "make", make)
    with pytest.raises(StateFolderError):
        root.hold_stage("shop", "test", Holder.this_process())

    _, lock = root.hold_stage("shop", "test", Holder.this_process())

    lock.release()


def test_processes_that_make_and_remove_at_the_same_moment_never_harm_each_other(
    root: Root,
) -> None:
    program = """
import os, sys
from pytest_alchemy.state.disk import refusal
from pytest_alchemy.state.folders import JOURNALS, Root
from pytest_alchemy.state.journal import FileJournal, read_journal
from pytest_alchemy.state.locks import Holder
from tests.unit.state.samples import KEY, header, intent

root, stage, name = Root(sys.argv[1]), sys.argv[2], sys.argv[3]
me = Holder.this_process()
for round in range(60):
    folder, lock = root.hold_stage("shop", stage, me, lock=f".lock-{name}")
    journal = FileJournal.open(folder / JOURNALS / name, header(), key=KEY, durable=False)
    journal.append(intent(1))
    journal.close()
    assert read_journal(journal.path, KEY).records == [intent(1)]
    assert (root.path / ".gitignore").read_text() == "*\\n" or round
    root.remove_if_empty(folder, journals=[journal.path], lock=lock)
print("done")
"""
    where = str(root.path)
    with (
        child(program, where, "test-run-k3", "gw0") as one,
        child(program, where, "test-run-k3", "gw1") as two,
        child(program, where, "test-gw2-k3", "gw2") as three,
    ):
        assert one.finish() == two.finish() == three.finish() == "done"

    assert not root.path.exists()
