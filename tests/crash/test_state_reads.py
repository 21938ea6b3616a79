"""Reading while somebody writes."""

from __future__ import annotations

from pathlib import Path

from tests.unit.state.samples import child

REWRITING = """
import itertools, sys
from pathlib import Path
from pytest_alchemy.state.filestore import FileStore
from tests.unit.state.samples import KEY
store, version = FileStore(Path(sys.argv[1]), KEY), None
for n in itertools.count():
    things = {f"d1-{i}": {"n": n} for i in range(n * 37 % 400)}
    version = store.write((), {"version": "1.0", "scope": [], "resources": things, "n": n}, version)
    if not n:
        print("writing", flush=True)
"""

READING = """
import sys, time
from pathlib import Path
from pytest_alchemy.state.filestore import FileStore
from tests.unit.state.samples import KEY
store, seen, end = FileStore(Path(sys.argv[1]), KEY), set(), time.monotonic() + 2
for reads in range(1, 5001):
    read = store.read(())
    n = read.document["n"]
    assert read.trusted
    assert read.document["resources"] == {f"d1-{i}": {"n": n} for i in range(n * 37 % 400)}
    seen.add(n)
    if time.monotonic() > end:
        break
print(reads, len(seen), flush=True)
"""


def test_nobody_ever_reads_half_a_file(tmp_path: Path) -> None:
    folder = str(tmp_path / ".alchemy" / "shop" / "prod")
    with child(REWRITING, folder) as writer:
        assert writer.answer() == "writing"
        with child(READING, folder) as first, child(READING, folder) as second:
            for reader in (first, second):
                reads, versions = map(int, reader.finish().split())
                assert reads > 100
                assert versions > 10


FOLDING = """
import itertools, sys
from pathlib import Path
from pytest_alchemy.records import Destroyed
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.stagestate import fold_stage
from tests.unit.state.samples import KEY, header, intent
store = FileStore(Path(sys.argv[1]), KEY)
lease = store.acquire()
# Not flushed to the disk, so that there is more to see; a fold is.
store.append(lease, [header(), intent(1, path=("a",))])
print("writing", flush=True)
for n in itertools.count(1):
    store.append(lease, [intent(n + 1, path=("ab"[n % 2],)), Destroyed(n)])
    if not n % 40:
        fold_stage(store, lease)
"""

LOADING = """
import sys, time
from pathlib import Path
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.stagestate import load_stage
from tests.unit.state.samples import KEY
store, seen, end = FileStore(Path(sys.argv[1]), KEY), [], time.monotonic() + 2
for reads in range(1, 5001):
    state = load_stage(store)
    [book] = state.books.values()
    assert 1 <= len(book.live) <= 2, book
    assert max(book.live) == book.numbers, book
    seen.append(book.numbers)
    if time.monotonic() > end:
        break
assert seen == sorted(seen)
print(reads, len(set(seen)), flush=True)
"""


def test_what_is_owned_can_be_read_at_any_moment_of_a_fold(tmp_path: Path) -> None:
    folder = str(tmp_path / ".alchemy" / "shop" / "prod")
    with child(FOLDING, folder) as writer:
        assert writer.answer() == "writing"
        with child(LOADING, folder) as first, child(LOADING, folder) as second:
            for reader in (first, second):
                reads, states = map(int, reader.finish().split())
                assert reads > 50
                assert states > 10
