"""How things in an account come into being, are found, changed and destroyed."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from pytest_alchemy.cloudflare import CloudflareError, D1Database, KVNamespace, Queue, R2Bucket
from pytest_alchemy.cloudflare.account import account_for
from pytest_alchemy.cloudflare.client import run
from pytest_alchemy.driver import AsyncDriver
from pytest_alchemy.errors import BlockingCallError, MustReplaceError, NoScopeError
from pytest_alchemy.physicalnames import new_run
from pytest_alchemy.resource import Resource
from pytest_alchemy.scope import Scope
from tests.contract.resources.doors import (
    THINGS,
    Caller,
    Door,
    Thing,
    clear,
    each_posted_thing,
    each_thing,
    exists,
    known_by_name,
    names,
)
from tests.unit.cloudflare.scopes import ListJournal, open_scope


@each_thing
def test_a_thing_is_made_listed_and_destroyed(scope: Scope, do: Caller, thing: Thing) -> None:
    made = do(scope, "create", thing("orders"))
    during = names(scope, thing.cls)

    do(scope, "remove", made)

    assert made.name in during
    assert made.name not in names(scope, thing.cls)


@each_thing
def test_a_long_id_gives_a_name_that_is_taken(scope: Scope, do: Caller, thing: Thing) -> None:
    made = do(scope, "create", thing("Ä long_id, " * 20))

    assert made.name in names(scope, thing.cls)


@each_thing
def test_a_thing_is_found_by_its_name_with_all_its_outputs(
    scope: Scope, do: Caller, thing: Thing
) -> None:
    made = do(scope, "create", thing("orders"))

    found = known_by_name(scope, made)

    assert exists(found)
    assert found.outputs() == made._alchemy.owner.outputs()


@each_thing
def test_a_thing_is_destroyed_by_its_name_alone_and_twice(
    scope: Scope, do: Caller, thing: Thing
) -> None:
    made = do(scope, "create", thing("orders"))
    found = known_by_name(scope, made)

    clear(found)
    clear(known_by_name(scope, made))
    clear(found)  # it knows an id of what is gone

    assert made.name not in names(scope, thing.cls)
    assert not exists(known_by_name(scope, made))


@each_posted_thing
def test_a_thing_of_the_same_name_is_not_taken_over(door: Door, do: Caller, thing: Thing) -> None:
    run = new_run(600.0)
    first, second = open_scope(door.settings, run=run), open_scope(door.settings, run=run)
    made = do(first, "create", thing("orders"))

    with pytest.raises(CloudflareError) as raised:
        do(second, "create", thing("orders"))

    assert raised.value.status == thing.taken
    assert made.name in names(first, thing.cls)
    do(first, "destroy")


@each_thing
def test_the_names_of_all_that_exist_are_listed(
    scope: Scope, do: Caller, thing: Thing, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers are listed without pages.
    monkeypatch.setattr(inspect.getmodule(thing.cls), "_PER_PAGE", 2, raising=False)
    made = {do(scope, "create", thing(f"number-{number}")).name for number in range(5)}

    listed = names(scope, thing.cls)

    assert made <= listed


@each_thing
def test_names_are_listed_with_asyncio_too(scope: Scope, do: Caller, thing: Thing) -> None:
    from pytest_alchemy.ambient import current

    made = do(scope, "create", thing("orders"))
    before = current.set(scope)
    try:
        listed, _ = asyncio.run(AsyncDriver().call(thing.cls.list))
    finally:
        current.reset(before)

    assert made.name in listed


@each_thing
def test_without_a_scope_nobody_knows_which_account_to_list(thing: Thing) -> None:
    with pytest.raises(NoScopeError):
        thing.cls.list()


@each_thing
def test_the_world_is_the_account(door: Door, do: Caller, thing: Thing) -> None:
    journal = ListJournal()
    scope = open_scope(door.settings, journal)

    do(scope, "create", thing("orders"))

    worlds = {getattr(record, "world", None) for record in journal.records} - {None}
    expected = account_for(door.settings).world
    # What dies with this process is not recorded at all.
    assert worlds == (set() if expected.startswith("memory:") else {expected})
    do(scope, "destroy")


@pytest.mark.parametrize(
    ("cls", "changes", "path", "seen", "default"),
    [
        (
            D1Database,
            {"read_replication": "auto"},
            "/d1/database/{0.uuid}",
            {"read_replication": {"mode": "auto"}},
            {"read_replication": {"mode": "disabled"}},
        ),
        (
            R2Bucket,
            {"storage_class": "InfrequentAccess"},
            "/r2/buckets/{0.name}",
            {"storage_class": "InfrequentAccess"},
            {"storage_class": "Standard"},
        ),
        (
            Queue,
            {"delivery_delay": 5, "message_retention_period": 60},
            "/queues/{0.queue_id}",
            {"settings": {"delivery_delay": 5, "message_retention_period": 60}},
            {"settings": {"delivery_delay": 0, "message_retention_period": 345_600}},
        ),
    ],
    ids=["D1Database", "R2Bucket", "Queue"],
)
def test_a_property_that_can_change_is_changed_and_changed_back(
    scope: Scope,
    do: Caller,
    cls: type[Resource],
    changes: dict[str, Any],
    path: str,
    seen: dict[str, Any],
    default: dict[str, Any],
) -> None:
    def look(resource: Resource) -> dict[str, Any]:
        found = run(scope.settings, lambda api: api.call("GET", path.format(resource)))
        (name,) = seen
        wanted = seen[name]
        if isinstance(wanted, dict):
            return {name: {key: found[name][key] for key in wanted}}
        return {name: found[name]}

    made = do(scope, "create", cls("it"))
    before = look(made)
    changed = do(scope, "create", cls("it", **changes))
    during = look(changed)
    back = do(scope, "create", cls("it"))

    assert (before, during, look(back)) == (default, seen, default)
    assert made.name == changed.name == back.name


@pytest.mark.parametrize(
    ("cls", "name"), [(D1Database, "primary_location_hint"), (R2Bucket, "location")]
)
def test_a_property_that_is_fixed_says_so(
    scope: Scope, do: Caller, cls: type[Resource], name: str
) -> None:
    made = do(scope, "create", cls("orders", **{name: "weur"}))

    with pytest.raises(MustReplaceError) as raised:
        do(scope, "create", cls("orders", **{name: "enam"}))

    assert str(raised.value) == (
        f"{cls.__name__} 'orders' cannot be changed in place: {name} stays as it was when it was created.\n"
        "Give what is new another id, or change it in the next run, which replaces it."
    )
    assert made.name in names(scope, cls)


TWINS = [
    (thing, name) for thing in THINGS for name in vars(thing.cls) if f"a{name}" in vars(thing.cls)
]


@pytest.mark.parametrize(
    ("thing", "name"), TWINS, ids=[f"{thing.cls.__name__}.{name}" for thing, name in TWINS]
)
def test_a_blocking_call_in_a_coroutine_names_its_twin(
    scope: Scope, do: Caller, thing: Thing, name: str
) -> None:
    method = getattr(do(scope, "create", thing("orders")), name)
    required = [
        parameter
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    ]

    async def program() -> None:
        method(*("x" for _ in required))

    with pytest.raises(BlockingCallError) as raised:
        asyncio.run(program())

    assert (raised.value.method, raised.value.twin) == (name, f"a{name}")


def test_every_public_method_of_a_thing_has_its_twin() -> None:
    alone = [
        f"{thing.cls.__name__}.{name}"
        for thing in THINGS
        for name, method in vars(thing.cls).items()
        if inspect.isfunction(inspect.unwrap(method))
        and not name.startswith("_")
        and name not in ("create", "read", "update", "destroy", "world")
        and f"a{name}" not in vars(thing.cls)
        and not (name[0] == "a" and name[1:] in vars(thing.cls))
    ]

    assert alone == []


def test_what_one_loop_made_another_one_can_use(door: Door) -> None:
    scope = open_scope(door.settings)
    db = asyncio.run(scope.acreate(D1Database("orders")))

    async def rows() -> list[dict[str, object]]:
        return (await db.aquery("SELECT 1 AS a")).rows

    found = [asyncio.run(rows()), asyncio.run(rows()), db.query("SELECT 1 AS a").rows]

    assert found == [[{"a": 1}]] * 3
    scope.destroy()


def test_many_calls_at_once_get_their_own_answers(door: Door) -> None:
    async def program() -> list[int]:
        scope = open_scope(door.settings)
        db = await scope.acreate(D1Database("orders"))
        answers = await asyncio.gather(*(db.aquery("SELECT ? AS a", n) for n in range(20)))
        await scope.adestroy()
        return [answer.rows[0]["a"] for answer in answers]

    assert asyncio.run(program()) == list(range(20))


def test_a_namespace_is_found_on_any_page(
    scope: Scope, do: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.cloudflare.kv._PER_PAGE", 2)
    made = [do(scope, "create", KVNamespace(f"n{number}")) for number in range(5)]
    last = max(made, key=lambda namespace: str(namespace.name))

    assert exists(known_by_name(scope, last))
