"""A fake account in a file is one account for all workers, for a later process and for ``alchemy fake``."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_alchemy.cloudflare import FakeAccount
from tests.support.fakeserver import serving
from tests.unit.cloudflare.api import Api

TESTS = """
import os

import httpx
import pytest

from pytest_alchemy.cloudflare import KVNamespace

@pytest.mark.parametrize("number", [1, 2])
def test_all_see_one_account(alchemy_scope, fake_cloudflare, number):
    own = alchemy_scope.create(KVNamespace(f"own-{number}"))
    answer = httpx.get(
        f"{os.environ['SERVED']}/accounts/{fake_cloudflare.account_id}/storage/kv/namespaces?per_page=100",
        headers={"authorization": f"Bearer {fake_cloudflare.api_token}"},
    )
    over_http = {namespace["title"] for namespace in answer.json()["result"]}
    here = {item.name for item in fake_cloudflare.inventory()}
    assert {"made-before", "made-over-http", own.name} <= over_http & here
    print("WORKER", os.environ["PYTEST_XDIST_WORKER"])
"""


def test_workers_a_server_and_later_processes_see_one_account(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "account.db"
    before = Api(FakeAccount(file))
    before.namespace("made-before")
    pytester.makepyfile(TESTS)
    with serving("--account", str(file)) as (_, told):
        monkeypatch.setenv("SERVED", told["url"])
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others take most of the time
        before.namespace("made-over-http")

        result = pytester.runpytest_subprocess(
            "-palchemy", "-pxdist", "-n2", "--dist=each", "-rP", f"--alchemy-fake-account={file}"
        )

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines_random(["WORKER gw0", "WORKER gw1"])
    later = FakeAccount(file)
    assert {item.name for item in later.inventory()} == {"made-before", "made-over-http"}
