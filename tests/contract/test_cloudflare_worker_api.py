"""What the API answers for workers, through every way in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytest_alchemy.cloudflare.fake import Response
from tests.unit.cloudflare.api import DOORS, Api, make_api

MODULE = "export default { async fetch() { return new Response('hello') } }"
SERVICE_WORKER = "addEventListener('fetch', event => event.respondWith(new Response('hello')))"
API = "@/workers/scripts/api"
MISSING = (404, 10007, "This Worker does not exist on your account.")


@pytest.fixture(params=DOORS)
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    api = make_api(request.param, tmp_path)
    yield api
    api.account.close()


def form(metadata: Any, files: dict[str, str], part: str = "metadata") -> dict[str, Any]:
    """Return body and headers of an upload in which each module's part has the module's name."""
    parts: dict[str, Any] = {part: (None, json.dumps(metadata), "application/json")}
    for name, text in files.items():
        parts[name] = (name, text, "application/javascript+module")
    request = httpx.Request("PUT", "https://api.invalid", files=parts)
    return {"body": request.read(), "headers": {"content-type": request.headers["content-type"]}}


def module(*bindings: dict[str, Any], text: str = MODULE, **metadata: Any) -> dict[str, Any]:
    return form(
        {"main_module": "worker.js", "bindings": list(bindings), **metadata}, {"worker.js": text}
    )


def upload(api: Api, path: str = API, *bindings: dict[str, Any], **metadata: Any) -> Any:
    return api.result("PUT", path, **module(*bindings, **metadata))


def shown_bindings(api: Api, path: str = API) -> Any:
    return api.result("GET", f"{path}/settings")["bindings"]


def names(api: Api) -> list[str]:
    return [item.name for item in api.account.inventory() if item.kind == "worker"]


# --- scripts


def test_a_worker_is_uploaded_listed_and_deleted(api: Api) -> None:
    made = upload(api, compatibility_date="2026-01-01")

    assert (made["id"], made["entry_point"], made["has_modules"]) == ("api", "worker.js", True)
    assert (made["handlers"], made["startup_time_ms"]) == (["fetch"], 1)
    assert [worker["id"] for worker in api.result("GET", "@/workers/scripts")] == ["api"]
    assert api.result("GET", f"{API}/settings")["compatibility_date"] == "2026-01-01"
    assert names(api) == ["api"]
    assert api.result("DELETE", API) is None
    assert (names(api), api.result("GET", "@/workers/scripts")) == ([], [])
    assert api.refusal("DELETE", API) == MISSING


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("GET", "/content/v2"),
        ("GET", "/settings"),
        ("PATCH", "/script-settings"),
        ("GET", "/script-settings"),
        ("GET", "/secrets"),
        ("PUT", "/secrets"),
        ("GET", "/secrets/A"),
        ("DELETE", "/secrets/A"),
        ("PATCH", "/secrets-bulk"),
        ("GET", "/schedules"),
        ("GET", "/subdomain"),
        ("POST", "/subdomain"),
        ("DELETE", "/subdomain"),
        ("GET", "/versions"),
        ("GET", "/versions/1"),
        ("GET", "/deployments"),
        ("POST", "/deployments"),
        ("GET", "/deployments/1"),
        ("DELETE", "/deployments/1"),
        ("GET", "/references"),
    ],
)
def test_a_worker_that_is_not_there_has_nothing(api: Api, method: str, rest: str) -> None:
    assert api.refusal(method, API + rest, {} if method != "GET" else None) == MISSING


def test_modules_come_back_as_a_form(api: Api) -> None:
    files = {"worker.js": MODULE, "lib/b.js": "export const b = 1"}
    api.result("PUT", API, **form({"main_module": "worker.js"}, files))

    for path in (API, f"{API}/content/v2"):
        answer = api("GET", path)

        assert answer.headers["content-type"].startswith("multipart/form-data; boundary=")
        assert answer.headers["cf-entrypoint"] == "worker.js"
        assert MODULE.encode() in answer.body
        assert b'filename="lib/b.js"' in answer.body


def test_modules_are_known_by_their_file_where_all_parts_have_one_name(api: Api) -> None:
    request = httpx.Request(
        "PUT",
        "https://api.invalid",
        files=[
            ("metadata", (None, json.dumps({"main_module": "b.js"}), "application/json")),
            ("files", ("a.js", "export const a = 1", "application/javascript+module")),
            ("files", ("b.js", MODULE, "application/javascript+module")),
        ],
    )
    headers = {"content-type": request.headers["content-type"]}

    made = api.result("PUT", API, body=request.read(), headers=headers)

    assert made["entry_point"] == "b.js"


@pytest.mark.parametrize("shape", ["form", "script"])
def test_a_script_with_event_listeners_comes_back_as_it_is(api: Api, shape: str) -> None:
    sent = (
        form({"body_part": "script"}, {"script": SERVICE_WORKER})
        if shape == "form"
        else {
            "body": SERVICE_WORKER.encode(),
            "headers": {"content-type": "application/javascript"},
        }
    )

    made = api.result("PUT", API, **sent)

    assert (made["has_modules"], made["handlers"]) == (False, ["fetch"])
    assert api("GET", API).body == SERVICE_WORKER.encode()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"body": b"x"}, "expected multipart/form-data, or a script as application/javascript"),
        (form({}, {"a.js": ""}), "metadata has to name a main_module or a body_part"),
        (form({"body_part": ""}, {"a": ""}), "metadata has to name a main_module or a body_part"),
        (
            form({"main_module": "b.js"}, {"a.js": ""}),
            "No such module 'b.js': the upload holds a.js",
        ),
        (form({"main_module": "b.js"}, {}), "No such module 'b.js': the upload holds no modules"),
        (form([1], {"a.js": ""}), "metadata has to be a JSON object"),
        (form({}, {}, part="other"), "The form has no part named metadata"),
        (
            form({"assets": {"jwt": "x"}}, {}),
            "assets.jwt is no token of a finished upload for this Worker",
        ),
        (module(bindings=1), "bindings have to be objects"),
    ],
)
def test_what_is_no_worker_is_refused(api: Api, sent: dict[str, Any], reason: str) -> None:
    status, code, message = api.refusal("PUT", API, **sent)

    assert (status, code) == (400, 10021)
    assert message in (reason, "bindings has to be a list")
    assert names(api) == []


@pytest.mark.parametrize("name", ["Api", "-a", "a.b", "a" * 64, "%C3%BC"])
def test_a_name_that_the_rules_forbid_is_refused(api: Api, name: str) -> None:
    assert api.refusal("PUT", f"@/workers/scripts/{name}", **module())[:2] == (400, 10016)


def test_a_new_upload_replaces_the_code_and_keeps_the_worker(api: Api) -> None:
    first = upload(api)

    second = upload(api, text="export default { async queue() {} }")

    assert second["tag"] == first["tag"]
    assert (second["etag"] != first["etag"], second["handlers"]) == (True, ["queue"])
    assert names(api) == ["api"]


def test_only_the_code_is_replaced_where_that_is_asked(api: Api) -> None:
    upload(api, API, {"name": "A", "type": "plain_text", "text": "1"})

    api.result("PUT", f"{API}/content", **form({"main_module": "n.js"}, {"n.js": "export {}"}))

    assert b"export {}" in api("GET", API).body
    assert [binding["name"] for binding in shown_bindings(api)] == ["A"]


def test_workers_are_searched_by_name(api: Api) -> None:
    for name in ("shop-api", "shop-web", "blog"):
        upload(api, f"@/workers/scripts/{name}")

    found = api.result("GET", "@/workers/scripts-search", query="name=shop")

    assert [worker["script_name"] for worker in found] == ["shop-api", "shop-web"]
    assert api.result("GET", "@/workers/scripts-search", query="name=shop&page=2") == []


# --- bindings


def test_bindings_to_what_exists_are_kept_and_shown_without_secrets(api: Api) -> None:
    api.result("POST", "@/r2/buckets", {"name": "pictures"})
    api.result("POST", "@/queues", {"queue_name": "jobs"})
    upload(api, "@/workers/scripts/other")
    given: list[dict[str, Any]] = [
        {"name": "DB", "type": "d1", "id": api.database()},
        {"name": "KV", "type": "kv_namespace", "namespace_id": api.namespace()},
        {"name": "R2", "type": "r2_bucket", "bucket_name": "pictures"},
        {"name": "Q", "type": "queue", "queue_name": "jobs"},
        {"name": "S", "type": "service", "service": "other"},
        {"name": "SELF", "type": "service", "service": "api"},
        {"name": "T", "type": "plain_text", "text": "hello"},
        {"name": "J", "type": "json", "json": {"a": [1]}},
        {"name": "AI", "type": "ai"},
    ]

    upload(api, API, *given, {"name": "KEY", "type": "secret_text", "text": "s3cret"})

    assert shown_bindings(api) == [*given, {"name": "KEY", "type": "secret_text"}]
    assert b"s3cret" not in b"".join(
        api("GET", path).body
        for path in (API, f"{API}/settings", f"{API}/versions", f"{API}/secrets")
    )


@pytest.mark.parametrize(
    ("binding", "code"),
    [
        ({"name": "A", "type": "kv_namespace", "namespace_id": "0" * 32}, 10041),
        ({"name": "A", "type": "d1", "id": "00000000-0000-0000-0000-000000000000"}, 10181),
        ({"name": "A", "type": "r2_bucket", "bucket_name": "nowhere"}, 10085),
        ({"name": "A", "type": "queue", "queue_name": "nowhere"}, 11000),
        ({"name": "A", "type": "service", "service": "nowhere"}, 10143),
        ({"name": "A", "type": "d1"}, 10021),
        ({"name": "A", "type": "d1", "id": 1}, 10021),
        ({"name": "A", "type": "plain_text"}, 10021),
        ({"name": "A", "type": "secret_text", "text": 1}, 10021),
        ({"name": "A", "type": "inherit"}, 10021),
        ({"name": "A"}, 10021),
        ({"type": "ai"}, 10021),
    ],
)
def test_a_binding_to_nothing_is_refused_and_nothing_is_made(
    api: Api, binding: dict[str, Any], code: int
) -> None:
    assert api.refusal("PUT", API, **module(binding))[:2] == (400, code)
    assert names(api) == []


def test_a_bad_binding_leaves_the_deployed_worker_as_it_was(api: Api) -> None:
    upload(api, API, {"name": "T", "type": "plain_text", "text": "1"})

    api.refusal("PUT", API, **module({"name": "A", "type": "service", "service": "nowhere"}))

    assert [binding["name"] for binding in shown_bindings(api)] == ["T"]
    assert len(api.result("GET", f"{API}/versions")["items"]) == 1


def test_a_name_is_bound_once(api: Api) -> None:
    twice = [{"name": "A", "type": "ai"}, {"name": "A", "type": "ai"}]

    assert api.refusal("PUT", API, **module(*twice)) == (400, 10021, "binding A is given twice")


def test_bindings_can_be_inherited_and_secrets_kept(api: Api) -> None:
    database = {"name": "DB", "type": "d1", "id": api.database()}
    upload(api, API, database, {"name": "KEY", "type": "secret_text", "text": "x"})

    upload(api, API, {"name": "DB", "type": "inherit"}, keep_bindings=["secret_text"])
    kept = shown_bindings(api)
    upload(api, API, {"name": "NEW", "type": "inherit", "old_name": "DB"})

    assert kept == [database, {"name": "KEY", "type": "secret_text"}]
    assert shown_bindings(api) == [{**database, "name": "NEW"}]


# --- what may go when


def test_a_namespace_goes_only_after_the_workers_bound_to_it(api: Api) -> None:
    id = api.namespace()
    upload(api, API, {"name": "KV", "type": "kv_namespace", "namespace_id": id})

    refusal = api.refusal("DELETE", f"@/storage/kv/namespaces/{id}")

    assert refusal == (400, 10052, "remove: 'namespace has associated scripts: api'")
    api.result("DELETE", API)
    api.result("DELETE", f"@/storage/kv/namespaces/{id}")


def queue(api: Api) -> tuple[str, str]:
    """Make a queue; return its id and its path."""
    id = api.result("POST", "@/queues", {"queue_name": "jobs"})["queue_id"]
    return id, f"@/queues/{id}"


def test_a_queue_goes_only_after_the_workers_that_send_to_it(api: Api) -> None:
    _, path = queue(api)
    upload(api, API, {"name": "Q", "type": "queue", "queue_name": "jobs"})
    upload(api)  # its first version sends to the queue still

    producers = api.result("GET", path)["producers"]
    status, code, message = api.refusal("DELETE", path)

    assert producers == [{"type": "worker", "script": "api"}]
    assert (status, code) == (400, 11005)
    assert "still referenced by a binding in a Worker" in message
    api.result("DELETE", API)
    api.result("DELETE", path)


def test_a_consumer_is_a_worker_that_takes_messages(api: Api) -> None:
    _, path = queue(api)
    body = {"type": "worker", "script_name": "api"}
    missing = api.refusal("POST", f"{path}/consumers", body)
    upload(api)
    handlerless = api.refusal("POST", f"{path}/consumers", body)
    upload(api, text="export default { async queue() {} }")

    consumer = api.result("POST", f"{path}/consumers", body)

    assert missing == MISSING
    assert handlerless == (400, 11001, "Queue consumer api is missing a `queue` handler.")
    assert api.result("GET", f"{API}/queue-consumers") == [consumer]
    assert api.refusal("PUT", API, **module())[:2] == (400, 11001)


def test_a_consumer_goes_after_it_was_taken_off_its_queue_or_by_force(api: Api) -> None:
    _, path = queue(api)
    upload(api, text="export default { async queue() {} }")
    consumer = {"type": "worker", "script_name": "api"}
    made = api.result("POST", f"{path}/consumers", consumer)

    status, code, message = api.refusal("DELETE", API)

    assert (status, code) == (400, 10064)
    assert message.startswith("Cannot delete this Worker as it is a consumer for a Queue.")
    api.result("DELETE", f"{path}/consumers/{made['consumer_id']}")
    api.result("POST", f"{path}/consumers", consumer)
    api.result("DELETE", API, query="force=true")
    assert api.result("GET", f"{path}/consumers") == []


def test_a_database_goes_while_it_is_bound(api: Api) -> None:
    id = api.database()
    upload(api, API, {"name": "DB", "type": "d1", "id": id})

    assert api.result("DELETE", f"@/d1/database/{id}") is None


def test_a_worker_that_others_call_goes_after_them_or_by_force(api: Api) -> None:
    upload(api)
    upload(api, "@/workers/scripts/caller", {"name": "S", "type": "service", "service": "api"})

    status, code, message = api.refusal("DELETE", API)
    callers = api.result("GET", f"{API}/references")["services"]["incoming"]

    assert (status, code) == (400, 10142)
    assert "still referenced by service bindings in Workers: caller" in message
    assert [caller["name"] for caller in callers] == ["caller"]
    api.result("DELETE", API, query="force=true")
    assert names(api) == ["caller"]


def test_nothing_of_a_deleted_worker_comes_back_with_its_name(api: Api) -> None:
    gone = upload(api, API, {"name": "KEY", "type": "secret_text", "text": "x"})
    api.result("DELETE", API)

    made = upload(api, keep_bindings=["secret_text"])

    assert shown_bindings(api) == []
    assert [v["number"] for v in api.result("GET", f"{API}/versions")["items"]] == [1]
    assert made["tag"] != gone["tag"]


# --- versions and deployments


def test_an_upload_is_a_version_and_a_deployment(api: Api) -> None:
    upload(api, annotations={"workers/message": "first"})

    (version,) = api.result("GET", f"{API}/versions")["items"]
    (deployment,) = api.result("GET", f"{API}/deployments")["deployments"]

    assert (version["number"], version["annotations"]) == (1, {"workers/message": "first"})
    assert deployment["versions"] == [{"version_id": version["id"], "percentage": 100.0}]
    assert api.result("GET", f"{API}/deployments/{deployment['id']}") == deployment
    assert api.result("GET", f"{API}/versions", query="page=2")["items"] == []


def test_a_version_waits_for_its_deployment(api: Api) -> None:
    upload(api, text="export default { fetch() { return 'old' } }")
    version = api.result(
        "POST",
        f"{API}/versions",
        **module({"name": "T", "type": "plain_text", "text": "1"}, text="export let fresh"),
    )
    before = api("GET", API).body

    share = [{"version_id": version["id"], "percentage": 100}]
    api.result("POST", f"{API}/deployments", {"strategy": "percentage", "versions": share})

    assert b"old" in before
    assert b"fresh" in api("GET", API).body
    assert [binding["name"] for binding in shown_bindings(api)] == ["T"]
    shown = api.result("GET", f"{API}/versions/{version['id']}")
    assert (shown["number"], shown["resources"]["bindings"][0]["name"]) == (2, "T")


@pytest.mark.parametrize(
    "versions",
    [None, [], [1], [{"version_id": "x", "percentage": "1"}], [{"percentage": 100}]],
)
def test_a_deployment_of_nothing_is_refused(api: Api, versions: Any) -> None:
    upload(api)

    assert api.refusal("POST", f"{API}/deployments", {"versions": versions})[:2] == (400, 10021)


def test_a_deployment_adds_up_and_names_versions_that_exist(api: Api) -> None:
    upload(api)
    (version,) = api.result("GET", f"{API}/versions")["items"]
    half = [{"version_id": version["id"], "percentage": 50}]
    unknown = [{"version_id": "nowhere", "percentage": 100}]

    assert api.refusal("POST", f"{API}/deployments", {"versions": half})[:2] == (400, 10021)
    assert api.refusal("POST", f"{API}/deployments", {"versions": unknown})[:2] == (404, 100146)
    assert api.refusal("GET", f"{API}/versions/nowhere")[:2] == (404, 100146)
    assert api.refusal("GET", f"{API}/deployments/nowhere")[:2] == (404, 10336)


def test_an_old_deployment_can_be_deleted_the_one_in_use_cannot(api: Api) -> None:
    upload(api), upload(api)
    newest, oldest = api.result("GET", f"{API}/deployments")["deployments"]

    api.result("DELETE", f"{API}/deployments/{oldest['id']}")

    assert api.refusal("DELETE", f"{API}/deployments/{newest['id']}")[:2] == (400, 10021)
    assert api.result("GET", f"{API}/deployments")["deployments"] == [newest]


# --- settings, secrets, schedules


def test_settings_are_changed_one_by_one(api: Api) -> None:
    upload(api, compatibility_date="2026-01-01")
    flags = form({"compatibility_flags": ["nodejs_compat"], "logpush": True}, {}, part="settings")

    api.result("PATCH", f"{API}/settings", **flags)
    api.result("PATCH", f"{API}/settings", {"tags": ["a"]})
    api.result("PATCH", f"{API}/script-settings", {"observability": {"enabled": True}})

    settings = api.result("GET", f"{API}/settings")
    assert (settings["compatibility_date"], settings["compatibility_flags"]) == (
        "2026-01-01",
        ["nodejs_compat"],
    )
    assert (settings["logpush"], settings["tags"]) == (True, ["a"])
    assert api.result("GET", f"{API}/script-settings")["observability"] == {"enabled": True}


def test_bindings_are_changed_by_settings_as_by_an_upload(api: Api) -> None:
    upload(api)
    text = {"name": "T", "type": "plain_text", "text": "1"}

    api.result("PATCH", f"{API}/settings", {"bindings": [text]})

    assert shown_bindings(api) == [text]
    gone = {"bindings": [{"name": "S", "type": "service", "service": "nowhere"}]}
    assert api.refusal("PATCH", f"{API}/settings", gone)[:2] == (400, 10143)


def test_secrets_are_put_listed_and_deleted_without_ever_being_shown(api: Api) -> None:
    upload(api)

    put = api.result(
        "PUT", f"{API}/secrets", {"name": "A", "text": "hidden", "type": "secret_text"}
    )
    bulk = {"B": {"name": "B", "text": "hidden", "type": "secret_text"}, "A": None}
    api.result("PATCH", f"{API}/secrets-bulk", {"secrets": bulk})

    assert put == {"name": "A", "type": "secret_text"}
    assert api.result("GET", f"{API}/secrets") == [{"name": "B", "type": "secret_text"}]
    assert api.result("GET", f"{API}/secrets/B") == {"name": "B", "type": "secret_text"}
    assert api.result("DELETE", f"{API}/secrets/B") is None
    assert api.refusal("GET", f"{API}/secrets/B")[:2] == (404, 10056)
    assert api.refusal("DELETE", f"{API}/secrets/B")[:2] == (404, 10056)


def test_a_secret_does_not_replace_another_binding(api: Api) -> None:
    upload(api, API, {"name": "T", "type": "plain_text", "text": "1"})

    assert api.refusal("PUT", f"{API}/secrets", {"name": "T", "text": "x"})[:2] == (400, 10021)


def test_schedules_are_replaced_as_a_whole(api: Api) -> None:
    upload(api)

    api.result("PUT", f"{API}/schedules", [{"cron": "0 3 * * *"}, {"cron": "* * * * *"}])
    api.result("PUT", f"{API}/schedules", [{"cron": "0 4 * * *"}])

    (schedule,) = api.result("GET", f"{API}/schedules")["schedules"]
    assert schedule["cron"] == "0 4 * * *"
    for bad in ({"cron": "0 4 * * *"}, ["0 4 * * *"], [{"cron": "daily"}]):
        assert api.refusal("PUT", f"{API}/schedules", bad)[:2] == (400, 10021)


# --- services, and the newer view


def test_a_worker_is_a_service_and_deleted_as_one(api: Api) -> None:
    made = upload(api)

    service = api.result("GET", "@/workers/services/api")

    assert service["default_environment"]["script"]["tag"] == made["tag"]
    api.result("DELETE", "@/workers/services/api", query="force=true")
    assert names(api) == []


def test_the_newer_view_shows_and_changes_the_same_worker(api: Api) -> None:
    made = upload(api)

    api.result("PATCH", "@/workers/workers/api", {"subdomain": {"enabled": True}, "tags": ["a"]})

    (listed,) = api.result("GET", "@/workers/workers")
    assert (listed["id"], listed["name"], listed["tags"]) == (made["tag"], "api", ["a"])
    assert api.result("GET", f"@/workers/workers/{made['tag']}") == listed
    assert api.result("GET", f"{API}/subdomain") == {"enabled": True, "previews_enabled": False}
    assert api.result("GET", "@/workers/workers", query="page=2") == []
    api.result("DELETE", "@/workers/workers/api")
    assert names(api) == []


def test_what_a_fake_account_never_holds_is_empty(api: Api) -> None:
    assert api.result("GET", "@/workers/tails/by-consumer/api") == []
    assert api.result("GET", "@/workers/durable_objects/namespaces") == []


# --- workers.dev


def test_the_subdomain_is_the_account_s_own_and_can_be_changed(api: Api) -> None:
    assert api.result("GET", "@/workers/subdomain")["subdomain"] == (
        f"fake-{api.account.account_id}"
    )

    api.result("PUT", "@/workers/subdomain", {"subdomain": "shop"})

    assert api.result("GET", "@/workers/subdomain") == {"subdomain": "shop"}
    assert api.refusal("GET", "@/workers/subdomains/shop")[:2] == (409, 10031)
    assert api.refusal("GET", "@/workers/subdomains/free")[:2] == (404, 10032)
    assert api.refusal("PUT", "@/workers/subdomain", {"subdomain": "A.b"})[:2] == (400, 10021)
    api.result("DELETE", "@/workers/subdomain")
    assert api.refusal("GET", "@/workers/subdomain")[:2] == (404, 10007)


def test_account_settings_are_changed_and_leave_the_subdomain_alone(api: Api) -> None:
    before = api.result("GET", "@/workers/subdomain")

    api.result("PUT", "@/workers/account-settings", {"green_compute": True})

    assert api.result("GET", "@/workers/account-settings") == {
        "default_usage_model": "standard",
        "green_compute": True,
    }
    assert api.result("GET", "@/workers/subdomain") == before


def visit(api: Api, name: str) -> Response | None:
    subdomain = api.result("GET", "@/workers/subdomain")["subdomain"]
    return api.account.visit(f"{name}.{subdomain}.workers.dev")


def test_a_shown_worker_answers_that_its_script_is_not_run(api: Api) -> None:
    upload(api)
    hidden = visit(api, "api")
    api.result("POST", f"{API}/subdomain", {"enabled": True})

    shown = visit(api, "api")
    api.result("DELETE", f"{API}/subdomain")

    assert hidden is not None
    assert shown is not None
    assert (hidden.status, shown.status) == (404, 501)
    assert shown.body.decode() == (
        "The Worker 'api' is deployed in a fake Cloudflare account, which keeps its script but does not run it.\n"
    )
    assert visit(api, "api") == hidden
    assert api.account.visit("api.somebody-else.workers.dev") is None


def test_what_is_shown_is_said_with_true_or_false(api: Api) -> None:
    upload(api), upload(api, "@/workers/scripts/a_b")

    assert api.refusal("POST", f"{API}/subdomain", {})[:2] == (400, 10021)
    refusal = api.refusal("POST", "@/workers/scripts/a_b/subdomain", {"enabled": True})
    assert refusal[:2] == (400, 10021)
