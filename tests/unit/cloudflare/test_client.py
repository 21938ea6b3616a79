"""Calling the API: retries, errors, credentials, and which account is called."""

from __future__ import annotations

import asyncio
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from pytest_alchemy.cloudflare import D1Database
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.cloudflare.client import Api, arun, run
from pytest_alchemy.cloudflare.credentials import find_credentials
from pytest_alchemy.cloudflare.errors import (
    CloudflareError,
    CloudflareUnreachableError,
    CredentialsError,
    FakeAccountError,
    QueueConsumedError,
)
from pytest_alchemy.cloudflare.fake import FakeAccount
from pytest_alchemy.driver import run_blocking
from pytest_alchemy.settings import Settings
from tests.unit.cloudflare.scopes import ListJournal, open_scope

OFFLINE = Settings(app="shop", stage="test")
LIVE = Settings(app="shop", stage="test", live=True)
D1 = "/d1/database"


class Recorder:
    """Answers from a list and notes how long it was told to wait."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.waits: list[float] = []

    async def send(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def good() -> httpx.Response:
    return httpx.Response(200, json={"success": True, "result": "done"})


def bad(status: int, **headers: str) -> httpx.Response:
    body = {"success": False, "errors": [{"code": 971, "message": "slow down"}], "result": None}
    return httpx.Response(status, json=body, headers=headers)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "a" * 32)
    monkeypatch.setenv("ALCHEMY_HOME", str(tmp_path))
    monkeypatch.delenv("CLOUDFLARE_BASE_URL", raising=False)


@pytest.fixture
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALCHEMY_HOME", str(tmp_path))
    return tmp_path


def call(recorder: Recorder, method: str = "GET", live: bool = True, **more: Any) -> Any:
    account = account_for(LIVE if live else OFFLINE)
    return run_blocking(Api(account, recorder).call(method, D1, **more))


# --- retries


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_an_overloaded_api_is_asked_again(status: int, method: str) -> None:
    recorder = Recorder(bad(status), bad(status), good())

    assert call(recorder, method) == "done"
    assert recorder.waits == [0.5, 1.0]


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7.0), ("0", 0.0), ("900", 10.0), ("tomorrow", 0.5), ("-1", 0.5), ("inf", 0.5)],
)
def test_the_wait_that_is_asked_for_is_kept_up_to_a_limit(header: str, wait: float) -> None:
    recorder = Recorder(bad(429, **{"retry-after": header}), good())

    call(recorder)

    assert recorder.waits == [wait]


@pytest.mark.usefixtures("live")
def test_no_more_than_three_tries_are_made() -> None:
    recorder = Recorder(*(bad(429, **{"retry-after": "1"}) for _ in range(9)))

    with pytest.raises(CloudflareError) as raised:
        call(recorder)

    assert len(recorder.asked) == 3
    assert (raised.value.status, raised.value.code, raised.value.retry_after) == (429, 971, 1.0)


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("method", "status"),
    [("POST", 429), ("POST", 503), ("GET", 409), ("GET", 400), ("DELETE", 404)],
)
def test_some_answers_are_final(method: str, status: int) -> None:
    recorder = Recorder(bad(status))

    with pytest.raises(CloudflareError):
        call(recorder, method)

    assert recorder.waits == []


@pytest.mark.usefixtures("live")
def test_a_broken_connection_is_tried_again_but_not_for_a_post() -> None:
    recorder = Recorder(httpx.ReadTimeout("no answer"), good())
    assert call(recorder) == "done"

    with pytest.raises(CloudflareUnreachableError) as raised:
        call(Recorder(httpx.ConnectError("refused")), "POST")

    assert str(raised.value) == (
        "Cloudflare did not answer POST /d1/database: refused.\n"
        "Check the network; if CLOUDFLARE_BASE_URL is set, check that something listens there."
    )


def test_a_fault_of_the_fake_costs_no_time() -> None:
    recorder = Recorder(bad(503), good())

    call(recorder, live=False)

    assert sum(recorder.waits) < 0.01


# --- errors


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (bad(400), "slow down (status 400, code 971)"),
        (httpx.Response(400, text="<html>\n Bad  gateway"), "<html> Bad gateway (status 400)"),
        (httpx.Response(404), "Not Found (status 404)"),
        (httpx.Response(400, json={"errors": []}), '{"errors":[]} (status 400)'),
        (httpx.Response(400, json=[1]), "[1] (status 400)"),
        (httpx.Response(200, text="<html>log in</html>"), "<html>log in</html> (status 200)"),
    ],
)
def test_a_refusal_is_told_in_the_api_s_own_words(answer: httpx.Response, message: str) -> None:
    with pytest.raises(CloudflareError) as raised:
        call(Recorder(answer))

    assert str(raised.value) == f"Cloudflare refused GET /d1/database: {message}"


@pytest.mark.parametrize(
    "error",
    [
        CloudflareError(404, 7404, "gone", "GET /x", 1.5),
        CloudflareUnreachableError("GET /x", "timeout"),
        CredentialsError("prod", "nothing is configured", ["the environment"]),
        FakeAccountError("a.db", "broken"),
        QueueConsumedError("Queue 'x'", "api"),
    ],
)
def test_errors_survive_their_way_from_a_worker(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert str(again) == str(error)
    assert vars(again) == vars(error)


# --- the real API


@pytest.mark.usefixtures("live")
def test_a_live_scope_talks_to_the_real_api() -> None:
    with respx.mock(base_url="https://api.cloudflare.com/client/v4") as api:
        route = api.get(f"/accounts/{'a' * 32}/d1/database", params={"page": "1"})
        route.respond(200, json={"success": True, "result": ["db"]})

        async def operation(api: Api) -> Any:
            return await api.call("GET", D1, query={"page": 1, "name": None})

        blocking = run(LIVE, operation)
        in_loop = asyncio.run(arun(LIVE, operation))

    assert blocking == in_loop == ["db"]
    assert route.calls[0].request.headers["authorization"] == "Bearer token"
    assert "name" not in str(route.calls[0].request.url)


@pytest.mark.usefixtures("live")
def test_a_client_of_a_loop_is_closed_with_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[httpx.AsyncClient] = []
    original = httpx.AsyncClient

    def make(**options: Any) -> httpx.AsyncClient:
        made.append(original(**options))
        return made[-1]

    monkeypatch.setattr(httpx, "AsyncClient", make)

    async def operation(api: Api) -> Any:
        return await api.call("GET", D1)

    async def program() -> list[bool]:
        with respx.mock as api:
            api.get(path__regex=".*").respond(200, json={"result": 1})
            await asyncio.gather(arun(LIVE, operation), arun(LIVE, operation))
            await arun(LIVE, operation)
            return [one.is_closed for one in made]

    during = asyncio.run(program())

    assert during == [False]
    assert made[0].is_closed


@pytest.mark.usefixtures("live")
def test_the_world_of_the_real_api_names_account_and_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default = account_for(LIVE)

    monkeypatch.setenv("CLOUDFLARE_BASE_URL", "http://127.0.0.1:8787/client/v4/")
    other = account_for(LIVE)

    assert default.world == f"cloudflare:{'a' * 32}"
    assert other.world == f"cloudflare:{'a' * 32}@http://127.0.0.1:8787/client/v4"
    assert other.base_url == "http://127.0.0.1:8787/client/v4"
    assert account_for(LIVE) is other
    assert "token" not in repr(other).replace("api_token", "")


# --- credentials


@pytest.fixture
def profile_file(nothing_configured: Path) -> Path:
    file = nothing_configured / "credentials" / "prod" / "cloudflare.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"api_token": "from-file", "account_id": "file-account"}')
    file.chmod(0o600)
    return file


def test_without_credentials_nothing_is_called(nothing_configured: Path) -> None:
    with pytest.raises(CredentialsError) as raised:
        run(LIVE, lambda api: api.call("GET", D1))

    assert str(raised.value) == (
        "No Cloudflare credentials for profile 'default': nothing is configured.\n"
        f"Looked in the environment and {nothing_configured}/credentials/default/cloudflare.json.\n"
        "Log in with alchemy login --profile default, or set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID.\n"
        "Without an account: tests use a fake one unless --alchemy-live is given, programs do with "
        "ALCHEMY_FAKE_ACCOUNT=account.sqlite."
    )


@pytest.mark.usefixtures("nothing_configured")
def test_without_credentials_a_live_scope_records_and_makes_nothing() -> None:
    journal = ListJournal()
    scope = open_scope(LIVE, journal)

    with pytest.raises(CredentialsError):
        scope.create(D1Database("orders"))

    assert journal.records == []
    assert list(scope.resources) == []


def test_half_of_the_credentials_are_none(
    nothing_configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")

    with pytest.raises(CredentialsError, match="only CLOUDFLARE_API_TOKEN is set"):
        find_credentials("default")


def test_a_profile_of_its_own_goes_before_the_environment(
    profile_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "env-account")

    found = [find_credentials(profile).account_id for profile in ("prod", "default", "ci")]

    assert found == ["file-account", "env-account", "env-account"]


def test_the_default_profile_has_a_file_too(profile_file: Path) -> None:
    default = profile_file.parents[1] / "default"
    profile_file.parent.rename(default)

    assert find_credentials("default").api_token == "from-file"


@pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(profile_file: Path, mode: int) -> None:
    profile_file.chmod(mode)

    with pytest.raises(CredentialsError, match=rf"others may read it \(mode {mode:03o}\)"):
        find_credentials("prod")

    assert stat.S_IMODE(profile_file.stat().st_mode) == mode


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "it holds no JSON object"),
        ("{}", "has no api_token and no account_id"),
        ('{"api_token": "x"}', "has no account_id"),
        ('{"api_token": "x", "account_id": 5}', "has no account_id"),
        ('{"api_token": "", "account_id": "x"}', "has no api_token"),
    ],
)
def test_a_file_without_credentials_is_refused(profile_file: Path, text: str, reason: str) -> None:
    profile_file.write_text(text)

    with pytest.raises(CredentialsError, match=reason) as raised:
        find_credentials("prod")

    assert "from-file" not in str(raised.value)


@pytest.mark.parametrize("profile", ["..", "a/b", "", "../prod"])
def test_a_profile_that_is_no_name_is_refused(nothing_configured: Path, profile: str) -> None:
    with pytest.raises(CredentialsError, match="not a name for a profile"):
        find_credentials(profile)


# --- which account


def test_offline_scopes_of_a_process_share_one_account_in_memory() -> None:
    first = account_for(OFFLINE)

    assert account_for(Settings(app="other", stage="prod")) is first
    assert first.world == f"memory:{os.getpid()}"


def test_a_file_is_one_account_until_it_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "account.db"
    settings = Settings(app="shop", stage="test", fake_account=str(file))
    first = account_for(settings)
    assert account_for(settings) is first
    assert first.fake is not None
    first.fake.close()

    for part in tmp_path.glob("account.db*"):
        part.unlink()
    second = account_for(settings)

    assert second.world != first.world
    assert run(settings, lambda api: api.call("GET", D1)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # xdist has a thread as well
def test_a_forked_child_has_a_memory_account_of_its_own() -> None:
    run(OFFLINE, lambda api: api.call("GET", D1))
    read, write = os.pipe()

    pid = os.fork()
    if pid == 0:
        try:
            run(OFFLINE, lambda api: api.call("POST", D1, {"name": "made-by-child"}))
            os.write(write, account_for(OFFLINE).world.encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)

    assert os.read(read, 100).decode() == f"memory:{pid}"
    os.close(read)
    fake = account_for(OFFLINE).fake
    assert fake is not None
    assert "made-by-child" not in {item.name for item in fake.inventory()}


def test_a_mock_for_every_client_does_not_stand_in_the_way() -> None:
    with respx.mock(using="httpx", assert_all_mocked=True):
        blocking = run(OFFLINE, lambda api: api.call("GET", D1, query={"page": 1_000_000}))
        in_loop = asyncio.run(
            arun(OFFLINE, lambda api: api.call("GET", D1, query={"page": 1_000_000}))
        )

    assert blocking == in_loop == []


def test_importing_the_package_imports_no_client() -> None:
    program = (
        # What measures coverage has loaded some of them already.
        "import sys; before = set(sys.modules); new = lambda: set(sys.modules) - before\n"
        "import pytest_alchemy.cloudflare as c; assert 'D1Database' in dir(c)\n"
        "assert not {'httpx', 'respx', 'sqlite3', 'asyncio'} & new(), new()\n"
        "c.FakeAccount(); assert not {'httpx', 'respx', 'asyncio'} & new(), new()\n"
        "c.D1Database; assert 'httpx' in sys.modules and 'respx' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import pytest_alchemy.cloudflare as package

    with pytest.raises(AttributeError, match="no attribute 'Pages'"):
        _ = package.Pages


def test_the_fake_account_of_these_tests_is_a_fake() -> None:
    assert isinstance(account_for(OFFLINE).fake, FakeAccount)
