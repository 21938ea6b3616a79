"""Who calls: the user, the token, the account itself."""

from __future__ import annotations

from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.product import Product
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Identity
from pytest_alchemy.cloudflare.fake.wire import Page, Refusal, Reply, Request

_EMAIL = "fake@example.com"
_NAME = "Fake account"
_ACTIVE = ({"code": 10000, "message": "This API Token is valid and active", "type": None},)


def authorize(request: Request, identity: Identity) -> None:
    """
    Check that *request* carries the account's token.

    Raises:
        Refusal: It carries none, a malformed one, or another one.
    """
    headers = request.headers
    given = headers.get("authorization")
    if given is None:
        given = headers.get("x-auth-key")
        if given is None:
            raise Refusal(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
    else:
        scheme, _, given = given.partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise Refusal(
                400,
                6003,
                "Invalid request headers",
                error_chain=[{"code": 6111, "message": "Invalid format for Authorization header"}],
            )
    if given != identity.api_token:
        if request.path.endswith("/tokens/verify"):
            raise Refusal(401, 1000, "Invalid API Token")
        raise Refusal(401, 10000, "Authentication error")


def check_account(given: str, identity: Identity) -> None:
    """
    Check that the path names this account.

    Raises:
        Refusal: It names another one, or what it names is not an id.
    """
    if given == identity.account_id:
        return
    if len(given) != 32 or set(given) - set("0123456789abcdef"):
        raise Refusal(
            404,
            7003,
            f"Could not route to /accounts/{given}, perhaps your object identifier is invalid?",
        )
    raise Refusal(403, 10000, "Authentication error")


def _verify(call: Call) -> Reply:
    return Reply({"id": _digits(call, "1"), "status": "active"}, messages=_ACTIVE)


def _user(call: Call) -> Reply:
    created = clock.instant(call.storage.identity.created).isoformat()
    return Reply(
        {
            "id": _digits(call, "2"),
            "email": _EMAIL,
            "first_name": None,
            "last_name": None,
            "created_on": created,
        }
    )


def _accounts(call: Call) -> Reply:
    return _only_page(call, _shown(call.storage.identity))


def _account(call: Call) -> Reply:
    return Reply(_shown(call.storage.identity))


def _memberships(call: Call) -> Reply:
    identity = call.storage.identity
    account = {"id": identity.account_id, "name": _NAME}
    return _only_page(
        call,
        {
            "id": _digits(call, "3"),
            "status": "accepted",
            "account": account,
            "roles": ["Administrator"],
        },
    )


def _shown(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.account_id,
        "name": _NAME,
        "type": "standard",
        "settings": {"enforce_twofactor": False},
        "created_on": clock.instant(identity.created).isoformat(),
    }


def _only_page(call: Call, item: dict[str, Any]) -> Reply:
    page = Page.of(call.request.arguments(), default=20, largest=50, code=1001)
    return page.reply([item], lambda shown: shown)


def _digits(call: Call, digit: str) -> str:
    """Return an id that stays the same for an account: its own with another first digit."""
    return digit + call.storage.identity.account_id[1:]


PRODUCT = Product(
    kind="identity",
    routes=(
        Route("GET", "user", _user, writes=False),
        Route("GET", "user/tokens/verify", _verify, writes=False),
        Route("GET", "accounts", _accounts, writes=False),
        Route("GET", "accounts/@account", _account, writes=False),
        Route("GET", "@/tokens/verify", _verify, writes=False),
        Route("GET", "memberships", _memberships, writes=False),
    ),
)
