"""What an API token is worth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.client import ask
from pytest_alchemy.cloudflare.errors import CloudflareError, TokenRefusedError

_REFUSED = (400, 401, 403)


@dataclass(frozen=True, slots=True)
class Token:
    """
    A token that Cloudflare takes.

    Attributes:
        id: Its id, which is no secret.
        expires: When it stops to work; None if it never does.
    """

    id: str
    expires: datetime | None


def verify(api_token: str, account_id: str = "") -> Token:
    """
    Ask Cloudflare about *api_token*: a user's, or one of the account *account_id*.

    Raises:
        TokenRefusedError: It does not work: unknown, disabled, expired, or not valid yet.
        CloudflareUnreachableError: Cloudflare did not answer.
        CloudflareError: It answered something else.
    """
    try:
        found = ask("/user/tokens/verify", api_token)
    except CloudflareError as error:
        if error.status not in _REFUSED:
            raise
        if not account_id:
            raise TokenRefusedError(error.message) from None
        try:
            found = ask(f"/accounts/{account_id}/tokens/verify", api_token)
        except CloudflareError:
            raise TokenRefusedError(error.message) from None
    expires, begins = _moment(found.get("expires_on")), _moment(found.get("not_before"))
    now = clock.instant(clock.now())
    if expires is not None and expires <= now:
        raise TokenRefusedError(f"it expired on {expires:%Y-%m-%d at %H:%M %Z}")
    if begins is not None and begins > now:
        raise TokenRefusedError(f"it is valid only from {begins:%Y-%m-%d %H:%M %Z} on")
    if found["status"] != "active":
        raise TokenRefusedError(f"it is {found['status']}")
    return Token(found["id"], expires)


def accounts(api_token: str) -> dict[str, str]:
    """
    Return the names of the accounts that *api_token* can see, by id.

    Raises:
        CloudflareUnreachableError, CloudflareError: As `verify`.
    """
    return {found["id"]: found["name"] for found in ask("/accounts", api_token)}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
