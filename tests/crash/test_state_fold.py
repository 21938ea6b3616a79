"""A fold, and an end, killed before each single call to the system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_alchemy.records import Created, Deferred, Destroyed, Kept
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.stagestate import fold_stage
from tests.unit.state.samples import KEY, child, header, intent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")

KILLED_AT_EACH_CALL = """
import os, shutil, signal, sys
from pathlib import Path
from pytest_alchemy.state import journal, statefile
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.stagestate import fold_stage, load_stage, publish
from tests.unit.state.samples import KEY

def owned(store):
    state = load_stage(store)
    return state.books, state.kept

def live(store):
    return [live for book in load_stage(store).books.values() for live in book.live.values()]

def fold(store):
    lease = store.acquire()
    fold_stage(store, lease)
    store.release(lease)

def show(store):
    publish(store, load_stage(store))

def erase(store):
    store.erase(store.acquire())

def die_before(number):
    left = iter(range(number))
    def counted(function):
        def call(*args, **kwargs):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    for name in [name for name in vars(disk) if not name.startswith("_")]:
        setattr(disk, name, staticmethod(counted(getattr(disk, name))))

# A killed process loses nothing that it wrote, flushed or not, and there are thousands of flushes here.
disk.fsync = staticmethod(lambda fd: None)
statefile.sync_data = journal.sync_data = lambda fd: disk.fsync(fd)
template, work, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
act = {"fold": fold, "show": show, "erase": erase}[what]
before = owned(FileStore(template, KEY))
for number in range(100_000):
    folder = work / str(number) / "shop" / "prod"
    shutil.copytree(template, folder)
    pid = os.fork()
    if not pid:
        die_before(number)
        act(FileStore(folder, KEY))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    store = FileStore(folder, KEY)
    if what == "erase":
        assert live(store) == [], number
    else:
        assert owned(store) == before, number
    act(store)
    if what == "erase":
        assert not folder.exists(), number
    else:
        assert owned(store) == before, number
        assert what == "show" or store.segments() == [], number
        assert not list(folder.rglob("*.new")), number
    shutil.rmtree(work / str(number), ignore_errors=True)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
print(number, flush=True)
"""


def killed_at_each_call(template: Path, work: Path, what: str) -> int:
    """Return before how many calls the work on *template* was killed; each time nothing was lost."""
    with child(KILLED_AT_EACH_CALL, str(template), str(work), what) as program:
        said, _ = program.process.communicate(timeout=150)
    assert program.process.returncode == 0
    return int(said)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """Return a stage with state files, and two journals that were not folded, the second one torn."""
    folder = tmp_path / ".alchemy" / "shop" / "prod"
    store = FileStore(folder, KEY)
    places = [(), ("a",), ("a", "b")]
    lease = store.acquire()
    first = header(journal="first", ephemeral=False, stage="prod")
    store.append(lease, [first, *(intent(n, path=place) for n, place in enumerate(places, 1))])
    store.append(lease, [Deferred(4, ("a",), "", "", "f", [], {}), Created(1, {"url": "x"})])
    fold_stage(store, lease)
    store.append(lease, [Created(2, {}), Destroyed(3), intent(5, path=("new",)), Destroyed(4)])
    store.release(lease)
    lease = store.acquire()
    second = header(journal="second", continues="first", ephemeral=False, stage="prod")
    store.append(
        lease, [second, Created(5, {"url": "y"}), Kept(("a",), 1.9e9), Created(1, {"url": "z"})]
    )
    other = header(journal="other", ephemeral=False, stage="prod")
    store.append(lease, [other, intent(1, path=("a",)), Destroyed(2)])
    store.release(lease)
    [*_, last] = sorted((folder / ".journal").iterdir())
    last.write_bytes(last.read_bytes() + b"0123456789abcdef {")
    return folder


@pytest.fixture
def over(tmp_path: Path) -> Path:
    """Return a stage in which nothing is owned any more, which only its last journal knows."""
    folder = tmp_path / ".alchemy" / "shop" / "prod"
    store = FileStore(folder, KEY)
    lease = store.acquire()
    first = header(journal="first", ephemeral=False, stage="prod")
    store.append(lease, [first, *(intent(n, path=("a",) * n) for n in range(4))])
    fold_stage(store, lease)
    store.append(lease, [Destroyed(n) for n in range(4)])
    store.release(lease)
    return folder


def test_a_fold_that_was_killed_anywhere_lost_nothing(stage: Path, tmp_path: Path) -> None:
    assert killed_at_each_call(stage, tmp_path / "work", "fold") > 200


def test_showing_what_is_kept_loses_nothing_if_it_is_killed(stage: Path, tmp_path: Path) -> None:
    assert killed_at_each_call(stage, tmp_path / "work", "show") > 100


def test_an_end_that_was_killed_anywhere_brings_nothing_back(over: Path, tmp_path: Path) -> None:
    assert killed_at_each_call(over, tmp_path / "work", "erase") > 50
