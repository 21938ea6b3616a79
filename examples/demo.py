"""
The quickstart on two workers, one of which is killed in the middle of a test: python examples/demo.py.

The fake Cloudflare account is a file here, so that what the killed worker made is still there when it is gone. The
last line counts what is left in that account once the run is over. Exit code 0 if that is nothing, and pytest
reported what it reaped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_alchemy.cloudflare import FakeAccount

EXAMPLES = Path(__file__).resolve().parent
KILLED = "demo/test_killed.py::test_whose_worker_is_killed"
MADE_BY_IT = {"D1Database orders", "KVNamespace carts"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="alchemy-demo-") as folder:
        account = Path(folder, "account.sqlite3")
        said = run_tests(account, Path(folder, "state"))
        if not account.exists():
            print("The run made no account: nothing was tried.")
            return 1
        left = FakeAccount(account).inventory()
    problems = [f"Still there: {item.kind} {item.name}" for item in left]
    reaped = set(re.findall(r"REAPED (\w+ \w+)", said))
    problems += [f"Not reported as reaped: {thing}" for thing in sorted(MADE_BY_IT - reaped)]
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    if failed != [KILLED]:
        problems.append(
            f"Failed: {', '.join(failed) or 'nothing'}, where {KILLED} alone should have."
        )
    print(
        "",
        *(problems or ["As planned: one worker was killed, and what it had made was reaped."]),
        sep="\n",
    )
    print(f"left in the account: {len(left)}")
    return 1 if problems else 0


def run_tests(account: Path, state: Path) -> str:
    """Run pytest, show what it says as it comes, and return it without colours."""
    command = [
        sys.executable, "-m", "pytest", "quickstart", "demo", "-n", "2",
        "-c", "quickstart/pytest.ini", "--rootdir", ".", "-p", "no:cacheprovider",
        "--alchemy-fake-account", str(account), "--alchemy-root", str(state),
    ]  # fmt: skip
    print("$ pytest", *command[3:], flush=True)
    if sys.stdout.isatty():
        command.append("--color=yes")
    said = []
    with subprocess.Popen(
        command,
        cwd=EXAMPLES,
        env={**os.environ, "COLUMNS": "120", "PYTEST_ADDOPTS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pytest:
        assert pytest.stdout is not None
        for line in pytest.stdout:
            print(line, end="", flush=True)
            said.append(line)
    return re.sub(r"\x1b\[[0-9;]*m", "", "".join(said))


if __name__ == "__main__":
    sys.exit(main())
