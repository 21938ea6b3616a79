"""What a worker is bound to: other things of the account, plain values and secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_alchemy.cloudflare.fake import queues
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal
from pytest_alchemy.cloudflare.fake.worker_upload import invalid

TABLE = """CREATE TABLE IF NOT EXISTS worker_bindings (
    version TEXT NOT NULL, script TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, target TEXT,
    shown TEXT NOT NULL, PRIMARY KEY (version, name)
)"""
"""*target* is what the API addresses the bound thing by; *shown* has no secrets, which nothing ever reads."""

SECRETS = ("secret_text", "secret_key")


@dataclass(frozen=True, slots=True)
class Binding:
    """
    One binding.

    Attributes:
        name: What the script calls it.
        type: The API's word for what it is bound to.
        target: What the API addresses the bound thing by; None if it is no thing of the account.
        shown: What the API tells of it.
    """

    name: str
    type: str
    target: str | None
    shown: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Thing:
    """A product's things: the field that names one, how to find it, and what is said if it is not there."""

    field: str
    query: str
    code: int
    missing: str


_THINGS = {
    "kv_namespace": _Thing(
        "namespace_id",
        "SELECT 1 FROM kv_namespaces WHERE id = ?",
        10041,
        "KV namespace '{}' not found.",
    ),
    "d1": _Thing(
        "id",
        "SELECT 1 FROM d1_databases WHERE uuid = ?",
        10181,
        "D1 database '{}' not found.",
    ),
    "r2_bucket": _Thing(
        "bucket_name",
        "SELECT 1 FROM r2_buckets WHERE name = ? AND jurisdiction = ?",
        10085,
        "R2 bucket '{}' not found.",
    ),
    "queue": _Thing(
        "queue_name",
        "SELECT 1 FROM queues WHERE name = ?",
        11000,
        "Queue '{}' not found.",
    ),
    "service": _Thing(
        "service",
        "SELECT 1 FROM workers WHERE name = ?",
        10143,
        "Could not resolve service binding: script '{}' not found.",
    ),
}
_VALUES = {"plain_text": "text", "secret_text": "text", "json": "json"}


def resolved(
    storage: Storage, script: str, metadata: dict[str, Any], last: str | None
) -> list[Binding]:
    """
    Return the bindings that *metadata* asks for.

    Args:
        storage: Where the things are that it may be bound to.
        script: Name of the worker.
        metadata: What came with the upload: ``bindings``, and ``keep_bindings`` with the types that stay.
        last: The version that ``inherit`` and ``keep_bindings`` look at; None for the first one.

    Raises:
        Refusal: One is malformed, or what it names does not exist.
    """
    old = {} if last is None else {binding.name: binding for binding in of_version(storage, last)}
    found: dict[str, Binding] = {}
    for wanted in _listed(metadata, "bindings"):
        if not isinstance(wanted, dict):
            invalid("bindings have to be objects")
        binding = _one(storage, script, wanted, old)
        if binding.name in found:
            invalid(f"binding {binding.name} is given twice")
        found[binding.name] = binding
    keep = {kind for kind in _listed(metadata, "keep_bindings") if isinstance(kind, str)}
    kept = [b for b in old.values() if b.type in keep and b.name not in found]
    return [*found.values(), *kept]


def of_version(storage: Storage, version: str) -> list[Binding]:
    """Return the bindings of *version*, in the order of their upload."""
    rows = storage.db.execute(
        "SELECT name, type, target, shown FROM worker_bindings WHERE version = ? ORDER BY rowid",
        (version,),
    )
    return [Binding(name, kind, target, json.loads(shown)) for name, kind, target, shown in rows]


def store(storage: Storage, script: str, version: str, bindings: Iterable[Binding]) -> None:
    """Record *bindings* as those of *version*."""
    storage.db.executemany(
        "INSERT INTO worker_bindings VALUES (?, ?, ?, ?, ?, ?)",
        [(version, script, b.name, b.type, b.target, json.dumps(b.shown)) for b in bindings],
    )
    _note_queues(storage, script)


def forget(storage: Storage, script: str, version: str) -> None:
    """Remove the bindings of *version*."""
    storage.db.execute("DELETE FROM worker_bindings WHERE version = ?", (version,))
    _note_queues(storage, script)


def _note_queues(storage: Storage, script: str) -> None:
    # Old versions hold on to their queues, too.
    sent_to = storage.db.execute(
        "SELECT target FROM worker_bindings WHERE script = ? AND type = 'queue'", (script,)
    )
    queues.set_producer(storage, script, [name for (name,) in sent_to])


def bound_workers(storage: Storage, kind: str, target: str) -> list[str]:
    """Return the workers whose deployed version is bound to the thing *target*."""
    rows = storage.db.execute(
        "SELECT DISTINCT script FROM worker_bindings JOIN workers ON workers.deployed = version "
        "WHERE type = ? AND target = ? ORDER BY script",
        (kind, target),
    )
    return [script for (script,) in rows]


def secret(name: Any, text: Any) -> Binding:
    """
    Return the binding of a secret.

    Raises:
        Refusal: It has no name, or no text.
    """
    if not isinstance(name, str) or not name:
        invalid("a secret needs a name")
    if not isinstance(text, str):
        invalid(f"secret {name} needs a text")
    return Binding(name, "secret_text", None, {"name": name, "type": "secret_text"})


def _one(storage: Storage, script: str, wanted: dict[str, Any], old: dict[str, Binding]) -> Binding:
    name, kind = wanted.get("name"), wanted.get("type")
    if not isinstance(name, str) or not name:
        invalid("a binding needs a name")
    if not isinstance(kind, str) or not kind:
        invalid(f"binding {name} needs a type")
    if kind == "inherit":
        return _inherited(name, wanted.get("old_name") or name, old)
    if kind in _VALUES and wanted.get(_VALUES[kind]) is None:
        invalid(f"binding {name} of type {kind} must have a {_VALUES[kind]}")
    if kind == "secret_text":
        return secret(name, wanted["text"])
    if kind == "d1" and "id" not in wanted:
        wanted = {**wanted, "id": wanted.get("database_id")}
    thing = _THINGS.get(kind)
    target = None if thing is None else _target(storage, script, name, wanted, thing)
    hidden = ("key_base64", "key_jwk", "text" if kind in SECRETS else "")
    return Binding(name, kind, target, {k: v for k, v in wanted.items() if k not in hidden})


def _inherited(name: str, source: Any, old: dict[str, Binding]) -> Binding:
    binding = old.get(source) if isinstance(source, str) else None
    if binding is None:
        invalid(f"binding {name} cannot be inherited: the last version has no such binding")
    return Binding(name, binding.type, binding.target, {**binding.shown, "name": name})


def _target(storage: Storage, script: str, name: str, wanted: dict[str, Any], thing: _Thing) -> str:
    target, kind = wanted.get(thing.field), wanted["type"]
    if not isinstance(target, str) or not target:
        invalid(f"binding {name} of type {kind} must have a valid `{thing.field}` specified")
    if kind == "service" and target == script:  # a worker may call itself, from its first upload on
        return target
    values = [target]
    if kind == "r2_bucket":
        values.append(str(wanted.get("jurisdiction") or "default"))
    if storage.db.execute(thing.query, values).fetchone() is None:
        raise Refusal(400, thing.code, thing.missing.format(target))
    return target


def _listed(metadata: dict[str, Any], key: str) -> Sequence[Any]:
    found = metadata.get(key)
    if found is None:
        return ()
    if not isinstance(found, list):
        invalid(f"{key} has to be a list")
    return found
