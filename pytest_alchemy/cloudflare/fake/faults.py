"""Faults: answers that the account gives instead of its own, a number of times."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pytest_alchemy.cloudflare.fake.wire import Refusal, Request, Response, encode, refused

LEFT_OUT: Any = object()

_CODES = {
    401: 10000,
    403: 10000,
    404: 7003,
    405: 10405,
    409: 10009,
    429: 971,
    500: 10001,
    503: 10001,
}
_MESSAGES = {429: "Please wait and consider throttling your request speed"}


@dataclass(slots=True)
class Fault:
    """
    One rule.

    Attributes:
        method: Method it is for; empty for all.
        path: What the raw path has to contain.
        response: What it answers; None for the account's own answer.
        left: How often it will still do so; None for ever.
        acts: True if the request takes effect all the same.
        delay: How long the client waits for the answer, in seconds.
        is_lost: True if the client's connection breaks instead.
    """

    method: str
    path: re.Pattern[str]
    response: Response | None
    left: int | None = 1
    acts: bool = False
    delay: float = 0.0
    is_lost: bool = False

    def answer(self, own: Callable[[], Response]) -> Response:
        """Return what the client gets; *own* lets the request take effect and returns the account's own answer."""
        made = own() if self.acts or self.is_lost or self.response is None else None
        answer = self.response or made
        assert answer is not None
        return replace(answer, delay=self.delay, is_lost=self.is_lost)


class Faults:
    """The rules in force; the one made first answers first."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put *fault* in force."""
        self._rules.append(fault)

    def clear(self) -> None:
        """Drop all rules."""
        self._rules.clear()

    def take(self, request: Request) -> Fault | None:
        """Return the rule that answers *request*, used up by one."""
        for fault in self._rules:
            if fault.method in ("", request.method) and fault.path.search(request.path):
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left <= 0:
                        self._rules.remove(fault)
                return fault
        return None


def fault_response(
    status: int, *, retry_after: float | None, code: int | None, message: str, body: Any
) -> Response:
    """
    Return the answer of a rule: *body* as it is unless it is left out, else an error in the envelope.

    Args:
        status: HTTP status.
        retry_after: What ``Retry-After`` says, in seconds; None for no such header.
        code: Cloudflare's error code; by default the one that goes with the status.
        message: Cloudflare's words.
        body: Raw text or bytes, or anything else to be sent as JSON; LEFT_OUT for an error in the envelope.
    """
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    refusal = Refusal(
        status,
        _CODES.get(status, 10001) if code is None else code,
        message
        or _MESSAGES.get(status, f"This fake account was told to fail with status {status}"),
        headers=headers,
    )
    if body is LEFT_OUT:
        return refused(refusal)
    raw = (
        body.encode()
        if isinstance(body, str)
        else body
        if isinstance(body, bytes)
        else encode(body)
    )
    return Response(status, {"content-type": "application/json", **headers}, raw)
