"""Where workers answer besides workers.dev: routes in zones, and domains of their own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.documents import BUCKET_DOMAINS, DOMAINS, ROUTES, Document
from pytest_alchemy.cloudflare.fake.product import InventoryItem, Product
from pytest_alchemy.cloudflare.fake.r2_domains import HOST, zone_name_of
from pytest_alchemy.cloudflare.fake.routes import Call, Route, unroutable
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, field_of, object_of
from pytest_alchemy.cloudflare.fake.worker_versions import deployed

# The fake account has no zones of its own: every zone with an id is taken for one of its owner's.
_ZONE_ID = re.compile("[0-9a-f]{32}")
_PATTERN = re.compile(r"(https?://)?\*?[A-Za-z0-9*.-]+(/[^\s?#]*)?")


# --- routes; the zone stands before the pattern in their names


def _create_route(call: Call) -> Reply:
    name, script = _wanted_route(call)
    _check_free(call, name)
    made = ROUTES.add(call.storage, {"script": script}, name=name, owner=_owner(script))
    return Reply(_shown_route(made))


def _list_routes(call: Call) -> Reply:
    zone = _zone(call) + " "
    return Reply(
        [_shown_route(one) for one in ROUTES.all(call.storage) if one.name.startswith(zone)]
    )


def _get_route(call: Call) -> Reply:
    return Reply(_shown_route(_route(call)))


def _edit_route(call: Call) -> Reply:
    old = _route(call)
    name, script = _wanted_route(call)
    if name != old.name:
        _check_free(call, name)
    changed = ROUTES.change(call.storage, old, {"script": script}, name=name, owner=_owner(script))
    return Reply(_shown_route(changed))


def _delete_route(call: Call) -> Reply:
    route = _route(call)
    ROUTES.remove(call.storage, route.id)
    return Reply({"id": route.id})


def _wanted_route(call: Call) -> tuple[str, str | None]:
    """Return the name and the script that the body asks for; no script means that none answers there."""
    body = object_of(call.request, 10022)
    pattern = field_of(body, "pattern", str, 10022)
    if not _PATTERN.fullmatch(pattern):
        raise Refusal(400, 10022, f"Invalid route pattern: {pattern!r}")
    script = field_of(body, "script", str, 10022, None) or None
    if script is not None:
        deployed(call.storage, script)
    return f"{_zone(call)} {pattern}", script


def _check_free(call: Call, name: str) -> None:
    if ROUTES.all(call.storage, name=name):
        raise Refusal(
            409, 10020, f"A route with the pattern {name.partition(' ')[2]} exists already."
        )


def _zone(call: Call) -> str:
    zone = call.parts[0]
    if not _ZONE_ID.fullmatch(zone):
        raise unroutable(call.request.method, call.request.path)
    return zone


def _route(call: Call) -> Document:
    zone, id = _zone(call), call.parts[1]
    route = ROUTES.get(call.storage, id)
    if route is None or not route.name.startswith(zone + " "):
        raise Refusal(404, 10009, f"There is no route {id} in this zone.")
    return route


def _owner(script: str | None) -> str:
    return "" if script is None else f"worker/{script}"


def _shown_route(route: Document) -> dict[str, Any]:
    shown = {"id": route.id, "pattern": route.name.partition(" ")[2]}
    return shown if route.body["script"] is None else {**shown, **route.body}


# --- domains


def _put_domain(call: Call) -> Reply:
    body = object_of(call.request, 10021)
    hostname = field_of(body, "hostname", str, 10021).lower()
    service = field_of(body, "service", str, 10021)
    if not HOST.fullmatch(hostname):
        raise Refusal(400, 10021, f"{hostname!r} is no host name")
    deployed(call.storage, service)
    if BUCKET_DOMAINS.all(call.storage, name=hostname):
        raise Refusal(
            409, 100117, f"Hostname '{hostname}' already has externally managed DNS records."
        )
    zone_name = field_of(body, "zone_name", str, 10021, None) or zone_name_of(hostname)
    settings = {
        "zone_id": field_of(body, "zone_id", str, 10021, None) or _id_of_zone(zone_name),
        "zone_name": zone_name,
        "environment": field_of(body, "environment", str, 10021, "production"),
    }
    owner = _owner(service)
    for old in DOMAINS.all(call.storage, name=hostname):
        if old.owner != owner and not body.get("override_existing_origin"):
            raise Refusal(
                409, 100116, f"Hostname '{hostname}' is already in use by another Worker."
            )
        settings["cert_id"] = old.body["cert_id"]
        return Reply(shown_domain(DOMAINS.change(call.storage, old, settings, owner=owner)))
    settings["cert_id"] = clock.uuid4()
    made = DOMAINS.add(call.storage, settings, name=hostname, owner=owner)
    return Reply(shown_domain(made))


def _list_domains(call: Call) -> Reply:
    arguments = call.request.arguments()
    wanted = {name: arguments[name] for name in _FILTERS if name in arguments}
    shown = map(shown_domain, DOMAINS.all(call.storage))
    return Reply([one for one in shown if wanted.items() <= one.items()])


def _get_domain(call: Call) -> Reply:
    return Reply(shown_domain(_domain(call)))


def _delete_domain(call: Call) -> Reply:
    DOMAINS.remove(call.storage, _domain(call).id)
    return Reply(None)


def _domain(call: Call) -> Document:
    domain = DOMAINS.get(call.storage, call.parts[0])
    if domain is None:
        raise Refusal(404, 100114, f"There is no domain {call.parts[0]}.")
    return domain


def shown_domain(domain: Document) -> dict[str, Any]:
    """Return what the API says of a worker's domain."""
    service = domain.owner.removeprefix("worker/")
    return {"id": domain.id, "hostname": domain.name, "service": service, **domain.body}


def _id_of_zone(name: str) -> str:
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


# --- the product


def _inventory(storage: Storage) -> Iterable[InventoryItem]:
    for route in ROUTES.all(storage):
        yield InventoryItem("route", route.id, route.name.partition(" ")[2], route.created)


_FILTERS = ("environment", "hostname", "service", "zone_id", "zone_name")
_ROUTES = "zones/*/workers/routes"
_DOMAINS = "@/workers/domains"
PRODUCT = Product(
    kind="route",
    routes=(
        Route("POST", _ROUTES, _create_route),
        Route("GET", _ROUTES, _list_routes, writes=False),
        Route("GET", f"{_ROUTES}/*", _get_route, writes=False),
        Route("PUT", f"{_ROUTES}/*", _edit_route),
        Route("DELETE", f"{_ROUTES}/*", _delete_route),
        Route("PUT", _DOMAINS, _put_domain),
        Route("GET", _DOMAINS, _list_domains, writes=False),
        Route("GET", f"{_DOMAINS}/*", _get_domain, writes=False),
        Route("DELETE", f"{_DOMAINS}/*", _delete_domain),
    ),
    inventory=_inventory,
    discard=ROUTES.remove,
)
