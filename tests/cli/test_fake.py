"""``alchemy fake`` as another program sees it."""

from __future__ import annotations

import importlib.abc
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from pytest_alchemy.cli import main
from pytest_alchemy.cloudflare import FakeAccount
from tests.support.fakeserver import serving


def bearer(told: dict[str, str]) -> dict[str, str]:
    return {"authorization": f"Bearer {told['CLOUDFLARE_API_TOKEN']}"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number: int) -> None:
    with serving() as (process, told), httpx.Client(headers=bearer(told)) as client:
        answer = client.get(f"{told['url']}/accounts/{told['CLOUDFLARE_ACCOUNT_ID']}")
        process.send_signal(number)
        _, said = process.communicate(timeout=20)

    assert answer.json()["result"]["id"] == told["CLOUDFLARE_ACCOUNT_ID"]
    assert told["url"] == told["CLOUDFLARE_BASE_URL"] == told["CLOUDFLARE_API_BASE_URL"]
    assert told["url"].startswith("http://127.0.0.1:")
    assert told["url"].endswith("/client/v4")
    assert len(told["CLOUDFLARE_API_TOKEN"]) == 40
    assert (process.returncode, said) == (0, "Serving the fake account in memory until Ctrl-C.\n")


def test_two_of_them_have_ids_and_tokens_of_their_own() -> None:
    with serving() as (_, first), serving() as (_, second):
        assert httpx.get(f"{first['url']}/user", headers=bearer(second)).status_code == 401
        assert first["CLOUDFLARE_ACCOUNT_ID"] != second["CLOUDFLARE_ACCOUNT_ID"]


def test_it_takes_the_address_the_id_and_the_token_that_it_is_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    words = ["--host", "localhost", "--port", port, "--account-id", "a" * 32, "--api-token", "t"]

    with serving(*words) as (_, told):
        answer = httpx.get(f"{told['url']}/accounts/{'a' * 32}", headers=bearer(told))

    assert (told["url"], told["CLOUDFLARE_API_TOKEN"]) == (
        f"http://localhost:{port}/client/v4",
        "t",
    )
    assert answer.status_code == 200


def test_a_file_is_one_account_for_the_server_and_for_tests_while_and_after_it_runs(
    tmp_path: Path,
) -> None:
    file = tmp_path / "account.db"
    here = FakeAccount(file)

    with serving("--account", str(file)) as (process, told):
        url = f"{told['url']}/accounts/{told['CLOUDFLARE_ACCOUNT_ID']}/storage/kv/namespaces"
        httpx.post(url, headers=bearer(told), json={"title": "made-over-http"})
        seen = [item.name for item in here.inventory()]
        process.terminate()
        process.wait(20)

    assert seen == ["made-over-http"]
    assert (told["CLOUDFLARE_ACCOUNT_ID"], told["CLOUDFLARE_API_TOKEN"]) == (
        here.account_id,
        here.api_token,
    )
    assert [item.name for item in FakeAccount(file).inventory()] == ["made-over-http"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:80", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
def test_a_page_that_calls_itself_by_its_own_name_is_not_let_in(
    shared: dict[str, str], host: str, status: int
) -> None:
    answer = httpx.get(f"{shared['url']}/user", headers={**bearer(shared), "host": host})

    assert answer.status_code == status
    if status != 200:
        (error,) = answer.json()["errors"]
        assert error["message"] == f"This fake account is not served as {host or 'a nameless host'}"


@pytest.fixture(scope="module")
def shared() -> Iterator[dict[str, str]]:
    with serving() as (_, told):
        yield told


def test_an_answer_arrives_in_one_piece(shared: dict[str, str]) -> None:
    url = httpx.URL(shared["url"])
    request = (
        f"GET {url.path}/user HTTP/1.1\r\nHost: {url.host}\r\n"
        f"Authorization: Bearer {shared['CLOUDFLARE_API_TOKEN']}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port or 0), timeout=20) as connection:
        for _ in range(20):
            connection.sendall(request.encode())

            piece = connection.recv(1 << 20)

            head, _, body = piece.partition(b"\r\n\r\n")
            assert f"content-length: {len(body)}".encode() in head.lower()
            assert body.endswith(b"}")


def test_a_body_in_chunks_is_read_whole(shared: dict[str, str]) -> None:
    url = f"{shared['url']}/accounts/{shared['CLOUDFLARE_ACCOUNT_ID']}/storage/kv/namespaces"
    id = httpx.post(url, headers=bearer(shared), json={"title": "chunks"}).json()["result"]["id"]
    chunks = (bytes([number]) * 70_000 for number in range(9))

    httpx.put(f"{url}/{id}/values/a%2Fb", headers=bearer(shared), content=chunks)

    value = httpx.get(f"{url}/{id}/values/a%2Fb", headers=bearer(shared)).content
    assert value == b"".join(bytes([number]) * 70_000 for number in range(9))


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["fake", *words], prog_name="alchemy")
    return result.exit_code, result.output


def test_a_taken_port_is_told_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = said("--port", str(port))

    assert code == 1
    assert f"Nothing can be served at 127.0.0.1, port {port}: Address already in use" in text
    assert "Choose another with --host and --port; without --port any free one is taken.\n" in text


def test_a_bad_account_id_is_told() -> None:
    code, text = said("--account-id", "me")

    assert code == 2
    assert "--account-id: an account id is 32 hexadecimal digits, not 'me'" in text


def test_a_file_that_is_no_account_is_told(tmp_path: Path) -> None:
    file = tmp_path / "account.db"
    file.write_bytes(b"not a database" * 1000)

    code, text = said("--account", str(file))

    assert code == 1
    assert f"The fake account {file} cannot be used: file is not a database." in text


class _NoUvicorn(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, *_: Any) -> None:
        if name == "uvicorn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_uvicorn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "uvicorn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "pytest_alchemy.cloudflare.fake.http_door", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_NoUvicorn(), *sys.meta_path])

    code, text = said()

    assert (code, text) == (
        1,
        "Error: alchemy fake needs uvicorn, which is not installed.\n"
        "Install it: pip install 'pytest-alchemy[serve]'\n",
    )
