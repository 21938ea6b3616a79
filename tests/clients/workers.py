"""What the official SDK does with workers."""

from __future__ import annotations

import base64

import cloudflare
import pytest

from tests.clients.sdk import Sdk

MODULE = (
    "worker.js",
    b"export default { fetch() {}, queue() {} }",
    "application/javascript+module",
)


def use_workers(sdk: Sdk) -> None:
    scripts = "workers.scripts"
    binding = {"name": "GREETING", "type": "plain_text", "text": "hello"}
    metadata = {"main_module": "worker.js", "bindings": [binding]}
    made = sdk(f"{scripts}.update", "api", metadata=metadata, files=[MODULE])
    assert (made.id, made.handlers) == ("api", ["fetch", "queue"])
    assert "export default" in str(sdk(f"{scripts}.get", "api"))
    assert [found.script_name for found in sdk(f"{scripts}.search", name="ap")] == ["api"]
    sdk(f"{scripts}.content.update", "api", metadata={"main_module": "worker.js"}, files=[MODULE])
    assert b"export default" in sdk(f"{scripts}.content.get", "api")
    assert sdk(f"{scripts}.settings.edit", "api", logpush=True).logpush
    assert sdk(f"{scripts}.settings.get", "api").logpush
    both = f"{scripts}.script_and_version_settings"
    sdk(f"{both}.edit", "api", settings={"compatibility_date": "2026-01-01"})
    assert sdk(f"{both}.get", "api").compatibility_date == "2026-01-01"
    assert [found.name for found in sdk(f"{both}.get", "api").bindings] == ["GREETING"]
    use_secrets(sdk)
    use_versions(sdk)
    sdk(f"{scripts}.schedules.update", "api", body=[{"cron": "0 3 * * *"}])
    assert [found.cron for found in sdk(f"{scripts}.schedules.get", "api").schedules] == [
        "0 3 * * *"
    ]
    use_subdomain(sdk)
    use_places(sdk)
    use_tails(sdk)
    use_assets(sdk)
    assert [found.id for found in sdk(f"{scripts}.list")] == ["api"]
    sdk(f"{scripts}.delete", "api", force=True)
    assert sdk(f"{scripts}.list") == []
    use_beta(sdk)


def use_secrets(sdk: Sdk) -> None:
    secrets = "workers.scripts.secrets"
    given = {"name": "KEY", "text": "hidden", "type": "secret_text"}
    assert sdk(f"{secrets}.update", "api", **given).name == "KEY"
    sdk(f"{secrets}.bulk_update", "api", secrets={"OTHER": {**given, "name": "OTHER"}})
    assert {found.name for found in sdk(f"{secrets}.list", "api")} == {"KEY", "OTHER"}
    assert sdk(f"{secrets}.get", "KEY", script_name="api").type == "secret_text"
    sdk(f"{secrets}.delete", "KEY", script_name="api")


def use_versions(sdk: Sdk) -> None:
    versions, deployments = "workers.scripts.versions", "workers.scripts.deployments"
    metadata = {"main_module": "worker.js"}
    made = sdk.raw(f"{versions}.create", "api", metadata=metadata, files=[MODULE])
    shown = sdk.raw(f"{versions}.get", made["id"], script_name="api")
    assert shown["number"] == made["number"]
    assert made["id"] in [found.id for found in sdk(f"{versions}.list", "api")]
    share = [{"version_id": made["id"], "percentage": 100}]
    new = sdk(f"{deployments}.create", "api", strategy="percentage", versions=share)
    all_of_them = sdk.raw(f"{deployments}.list", "api")["deployments"]
    assert all_of_them[0]["id"] == new.id
    assert sdk(f"{deployments}.get", new.id, script_name="api").strategy == "percentage"
    sdk(f"{deployments}.delete", all_of_them[-1]["id"], script_name="api")


def use_subdomain(sdk: Sdk) -> None:
    subdomain = "workers.scripts.subdomain"
    assert sdk(f"{subdomain}.create", "api", enabled=True).enabled
    assert sdk(f"{subdomain}.get", "api").enabled
    sdk(f"{subdomain}.delete", "api")
    beta = "workers.beta.workers"
    changes = {"logpush": False, "name": "api", "observability": {}, "tail_consumers": []}
    sdk(f"{beta}.edit", "api", subdomain={"enabled": True}, tags=["a"], **changes)
    assert sdk(f"{beta}.get", "api").subdomain.enabled
    assert [found.name for found in sdk(f"{beta}.list")] == ["api"]
    sdk("workers.scripts.update", "b", metadata={"main_module": "worker.js"}, files=[MODULE])
    sdk(f"{beta}.delete", "b")
    sdk("workers.account_settings.update", green_compute=True)
    assert sdk("workers.account_settings.get").green_compute
    assert sdk("workers.subdomains.update", subdomain="shop").subdomain == "shop"
    assert sdk("workers.subdomains.get").subdomain == "shop"
    sdk("workers.subdomains.delete")


def use_places(sdk: Sdk) -> None:
    routes, domains, zone = "workers.routes", "workers.domains", {"zone_id": "0" * 32}
    route = sdk(f"{routes}.create", pattern="example.com/*", script="api", **zone)
    with pytest.raises(cloudflare.ConflictError):
        sdk(f"{routes}.create", pattern="example.com/*", script="api", **zone)
    sdk(f"{routes}.update", route.id, pattern="example.com/api/*", script="api", **zone)
    assert sdk(f"{routes}.get", route.id, **zone).pattern == "example.com/api/*"
    assert [found.script for found in sdk(f"{routes}.list", **zone)] == ["api"]
    domain = sdk(f"{domains}.update", hostname="api.example.com", service="api", **zone)
    assert (domain.environment, domain.zone_name) == ("production", "example.com")
    (listed,) = sdk(f"{domains}.list", service="api")
    assert sdk(f"{domains}.get", domain.id).to_dict() == listed.to_dict() == domain.to_dict()
    assert sdk(f"{domains}.list", service="other") == []
    with pytest.raises(cloudflare.BadRequestError, match=r"still answers at api\.example\.com"):
        sdk("workers.scripts.delete", "api")
    sdk(f"{domains}.delete", domain.id)
    sdk(f"{routes}.delete", route.id, **zone)
    assert (sdk(f"{domains}.list"), sdk(f"{routes}.list", **zone)) == ([], [])
    for method, more in ((f"{routes}.get", zone), (f"{domains}.get", {})):
        with pytest.raises(cloudflare.NotFoundError):
            sdk(method, "0", **more)


def use_tails(sdk: Sdk) -> None:
    tail = sdk("workers.scripts.tail.create", "api")
    assert tail.url.startswith("ws://127.0.0.1:")
    assert sdk("workers.scripts.tail.get", "api").id == tail.id
    sdk("workers.scripts.tail.delete", tail.id, script_name="api")
    assert sdk("workers.scripts.tail.get", "api") is None


def use_assets(sdk: Sdk) -> None:
    scripts, manifest = "workers.scripts", {"/a.html": {"hash": "a" * 32, "size": 5}}
    session = sdk(f"{scripts}.assets.upload.create", "site", manifest=manifest)
    assert session.buckets == [["a" * 32]]
    files = {"a" * 32: base64.b64encode(b"<p>hi").decode()}
    with pytest.raises(cloudflare.AuthenticationError, match="upload of assets"):
        sdk("workers.assets.upload.create", base64=True, body=files)
    mine = {"Authorization": f"Bearer {session.jwt}"}
    done = sdk("workers.assets.upload.create", base64=True, body=files, extra_headers=mine)
    metadata = {"main_module": MODULE[0], "assets": {"jwt": done.jwt}}
    sdk(f"{scripts}.update", "site", metadata=metadata, files=[MODULE])
    assert {found.id: found.has_assets for found in sdk(f"{scripts}.list")}["site"]
    assert sdk(f"{scripts}.assets.upload.create", "site", manifest=manifest).buckets == []
    sdk(f"{scripts}.delete", "site")


def use_beta(sdk: Sdk) -> None:
    beta = "workers.beta.workers"
    worker = sdk(f"{beta}.create", name="new", tags=["a"])
    with pytest.raises(cloudflare.ConflictError):
        sdk(f"{beta}.create", name="new")
    assert sdk(f"{beta}.update", worker.id, name="new", logpush=True).tags == []
    assert sdk("workers.scripts.list") == []
    name, text, content_type = MODULE
    coded = base64.b64encode(text).decode()
    module = {"name": name, "content_type": content_type, "content_base64": coded}
    given = {"main_module": name, "modules": [module]}
    made = sdk(f"{beta}.versions.create", worker.id, deploy=True, **given)
    newer = sdk(f"{beta}.versions.create", worker.id, deploy=False, **given)
    assert [found.number for found in sdk(f"{beta}.versions.list", worker.id)] == [2, 1]
    here = {"worker_id": worker.id}
    shown = sdk(f"{beta}.versions.get", made.id, include="modules", **here)
    assert base64.b64decode(shown.modules[0].content_base64) == text
    assert [found.id for found in sdk("workers.scripts.list")] == ["new"]
    sdk(f"{beta}.versions.delete", newer.id, **here)
    with pytest.raises(cloudflare.NotFoundError):
        sdk(f"{beta}.versions.get", newer.id, **here)
    with pytest.raises(cloudflare.BadRequestError, match="is deployed"):
        sdk(f"{beta}.versions.delete", made.id, **here)
    use_observability(sdk, worker.id)
    sdk(f"{beta}.delete", worker.id)
    assert sdk(f"{beta}.list") == []


def use_observability(sdk: Sdk, script: str) -> None:
    logs = "workers.observability"
    telemetry, timeframe = f"{logs}.telemetry", {"from": 1, "to": 2}
    target = {"type": "logpush", "url": "https://logs.example.com", "headers": {}}
    configuration = {**target, "logpush_dataset": "opentelemetry-logs"}
    given = {"name": "My logs", "configuration": configuration, "enabled": True}
    slug = sdk(f"{logs}.destinations.create", **given).slug
    with pytest.raises(cloudflare.ConflictError):
        sdk(f"{logs}.destinations.create", **given)
    sdk(f"{logs}.destinations.update", slug, configuration=target, enabled=False)
    assert [found.enabled for found in sdk(f"{logs}.destinations.list")] == [False]
    sdk(f"{logs}.destinations.delete", slug)
    assert sdk(f"{logs}.destinations.list") == []

    query = sdk(f"{logs}.queries.create", name="errors", description=None, parameters={"limit": 5})
    assert [found.name for found in sdk(f"{logs}.queries.list")] == ["errors"]
    found = sdk(f"{telemetry}.query", query_id=query.id, timeframe=timeframe)
    assert (found.run.query.name, found.run.status, found.events.count) == (
        "errors",
        "COMPLETED",
        0,
    )
    shared = sdk(f"{logs}.shared_queries.create", query_id=query.id, timeframe=timeframe)
    shown = sdk.raw(f"{logs}.shared_queries.get", shared.id)
    assert shown["run"]["query"]["id"] == query.id
    with pytest.raises(cloudflare.NotFoundError):
        sdk(f"{telemetry}.query", query_id="none", timeframe=timeframe)
    assert sdk(f"{telemetry}.keys") == []
    about = {"datasets": [], "key": "level", "type": "string", "timeframe": timeframe}
    assert sdk(f"{telemetry}.values", **about) == []
    with pytest.raises(cloudflare.NotFoundError):
        sdk(f"{telemetry}.live_tail_heartbeat", script_id=script)
    assert sdk(f"{telemetry}.live_tail", script_id=script).ws_url.startswith("ws://127.0.0.1:")
    sdk(f"{telemetry}.live_tail_heartbeat", script_id=script)
