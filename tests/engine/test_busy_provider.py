"""Destroying at a provider that refuses: who tries again, when, who else waits, and when it ends."""

from __future__ import annotations

import asyncio
import email.utils
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytest_alchemy import Resource, clock
from pytest_alchemy.cloudflare import D1Database, FakeAccount, KVNamespace
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.cloudflare.fake.wire import Request, Response
from pytest_alchemy.errors import BlockedError, DestroyError
from pytest_alchemy.outcome import Outcome
from pytest_alchemy.pauses import Pauses
from pytest_alchemy.settings import Settings, Strategy
from pytest_alchemy.state.runpauses import RunPauses
from tests.unit.state.samples import REPOSITORY
from tests.unit.support.scopes import Hand, new_scope, new_stage

from .conftest import FakeClock

STRATEGIES: tuple[Strategy, ...] = ("sequential", "parallel")
PATIENCE = 10.0
MOMENT = 1_700_000_000.0
"""What the fake clock shows at first."""


def httpx_error(status: int, headers: dict[str, str], body: bytes = b"") -> Exception:
    request = httpx.Request("DELETE", "https://provider.example/thing")
    response = httpx.Response(status, headers=headers, content=body, request=request)
    return httpx.HTTPStatusError(f"refused with {status}", request=request, response=response)


class ClientError(Exception):
    """As botocore raises it."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__(f"refused with {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}


class SdkError(Exception):
    """As clients made from OpenAPI descriptions raise it."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__(f"refused with {status}")
        self.status, self.headers = status, headers


def botocore_error(status: int, headers: dict[str, str]) -> Exception:
    return ClientError(status, {name.lower(): value for name, value in headers.items()})


ERRORS: dict[str, Callable[[int, dict[str, str]], Exception]] = {
    "httpx": httpx_error,
    "botocore": botocore_error,
    "sdk": SdkError,
}


class Provider:
    """
    Notes each call with its moment, and refuses some.

    Attributes:
        calls: Moment, provider and id of each call.
        answers: What the next calls for an id get, instead of success.
        refused: Moment and id of each call that did not succeed.
        gate: What gated things wait for in their destroy.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[float, str, str]] = []
        self.answers: dict[str, list[Exception]] = {}
        self.refused: list[tuple[float, str]] = []
        self.gate = threading.Event()
        self._lock = threading.Lock()

    def call(self, world: str, id: str) -> None:
        with self._lock:
            self.calls.append((clock.now(), world, id))
            if answers := self.answers.get(id):
                self.refused.append((clock.now(), id))
                raise answers.pop(0)

    def times(self, id: str) -> int:
        return Counter(called for _, _, called in self.calls)[id]


provider = Provider()


class Far(Resource):
    """Lives at a provider; plain hooks."""

    at: str = "far"
    uses: list[Resource] = []  # noqa: RUF012  # every object gets a copy
    gated: bool = False

    def create(self) -> None: ...

    def destroy(self) -> None:
        if self.gated:
            assert provider.gate.wait(PATIENCE)
        provider.call(self.at, self.id)

    def world(self) -> str:
        return self.at


class AsyncFar(Far, kind="asyncfar"):
    """The same with coroutine hooks."""

    async def create(self) -> None: ...  # type: ignore[override]  # hooks may be either

    async def destroy(self) -> None:  # type: ignore[override]  # as above
        if self.gated:
            assert await asyncio.to_thread(provider.gate.wait, PATIENCE)
        provider.call(self.at, self.id)


@pytest.fixture(autouse=True)
def _new_provider() -> None:
    provider.__init__()  # type: ignore[misc]  # as it was


@pytest.fixture(params=[Far, AsyncFar], ids=["plain", "async"])
def far(request: pytest.FixtureRequest) -> type[Far]:
    found: type[Far] = request.param
    return found


# How long to wait


@pytest.mark.parametrize("style", ERRORS)
@pytest.mark.parametrize(
    ("status", "said", "waits"),
    [
        (429, "7", [7.0]),
        (429, "0.25", [0.25]),
        (503, "3", [3.0]),
        (429, email.utils.formatdate(MOMENT + 40, usegmt=True), [40.0]),
        (502, None, [0.5]),
        (500, "soon", [0.5]),
        (429, "0", []),
    ],
)
def test_it_is_tried_again_when_the_provider_wants_it(
    hand: Hand,
    far: type[Far],
    fake_clock: FakeClock,
    style: str,
    status: int,
    said: str | None,
    waits: list[float],
) -> None:
    scope = new_scope()
    hand.create(scope, far("a"))
    provider.answers["a"] = [ERRORS[style](status, {} if said is None else {"Retry-After": said})]

    hand.destroy(scope)

    assert provider.times("a") == 2
    assert fake_clock.waits == waits
    assert scope.root.counts.retried == {str(status): 1}


@pytest.fixture
def account() -> FakeAccount:
    fake = account_for(Settings("shop", "test")).fake
    assert fake is not None
    fake.clear_faults()
    return fake


@pytest.mark.parametrize("cls", [D1Database, KVNamespace])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ({"status": 429, "retry_after": 12}, [12.0]),
        ({"status": 429, "retry_after": 0.5}, [0.5]),
        ({"status": 429, "retry_after": 4, "body": "null"}, [4.0]),
        ({"status": 503, "retry_after": 2, "body": "<html><h1>Bad gateway</h1>"}, [2.0]),
        ({"status": 502, "body": [1, "two", None]}, [0.5]),
        ({"status": 500, "body": b"\xff\xfe\x00"}, [0.5]),
        ({"status": 429, "retry_after": 15, "times": 3}, [15.0, 15.0, 15.0]),
    ],
)
def test_a_busy_cloudflare_is_asked_again_whatever_its_answer_looks_like(
    hand: Hand,
    account: FakeAccount,
    fake_clock: FakeClock,
    cls: type[D1Database | KVNamespace],
    strategy: Strategy,
    fault: dict[str, Any],
    waits: list[float],
) -> None:
    scope = new_scope()
    made = hand.create(scope, cls("orders"))
    account.fail(method="DELETE", **fault)

    hand.destroy(scope, strategy)

    assert made.name not in {item.name for item in account.inventory()}
    assert fake_clock.waits == waits


def test_cloudflare_may_say_it_with_a_date(
    hand: Hand, account: FakeAccount, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = new_scope()
    hand.create(scope, KVNamespace("cache"))
    answer, refusals = account.handle, [email.utils.formatdate(MOMENT + 9, usegmt=True)]

    def handle(request: Request) -> Response:
        if request.method == "DELETE" and refusals:
            return Response(429, {"retry-after": refusals.pop()}, b"slow down")
        return answer(request)

    monkeypatch.setattr(account, "handle", handle)

    hand.destroy(scope)

    assert fake_clock.waits == [9.0]


# What is not tried again


@pytest.mark.parametrize("style", ERRORS)
@pytest.mark.parametrize("status", [404, 410])
def test_what_the_provider_does_not_know_is_gone(
    hand: Hand, far: type[Far], style: str, status: int
) -> None:
    scope = new_scope()
    hand.create(scope, far("a"))
    provider.answers["a"] = [ERRORS[style](status, {})]

    hand.destroy(scope)

    assert provider.times("a") == 1
    assert list(scope.subtree()) == []


@pytest.mark.parametrize("style", ERRORS)
@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_refusal_is_a_failure_at_once(
    hand: Hand, far: type[Far], fake_clock: FakeClock, style: str, status: int
) -> None:
    scope = new_scope()
    hand.create(scope, far("a"))
    provider.answers["a"] = [ERRORS[style](status, {"Retry-After": "1"})]

    outcome = hand.close(scope)

    assert provider.times("a") == 1
    assert fake_clock.waits == []
    [failure] = outcome.failures
    assert failure.reason.endswith(f"refused with {status}")


# Who else waits


PAUSE = 0.3


def calls_within(pause: float, world: str) -> list[str]:
    """Return the ids that were called for in *world* during a pause that it had asked for."""
    begun = [moment for moment, _ in provider.refused]
    return [
        id
        for moment, at, id in provider.calls
        for start in begun
        if at == world and start < moment < start + pause * 0.95
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_refusal_keeps_everybody_from_calling(
    hand: Hand, far: type[Far], strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.AT_ONCE", 1 if strategy == "parallel" else 64)
    scope = new_scope()
    for number in range(10):
        hand.create(scope, far(f"n{number}"))
    provider.answers["n7"] = [httpx_error(429, {"Retry-After": str(PAUSE)})]

    hand.destroy(scope, strategy)

    assert calls_within(PAUSE, "far") == []
    assert len(provider.calls) == 11


class KnownPauses(Pauses):
    """Opens the gate of the provider once everybody can know of a refusal."""

    def extend(self, provider_name: str, seconds: float) -> None:
        super().extend(provider_name, seconds)
        provider.gate.set()


def test_one_refusal_keeps_other_tasks_and_threads_from_calling(hand: Hand, far: type[Far]) -> None:
    scope = new_scope(new_stage(), destroy_strategy="parallel")
    scope.root.pauses = KnownPauses()
    for number in range(6):  # what is called already ends only when the refusal is known
        first = hand.create(scope, far(f"first{number}"))
        hand.create(scope, far(f"then{number}", uses=[first], gated=number > 0))
    provider.answers["then0"] = [httpx_error(429, {"Retry-After": str(PAUSE)})]

    hand.destroy(scope)

    assert [id for id in calls_within(PAUSE, "far") if id.startswith("first")] == []
    assert len(provider.calls) == 13


def test_another_provider_goes_on_meanwhile(hand: Hand, far: type[Far]) -> None:
    scope = new_scope(destroy_strategy="parallel")
    bottom = hand.create(scope, far("bottom", at="near"))
    middle = hand.create(scope, far("middle", at="near", uses=[bottom]))
    hand.create(scope, far("top", at="near", uses=[middle]))
    hand.create(scope, far("busy"))
    provider.answers["busy"] = [httpx_error(429, {"Retry-After": str(PAUSE)})]

    hand.destroy(scope)

    moments = {id: moment for moment, _, id in provider.calls}
    assert moments["bottom"] < moments["busy"]


OTHER_PROCESS = """
import sys
from pathlib import Path
from pytest_alchemy import Resource, clock
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.scope import Scope
from pytest_alchemy.settings import Settings
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.memory import MemoryJournal
from pytest_alchemy.state.runpauses import RunPauses

class Slow(Exception):
    status_code = 429
    headers = {"Retry-After": "0.5"}

refusals = int(sys.argv[2])

class Far(Resource):
    def create(self): ...
    def world(self): return "far"
    def destroy(self):
        global refusals
        print(self.id, clock.now(), flush=True)
        if refusals and self.id == "b":
            refusals -= 1
            raise Slow

pauses = RunPauses(Path(sys.argv[1]), "shop", "test-run-x")
stage = Stage(Settings("shop", "test"), "test-gw0-x", new_run(60), Program(), MemoryJournal, pauses=pauses)
scope = Scope(stage)
for id in "abc":
    scope.create(Far(id))
print("ready", flush=True)
sys.stdin.readline()
scope.destroy()
"""


def test_other_processes_of_the_run_wait_as_well(tmp_path: Path) -> None:
    def start(refusals: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / ".alchemy"), str(refusals)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)

    with start(1) as refused, start(0) as other:
        for process in (refused, other):
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        assert refused.stdout
        assert refused.stdin
        refused.stdin.write("\n")
        refused.stdin.flush()
        assert refused.stdout.readline().startswith("c ")
        moment = float(refused.stdout.readline().split()[1])  # it is told before the pause is known
        pauses = RunPauses(tmp_path / ".alchemy", "shop", "test-run-x")
        while not pauses.left("far"):  # it is about to write it down
            assert clock.now() < moment + 10
        out, _ = other.communicate("\n", timeout=30)
        refused.communicate(timeout=30)

    assert [float(line.split()[1]) - moment >= 0.49 for line in out.splitlines()] == [True] * 3


# When it ends


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pause_that_is_longer_than_the_teardown_may_take_ends_it_at_once(
    hand: Hand,
    far: type[Far],
    fake_clock: FakeClock,
    strategy: Strategy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.AT_ONCE", 1)
    scope = new_scope(destroy_strategy=strategy)
    for id in ("c", "b", "a"):
        hand.create(scope, far(id))
    hand.create(scope, far("near", at="near"))
    provider.answers["a"] = [httpx_error(429, {"Retry-After": "3600"})]

    outcome = hand.close(scope, timeout=2.0)

    assert fake_clock.waits == []
    assert sum(fake_clock.waits) < 2.0
    assert outcome.destroyed == 1
    late = "it has to wait for 3600 s, and 2.0 s are left (teardown_timeout 2 s)"
    assert [failure.reason for failure in outcome.failures] == [
        f"HTTPStatusError: refused with 429; {late}",
        f"TimeoutError: {late}",
        f"TimeoutError: {late}",
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_cloudflare_that_stays_busy_ends_a_teardown_in_its_time_and_says_why(
    hand: Hand, account: FakeAccount, strategy: Strategy
) -> None:
    scope = new_scope(destroy_strategy=strategy)
    made = hand.create(scope, KVNamespace("cache"))
    account.fail(method="DELETE", status=429, retry_after=3600)
    start = clock.monotonic()

    outcome = hand.close(scope, timeout=2.0)

    assert clock.monotonic() - start < 2.5
    [failure] = outcome.failures
    assert "status 429" in failure.reason
    late = r"it has to wait for 3600 s, and [12]\.\d s are left \(teardown_timeout 2 s\)"
    assert re.search(late, failure.reason)
    scope.root.pauses = Pauses()
    hand.destroy(scope)
    assert made.name not in {item.name for item in account.inventory()}


def test_a_provider_that_stays_busy_is_asked_until_the_time_is_over(
    hand: Hand, far: type[Far], fake_clock: FakeClock
) -> None:
    scope = new_scope()
    hand.create(scope, far("a"))
    provider.answers["a"] = [httpx_error(503, {"Retry-After": "3"}) for _ in range(100)]

    outcome = hand.close(scope, timeout=10.0)

    assert fake_clock.waits == [3.0, 3.0, 3.0]
    [failure] = outcome.failures
    assert failure.reason == (
        "HTTPStatusError: refused with 503 (tried 4 times); "
        "it has to wait for 3 s, and 1.0 s are left (teardown_timeout 10 s)"
    )


@pytest.mark.timeout(60, method="thread")  # by signals it would take the timer that is at work here
def test_a_wait_longer_than_one_hook_may_take_is_not_cut_off(
    hand: Hand, far: type[Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.HOOK_LIMIT", 0.3)
    monkeypatch.setattr("pytest_alchemy.teardown.GRACE", 0.0)
    scope = new_scope()
    for id in ("a", "b"):
        hand.create(scope, far(id))
    provider.answers["b"] = [httpx_error(429, {"Retry-After": "0.6"})]

    hand.destroy(scope, "sequential")

    assert provider.times("b") == 2


# What is told


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_failed_and_blocked_are_told_apart_and_each_is_named(
    hand: Hand, far: type[Far], fake_clock: FakeClock, strategy: Strategy
) -> None:
    scope = new_scope()
    db = hand.create(scope, far("db"))
    hand.create(scope, far("api", uses=[db]))
    hand.create(scope, far("free"))
    provider.answers["api"] = [httpx_error(400, {})]

    with pytest.raises(ExceptionGroup) as caught:
        hand.destroy(scope, strategy)

    failed, blocked = caught.value.exceptions
    assert (type(failed), type(blocked)) == (DestroyError, BlockedError)
    assert str(failed).startswith(f"{far.__name__} 'api' could not be destroyed: HTTPStatusError")
    assert str(blocked) == (
        f"{far.__name__} 'db' could not be destroyed: still needed by {far.__name__} 'api'"
    )
    assert provider.times("db") == 0


def test_an_outcome_without_failures_raises_nothing() -> None:
    Outcome(destroyed=3).raise_failures("shop/test")


def test_stages_of_one_process_share_the_pauses_that_they_are_given(
    hand: Hand, far: type[Far]
) -> None:
    pauses = Pauses()
    scopes = [new_scope(new_stage()) for _ in range(2)]
    for scope in scopes:
        scope.root.pauses = pauses
        hand.create(scope, far("a"))
    provider.answers["a"] = [httpx_error(429, {"Retry-After": str(PAUSE)}), httpx_error(400, {})]
    hand.close(scopes[0], timeout=PAUSE / 2)
    moment = provider.refused[0][0]

    hand.close(scopes[1])

    assert provider.calls[-1][0] - moment >= PAUSE * 0.95
