"""R2: the domains of their own that buckets are public at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_alchemy.cloudflare.fake.documents import BUCKET_DOMAINS, DOMAINS, Document
from pytest_alchemy.cloudflare.fake.r2_buckets import ONE, bucket_of, invalid
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, field_of, object_of

HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")
_TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")
_ACTIVE = {"ownership": "active", "ssl": "active"}
_CHANGEABLE = ("enabled", "minTLS", "ciphers")


def zone_name_of(host: str) -> str:
    """Return the zone that *host* is taken to be in: the fake account has no zones of its own."""
    return ".".join(host.split(".")[-2:])


def _create(call: Call) -> Reply:
    bucket, body = bucket_of(call), object_of(call.request, 10022)
    domain = field_of(body, "domain", str, 10022).lower()
    if not HOST.fullmatch(domain):
        raise invalid(f"domain {domain!r} is no host name")
    settings = {
        "enabled": field_of(body, "enabled", bool, 10022),
        "zoneId": field_of(body, "zoneId", str, 10022),
        "minTLS": "1.0",
        "ciphers": None,
    }
    for shelf in (BUCKET_DOMAINS, DOMAINS):
        if shelf.all(call.storage, name=domain):
            # Clients look for the words; nobody has confirmed the code.
            raise Refusal(409, 10055, f"The domain {domain} is already in use.")
    made = BUCKET_DOMAINS.add(
        call.storage, _changed(settings, body), name=domain, owner=bucket.owner
    )
    return Reply({"domain": domain, **made.body})


def _list(call: Call) -> Reply:
    found = BUCKET_DOMAINS.all(call.storage, owner=bucket_of(call).owner)
    return Reply({"domains": [_shown(domain) for domain in found]})


def _get(call: Call) -> Reply:
    return Reply(_shown(_domain(call)))


def _edit(call: Call) -> Reply:
    old = _domain(call)
    new = _changed(old.body, object_of(call.request, 10022))
    BUCKET_DOMAINS.change(call.storage, old, new)
    return Reply({"domain": old.name, **{name: new[name] for name in _CHANGEABLE}})


def _delete(call: Call) -> Reply:
    domain = _domain(call)
    BUCKET_DOMAINS.remove(call.storage, domain.id)
    return Reply({"domain": domain.name})


def _domain(call: Call) -> Document:
    owner, name = bucket_of(call).owner, call.parts[1].lower()
    for domain in BUCKET_DOMAINS.all(call.storage, owner=owner, name=name):
        return domain
    raise Refusal(404, 10053, f"The bucket has no custom domain {name}.")


def _changed(old: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    new = {
        **old,
        "enabled": field_of(body, "enabled", bool, 10022, old["enabled"]),
        "minTLS": field_of(body, "minTLS", str, 10022, old["minTLS"]),
        "ciphers": field_of(body, "ciphers", list, 10022, old["ciphers"]),
    }
    if new["minTLS"] not in _TLS_VERSIONS:
        raise invalid(f"minTLS {new['minTLS']!r} is none of {', '.join(_TLS_VERSIONS)}")
    return new


def _shown(domain: Document) -> dict[str, Any]:
    zone_name = zone_name_of(domain.name)
    return {"domain": domain.name, "status": _ACTIVE, "zoneName": zone_name, **domain.body}


_ALL = f"{ONE}/domains/custom"
ROUTES = (
    Route("POST", _ALL, _create),
    Route("GET", _ALL, _list, writes=False),
    Route("GET", f"{_ALL}/*", _get, writes=False),
    Route("PUT", f"{_ALL}/*", _edit),
    Route("DELETE", f"{_ALL}/*", _delete),
)
