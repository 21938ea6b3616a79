"""The workflows of the example: valid, and run step by step against a served fake account."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

EXAMPLE = Path(__file__).parents[2] / "examples" / "github-actions"
WORKFLOWS = sorted((EXAMPLE / ".github" / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent


class Fake:
    """A fake account, served to whoever knows its address."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        said = dict(
            re.findall(r"export (\w+)=(\S+)", "".join(next(process.stdout) for _ in "1234"))
        )
        self.account, self.token = said["CLOUDFLARE_ACCOUNT_ID"], said["CLOUDFLARE_API_TOKEN"]

    @property
    def left(self) -> int:
        """How many databases, namespaces and Workers there are."""
        headers = {"Authorization": f"Bearer {self.token}"}
        kinds = ("d1/database", "storage/kv/namespaces", "workers/scripts")
        urls = [f"{self.url}/accounts/{self.account}/{kind}" for kind in kinds]
        return sum(len(httpx.get(url, headers=headers).json()["result"]) for url in urls)


class Runner:
    """
    A machine that runs the jobs of a workflow, each in a new checkout, as far as these workflows need it.

    Attributes:
        said: What the steps of the last job said.
        skipped: Names of the steps of the last job that were not run.
    """

    def __init__(self, path: Path, fake: Fake) -> None:
        self._path, self._fake = path, fake
        self.work, self.cache = path / "work", path / "cache"
        self.said, self.skipped, self.runs = "", list[str](), 0

    def run(self, workflow: str, job: str, **github: str) -> bool:
        """Run a job and return whether all of its steps succeeded."""
        self.runs += 1
        self.said, self.skipped = "", []
        self._known = {
            "github.run_id": str(self.runs),
            "github.run_attempt": "1",
            "github.repository": "ada/guestbook",
            "github.event.pull_request.head.repo.full_name": "ada/guestbook",
            "github.event.pull_request.number": "7",
            "secrets.CLOUDFLARE_API_TOKEN": self._fake.token,
            "secrets.CLOUDFLARE_ACCOUNT_ID": self._fake.account,
            "secrets.ALCHEMY_KEY": base64.b64encode(b"k" * 32).decode(),
            **{f"github.{name.replace('__', '.')}": value for name, value in github.items()},
        }
        document = YAML(typ="safe").load(EXAMPLE / ".github" / "workflows" / workflow)
        wanted = document["jobs"][job]
        assert self._holds(wanted.get("if", "success()"), ok=True), "the job is not for this event"
        shutil.rmtree(self._path / "temp", ignore_errors=True)
        (self._path / "temp").mkdir()
        self._environment = self._plain_environment(document.get("env", {}))
        ok = True
        for step in wanted["steps"]:
            if self._holds(step.get("if", "success()"), ok=ok):
                ok = self._step(step) and ok
            else:
                self.skipped.append(step.get("name", step.get("run", "")))
        return ok

    def _plain_environment(self, said: dict[str, str]) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST", "ALCHEMY", "CLOUDFLARE"))
        }
        return {
            **inherited,
            "CI": "true",
            "HOME": str(self._path / "home"),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(self._path / "temp"),
            "GITHUB_ENV": str(self._path / "temp" / "env"),
            "CLOUDFLARE_BASE_URL": self._fake.url,
            **self._filled(said),
        }

    def _step(self, step: dict[str, Any]) -> bool:
        uses, given = step.get("uses", "").partition("@")[0], self._filled(step.get("with", {}))
        if uses == "actions/checkout":
            shutil.rmtree(self.work, ignore_errors=True)
            shutil.copytree(EXAMPLE, self.work)
        elif uses == "actions/cache/save":
            if (self.work / given["path"]).exists():
                shutil.copytree(self.work / given["path"], self.cache / given["key"])
        elif uses == "actions/cache/restore":
            kept = (
                sorted(self.cache.glob(f"{given['restore-keys']}*")) if self.cache.exists() else []
            )
            if kept:
                shutil.copytree(kept[-1], self.work / given["path"])
            matched = kept[-1].name if kept else ""
            self._known[f"steps.{step.get('id', 'cache')}.outputs.cache-matched-key"] = matched
        elif uses:
            assert uses == "actions/setup-python"
        elif not step["run"].startswith("pip install"):  # it is installed already
            return self._shell(self._fill(step["run"]), self._filled(step.get("env", {})))
        return True

    def _shell(self, script: str, more: dict[str, str]) -> bool:
        told = Path(self._environment["GITHUB_ENV"])
        lines = told.read_text().splitlines() if told.exists() else []
        exported = dict(line.split("=", 1) for line in lines)
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.work,
            env={**self._environment, **exported, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.said += done.stdout
        return done.returncode == 0

    def _filled(self, said: dict[str, Any]) -> dict[str, str]:
        return {name: self._fill(str(value)) for name, value in said.items()}

    def _fill(self, text: str) -> str:
        return re.sub(r"\$\{\{ *(.*?) *\}\}", lambda found: self._known[found[1]], text)

    def _holds(self, condition: str, *, ok: bool) -> bool:
        if condition in ("always()", "success()"):
            return ok or condition == "always()"
        return ok and all(map(self._is_true, condition.split(" && ")))

    def _is_true(self, comparison: str) -> bool:
        left, sign, right = comparison.split()
        value = right[1:-1] if right.startswith("'") else self._known[right]
        return (self._known[left] == value) is (sign == "==")


@pytest.fixture(scope="module")
def fake() -> Iterator[Fake]:
    """A served account; the token is one of the kind that is printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_alchemy", "fake"], stdout=subprocess.PIPE, text=True
    )
    yield Fake(process)
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture
def runner(tmp_path: Path, fake: Fake) -> Runner:
    return Runner(tmp_path, fake)


def test_every_workflow_fits_the_schema() -> None:
    checked = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
        capture_output=True,
        text=True,
    )

    assert len(WORKFLOWS) == 3
    assert checked.returncode == 0, checked.stdout


def test_the_schema_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))

    checked = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", wrong],
        capture_output=True,
    )

    assert checked.returncode == 1


def test_a_preview_is_deployed_kept_up_and_destroyed(runner: Runner, fake: Fake) -> None:
    opened = runner.run("preview.yml", "deploy", event__action="opened"), runner.said, fake.left
    pushed = (
        runner.run("preview.yml", "deploy", event__action="synchronize"),
        runner.said,
        fake.left,
    )
    closed = runner.run("preview.yml", "destroy", event__action="closed"), runner.said, fake.left

    assert opened[0], opened[1]
    assert "pr-7 is at https://" in opened[1]
    assert "guestbook/pr-7: 3 created\n" in opened[1]
    assert pushed[0], pushed[1]
    assert "guestbook/pr-7: 3 kept\n" in pushed[1]
    assert closed[0], closed[1]
    assert "3 destroyed; guestbook/pr-7 is gone\n" in closed[1]
    assert "Find everything again by its name" in runner.skipped
    assert (opened[2], pushed[2], closed[2]) == (3, 3, 0)


def test_the_program_can_be_planned_before_anything_exists(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "work")

    planned = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest_alchemy",
            "deploy",
            "--plan",
            "--stage",
            "pr-7",
            "--profile",
            "ci",
        ],
        cwd=tmp_path / "work",
        env={**os.environ, "ALCHEMY_FAKE_ACCOUNT": str(tmp_path / "account.sqlite")},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert planned.returncode == 0, planned.stderr
    assert "pr-7 is at an address that is known once it is deployed\n" in planned.stdout
    assert "3 to create" in planned.stderr


def test_a_preview_whose_state_is_lost_is_destroyed_all_the_same(
    runner: Runner, fake: Fake
) -> None:
    assert runner.run("preview.yml", "deploy", event__action="opened"), runner.said
    shutil.rmtree(runner.cache)

    ok = runner.run("preview.yml", "destroy", event__action="closed")

    assert ok, runner.said
    assert "guestbook/pr-7: 3 adopted\n" in runner.said
    assert fake.left == 0


def test_the_tests_run_and_sweep_up_whatever_their_end(runner: Runner) -> None:
    assert runner.run("tests.yml", "test", event__action="push"), runner.said
    assert "2 passed" in runner.said
    assert "Nothing to destroy under " in runner.said


def test_the_nightly_sweep_looks_into_the_account(runner: Runner) -> None:
    assert runner.run("nightly.yml", "sweep"), runner.said
    assert "Nothing to destroy under " in runner.said
    assert " or by name." in runner.said
