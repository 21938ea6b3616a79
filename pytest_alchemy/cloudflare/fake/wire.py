"""What goes over the wire: requests, responses, the envelope around results, and pages of lists."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pytest_alchemy import clock

T = TypeVar("T")

BASE_PATH = "/client/v4"
SIGNED_PATH = "/signed/"
"""Below it, a path is a secret and takes the place of a token."""

JSON_HEADERS = {"content-type": "application/json"}
# The real limit is 1200 calls in five minutes. The fake never blocks on its own account (a fault rule can), so it
# always reports a fresh window: a client that slows down when little is left is not slowed down by other tests.
LIMIT_HEADERS = {
    "ratelimit": '"default";r=1199;t=300',
    "ratelimit-policy": '"default";q=1200;w=300',
}


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request, as it came.

    Attributes:
        method: Upper-case method.
        path: The path still percent-encoded, without the query.
        query: The query string, without the question mark.
        headers: Headers with lower-case names.
        body: The whole body.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """
        Return the body read as JSON, whatever its content type says; None for an empty body.

        Raises:
            Refusal: The body is not JSON.
        """
        if not self.body:
            return None
        try:
            return json.loads(self.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refusal(
                400, 10026, "Could not parse request body: it is not valid JSON"
            ) from None

    def arguments(self) -> dict[str, str]:
        """Return the query's arguments; the last one of a name counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}


@dataclass(frozen=True, slots=True)
class Response:
    """
    One answer.

    Attributes:
        status: HTTP status.
        headers: Headers with lower-case names.
        body: The whole body.
        delay: How long whoever brings it to the client has to wait before, in seconds.
        is_lost: True if the client shall not get it: its connection breaks.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    delay: float = 0.0
    is_lost: bool = False

    def json(self) -> Any:
        """Return the body read as JSON."""
        return json.loads(self.body)


class Refusal(Exception):
    """The API says no: raised anywhere below `FakeAccount.handle`, which undoes the request and answers with it."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.more = headers or {}, more


@dataclass(frozen=True, slots=True)
class Reply:
    """A result to be put into the envelope."""

    result: Any
    info: Mapping[str, Any] | None = None
    messages: Sequence[Mapping[str, Any]] = ()


def enveloped(reply: Reply) -> Response:
    """Return the answer that carries *reply*."""
    body: dict[str, Any] = {
        "success": True,
        "errors": [],
        "messages": list(reply.messages),
        "result": reply.result,
    }
    if reply.info is not None:
        body["result_info"] = reply.info
    return Response(200, {**JSON_HEADERS, **LIMIT_HEADERS}, encode(body))


def refused(refusal: Refusal) -> Response:
    """Return the answer that says why not."""
    body = {
        "success": False,
        "errors": [{"code": refusal.code, "message": refusal.message, **refusal.more}],
        "messages": [],
        "result": None,
    }
    return Response(
        refusal.status, {**JSON_HEADERS, **LIMIT_HEADERS, **refusal.headers}, encode(body)
    )


def encode(body: Any) -> bytes:
    """Return *body* as JSON text."""
    return json.dumps(body, separators=(",", ":")).encode()


def object_of(request: Request, code: int) -> dict[str, Any]:
    """
    Return the JSON object in the body; an empty body is an empty object.

    Raises:
        Refusal: The body is something else; *code* is the product's own code for bad input.
    """
    body = request.json()
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Refusal(400, code, "Invalid request body: expected a JSON object")
    return body


_WORDS: Mapping[type, str] = {
    str: "a string",
    bool: "true or false",
    float: "a number",
    list: "a list",
    dict: "an object",
}
_REQUIRED: Any = object()


def field_of(
    body: Mapping[str, Any], name: str, kind: type, code: int, default: Any = _REQUIRED
) -> Any:
    """
    Return the field *name* of *body*, *default* if it is missing or null.

    Args:
        body: Where to look.
        name: Name of the field.
        kind: What it has to be: `str`, `bool`, `float` (any number), `list` or `dict`.
        code: The product's own code for bad input.
        default: What a missing one is; without it, the field is required, and no empty string either.

    Raises:
        Refusal: It is missing, or something else.
    """
    value = body.get(name)
    if value is None and default is not _REQUIRED:
        return default
    is_right = isinstance(value, int | float if kind is float else kind)
    if not is_right or (kind is float and isinstance(value, bool)):
        raise Refusal(400, code, f"{name} has to be {_WORDS[kind]}")
    if value == "" and default is _REQUIRED:
        raise Refusal(400, code, f"{name} is required")
    return value


@dataclass(frozen=True, slots=True)
class Page:
    """
    Which part of a list is wanted.

    Attributes:
        number: From 1.
        size: Items on a page.
    """

    number: int
    size: int

    @classmethod
    def of(cls, arguments: Mapping[str, str], *, default: int, largest: int, code: int) -> Page:
        """
        Return the page that the query asks for; sizes out of range are brought into it.

        Raises:
            Refusal: ``page`` or ``per_page`` is not a number; *code* is the product's own for bad input.
        """
        try:
            # Some clients send floats: page=2.0
            number = int(float(arguments.get("page") or 1))
        except (ValueError, OverflowError):
            raise Refusal(400, code, "Invalid pagination: page has to be a number") from None
        size = page_size(arguments, default=default, largest=largest, code=code)
        return cls(min(max(number, 1), 1 << 31), size)

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    def info(self, count: int, total: int) -> dict[str, int]:
        """Return the ``result_info`` of a page that holds *count* of *total* items."""
        return {
            "page": self.number,
            "per_page": self.size,
            "count": count,
            "total_count": total,
            "total_pages": -(-total // self.size),
        }

    def reply(self, items: Sequence[T], show: Callable[[T], Any]) -> Reply:
        """Return this page of *items*; a page past the end is empty, which is where clients stop asking."""
        part = items[self.offset : self.offset + self.size]
        return Reply([show(item) for item in part], self.info(len(part), len(items)))


def page_size(
    arguments: Mapping[str, str],
    *,
    default: int,
    largest: int,
    code: int,
    name: str = "per_page",
    least: int = 1,
) -> int:
    """
    Return how many items the query asks for by *name*; a number out of range is brought into it.

    Raises:
        Refusal: It is not a number.
    """
    try:
        size = int(float(arguments.get(name) or default))  # some clients send floats
    except (ValueError, OverflowError):
        raise Refusal(400, code, f"Invalid pagination: {name} has to be a number") from None
    return min(max(size, least), largest)


def token_of(claims: Mapping[str, Any]) -> str:
    """Return a secret in the form of a JSON web token, for clients that read its *claims*; it is not signed."""
    parts = (encode({"alg": "none", "typ": "JWT"}), encode(claims), clock.random_bytes(32))
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts).decode()


def cursor_of(last: str) -> str:
    """Return the cursor that goes on after *last*."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def cursor_after(arguments: Mapping[str, str], *, code: int) -> str:
    """
    Return what the query's cursor goes on after, empty for the start.

    Raises:
        Refusal: It is no cursor of ours.
    """
    try:
        return base64.urlsafe_b64decode(arguments.get("cursor") or "").decode()
    except ValueError:
        raise Refusal(400, code, "Invalid cursor") from None


def timestamp(moment: float) -> str:
    """
    Return *moment*, in seconds since the epoch, as the API writes it.

    >>> timestamp(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    text = clock.instant(moment).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
