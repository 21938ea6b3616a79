"""A program on a fake account of its own, run again whenever its files change."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pytest_alchemy import clock
from pytest_alchemy.cli.dev import Changes
from pytest_alchemy.state.keys import HOME_VARIABLE

PROGRAM = """
import os

from pytest_alchemy import alchemy
from pytest_alchemy.cloudflare import KVNamespace

with alchemy("shop") as app:
    for name in {names}:
        app.create(KVNamespace(name))
    print("program saw", os.environ["CLOUDFLARE_BASE_URL"], app.stage)
"""


class Dev:
    """The command while it runs in a folder."""

    def __init__(self, path: Path, *words: str) -> None:
        self.path, self.said = path, ""
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest_alchemy", "dev", *words],
            cwd=path,
            env={**environment, "USER": "ada", "LOGNAME": "ada"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def wait_for(self, text: str) -> None:
        """Read until *text* is said, a minute at most, and forget what was said up to there."""
        assert self.process.stdout is not None
        give_up = clock.monotonic() + 60
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while text not in self.said:
                assert clock.monotonic() < give_up, self.said
                if selector.select(1):
                    chunk = os.read(self.process.stdout.fileno(), 65536)
                    assert chunk, self.said
                    self.said += chunk.decode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    project = tmp_path / "project"
    project.mkdir()
    (project / "alchemy_run.py").write_text(PROGRAM.format(names=["cache"]))
    return project


@pytest.fixture
def words() -> tuple[str, ...]:
    return ()


@pytest.fixture
def dev(folder: Path, words: tuple[str, ...]) -> Iterator[Dev]:
    running = Dev(folder, *words)
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate()


def namespaces(said: str) -> list[str]:
    """Return what the account that was introduced holds, as a client sees it."""
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", said, re.MULTILINE))
    answer = httpx.get(
        f"{exported['CLOUDFLARE_BASE_URL']}/accounts/{exported['CLOUDFLARE_ACCOUNT_ID']}/storage/kv/namespaces",
        headers={"Authorization": f"Bearer {exported['CLOUDFLARE_API_TOKEN']}"},
        timeout=30,
    )
    return sorted(each["title"] for each in answer.json()["result"])


def test_a_change_is_deployed_to_an_account_that_everybody_can_ask(folder: Path, dev: Dev) -> None:
    dev.wait_for("Waiting for changes in ")
    first, seen = namespaces(dev.said), dev.said
    (folder / "alchemy_run.py").write_text(PROGRAM.format(names=["cache", "sessions"]))
    dev.wait_for("1 created, 1 kept")
    second = namespaces(dev.said)
    dev.process.send_signal(signal.SIGINT)
    dev.wait_for("Ended; the account and what is in it stay.\n")

    [url] = re.findall(r"^(http://127\.0\.0\.1:\d+/client/v4)$", seen, re.MULTILINE)
    assert f"program saw {url} ada\n" in seen
    assert "shop/ada: 1 created\n" in seen
    assert dev.process.wait(30) == 0
    assert (len(first), len(second)) == (1, 2)
    assert "cache" in first[0]


def test_a_program_may_say_its_own_profile(folder: Path, dev: Dev) -> None:
    program = PROGRAM.replace('"shop"', '"shop", profile="ci"').format(names=["cache", "sessions"])
    dev.wait_for("Waiting for changes in ")

    (folder / "alchemy_run.py").write_text(program)

    dev.wait_for("shop/ada: 1 created, 1 kept\n")


@pytest.mark.parametrize("words", [("--profile=ci", "--adopt", "--force")])
def test_what_it_is_told_holds_for_every_deployment(folder: Path, dev: Dev) -> None:
    program = PROGRAM.replace('"shop"', '"shop", stage_profile_mapping={{"ada": ["ci"]}}')
    dev.wait_for("Waiting for changes in ")
    shutil.rmtree(folder / ".alchemy" / "shop")
    dev.said = ""

    (folder / "alchemy_run.py").write_text(program.format(names=["cache"]))
    dev.wait_for("Waiting for changes in ")
    first, dev.said = dev.said, ""
    (folder / "alchemy_run.py").write_text(program.format(names=[]))
    dev.wait_for("Waiting for changes in ")

    assert "shop/ada: 1 adopted\n" in first
    assert "shop/ada: 1 destroyed\n" in dev.said


def test_a_program_that_fails_is_told_and_waited_for(folder: Path, dev: Dev) -> None:
    dev.wait_for("Waiting for changes in ")
    (folder / "alchemy_run.py").write_text("1 / 0\n")
    dev.wait_for("Error: alchemy_run.py, line 1: ZeroDivisionError: division by zero")

    (folder / "alchemy_run.py").write_text(PROGRAM.format(names=[]))
    dev.wait_for("so nothing of what is recorded there was destroyed.")

    assert dev.process.poll() is None


def test_a_program_that_writes_beside_itself_is_not_deployed_for_ever(
    folder: Path, dev: Dev
) -> None:
    writing = f"{PROGRAM}\nimport time\nopen('seen.txt', 'w').write(str(time.time_ns()))\n"
    dev.wait_for("Waiting for changes in ")
    dev.said = ""
    (folder / "alchemy_run.py").write_text(writing.format(names=["cache"]))
    dev.wait_for("Waiting for changes in ")
    first, dev.said = dev.said, ""
    (folder / "alchemy_run.py").write_text(writing.format(names=["cache", "sessions"]))
    dev.wait_for("Waiting for changes in ")
    second, dev.said = dev.said, ""
    (folder / "seen.txt").write_text("by hand")
    dev.wait_for("Waiting for changes in ")
    third, dev.said = dev.said, ""

    dev.process.send_signal(signal.SIGINT)
    dev.wait_for("Ended; the account and what is in it stay.\n")

    assert [said.count("program saw") for said in (first, second, third)] == [2, 1, 2]
    assert dev.said == "Ended; the account and what is in it stay.\n"


def test_a_file_that_is_saved_unchanged_has_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "alchemy_run.py"

    def saves() -> Iterator[list[str]]:
        for text in ("first", "first", "", "second"):
            file.write_text(text) if text else file.unlink()
            yield [str(file)]

    changes, seen = Changes(saves(), file), list[str | None]()
    for _ in range(3):
        changes.wait()
        seen.append(file.read_text() if file.exists() else None)

    assert seen == ["first", None, "second"]


def test_no_save_of_the_program_is_lost_however_many_come_while_it_runs(tmp_path: Path) -> None:
    program, output = tmp_path / "alchemy_run.py", tmp_path / "seen.txt"

    def saves() -> Iterator[list[str]]:
        for number in range(3):
            for file in (program, output):
                file.write_text(str(number))
            yield [str(program), str(output)]
        output.write_text("3")
        yield [str(output)]

    changes = Changes(saves(), program)

    assert [changes.came_meanwhile() for _ in range(4)] == [True, True, True, False]
