"""Static assets, and workers that are made before their versions, through every way in."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.unit.cloudflare.api import Api

SITE = "@/workers/scripts/site"
NEW = "@/workers/workers"
UPLOAD = "@/workers/assets/upload"
MANIFEST = {"/a.html": {"hash": "aa", "size": 2}, "/b.css": {"hash": "bb", "size": 3}}


def form(parts: dict[str, Any]) -> dict[str, Any]:
    """Return body and headers of a form."""
    request = httpx.Request("POST", "https://api.invalid", files=parts)
    return {"body": request.read(), "headers": {"content-type": request.headers["content-type"]}}


def start(api: Api, manifest: object = MANIFEST, site: str = SITE) -> Any:
    return api.result("POST", f"{site}/assets-upload-session", {"manifest": manifest})


def files(jwt: str, **content: bytes) -> dict[str, Any]:
    """Return an upload of files by their hashes, as the session *jwt*."""
    parts = {
        digest: (digest, base64.b64encode(body), "text/html") for digest, body in content.items()
    }
    made = form(parts)
    made["headers"]["authorization"] = f"Bearer {jwt}"
    return {**made, "query": "base64=true"}


def deploy(api: Api, metadata: dict[str, Any], site: str = SITE) -> Any:
    return api("PUT", site, **form({"metadata": (None, json.dumps(metadata), "application/json")}))


def uploaded(api: Api) -> str:
    """Upload all assets and return the token that a version redeems."""
    jwt = start(api)["jwt"]
    return str(api.result("POST", UPLOAD, **files(jwt, aa=b"hi", bb=b"css"))["jwt"])


# --- assets


def test_assets_are_uploaded_in_parts_and_redeemed_by_a_worker_of_nothing_else(api: Api) -> None:
    session = start(api)

    assert session["buckets"] == [["aa", "bb"]]
    assert api.result("POST", UPLOAD, **files(session["jwt"], aa=b"hi")) == {"jwt": None}
    done = api.result("POST", UPLOAD, **files(session["jwt"], bb=b"css"))["jwt"]
    assert deploy(api, {"assets": {"jwt": done}}).status == 200
    (worker,) = api.result("GET", "@/workers/scripts")
    assert (worker["id"], worker["has_assets"], worker["handlers"]) == ("site", True, [])
    assert api("GET", SITE).status == 200


def test_what_is_there_already_is_not_uploaded_again(api: Api) -> None:
    deploy(api, {"assets": {"jwt": uploaded(api)}})

    again = start(api, {**MANIFEST, "/c": {"hash": "cc", "size": 1}})
    nothing_new = start(api)

    assert again["buckets"] == [["cc"]]
    assert nothing_new["buckets"] == []
    assert deploy(api, {"assets": {"jwt": nothing_new["jwt"]}}).status == 200


def test_assets_stay_when_they_are_to_be_kept_and_go_when_not(api: Api) -> None:
    def has_assets() -> object:
        return api.result("GET", "@/workers/scripts")[0]["has_assets"]

    deploy(api, {"assets": {"jwt": uploaded(api)}})
    deploy(api, {"keep_assets": True})
    kept = has_assets()
    api.worker("site", "export default { fetch() {} }")

    assert (kept, has_assets()) == (True, False)


def test_an_upload_needs_the_token_of_its_session(api: Api) -> None:
    start(api)

    for jwt in (api.account.api_token, "none"):
        assert api.refusal("POST", UPLOAD, **files(jwt, aa=b"hi"))[:2] == (401, 10000)
    # And it opens nothing else.
    mine = {"authorization": f"Bearer {start(api)['jwt']}"}
    assert api.refusal("GET", "@/workers/scripts", headers=mine)[:2] == (401, 10000)


def test_only_what_was_announced_is_taken(api: Api) -> None:
    jwt = start(api)["jwt"]

    assert api.refusal("POST", UPLOAD, **files(jwt, zz=b"hi"))[:2] == (400, 10021)
    assert api.refusal("POST", UPLOAD, **{**files(jwt, aa=b""), "query": ""})[:2] == (400, 10021)
    raw = {**files(jwt, aa=b""), **form({"aa": ("aa", b"not base64!", "text/html")})}
    raw["headers"]["authorization"] = f"Bearer {jwt}"
    assert api.refusal("POST", UPLOAD, **raw)[:2] == (400, 10021)
    raw["headers"]["content-type"] = "text/plain"
    assert api.refusal("POST", UPLOAD, **raw)[:2] == (400, 10021)


@pytest.mark.parametrize(
    "manifest",
    [None, [], {"a": {"hash": "aa", "size": 1}}, {"/a": {"size": 1}}, {"/a": {"hash": "aa"}}],
)
def test_a_manifest_that_makes_no_sense_is_refused(api: Api, manifest: object) -> None:
    path = f"{SITE}/assets-upload-session"

    assert api.refusal("POST", path, {"manifest": manifest})[:2] == (400, 10021)


def test_only_a_finished_upload_for_this_worker_is_redeemed(api: Api) -> None:
    unfinished, done = start(api)["jwt"], uploaded(api)

    for assets in ({"jwt": "none"}, {"jwt": unfinished}, {}, "x"):
        assert deploy(api, {"assets": assets}).status == 400
    other = "@/workers/scripts/other"
    assert deploy(api, {"assets": {"jwt": done}}, other).status == 400
    assert api.result("GET", "@/workers/scripts") == []


def test_a_deleted_worker_takes_its_assets_along(api: Api) -> None:
    deploy(api, {"assets": {"jwt": uploaded(api)}})
    api.result("DELETE", SITE)

    assert start(api)["buckets"] == [["aa", "bb"]]


# --- workers before their versions


def new(api: Api, **more: Any) -> Any:
    return api.result("POST", NEW, {"name": "site", **more})


def version(api: Api, query: str = "", text: str = "export default {}", **more: Any) -> Any:
    coded = base64.b64encode(text.encode()).decode()
    module = {"name": "w.js", "content_type": "application/javascript+module"}
    given = {"main_module": "w.js", "modules": [{**module, "content_base64": coded}], **more}
    return api.result("POST", f"{NEW}/site/versions", given, query=query)


def test_a_worker_without_a_version_is_no_script_yet(api: Api) -> None:
    made = new(api, tags=["a"], subdomain={"enabled": True})

    assert (made["tags"], made["deployed_on"]) == (["a"], None)
    assert made["subdomain"] == {"enabled": True, "previews_enabled": False}
    for wanted in ("site", made["id"]):
        assert api.result("GET", f"{NEW}/{wanted}") == made
    assert api.result("GET", "@/workers/scripts") == []
    assert api.refusal("GET", f"{SITE}/settings")[:2] == (404, 10007)
    assert [item.name for item in api.account.inventory()] == ["site"]
    subdomain = api.result("GET", "@/workers/subdomain")["subdomain"]
    page = api.account.visit(f"site.{subdomain}.workers.dev")
    assert page is not None
    assert page.status == 404
    api.result("DELETE", f"{NEW}/site")
    assert api.account.inventory() == []


def test_a_version_is_made_from_json_then_deployed(api: Api) -> None:
    new(api)
    binding = {"name": "G", "type": "plain_text", "text": "x"}
    made = version(api, bindings=[binding], compatibility_date="2026-01-01")

    assert (made["number"], made["main_module"], made["bindings"]) == (1, "w.js", [binding])
    assert api.result("GET", "@/workers/scripts") == []
    share = [{"version_id": made["id"], "percentage": 100}]
    api.result("POST", f"{SITE}/deployments", {"versions": share})
    assert api.result("GET", f"{SITE}/settings")["compatibility_date"] == "2026-01-01"
    assert api.result("GET", f"{NEW}/site")["deployed_on"] is not None
    shown = api.result("GET", f"{NEW}/site/versions/{made['id']}", query="include=modules")
    assert base64.b64decode(shown["modules"][0]["content_base64"]) == b"export default {}"


def test_a_script_can_be_uploaded_to_a_worker_that_was_made_before(api: Api) -> None:
    made = new(api)

    api.worker("site", "export default { fetch() {} }")

    assert api.result("GET", "@/workers/scripts")[0]["tag"] == made["id"]


def test_versions_are_listed_newest_first_and_deleted_unless_deployed(api: Api) -> None:
    new(api)
    first, second = version(api, "deploy=true"), version(api)

    listed = api.result("GET", f"{NEW}/site/versions")
    assert [one["id"] for one in listed] == [second["id"], first["id"]]
    assert api.result("GET", f"{NEW}/site/versions", query="page=2") == []
    assert api.refusal("DELETE", f"{NEW}/site/versions/{first['id']}")[:2] == (400, 10021)
    assert api.result("DELETE", f"{NEW}/site/versions/{second['id']}") is None
    assert api.refusal("GET", f"{NEW}/site/versions/{second['id']}")[:2] == (404, 10071)


def test_a_deleted_version_lets_go_of_its_queue(api: Api) -> None:
    queue = api.result("POST", "@/queues", {"queue_name": "jobs"})["queue_id"]
    new(api)
    made = version(api, bindings=[{"name": "Q", "type": "queue", "queue_name": "jobs"}])
    assert api.refusal("DELETE", f"@/queues/{queue}")[:2] == (400, 11005)

    api.result("DELETE", f"{NEW}/site/versions/{made['id']}")

    assert api.result("DELETE", f"@/queues/{queue}") is None


def test_a_worker_is_replaced_as_a_whole_or_edited_in_part(api: Api) -> None:
    new(api, tags=["a"], logpush=True)

    edited = api.result("PATCH", f"{NEW}/site", {"logpush": False})
    replaced = api.result("PUT", f"{NEW}/site", {"name": "site", "logpush": True})

    assert (edited["tags"], edited["logpush"]) == (["a"], False)
    assert (replaced["tags"], replaced["logpush"]) == ([], True)
    assert api.refusal("PUT", f"{NEW}/site", {"name": "other"})[:2] == (400, 10021)


def test_who_needs_a_worker_is_told(api: Api) -> None:
    api.worker("site", "export default { queue() {} }")
    queue = api.result("POST", "@/queues", {"queue_name": "jobs"})["queue_id"]
    consumer = {"type": "worker", "script_name": "site"}
    id = api.result("POST", f"@/queues/{queue}/consumers", consumer)["consumer_id"]

    references = api.result("GET", f"{NEW}/site")["references"]

    assert references["queues"] == [
        {"queue_consumer_id": id, "queue_id": queue, "queue_name": "jobs"}
    ]
    assert api.refusal("DELETE", f"{NEW}/site")[:2] == (400, 10064)


@pytest.mark.parametrize(
    "wrong",
    [
        {"main_module": "none.js"},
        {"modules": None},
        {"modules": ["w.js"]},
        {"modules": [{"name": "w.js", "content_type": "a", "content_base64": "!"}]},
        {"bindings": [{"name": "D", "type": "d1", "id": "none"}]},
        {"assets": {"jwt": "none"}},
    ],
)
def test_a_version_that_makes_no_sense_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    new(api)
    module = {"name": "w.js", "content_type": "a", "content_base64": "YQ=="}
    given = {"main_module": "w.js", "modules": [module], **wrong}

    assert api.refusal("POST", f"{NEW}/site/versions", given)[0] == 400


def test_a_name_is_valid_and_taken_once(api: Api) -> None:
    new(api)

    assert api.refusal("POST", NEW, {"name": "site"})[:2] == (409, 10040)
    assert api.refusal("POST", NEW, {"name": "No Name"})[:2] == (400, 10016)
    assert api.refusal("POST", NEW, {})[:2] == (400, 10021)
    assert api.refusal("POST", f"{NEW}/none/versions", {})[:2] == (404, 10007)
