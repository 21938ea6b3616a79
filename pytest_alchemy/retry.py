"""What a failed call says about trying again: whether, when, and who else has to wait."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC
from typing import Any

import msgspec

OVERLOADED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same call may work later (RFC 9110 section 15, RFC 6585 section 4)."""

GONE = frozenset({404, 410})
"""HTTP statuses that say that a thing does not exist."""

TAKEN = frozenset({409, 412})
"""HTTP statuses that refuse a create because of what exists already (RFC 9110 section 15.5.10, section 13.1.2)."""

DUPLICATES = frozenset({"42P04", "42P06", "42P07", "42710"})
"""
Codes by which PostgreSQL refuses a create because of what exists already: a database, a schema, a table, or a role and
other objects (PostgreSQL manual, appendix A).
"""

# Errors of the program itself: the same call cannot work later.
_MISTAKES = (TypeError, AttributeError, NameError, AssertionError, NotImplementedError, SyntaxError)

patient: ContextVar[bool] = ContextVar("alchemy_patient", default=False)
"""
True in what a teardown calls: it tries again what failed, and knows who else has to wait and how much time is left.
A client that would wait and try again by itself leaves that to it.
"""


class Advice(msgspec.Struct, frozen=True):
    """
    What to do after an error.

    Attributes:
        gone: The provider says that the thing does not exist.
        again: The same call may work later.
        wait: How long the provider asks to wait, in seconds; None if it does not say.
        throttled: The provider refuses everybody who calls it now, not only this call.
        answered: The provider itself said so, so that patience is worth it.
    """

    gone: bool = False
    again: bool = False
    wait: float | None = None
    throttled: bool = False
    answered: bool = False


def advise(error: BaseException, *, now: float) -> Advice:
    """
    Return what *error* says about trying again.

    The HTTP status is looked for where the usual clients keep it (httpx, requests, aiohttp, botocore, the SDKs made
    from OpenAPI descriptions), on the error and on what caused it; that a thing is gone only on the error itself.

    Args:
        error: What a hook raised.
        now: The moment, in seconds since the epoch; for a ``Retry-After`` that is a date.
    """
    if status_of(error) in GONE:
        return Advice(gone=True, answered=True)
    cause, status = _answer_behind(error)
    if status is None:
        answered = isinstance(error, ConnectionError | TimeoutError)
        return Advice(again=not isinstance(error, _MISTAKES), answered=answered)
    if status not in OVERLOADED:
        return Advice(again=status == 409 or status >= 500)
    wait = retry_after(cause, now=now)
    return Advice(again=True, wait=wait, throttled=status == 429, answered=True)


def is_taken(error: BaseException, name: str) -> bool:
    """
    Tell whether *error*, or what caused it, refuses a create because of what exists already.

    Args:
        error: What a create raised.
        name: What it was to create. The error of a file or of a database has to tell of that very name, as other things
            may be in its way.
    """
    if _answer_behind(error)[1] in TAKEN:
        return True
    return any(_is_duplicate(each) and name in str(each) for each in _causes(error))


def _is_duplicate(error: BaseException) -> bool:
    return (
        isinstance(error, FileExistsError)
        or getattr(error, "sqlstate", getattr(error, "pgcode", None)) in DUPLICATES
    )


def backoff(attempt: int, *, base: float = 0.5, cap: float = 30.0) -> float:
    """
    Return how long to wait before retry number *attempt*.

    Args:
        attempt: 1 after the first failure.
        base: Wait before the first retry, in seconds.
        cap: Longest wait ever returned, in seconds.

    Returns:
        Seconds to wait; never more than *cap*.

    Raises:
        ValueError: *attempt* is below 1.

    >>> [backoff(n) for n in (1, 2, 3)]
    [0.5, 1.0, 2.0]
    """
    if attempt < 1:
        raise ValueError(f"attempt {attempt} is below 1")
    return cap if attempt > 60 else min(cap, base * 2.0 ** (attempt - 1))


def _answer_behind(error: BaseException) -> tuple[BaseException, int | None]:
    """Return *error*, or the first of its causes that carries an HTTP status, with that status; None if none does."""
    for cause in _causes(error):
        status = status_of(cause)
        if status is not None:
            return cause, status
    return error, None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what caused it, five at most."""
    cause: BaseException | None = error
    for _ in range(5):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that *error* carries, None if it carries none."""
    response = getattr(error, "response", None)
    places: list[Any] = [
        getattr(error, name, None) for name in ("status", "status_code", "http_status", "code")
    ]
    places += [getattr(response, name, None) for name in ("status_code", "status")]
    if isinstance(response, Mapping):  # botocore
        places.append(_get(response.get("ResponseMetadata"), "HTTPStatusCode"))
    for value in places:
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return int(value)
    return None


def retry_after(error: BaseException, *, now: float) -> float | None:
    """
    Return how long *error* asks to wait, in seconds from *now*; None if it does not say.

    Takes seconds, fractions of them, and HTTP dates (RFC 9110 section 10.2.3), and ``retry-after-ms``.
    """
    said = getattr(error, "retry_after", None)
    if said is not None:
        return parse_retry_after(said, now=now)
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None)
    if isinstance(response, Mapping):
        headers = _get(response.get("ResponseMetadata"), "HTTPHeaders")
    if headers is None:
        headers = getattr(error, "headers", None)
    milliseconds = parse_retry_after(_get(headers, "retry-after-ms"), now=now)
    if milliseconds is not None:
        return milliseconds / 1000
    return parse_retry_after(_get(headers, "retry-after"), now=now)


def parse_retry_after(value: object, *, now: float) -> float | None:
    """
    Return the seconds from *now* that a ``Retry-After`` stands for; None if it is none.

    >>> parse_retry_after("1.5", now=0), parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=20.0)
    (1.5, 40.0)
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        seconds = float(value)  # type: ignore[arg-type]  # what cannot be converted raises
    except (TypeError, ValueError):
        return _seconds_until(str(value), now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str, now: float) -> float | None:
    import email.utils  # with what it imports it takes longer than all the rest here

    try:
        moment = email.utils.parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)


def _get(headers: Any, name: str) -> Any:
    """Return a header by its name, whatever the case it was sent in and the type it is kept in."""
    if not isinstance(headers, Mapping):
        return None
    for key, value in headers.items():
        if isinstance(key, str) and key.lower() == name.lower():
            return value
    return None
