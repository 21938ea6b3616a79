"""R2: objects that come from elsewhere, when they are asked for (sippy) or by a job (super slurper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_alchemy import clock
from pytest_alchemy.cloudflare.fake.documents import Document, Shelf
from pytest_alchemy.cloudflare.fake.r2_buckets import (
    ONE,
    bucket_named,
    bucket_of,
    invalid,
    keep,
    kept,
)
from pytest_alchemy.cloudflare.fake.routes import Call, Handler, Route
from pytest_alchemy.cloudflare.fake.wire import (
    Page,
    Refusal,
    Reply,
    field_of,
    object_of,
    page_size,
    timestamp,
)

# What a source of each provider has to name: what is shown of it, and what is its secret.
_SIPPY_SOURCES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "aws": (("bucket", "region"), ("accessKeyId", "secretAccessKey")),
    "gcs": (("bucket",), ("clientEmail", "privateKey")),
    "s3": (("bucketUrl",), ("accessKeyId", "secretAccessKey")),
    "azure": (("container",), ("accountName",)),
}
_SLURPER_SECRETS: Mapping[str, tuple[str, ...]] = {
    "s3": ("accessKeyId", "secretAccessKey"),
    "gcs": ("clientEmail", "privateKey"),
    "r2": ("accessKeyId", "secretAccessKey"),
}
_SLURPER_SHOWN = ("vendor", "bucket", "endpoint", "region", "jurisdiction", "keys", "pathPrefix")


# --- sippy: nothing is fetched, since there is no elsewhere; the settings are kept


def _set_sippy(call: Call) -> Reply:
    bucket, body = bucket_of(call), object_of(call.request, 10022)
    source = field_of(body, "source", dict, 10022)
    destination = field_of(body, "destination", dict, 10022, {})
    provider = field_of(source, "provider", str, 10022)
    if provider not in _SIPPY_SOURCES:
        raise invalid(f"provider {provider!r} is none of {', '.join(_SIPPY_SOURCES)}")
    shown, secret = _SIPPY_SOURCES[provider]
    named = {name: field_of(source, name, str, 10022) for name in shown}
    for name in secret:
        field_of(source, name, str, 10063)
    settings = {
        "enabled": True,
        "source": {"provider": provider, **named},
        "destination": {
            "provider": "r2",
            "account": call.storage.identity.account_id,
            "bucket": bucket.name,
            "accessKeyId": field_of(destination, "accessKeyId", str, 10063, ""),
        },
    }
    keep(call.storage, bucket, "sippy", settings)
    return Reply(settings)


def _get_sippy(call: Call) -> Reply:
    return Reply(kept(call.storage, bucket_of(call), "sippy") or {"enabled": False})


def _stop_sippy(call: Call) -> Reply:
    keep(call.storage, bucket_of(call), "sippy", {"enabled": False})
    return Reply({"enabled": False})


# --- super slurper: a job runs until it is aborted, and copies nothing

_JOBS = Shelf("r2_job")


def _check_source(call: Call) -> Reply:
    return _reached(call, _place(object_of(call.request, 10022), tuple(_SLURPER_SECRETS)))


def _check_target(call: Call) -> Reply:
    return _reached(call, _place(object_of(call.request, 10022), ("r2",)))


def _reached(call: Call, place: dict[str, Any]) -> Reply:
    return Reply({"connectivityStatus": "success" if _is_there(call, place) else "error"})


def _is_there(call: Call, place: dict[str, Any]) -> bool:
    """Whether the bucket at *place* exists; what is not of this account is taken to."""
    if place["vendor"] != "r2":
        return True
    return (
        bucket_named(call, place["bucket"], str(place.get("jurisdiction", "default"))) is not None
    )


def _place(given: dict[str, Any], vendors: tuple[str, ...]) -> dict[str, Any]:
    """Return where objects come from or go to, without the secrets."""
    vendor = field_of(given, "vendor", str, 10022)
    if vendor not in vendors:
        raise invalid(f"vendor {vendor!r} is none of {', '.join(vendors)}")
    field_of(given, "bucket", str, 10022)
    secret = field_of(given, "secret", dict, 10022)
    for name in _SLURPER_SECRETS[vendor]:
        field_of(secret, name, str, 10022)
    return {name: given[name] for name in _SLURPER_SHOWN if given.get(name) is not None}


def _create(call: Call) -> Reply:
    body = object_of(call.request, 10022)
    source = _place(field_of(body, "source", dict, 10022), tuple(_SLURPER_SECRETS))
    target = _place(field_of(body, "target", dict, 10022), ("r2",))
    if not _is_there(call, source) or not _is_there(call, target):
        raise Refusal(403, 10000, "Preconnectivity failed, please verify tokens and try again")
    job = {
        "source": source,
        "target": target,
        "overwrite": field_of(body, "overwrite", bool, 10022, True),
        "status": "running",
        "finishedAt": None,
        "logs": [_log("migrationStart")],
    }
    return Reply({"id": _JOBS.add(call.storage, job).id})


def _list(call: Call) -> Reply:
    return _part(call, [_shown(job) for job in reversed(_JOBS.all(call.storage))])


def _get(call: Call) -> Reply:
    return Reply(_shown(_job(call)))


def _progress(call: Call) -> Reply:
    job = _job(call)
    none = dict.fromkeys(("objects", "transferredObjects", "skippedObjects", "failedObjects"), 0)
    shown = _shown(job)
    return Reply({**{name: shown[name] for name in ("id", "createdAt", "status")}, **none})


def _logs(call: Call) -> Reply:
    job = _job(call)
    return _part(call, [{"job": job.id, **log} for log in reversed(job.body["logs"])])


def _turning(status: str, log: str, *before: str) -> Handler:
    """Return what changes the status of a job from one of *before*."""

    def turn(call: Call) -> Reply:
        job = _job(call)
        if job.body["status"] not in before:
            raise invalid(f"job {job.id} is {job.body['status']}, not {' or '.join(before)}")
        _turn(call, job, status, log)
        return Reply(f"Job {job.id} is {status}")

    return turn


def _abort_all(call: Call) -> Reply:
    going = [job for job in _JOBS.all(call.storage) if job.body["status"] in _GOING]
    for job in going:
        _turn(call, job, "aborted", "migrationAbort")
    return Reply(f"Aborted {len(going)} jobs")


def _turn(call: Call, job: Document, status: str, log: str) -> None:
    finished = timestamp(clock.now()) if status == "aborted" else None
    logs = [*job.body["logs"], _log(log)]
    _JOBS.change(
        call.storage, job, {**job.body, "status": status, "finishedAt": finished, "logs": logs}
    )


def _job(call: Call) -> Document:
    # The real API answers 500 for a job that it does not know.
    job = _JOBS.get(call.storage, call.parts[0])
    if job is None:
        raise Refusal(404, 10022, f"There is no job {call.parts[0]}.")
    return job


def _log(kind: str) -> dict[str, Any]:
    return {"createdAt": timestamp(clock.now()), "logType": kind, "message": "", "objectKey": ""}


def _shown(job: Document) -> dict[str, Any]:
    body = {name: value for name, value in job.body.items() if name != "logs"}
    return {"id": job.id, "createdAt": timestamp(job.created), **body}


def _part(call: Call, items: list[dict[str, Any]]) -> Reply:
    """Return the items that ``limit`` and ``offset`` ask for."""
    arguments = call.request.arguments()
    size = page_size(arguments, default=20, largest=50, code=10022, name="limit")
    start = page_size(arguments, default=0, largest=1 << 31, code=10022, name="offset", least=0)
    return Page(1, size).reply(items[start:], lambda item: item)


_GOING = ("running", "paused")
_SIPPY = f"{ONE}/sippy"
_ALL_JOBS = "@/slurper/jobs"
_ONE_JOB = f"{_ALL_JOBS}/*"
ROUTES = (
    Route("PUT", _SIPPY, _set_sippy),
    Route("GET", _SIPPY, _get_sippy, writes=False),
    Route("DELETE", _SIPPY, _stop_sippy),
    Route("PUT", "@/slurper/source/connectivity-precheck", _check_source, writes=False),
    Route("PUT", "@/slurper/target/connectivity-precheck", _check_target, writes=False),
    Route("POST", _ALL_JOBS, _create),
    Route("GET", _ALL_JOBS, _list, writes=False),
    Route("PUT", f"{_ALL_JOBS}/abortAll", _abort_all),
    Route("GET", _ONE_JOB, _get, writes=False),
    Route("GET", f"{_ONE_JOB}/progress", _progress, writes=False),
    Route("GET", f"{_ONE_JOB}/logs", _logs, writes=False),
    Route("PUT", f"{_ONE_JOB}/abort", _turning("aborted", "migrationAbort", *_GOING)),
    Route("PUT", f"{_ONE_JOB}/pause", _turning("paused", "migrationPause", "running")),
    Route("PUT", f"{_ONE_JOB}/resume", _turning("running", "migrationResume", "paused")),
)
