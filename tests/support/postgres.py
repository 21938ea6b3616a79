"""A PostgreSQL server for tests: the one that is named, else a throw-away one, else a reason why not."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

URL = "ALCHEMY_TEST_POSTGRES"
REQUIRED = "ALCHEMY_REQUIRE_POSTGRES"
DEBIAN = Path("/usr/lib/postgresql")

# The shell outlives this process by as long as it takes to stop the server: it waits for the end of its input,
# which comes with the end of whoever holds the other end of the pipe, whatever ended it.
_SERVER = """
export LC_ALL=C
trap 'rm -rf "$home"' EXIT
"$bin/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --no-sync >"$home/log" 2>&1 &&
"$bin/pg_ctl" -D "$home/data" -l "$home/log" -w -t 60 \
    -o "-k '$home' -c listen_addresses='' -c fsync=off -c shared_buffers=16MB" start >>"$home/log" 2>&1 ||
    { cat "$home/log"; exit 1; }
echo ready
read -r _
"$bin/pg_ctl" -D "$home/data" -m immediate -w stop >>"$home/log" 2>&1
"""


class NoServerError(Exception):
    """There is no PostgreSQL server here, and none can be started; the text says why."""


@contextlib.contextmanager
def server() -> Iterator[str]:
    """
    Yield the libpq URL of a server on which databases may be created.

    That is the one in ALCHEMY_TEST_POSTGRES if set, else a fresh one on a Unix socket, which is stopped and deleted
    afterwards, even if this process is killed.

    Raises:
        NoServerError: No server is named and the programs to start one are not installed.
    """
    if url := os.environ.get(URL):
        yield url
    elif programs := find_programs():
        with _throw_away(programs) as url:
            yield url
    else:
        raise NoServerError(
            f"{URL} names no PostgreSQL server and initdb is not installed "
            "(Debian: apt-get install postgresql)"
        )


def is_required() -> bool:
    """Tell whether a missing server is a failure rather than a reason to skip."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


def find_programs() -> Path | None:
    """Return the folder of the newest initdb and pg_ctl; Debian keeps them out of PATH."""
    debian = sorted(
        DEBIAN.glob("*/bin"),
        key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)],
        reverse=True,
    )
    on_path = shutil.which("initdb")
    candidates = debian + ([Path(on_path).resolve().parent] if on_path else [])
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


@contextlib.contextmanager
def _throw_away(programs: Path) -> Iterator[str]:
    # Not below pytest's own temporary folder: its path may be too long for a socket, and it is closed to other users.
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    process = _start(programs, home)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if said != "ready\n":
            raise NoServerError(f"PostgreSQL did not start:\n{said}{process.stdout.read()}")
        yield f"postgresql://postgres@/postgres?host={quote(str(home), safe='')}"
    finally:
        process.communicate(timeout=60)  # closes its input
        shutil.rmtree(home, ignore_errors=True)  # the server's own user may only empty it


def _start(programs: Path, home: Path) -> subprocess.Popen[str]:
    script = f"bin={shlex.quote(str(programs))}; home={shlex.quote(str(home))}; {_SERVER}"
    command = ["sh", "-c", script]
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            shutil.chown(home, "postgres", "postgres")
        except LookupError:
            shutil.rmtree(home)
            raise NoServerError(
                "PostgreSQL cannot run as root, and there is no user named postgres"
            ) from None
        command = ["runuser", "-u", "postgres", "--", *command]
    return subprocess.Popen(
        command,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests; they stop the server when they are done
    )
