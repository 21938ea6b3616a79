"""Buckets at domains of their own, and objects from elsewhere, through every way in."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.unit.cloudflare.api import Api

ONE = "@/r2/buckets/uploads"
CUSTOM = f"{ONE}/domains/custom"
ZONE = "0" * 32
GIVEN = {"domain": "img.example.com", "enabled": True, "zoneId": ZONE}
SECRET = {"accessKeyId": "k", "secretAccessKey": "hidden"}
JOBS = "@/slurper/jobs"


@pytest.fixture(autouse=True)
def bucket(api: Api) -> None:
    api.result("POST", "@/r2/buckets", {"name": "uploads"})


# --- domains


def test_a_domain_is_added_shown_changed_and_removed(api: Api) -> None:
    made = api.result("POST", CUSTOM, {**GIVEN, "minTLS": "1.2"})

    assert made == {**GIVEN, "minTLS": "1.2", "ciphers": None}
    shown = {**made, "status": {"ownership": "active", "ssl": "active"}, "zoneName": "example.com"}
    assert api.result("GET", f"{CUSTOM}/img.example.com") == shown
    assert api.result("GET", CUSTOM) == {"domains": [shown]}
    changed = api.result("PUT", f"{CUSTOM}/img.example.com", {"enabled": False})
    assert (changed["enabled"], changed["minTLS"]) == (False, "1.2")
    assert api.result("DELETE", f"{CUSTOM}/img.example.com") == {"domain": "img.example.com"}
    assert api.refusal("GET", f"{CUSTOM}/img.example.com")[:2] == (404, 10053)
    assert api.result("GET", CUSTOM) == {"domains": []}


@pytest.mark.parametrize(
    "wrong",
    [
        {"domain": "no dots"},
        {"domain": ""},
        {"domain": None},
        {"enabled": "yes"},
        {"zoneId": 5},
        {"minTLS": "0.9"},
        {"ciphers": "AES"},
    ],
)
def test_a_domain_that_makes_no_sense_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    assert api.refusal("POST", CUSTOM, {**GIVEN, **wrong})[:2] == (400, 10022)


def test_a_domain_is_taken_once_in_the_account(api: Api) -> None:
    api.result("POST", "@/r2/buckets", {"name": "other"})
    api.worker("api", "export default { fetch() {} }")
    api.result("POST", CUSTOM, GIVEN)
    theirs = {"hostname": "api.example.com", "service": "api"}
    api.result("PUT", "@/workers/domains", theirs)

    other = "@/r2/buckets/other/domains/custom"
    assert "in use" in api.refusal("POST", other, GIVEN)[2]
    assert api.refusal("POST", other, {**GIVEN, "domain": "api.example.com"})[0] == 409
    taken = {**theirs, "hostname": "img.example.com"}
    assert api.refusal("PUT", "@/workers/domains", taken)[:2] == (409, 100117)


def test_a_bucket_cannot_go_before_its_domains(api: Api) -> None:
    api.result("POST", CUSTOM, GIVEN)

    assert api.refusal("DELETE", ONE) == (
        409,
        10008,
        "The bucket you tried to delete (uploads) still has custom domains: img.example.com.",
    )
    api.result("DELETE", f"{CUSTOM}/img.example.com")
    assert api.result("DELETE", ONE) == {}


def test_what_is_discarded_takes_its_domains_along(api: Api) -> None:
    api.result("POST", CUSTOM, GIVEN)
    (item,) = api.account.inventory()

    api.account.discard(item)

    api.result("POST", "@/r2/buckets", {"name": "uploads"})
    assert api.result("GET", CUSTOM) == {"domains": []}


def test_nothing_is_there_without_its_bucket(api: Api) -> None:
    for path in ("domains/custom", "domains/custom/a.b", "sippy"):
        assert api.refusal("GET", f"@/r2/buckets/none/{path}")[:2] == (404, 10006)


# --- sippy


@pytest.mark.parametrize(
    "source",
    [
        {"provider": "aws", "bucket": "old", "region": "eu-west-1", **SECRET},
        {"provider": "gcs", "bucket": "old", "clientEmail": "a@b.c", "privateKey": "hidden"},
        {"provider": "s3", "bucketUrl": "https://s3.example.com/old", **SECRET},
        {"provider": "azure", "container": "old", "accountName": "me", "sasToken": "hidden"},
    ],
)
def test_sippy_is_set_shown_without_secrets_and_stopped(api: Api, source: dict[str, str]) -> None:
    wanted = {"source": source, "destination": {"provider": "r2", **SECRET}}

    made = api.result("PUT", f"{ONE}/sippy", wanted)

    assert made == api.result("GET", f"{ONE}/sippy")
    assert (made["enabled"], made["source"]["provider"]) == (True, source["provider"])
    assert "hidden" not in json.dumps(made)
    assert api.result("DELETE", f"{ONE}/sippy") == {"enabled": False}
    assert api.result("GET", f"{ONE}/sippy") == {"enabled": False}


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ({"provider": "ftp"}, 10022),
        ({"provider": "aws", "bucket": "old", **SECRET}, 10022),
        ({"provider": "aws", "bucket": "old", "region": "eu-west-1"}, 10063),
    ],
)
def test_sippy_without_what_its_source_needs_is_refused(
    api: Api, source: dict[str, str], code: int
) -> None:
    assert api.refusal("PUT", f"{ONE}/sippy", {"source": source})[:2] == (400, code)


# --- super slurper

WANTED = {
    "source": {"vendor": "gcs", "bucket": "old", "secret": {"clientEmail": "a", "privateKey": "b"}},
    "target": {"vendor": "r2", "bucket": "uploads", "secret": SECRET},
}


def test_a_job_runs_rests_and_is_aborted(api: Api) -> None:
    id = api.result("POST", JOBS, WANTED)["id"]

    job = api.result("GET", f"{JOBS}/{id}")
    assert (job["status"], job["finishedAt"]) == ("running", None)
    assert "privateKey" not in json.dumps(job)
    api.result("PUT", f"{JOBS}/{id}/pause")
    assert api.refusal("PUT", f"{JOBS}/{id}/pause")[:2] == (400, 10022)
    api.result("PUT", f"{JOBS}/{id}/resume")
    assert api.refusal("PUT", f"{JOBS}/{id}/resume")[:2] == (400, 10022)
    api.result("PUT", f"{JOBS}/{id}/abort")
    job = api.result("GET", f"{JOBS}/{id}")
    assert (job["status"], job["finishedAt"] is None) == ("aborted", False)
    assert api.result("GET", f"{JOBS}/{id}/progress")["objects"] == 0
    for rest in ("pause", "resume", "abort"):
        assert api.refusal("PUT", f"{JOBS}/{id}/{rest}")[:2] == (400, 10022)


def test_jobs_and_their_logs_are_listed_newest_first_in_parts(api: Api) -> None:
    ids = [api.result("POST", JOBS, WANTED)["id"] for _ in range(3)]

    assert [job["id"] for job in api.result("GET", JOBS, query="limit=2&offset=1")] == [
        ids[1],
        ids[0],
    ]
    assert api.result("PUT", f"{JOBS}/abortAll") == "Aborted 3 jobs"
    logs = api.result("GET", f"{JOBS}/{ids[0]}/logs")
    assert [log["logType"] for log in logs] == ["migrationAbort", "migrationStart"]


def test_a_job_between_buckets_that_are_not_there_is_refused(api: Api) -> None:
    target = {**WANTED["target"], "bucket": "none"}

    assert api.refusal("POST", JOBS, {**WANTED, "target": target}) == (
        403,
        10000,
        "Preconnectivity failed, please verify tokens and try again",
    )
    assert api.result("GET", JOBS) == []
    check = "@/slurper/target/connectivity-precheck"
    assert api.result("PUT", check, target) == {"connectivityStatus": "error"}
    assert api.refusal("PUT", check, {**target, "vendor": "s3"})[:2] == (400, 10022)


def test_a_job_that_is_not_there_is_not_found(api: Api) -> None:
    for method, rest in (("GET", ""), ("GET", "/logs"), ("GET", "/progress"), ("PUT", "/abort")):
        assert api.refusal(method, f"{JOBS}/none{rest}")[0] == 404


# --- credentials


def test_lent_credentials_tell_what_they_are_for(api: Api) -> None:
    wanted = {"bucket": "uploads", "parentAccessKeyId": "k", "permission": "object-read-only"}

    lent = api.result("POST", "@/r2/temp-access-credentials", {**wanted, "ttlSeconds": 60})

    claims = json.loads(base64.urlsafe_b64decode(lent["sessionToken"].split(".")[1] + "=="))
    assert (claims["bucket"], claims["scope"]) == ("uploads", "object-read-only")
    path = "@/r2/temp-access-credentials"
    for wrong in ({"ttlSeconds": 0}, {"ttlSeconds": 1e9}, {"ttlSeconds": 9, "permission": "all"}):
        assert api.refusal("POST", path, {**wanted, **wrong})[:2] == (400, 10022)
    elsewhere = {**wanted, "bucket": "none", "ttlSeconds": 9}
    assert api.refusal("POST", path, elsewhere)[:2] == (404, 10006)
