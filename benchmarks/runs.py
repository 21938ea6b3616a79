"""
What the plugin costs a whole run: installed and unused, and with a scope in every test.

Runs of one comparison alternate as whole processes, each time in another order.
"""

from __future__ import annotations

import statistics
import tempfile
import venv
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from figures import Figure, alternate, compared, run, timed

REPOSITORY = Path(__file__).parent.parent
PLAIN_TESTS = 500
SCOPED_TESTS = 2000
HEAVY = ("httpx", "respx", "anyio", "msgspec", "rich", "click")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")

_IMPORT = f"""
import sys, time
import pytest, _pytest.config
before = set(sys.modules)
start = time.process_time()
import pytest_alchemy.plugin
took = time.process_time() - start
new = set(sys.modules) - before
print(took * 1000, *sorted(new & {set(HEAVY)!r}))
"""
_FIXTURES = """
import pytest

@pytest.fixture
def plain():
    yield
"""
_KINDS = """
from pytest_alchemy import Resource

class Nothing(Resource):
    def create(self): ...
    def destroy(self): ...

def make_five(scope):
    for number in range(5):
        scope.create(Nothing(f"n{number}"))
"""
# What stands in the tests; not in a fixture of their own, which would cost pytest a tenth of an empty test.
_TESTS = {
    "plain": ("", "def test_{number}(plain): pass\n"),
    "empty": ("", "def test_{number}(alchemy_scope): pass\n"),
    "five": (
        "from kinds import make_five\n",
        "def test_{number}(alchemy_scope): make_five(alchemy_scope)\n",
    ),
}


def figures(rounds: int) -> Iterator[Figure]:
    """Yield the figures of whole runs; *rounds* is how often the runs of a comparison alternate."""
    yield from _entry()
    with tempfile.TemporaryDirectory() as name:
        ours = _environment(Path(name, "ours"), str(REPOSITORY))
        bare = _environment(Path(name, "bare"), f"pytest=={version('pytest')}")
        yield from _unused(Path(name), ours, bare, rounds)
        yield from _scopes(Path(name), ours, rounds)


def _entry() -> Iterator[Figure]:
    """Yield what importing the entry module costs after pytest, and how many heavy modules it loads."""
    lines = [run("-c", _IMPORT).split() for _ in range(31)]
    took = statistics.median(float(line[0]) for line in lines[1:])  # the first may write bytecode
    heavy = sorted({name for line in lines for name in line[1:]})
    yield Figure("plugin entry import after pytest", took, "ms", 2.0, note="CPU")
    yield Figure("heavy modules loaded by it", len(heavy), "", 0, note=", ".join(heavy))


def _unused(folder: Path, ours: str, bare: str, rounds: int) -> Iterator[Figure]:
    """Yield what plain tests cost more if the plugin is installed, and if its dependencies are."""
    tests = folder / "unused"
    tests.mkdir()
    body = (
        f"def test_{number}() -> None:\n    assert {number} >= 0\n" for number in range(PLAIN_TESTS)
    )
    (tests / "test_plain.py").write_text("\n".join(body))
    found = alternate(
        {
            "installed": lambda: timed(*PYTEST, cwd=tests, python=ours),
            "turned off": lambda: timed(*PYTEST, "-p", "no:alchemy", cwd=tests, python=ours),
            "without respx": lambda: timed(*PYTEST, "-p", "no:respx", cwd=tests, python=ours),
            "bare": lambda: timed(*PYTEST, cwd=tests, python=bare),
        },
        rounds,
    )
    what = f"{PLAIN_TESTS} plain tests, installed and unused"
    yield compared(f"{what}, against -p no:alchemy", found["installed"], found["turned off"], 1.02)
    what += ", against an environment with pytest alone"
    yield compared(what, found["installed"], found["bare"], None)
    yield compared(f"{what}, with -p no:respx", found["without respx"], found["bare"], None)


def _environment(folder: Path, package: str) -> str:
    """Make an environment with *package* and what it depends on, and return its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, python=python)
    return python


def _scopes(folder: Path, ours: str, rounds: int) -> Iterator[Figure]:
    """Yield what a scope in every test costs a whole run, against a fixture that only yields."""
    tests = folder / "scopes"
    tests.mkdir()
    (tests / "conftest.py").write_text(_FIXTURES)
    (tests / "kinds.py").write_text(_KINDS)
    (tests / "pytest.ini").write_text("[pytest]\nalchemy_app = bench\n")
    for name, (head, test) in _TESTS.items():
        body = (test.format(number=number) for number in range(SCOPED_TESTS))
        (tests / f"test_{name}.py").write_text(head + "".join(body))
    found = alternate(
        {
            name: lambda file=f"test_{name}.py": timed(*PYTEST, file, cwd=tests, python=ours)
            for name in _TESTS
        },
        rounds,
    )
    what = f"{SCOPED_TESTS:,} tests with an empty alchemy_scope, against a plain yield fixture"
    yield compared(what, found["empty"], found["plain"], 1.1)
    yield compared("the same with 5 no-op resources per test", found["five"], found["plain"], 1.35)
