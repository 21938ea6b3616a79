"""Where workers answer, who listens to them and what is asked of their logs, through every way in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cloudflare.api import Api

ZONE = "0" * 32
ROUTES = f"zones/{ZONE}/workers/routes"
DOMAINS = "@/workers/domains"
API = "@/workers/scripts/api"
LOGS = "@/workers/observability"


@pytest.fixture(autouse=True)
def worker(api: Api) -> None:
    api.worker("api", "export default { fetch() {} }")


# --- routes


def test_a_route_is_made_shown_changed_and_deleted(api: Api) -> None:
    made = api.result("POST", ROUTES, {"pattern": "example.com/*", "script": "api"})

    one = f"{ROUTES}/{made['id']}"
    assert made == {"id": made["id"], "pattern": "example.com/*", "script": "api"}
    assert (api.result("GET", one), api.result("GET", ROUTES)) == (made, [made])
    changed = api.result("PUT", one, {"pattern": "*.example.com/*"})
    assert changed == {"id": made["id"], "pattern": "*.example.com/*"}
    assert api.result("DELETE", one) == {"id": made["id"]}
    for method in ("GET", "PUT", "DELETE"):
        data = {"pattern": "example.com/*"}
        assert api.refusal(method, one, data)[:2] == (404, 10009)


def test_a_route_is_taken_once_in_its_zone(api: Api) -> None:
    other_zone = ROUTES.replace(ZONE, "1" * 32)
    first = api.result("POST", ROUTES, {"pattern": "example.com/*", "script": "api"})["id"]
    second = api.result("POST", ROUTES, {"pattern": "example.com/a", "script": "api"})["id"]

    assert api.refusal("POST", ROUTES, {"pattern": "example.com/*"})[:2] == (409, 10020)
    taken = {"pattern": "example.com/*"}
    assert api.refusal("PUT", f"{ROUTES}/{second}", taken)[:2] == (409, 10020)
    assert api.result("GET", other_zone) == []
    assert api.refusal("GET", f"{other_zone}/{first}")[:2] == (404, 10009)
    api.result("POST", other_zone, {"pattern": "example.com/*"})


@pytest.mark.parametrize("pattern", [None, "", 5, "/*", "example.com/a?b", "ex ample.com"])
def test_a_pattern_that_makes_no_sense_is_refused(api: Api, pattern: object) -> None:
    assert api.refusal("POST", ROUTES, {"pattern": pattern})[:2] == (400, 10022)


def test_a_route_needs_its_worker_its_zone_and_the_token(api: Api) -> None:
    wanted = {"pattern": "example.com/*", "script": "none"}

    assert api.refusal("POST", ROUTES, wanted)[:2] == (404, 10007)
    assert api.refusal("GET", "zones/nowhere/workers/routes")[:2] == (404, 7003)
    nobody = {"authorization": "Bearer wrong"}
    assert api.refusal("GET", ROUTES, headers=nobody)[:2] == (401, 10000)


def test_routes_are_in_the_inventory(api: Api) -> None:
    api.result("POST", ROUTES, {"pattern": "example.com/*"})
    (route,) = [item for item in api.account.inventory() if item.kind == "route"]

    assert route.name == "example.com/*"
    api.account.discard(route)
    assert api.result("GET", ROUTES) == []


# --- domains


def put(api: Api, hostname: str, **more: Any) -> Any:
    return api.result("PUT", DOMAINS, {"hostname": hostname, "service": "api", **more})


def test_a_domain_is_put_shown_and_deleted(api: Api) -> None:
    made = put(api, "API.example.com", zone_id=ZONE)

    assert made == {
        "id": made["id"],
        "hostname": "api.example.com",
        "service": "api",
        "zone_id": ZONE,
        "zone_name": "example.com",
        "environment": "production",
        "cert_id": made["cert_id"],
    }
    assert put(api, "api.example.com", zone_id=ZONE) == made
    assert api.result("GET", f"{DOMAINS}/{made['id']}") == made
    assert api.result("DELETE", f"{DOMAINS}/{made['id']}") is None
    assert api.refusal("DELETE", f"{DOMAINS}/{made['id']}")[:2] == (404, 100114)


def test_domains_are_found_by_what_is_said_of_them(api: Api) -> None:
    put(api, "a.example.com")
    put(api, "b.example.org", zone_name="example.org")

    def found(query: str) -> list[str]:
        return [one["hostname"] for one in api.result("GET", DOMAINS, query=query)]

    assert found("") == ["a.example.com", "b.example.org"]
    assert found("zone_name=example.org") == ["b.example.org"]
    assert found("hostname=a.example.com&service=api") == ["a.example.com"]
    assert found("service=other") == []


def test_a_domain_moves_to_another_worker_only_when_told_to(api: Api) -> None:
    api.worker("other", "export default { fetch() {} }")
    made = put(api, "api.example.com")
    theirs = {"hostname": "api.example.com", "service": "other"}

    assert api.refusal("PUT", DOMAINS, theirs)[:2] == (409, 100116)
    moved = api.result("PUT", DOMAINS, {**theirs, "override_existing_origin": True})
    assert (moved["id"], moved["service"]) == (made["id"], "other")
    assert api.refusal("PUT", DOMAINS, {**theirs, "service": "none"})[:2] == (404, 10007)
    assert api.refusal("PUT", DOMAINS, {**theirs, "hostname": "nodots"})[:2] == (400, 10021)


@pytest.mark.parametrize("path", [API, "@/workers/workers/api"])
def test_a_worker_goes_after_its_places_or_takes_them_along_by_force(api: Api, path: str) -> None:
    put(api, "api.example.com")
    api.result("POST", ROUTES, {"pattern": "example.com/*", "script": "api"})
    (shown,) = api.result("GET", "@/workers/workers/api")["references"]["domains"]
    assert shown["hostname"] == "api.example.com"

    assert api.refusal("DELETE", path) == (
        400,
        10064,
        "Cannot delete this Worker as it still answers at api.example.com, example.com/*. "
        "Remove these domains and routes first, or delete it with force.",
    )
    api.result("DELETE", path, query="force=true")
    assert (api.result("GET", DOMAINS), api.result("GET", ROUTES)) == ([], [])


# --- tails


def test_a_tail_is_started_shown_and_stopped_and_never_leaves_the_machine(api: Api) -> None:
    assert api.result("GET", f"{API}/tails") is None
    tail = api.result("POST", f"{API}/tails", {})

    assert tail["url"] == f"ws://127.0.0.1:9/tails/{tail['id']}"
    assert api.result("GET", f"{API}/tails") == tail
    assert api.result("DELETE", f"{API}/tails/{tail['id']}") is None
    assert api.refusal("DELETE", f"{API}/tails/{tail['id']}")[:2] == (404, 10057)
    assert api.refusal("POST", "@/workers/scripts/none/tails")[:2] == (404, 10007)


def test_a_tail_belongs_to_its_worker(api: Api) -> None:
    api.worker("other", "export default { fetch() {} }")
    tail = api.result("POST", f"{API}/tails")["id"]

    assert api.refusal("DELETE", f"@/workers/scripts/other/tails/{tail}")[0] == 404
    api.result("DELETE", API)
    api.worker("api", "export default { fetch() {} }")
    assert api.result("GET", f"{API}/tails") is None


# --- observability

TARGET = {"type": "logpush", "url": "https://logs.example.com", "headers": {"x": "1"}}
DESTINATION = {
    "name": "My logs",
    "enabled": True,
    "configuration": {**TARGET, "logpushDataset": "opentelemetry-logs"},
}


def test_a_destination_is_made_shown_with_its_workers_changed_and_deleted(api: Api) -> None:
    made = api.result("POST", f"{LOGS}/destinations", DESTINATION)

    assert (made["slug"], made["scripts"]) == ("my-logs", [])
    logs = {"enabled": True, "logs": {"enabled": True, "destinations": ["my-logs"]}}
    api.result("PATCH", f"{API}/script-settings", {"observability": logs})
    (shown,) = api.result("GET", f"{LOGS}/destinations")
    assert (shown["scripts"], shown["configuration"]["headers"]) == (["api"], {"x": "1"})
    one = f"{LOGS}/destinations/my-logs"
    changed = api.result("PATCH", one, {"enabled": False, "configuration": TARGET})
    assert (changed["enabled"], changed["configuration"]["logpushDataset"]) == (
        False,
        "opentelemetry-logs",
    )
    assert api.refusal("POST", f"{LOGS}/destinations", DESTINATION)[0] == 409
    api.result("DELETE", one)
    assert api.refusal("DELETE", one)[0] == 404
    assert "destination" not in {item.kind for item in api.account.inventory()}


def test_a_destination_left_behind_is_in_the_inventory(api: Api) -> None:
    api.result("POST", f"{LOGS}/destinations", DESTINATION)
    (left,) = [item for item in api.account.inventory() if item.kind == "destination"]

    assert (left.id, left.name) == ("my-logs", "My logs")
    api.account.discard(left)
    assert api.result("GET", f"{LOGS}/destinations") == []


def test_lists_come_in_pages_in_the_order_that_is_asked_for(api: Api) -> None:
    for name in "abc":
        wanted: dict[str, Any] = {"name": name, "description": None, "parameters": {}}
        api.result("POST", f"{LOGS}/queries", wanted)

    def names(query: str) -> str:
        return "".join(one["name"] for one in api.result("GET", f"{LOGS}/queries", query=query))

    assert names("orderBy=created&order=asc") == "abc"
    assert names("perPage=2&page=2") == "a"
    assert names("page=3") == ""


@pytest.mark.parametrize("view", ["events", "calculations", "invocations", "traces", "agents"])
def test_a_query_finds_that_nothing_was_logged(api: Api, view: str) -> None:
    query = {"queryId": "q", "parameters": {"limit": 5}, "timeframe": {"from": 1, "to": 2}}

    found = api.result("POST", f"{LOGS}/telemetry/query", {**query, "view": view})

    assert not (found[view].get("events") if view == "events" else found[view])
    assert found["statistics"] == {"bytes_read": 0, "elapsed": 0, "rows_read": 0}
    assert found["run"]["timeframe"] == {"from": 1, "to": 2}
    assert (found["run"]["query"]["adhoc"], found["run"]["status"]) == (True, "COMPLETED")


def test_a_query_needs_its_words_and_its_time(api: Api) -> None:
    path, timeframe = f"{LOGS}/telemetry/query", {"from": 1, "to": 2}

    assert api.refusal("POST", path, {"queryId": "none", "timeframe": timeframe})[0] == 404
    assert api.refusal("POST", path, {"queryId": "q", "parameters": {}})[0] == 400
    adhoc = {"queryId": "q", "parameters": {}, "timeframe": timeframe}
    assert api.refusal("POST", path, {**adhoc, "view": "stars"})[0] == 400
    assert api.refusal("GET", f"{LOGS}/shared/query/none")[0] == 404
    shared = api.result("POST", f"{LOGS}/shared/query", adhoc)["id"]
    assert api.result("GET", f"{LOGS}/shared/query/{shared}")["run"]["query"]["id"] == "q"


def test_a_live_tail_is_kept_by_its_heartbeat(api: Api) -> None:
    path = f"{LOGS}/telemetry/live-tail"

    assert api.refusal("POST", f"{path}/heartbeat", {"scriptId": "api"})[0] == 404
    started = api.result("POST", path, {"scriptId": "api"})
    assert started["wsUrl"].startswith("ws://127.0.0.1:9/")
    assert api.result("POST", f"{path}/heartbeat", {"scriptId": "api"}) == {}
    assert api.refusal("POST", path, {"scriptId": "none"})[:2] == (404, 10007)
