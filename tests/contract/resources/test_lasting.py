"""How things that outlive their program are taken over and replaced."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.cloudflare import D1Database, Queue, R2Bucket, Worker
from pytest_alchemy.cloudflare.client import run
from pytest_alchemy.errors import AlreadyExistsError, StageDestroyed
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import Door, Thing, each_thing, names


@pytest.fixture
def deploy(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what runs a program that makes one thing, and what that needs; in the end its stage is destroyed."""
    monkeypatch.chdir(tmp_path)
    if door.settings.live:
        monkeypatch.delenv("ALCHEMY_FAKE_ACCOUNT", raising=False)
    else:
        file = door.settings.fake_account or str(tmp_path / "account.db")
        monkeypatch.setenv("ALCHEMY_FAKE_ACCOUNT", file)
    stage = f"contract-{os.urandom(4).hex()}"

    def deployed(resource: Resource, *needed: Resource, **options: Any) -> tuple[Any, set[str]]:
        with alchemy("shop", stage=stage, **options) as app:
            for each in needed:
                app.create(each)
            made = app.create(resource)
        assert isinstance(app, Scope)
        return made, names(app, type(resource))

    yield deployed
    with contextlib.suppress(StageDestroyed), alchemy("shop", stage=stage, phase="destroy"):
        pass


@each_thing
def test_what_exists_already_is_not_ours_unless_it_is_adopted(deploy: Any, thing: Thing) -> None:
    ours, _ = deploy(thing("orders"))
    shutil.rmtree(".alchemy")

    with pytest.raises(AlreadyExistsError):
        deploy(thing("orders"))
    adopted, existing = deploy(thing("orders"), adopt=True)

    assert adopted.name == ours.name
    assert adopted._alchemy.owner.outputs() == ours._alchemy.owner.outputs()
    assert ours.name in existing


@each_thing
def test_a_later_program_gets_what_an_earlier_one_made(deploy: Any, thing: Thing) -> None:
    first, _ = deploy(thing("orders"))

    again, existing = deploy(thing("orders"))

    assert again.name == first.name
    assert again._alchemy.owner.outputs() == first._alchemy.owner.outputs()
    assert first.name in existing


@pytest.mark.parametrize(
    ("cls", "name"), [(D1Database, "primary_location_hint"), (R2Bucket, "location")]
)
def test_what_cannot_be_changed_is_replaced_by_a_later_program(
    deploy: Any, cls: type[Resource], name: str
) -> None:
    before, _ = deploy(cls("orders", **{name: "weur"}))

    after, existing = deploy(cls("orders", **{name: "enam"}))

    assert after.name != before.name
    assert existing & {before.name, after.name} == {after.name}


def test_a_worker_whose_file_has_changed_is_deployed_anew(deploy: Any, tmp_path: Path) -> None:
    file = tmp_path / "api.js"
    file.write_text("export default { fetch: () => new Response('before') }")
    before, _ = deploy(Worker("api", script=file))

    file.write_text("export default { fetch: () => new Response('after') }")
    after, _ = deploy(Worker("api", script=file))

    assert after.name == before.name
    deployed = run(
        after.scope.settings, lambda api: api.fetch("GET", f"/workers/scripts/{after.name}")
    )
    assert "'after'" in deployed.text


def test_a_queue_goes_that_only_old_versions_of_a_worker_send_to(deploy: Any) -> None:
    script = "export default { fetch: () => new Response('hello') }"

    def deploy_sender(*names: str, **properties: Any) -> list[Queue]:
        queues = {name: Queue(name) for name in names}
        deploy(Worker("api", script=script, bindings=queues, **properties), *queues.values())
        return list(queues.values())

    jobs, _ = deploy_sender("jobs", "mails")
    deploy_sender("jobs", "mails", compatibility_date="2026-01-01")

    (mails,) = deploy_sender("mails")

    assert names(mails.scope, Queue) & {jobs.name, mails.name} == {mails.name}
