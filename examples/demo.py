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
REAPED = {"D1Database orders", "KVNamespace carts"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="alchemy-demo-") as folder:
        account = Path(folder, "account.sqlite3")
        output = run_tests(account, Path(folder, "state"))
        if not account.exists():
            print("The run made no account: nothing was tried.")
            return 1
        left = FakeAccount(account).inventory()
    reaped = set(re.findall(r"REAPED (\w+ \w+)", output))
    for missing in sorted(REAPED - reaped):
        print(f"Not reported as reaped: {missing}")
    for item in left:
        print(f"Still there: {item}")
    print(f"left in the account: {len(left)}")
    return 1 if left or reaped != REAPED else 0


def run_tests(account: Path, state: Path) -> str:
    """Run pytest, show what it says as it comes, and return it."""
    command = [
        sys.executable, "-m", "pytest", "quickstart", "demo", "-n", "2",
        "-c", "quickstart/pytest.ini", "--rootdir", ".", "-p", "no:cacheprovider",
        "--alchemy-fake-account", str(account), "--alchemy-root", str(state),
    ]  # fmt: skip
    print("$ pytest", *command[3:], flush=True)
    said = []
    with subprocess.Popen(
        command,
        cwd=EXAMPLES,
        env={**os.environ, "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pytest:
        assert pytest.stdout is not None
        for line in pytest.stdout:
            print(line, end="", flush=True)
            said.append(line)
    return "".join(said)


if __name__ == "__main__":
    sys.exit(main())
