"""What is set for a worker and for all of them: settings, secrets, schedules, the subdomain of workers.dev."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake import worker_bindings, worker_versions
from pytest_alchemy.cloudflare.fake.routes import Call, Route
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal, Reply, object_of, timestamp
from pytest_alchemy.cloudflare.fake.worker_bindings import SECRETS
from pytest_alchemy.cloudflare.fake.worker_upload import invalid, read_settings

TABLE = """CREATE TABLE IF NOT EXISTS worker_account (
    only INTEGER PRIMARY KEY CHECK (only = 1), subdomain TEXT, settings TEXT NOT NULL
)"""
DOMAIN = "workers.dev"
_OF_SCRIPT = ("logpush", "tail_consumers", "observability", "tags")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ACCOUNT_SETTINGS = {"default_usage_model": "standard", "green_compute": False}


def change(storage: Storage, script: str, wanted: dict[str, Any]) -> None:
    """Change those settings of *script* that are no version's."""
    settings = _settings(storage, script)
    settings |= {key: wanted[key] for key in _OF_SCRIPT if key in wanted}
    storage.db.execute(
        "UPDATE workers SET settings = ? WHERE name = ?", (json.dumps(settings), script)
    )


def show_at_subdomain(storage: Storage, script: str, wanted: dict[str, Any]) -> None:
    """Say whether *script* answers at the account's subdomain, and whether its versions do."""
    for key, column in (("enabled", "enabled"), ("previews_enabled", "previews")):
        if key in wanted:
            storage.db.execute(
                f"UPDATE workers SET {column} = ? WHERE name = ?",  # noqa: S608 (our words)
                (bool(wanted[key]), script),
            )


def subdomain(storage: Storage) -> str | None:
    """Return the account's subdomain of workers.dev, None if it was given up."""
    row = storage.db.execute("SELECT subdomain FROM worker_account").fetchone()
    return f"fake-{storage.identity.account_id}" if row is None else row[0]


def _settings(storage: Storage, script: str) -> dict[str, Any]:
    row = storage.db.execute("SELECT settings FROM workers WHERE name = ?", (script,)).fetchone()
    if row is None:
        raise worker_versions.missing()
    found: dict[str, Any] = json.loads(row[0])
    return found


# --- settings


def _get_settings(call: Call) -> Reply:
    script = call.parts[0]
    version = worker_versions.deployed(call.storage, script)
    set_for_version = worker_versions.settings_of(call.storage, version)
    return Reply(
        {
            "bindings": [b.shown for b in worker_bindings.of_version(call.storage, version)],
            "compatibility_date": set_for_version.get("compatibility_date"),
            "compatibility_flags": set_for_version.get("compatibility_flags", []),
            "usage_model": set_for_version.get("usage_model", "standard"),
            "placement": set_for_version.get("placement", {}),
            **_shown(_settings(call.storage, script)),
        }
    )


def _change_settings(call: Call) -> Reply:
    script = call.parts[0]
    worker_versions.deployed(call.storage, script)
    wanted = read_settings(call.request)
    change(call.storage, script, wanted)
    if wanted.keys() & {"bindings", *worker_versions.OF_VERSION}:
        last = worker_versions.latest(call.storage, script)
        bindings = None
        if "bindings" in wanted:
            bindings = worker_bindings.resolved(call.storage, script, wanted, last)
        worker_versions.add_changed(call.storage, script, bindings=bindings, settings=wanted)
    return _get_settings(call)


def _get_script_settings(call: Call) -> Reply:
    return Reply(_shown(_settings(call.storage, call.parts[0])))


def _change_script_settings(call: Call) -> Reply:
    _settings(call.storage, call.parts[0])
    change(call.storage, call.parts[0], object_of(call.request, 10021))
    return _get_script_settings(call)


def _shown(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "logpush": bool(settings.get("logpush", False)),
        "tail_consumers": settings.get("tail_consumers"),
        "observability": settings.get("observability"),
        "tags": settings.get("tags", []),
    }


# --- secrets


def _secrets(call: Call) -> Reply:
    version = worker_versions.deployed(call.storage, call.parts[0])
    bindings = worker_bindings.of_version(call.storage, version)
    return Reply([b.shown for b in bindings if b.type in SECRETS])


def _get_secret(call: Call) -> Reply:
    for shown in _secrets(call).result:
        if shown["name"] == call.parts[1]:
            return Reply(shown)
    raise _no_secret(call.parts[1])


def _put_secret(call: Call) -> Reply:
    body = object_of(call.request, 10021)
    worker_versions.deployed(call.storage, call.parts[0])
    secret = worker_bindings.secret(body.get("name"), body.get("text"))
    _change_secrets(call, {secret.name: secret})
    return Reply(secret.shown)


def _delete_secret(call: Call) -> Reply:
    _get_secret(call)
    _change_secrets(call, {call.parts[1]: None})
    return Reply(None)


def _change_bulk(call: Call) -> Reply:
    worker_versions.deployed(call.storage, call.parts[0])
    wanted = object_of(call.request, 10021).get("secrets") or {}
    if not isinstance(wanted, dict):
        invalid("secrets has to be an object of secrets by name")
    changes: dict[str, worker_bindings.Binding | None] = {}
    for name, given in wanted.items():
        if given is None:
            changes[name] = None
        elif isinstance(given, dict):
            changes[name] = worker_bindings.secret(name, given.get("text"))
        else:
            invalid(f"secret {name} has to be an object, or null to delete it")
    _change_secrets(call, changes)
    return _secrets(call)


def _change_secrets(call: Call, changes: dict[str, worker_bindings.Binding | None]) -> None:
    """Deploy a version whose secrets are changed: None deletes one."""
    script = call.parts[0]
    last = worker_versions.latest(call.storage, script)
    assert last is not None
    old = worker_bindings.of_version(call.storage, last)
    for binding in old:
        if binding.name in changes and binding.type not in SECRETS:
            invalid(f"binding {binding.name} exists already and is no secret")
    kept = [binding for binding in old if binding.name not in changes]
    added = [binding for binding in changes.values() if binding is not None]
    worker_versions.add_changed(call.storage, script, bindings=[*kept, *added])


def _no_secret(name: str) -> Refusal:
    return Refusal(404, 10056, f"Binding {name} of type secret_text not found.")


# --- schedules


def _schedules(call: Call) -> Reply:
    row = call.storage.db.execute(
        "SELECT schedules FROM workers WHERE name = ?", (call.parts[0],)
    ).fetchone()
    if row is None:
        raise worker_versions.missing()
    return Reply({"schedules": json.loads(row[0])})


def _change_schedules(call: Call) -> Reply:
    worker_versions.deployed(call.storage, call.parts[0])
    wanted = call.request.json()
    if not isinstance(wanted, list):
        invalid("schedules have to be a list")
    now = timestamp(clock.now())
    shown = []
    for schedule in wanted:
        cron = schedule.get("cron") if isinstance(schedule, dict) else None
        if not isinstance(cron, str) or len(cron.split()) != 5:
            invalid(f"invalid cron string: {cron}")
        shown.append({"cron": cron, "created_on": now, "modified_on": now})
    call.storage.db.execute(
        "UPDATE workers SET schedules = ? WHERE name = ?", (json.dumps(shown), call.parts[0])
    )
    return Reply({"schedules": shown})


# --- workers.dev


def _at_subdomain(call: Call) -> Reply:
    row = call.storage.db.execute(
        "SELECT enabled, previews FROM workers WHERE name = ?", (call.parts[0],)
    ).fetchone()
    if row is None:
        raise worker_versions.missing()
    return Reply({"enabled": bool(row[0]), "previews_enabled": bool(row[1])})


def _show_at_subdomain(call: Call) -> Reply:
    _at_subdomain(call)
    body = object_of(call.request, 10021)
    if not isinstance(body.get("enabled"), bool):
        invalid("enabled has to be true or false")
    if body["enabled"] and "_" in call.parts[0]:
        invalid("a Worker whose name holds '_' cannot be shown on workers.dev")
    show_at_subdomain(call.storage, call.parts[0], body)
    return _at_subdomain(call)


def _hide_from_subdomain(call: Call) -> Reply:
    _at_subdomain(call)
    nowhere = {"enabled": False, "previews_enabled": False}
    show_at_subdomain(call.storage, call.parts[0], nowhere)
    return Reply(nowhere)


def _get_subdomain(call: Call) -> Reply:
    name = subdomain(call.storage)
    if name is None:
        raise Refusal(404, 10007, "There is no workers.dev subdomain on your account.")
    return Reply({"subdomain": name})


def _set_subdomain(call: Call) -> Reply:
    name = object_of(call.request, 10021).get("subdomain")
    if not isinstance(name, str) or not _SUBDOMAIN.fullmatch(name):
        invalid("a subdomain has 1 to 63 lowercase letters, digits or '-'")
    _store_subdomain(call.storage, name)
    return Reply({"subdomain": name})


def _give_up_subdomain(call: Call) -> Reply:
    _store_subdomain(call.storage, None)
    return Reply(None)


def _store_subdomain(storage: Storage, name: str | None) -> None:
    storage.db.execute(
        "INSERT INTO worker_account VALUES (1, ?, '{}') ON CONFLICT DO UPDATE SET subdomain = ?",
        (name, name),
    )


def _is_taken(call: Call) -> Reply:
    # The other owners of subdomains are not known here.
    name = call.parts[0]
    if name == subdomain(call.storage):
        raise Refusal(409, 10031, f"The subdomain {name} is taken.")
    raise Refusal(404, 10032, f"The subdomain {name} is available.")


def _get_account_settings(call: Call) -> Reply:
    row = call.storage.db.execute("SELECT settings FROM worker_account").fetchone()
    return Reply({**_ACCOUNT_SETTINGS, **json.loads("{}" if row is None else row[0])})


def _change_account_settings(call: Call) -> Reply:
    body = object_of(call.request, 10021)
    wanted = {key: body[key] for key in _ACCOUNT_SETTINGS if key in body}
    text = json.dumps({**_get_account_settings(call).result, **wanted})
    call.storage.db.execute(
        "INSERT INTO worker_account VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET settings = ?",
        (subdomain(call.storage), text, text),
    )
    return _get_account_settings(call)


_ONE = "@/workers/scripts/*"
ROUTES = (
    Route("GET", f"{_ONE}/settings", _get_settings, writes=False),
    Route("PATCH", f"{_ONE}/settings", _change_settings),
    Route("GET", f"{_ONE}/script-settings", _get_script_settings, writes=False),
    Route("PATCH", f"{_ONE}/script-settings", _change_script_settings),
    Route("GET", f"{_ONE}/secrets", _secrets, writes=False),
    Route("PUT", f"{_ONE}/secrets", _put_secret),
    Route("PATCH", f"{_ONE}/secrets-bulk", _change_bulk),
    Route("GET", f"{_ONE}/secrets/*", _get_secret, writes=False),
    Route("DELETE", f"{_ONE}/secrets/*", _delete_secret),
    Route("GET", f"{_ONE}/schedules", _schedules, writes=False),
    Route("PUT", f"{_ONE}/schedules", _change_schedules),
    Route("GET", f"{_ONE}/subdomain", _at_subdomain, writes=False),
    Route("POST", f"{_ONE}/subdomain", _show_at_subdomain),
    Route("DELETE", f"{_ONE}/subdomain", _hide_from_subdomain),
    Route("GET", "@/workers/subdomain", _get_subdomain, writes=False),
    Route("PUT", "@/workers/subdomain", _set_subdomain),
    Route("DELETE", "@/workers/subdomain", _give_up_subdomain),
    Route("GET", "@/workers/subdomains/*", _is_taken, writes=False),
    Route("GET", "@/workers/account-settings", _get_account_settings, writes=False),
    Route("PUT", "@/workers/account-settings", _change_account_settings),
)
