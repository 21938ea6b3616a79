"""Sweeping by name: what a lost machine left is found, and nothing else is ever touched."""

from __future__ import annotations

import os
import pickle
import platform
import random
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pytest_alchemy import NameRule, Resource, clock, output
from pytest_alchemy.driver import in_async_hook
from pytest_alchemy.errors import CannotBeListedError, NothingOutlivesError, TooManyToSweepError
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.physicalnames import FIRST_MOMENT, Run, is_app, parse, physical_name
from pytest_alchemy.recovery.found import Choice
from pytest_alchemy.recovery.outcome import Outcome
from pytest_alchemy.recovery.sweep import Findings, Sweep, destroy, find
from pytest_alchemy.settings import Settings
from pytest_alchemy.state.folders import LOCK
from pytest_alchemy.state.locks import Holder, StageLock
from tests.support.deadstages import DAY, Graveyard, name_of

HOUR = 3600.0
LIVING = "living00"


class Row(Resource):
    """A row in a list that the provider shows; it can only be listed."""

    account: ClassVar[set[str]] = set()
    calls: ClassVar[list[str]] = []
    needed: ClassVar[dict[str, str]] = {}

    def create(self) -> None:
        self.account.add(self.name)

    def destroy(self) -> None:
        self.calls.append(self.name)
        if self.needed.get(self.name) in self.account:
            raise RuntimeError("another row needs it")
        self.account.discard(self.name)

    @classmethod
    def list(cls) -> Iterable[str]:
        cls.calls.append("list")
        return (name for name in sorted(cls.account))


class ShortRow(Row, name_rule=NameRule(max=30)):
    """A row whose names are short."""


class ReadRow(Row):
    """A row that can be looked for by its name."""

    def read(self) -> bool:
        self.calls.append("read")
        return self.name in self.account


class AsyncRow(Row):
    """A row whose hooks are coroutines."""

    async def destroy(self) -> None:  # type: ignore[override]
        self.account.discard(self.name)

    @classmethod
    async def list(cls) -> Iterable[str]:  # type: ignore[override]
        return list_of(cls.account)


def list_of(names: Iterable[str]) -> Iterable[str]:
    assert in_async_hook() in (True, False)
    return sorted(names)


@pytest.fixture(autouse=True)
def empty_account() -> Iterator[None]:
    Row.account.clear()
    Row.calls.clear()
    Row.needed.clear()
    yield
    Row.account.clear()


@pytest.fixture
def living(graveyard: Graveyard) -> Iterator[StageLock]:
    """The lock of a run that goes on."""
    lock = StageLock(graveyard.bury(run=LIVING) / LOCK)
    lock.acquire(Holder.this_process())
    yield lock
    lock.release()


def expired(id: str = "a", run: str = "k3f9x2ab", since: float = DAY) -> str:
    return name_of(id, run=Run(run, clock.now() - since))


def request(
    root: Path, kind: type[Resource] = Row, *, older_than: float = 0.0, most: int = 10_000
) -> Sweep:
    kinds = (kind_of(kind),)
    return Sweep(root, Choice("shop", older_than), kinds, Settings("shop", "sweep"), most)


def found(graveyard: Graveyard, kind: type[Resource] = Row) -> Findings:
    return find(request(graveyard.root, kind))


def swept(graveyard: Graveyard, kind: type[Resource] = Row) -> list[Outcome]:
    return list(destroy(found(graveyard, kind)))


def reason(graveyard: Graveyard, name: str) -> str:
    """Return why *name*, the only one in the account, is left alone."""
    Row.account.add(name)
    [listed] = found(graveyard).names
    return listed.why_not


# The property: of a thousand names of every sort, exactly those are destroyed that are ours and over.


@dataclass
class Mix:
    """Names of every sort, those that have to go, and those that may be taken for ours at long odds."""

    everything: set[str]
    doomed: set[str]


# The seed decides everything, so that a smaller one is no simpler case.
SEEDED = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
APPS = ("shop2", "Shop", "sho", "shop-api", "back office", "x", "lädchen")
SORTS = (
    "expired",
    "expired",
    "wanted",
    "living",
    "other",
    "lasting",
    "human",
    "noise",
    "mutated",
    "mutated",
)


def mixed(chance: random.Random, rule: NameRule, count: int = 1000) -> Mix:
    mix = Mix(set(), set())
    while len(mix.everything) < count:
        sort = chance.choice(SORTS)
        name = make(sort, chance, rule)
        if sort == "mutated" and rule.is_short and is_ours(name):
            continue  # a short name has a check of 10 bits: this one says that it is ours
        mix.everything.add(name)
        if sort == "expired":
            mix.doomed.add(name)
    return mix


def make(sort: str, chance: random.Random, rule: NameRule) -> str:
    if sort == "human":
        words = ("alt", "alc", "at", "shop", "orders", "prod", "k3f9x2ab", "x60k", "db")
        return "-".join(chance.choices(words, k=chance.randint(1, 7)))
    if sort == "noise":
        letters = chance.choice((string.ascii_lowercase + string.digits, string.printable, "aä-☃0"))
        return chance.choice(("", "alt-", "alt", "at", "alc-")) + "".join(
            chance.choices(letters, k=chance.randint(1, 70))
        )
    ours = physical_name(
        app=chance.choice(APPS) if sort == "other" else "shop",
        stage=f"test-gw{chance.randint(0, 7)}",
        path=[f"test_{chance.randint(0, 99)}[{chance.random()}]"],
        kind="row",
        id=str(chance.random()),
        run=None if sort == "lasting" else make_run(sort, chance),
        rule=rule,
    )
    return mutated(ours, chance) if sort == "mutated" else ours


def make_run(sort: str, chance: random.Random) -> Run:
    now = clock.now()
    # A name tells the hour in which its time is over.
    later = now + HOUR * chance.choice((0.01, 1, 23, 24, 1000, 1_000_000))
    earlier = chance.uniform(FIRST_MOMENT, now - HOUR)
    digits = string.ascii_lowercase + string.digits
    id = LIVING if sort == "living" else "".join(chance.choices(digits, k=8))
    return Run(id, later if sort == "wanted" else earlier)


def mutated(name: str, chance: random.Random) -> str:
    at = chance.randrange(len(name))
    some = chance.choice(string.ascii_lowercase + string.digits + "-_ ")
    changed = chance.choice(
        (
            name[:at] + some + name[at + 1 :],
            name[:at] + name[at + 1 :],
            name[:at] + some + name[at:],
            name + some,
            some + name,
            name[:at],
            name.upper(),
            name[::-1],
            name + name,
            name.replace("-", "_"),
        )
    )
    return changed if changed != name else name + "-"


def is_ours(name: str) -> bool:
    said = parse(name)
    return said is not None and is_app(said, "shop")


@pytest.mark.parametrize("kind", [Row, ReadRow, ShortRow], ids=["long", "readable", "short"])
@given(seed=st.integers(0, 2**32))
@SEEDED
def test_of_a_thousand_names_exactly_those_go_that_are_ours_and_over(
    graveyard: Graveyard, living: StageLock, kind: type[Row], seed: int
) -> None:
    mix = mixed(random.Random(seed), kind_of(kind).name_rule)
    Row.account.clear()
    Row.account.update(mix.everything)

    listed = found(graveyard, kind)
    outcomes = list(destroy(listed))

    assert {name.name for name in listed.doomed_names} == mix.doomed
    assert {outcome.name for outcome in outcomes if outcome.what == "destroyed"} == mix.doomed
    assert Row.account == mix.everything - mix.doomed
    assert len(listed.names) + listed.others == len(mix.everything)


@given(older_than=st.floats(0.0, 400 * DAY), seed=st.integers(0, 2**32))
@SEEDED
def test_older_than_only_spares_more(graveyard: Graveyard, older_than: float, seed: int) -> None:
    Row.account.clear()
    Row.account.update(mixed(random.Random(seed), NameRule(), count=200).everything)

    without = found(graveyard)
    given_it = find(request(graveyard.root, older_than=older_than))

    doomed = {name.name for name in given_it.doomed_names}
    assert doomed <= {name.name for name in without.doomed_names}
    assert all(name.expires + older_than <= clock.now() for name in given_it.doomed_names)


def test_what_is_listed_is_what_is_destroyed_and_listing_destroys_nothing(
    graveyard: Graveyard,
) -> None:
    Row.account.update(expired(id) for id in "abc")
    before = set(Row.account)

    listed = found(graveyard)

    assert Row.account == before
    assert Row.calls == ["list"]
    assert [name.name for name in listed.doomed_names] == [o.name for o in destroy(listed)]
    assert Row.account == set()


@pytest.mark.parametrize(
    ("name", "why_not"),
    [
        (name_of("a", run=None), "it outlives its programs"),
        (name_of("a", run=Run("k3f9x2ab", clock.now() + HOUR)), "it may still be wanted"),
        (name_of("a", run=Run("k3f9x2ab", 1.0)), "the clock of its run was wrong"),
        (expired(run=LIVING), "its run goes on"),
    ],
)
@pytest.mark.usefixtures("living")
def test_every_name_that_is_left_alone_has_its_reason(
    graveyard: Graveyard, name: str, why_not: str
) -> None:
    assert reason(graveyard, name) == why_not


def test_a_name_of_another_layout_than_the_kind_has_is_not_ours(graveyard: Graveyard) -> None:
    Row.account.add(name_of("a", run=Run("k3f9x2ab", clock.now() - DAY), rule=NameRule(max=24)))

    listed = found(graveyard)

    assert (listed.names, listed.others) == ([], 1)


def test_what_a_stage_records_is_left_to_the_stage(graveyard: Graveyard) -> None:
    folder = graveyard.bury("a", ephemeral=True, used=3 * DAY)
    (name,) = (path.name for path in graveyard.world.iterdir())
    lock = StageLock(folder / LOCK)

    assert reason(graveyard, name) == "stage test-main-k3f9x2ab records it"

    lock.acquire(Holder.this_process())
    assert reason(graveyard, name) == "its run goes on"
    lock.release()


def test_what_a_stage_of_somebody_else_records_decides_nothing(graveyard: Graveyard) -> None:
    graveyard.bury("a", used=3 * DAY, key=b"o" * 32)
    (name,) = (path.name for path in graveyard.world.iterdir())

    assert reason(graveyard, name) == ""


def test_a_run_whose_controller_lives_goes_on(graveyard: Graveyard) -> None:
    graveyard.bury(run=LIVING, patron=os.getpid(), started=clock.now(), host=platform.node())

    assert reason(graveyard, expired(run=LIVING)) == "its run goes on"


def test_a_living_run_that_recorded_nothing_yet_goes_on(graveyard: Graveyard) -> None:
    folder = graveyard.bury(run=LIVING)
    (folder / ".journal" / "main.jsonl").unlink()
    lock = StageLock(folder / LOCK)
    lock.acquire(Holder.this_process())

    assert reason(graveyard, expired(run=LIVING)) == "its run goes on"

    lock.release()


def test_a_run_of_which_nobody_can_tell_whether_it_lives_goes_on(graveyard: Graveyard) -> None:
    folder = graveyard.bury(run=LIVING)
    (folder / LOCK).unlink()
    (folder / LOCK).mkdir()

    assert reason(graveyard, expired(run=LIVING)) == "its run goes on"


@pytest.mark.parametrize("kind", [Row, ReadRow])
def test_what_vanished_meanwhile_is_not_called(graveyard: Graveyard, kind: type[Row]) -> None:
    Row.account.update((expired("a"), expired("b")))
    listed = found(graveyard, kind)
    Row.account.discard(expired("a"))
    Row.calls.clear()

    outcomes = {outcome.name: outcome.what for outcome in destroy(listed)}

    assert outcomes == {expired("a"): "gone", expired("b"): "destroyed"}
    assert [call for call in Row.calls if call not in ("list", "read")] == [expired("b")]


def test_what_a_run_that_came_back_made_again_is_spared(graveyard: Graveyard) -> None:
    Row.account.add(expired())
    listed = found(graveyard)
    lock = StageLock(graveyard.bury(run="k3f9x2ab") / LOCK)
    lock.acquire(Holder.this_process())

    [outcome] = destroy(listed)

    lock.release()
    assert (outcome.what, outcome.reason) == ("spared", "its run goes on")
    assert Row.account == {expired()}


def test_what_is_needed_by_another_gets_another_turn(graveyard: Graveyard) -> None:
    first, second, third = sorted((expired("a"), expired("b"), expired("c")))
    Row.account.update((first, second, third))
    Row.needed.update({first: second, second: third})

    outcomes = swept(graveyard)

    assert [outcome.name for outcome in outcomes] == [third, second, first]
    assert {outcome.what for outcome in outcomes} == {"destroyed"}


def test_what_cannot_be_destroyed_is_left_and_does_not_stop_the_others(
    graveyard: Graveyard,
) -> None:
    first, second = sorted((expired("a"), expired("b")))
    Row.account.update((first, second, "somebody's"))
    Row.needed[first] = "somebody's"

    outcomes = swept(graveyard)

    assert [(outcome.what, outcome.name) for outcome in outcomes] == [
        ("destroyed", second),
        ("left", first),
    ]
    assert outcomes[1].reason == "RuntimeError: another row needs it (tried 3 times)"


def test_more_than_may_be_destroyed_at_once_is_an_error_before_anything_is(
    graveyard: Graveyard,
) -> None:
    Row.account.update(expired(id) for id in "abc")
    graveyard.bury("recorded")
    listed = find(request(graveyard.root, most=2))

    with pytest.raises(TooManyToSweepError) as error:
        destroy(listed)

    assert str(error.value) == (
        "3 resources were found by name, and at most 2 are destroyed at once: nothing was destroyed.\n"
        "List them without --yes; if all of them are to go, say --max 3"
    )
    assert len(Row.account) == 3
    assert graveyard.left == ["recorded"]


def test_coroutine_hooks_are_awaited(graveyard: Graveyard) -> None:
    Row.account.add(expired())

    [outcome] = swept(graveyard, AsyncRow)

    assert outcome.what == "destroyed"
    assert Row.account == set()


class Unlistable(Row):
    """A row whose provider is down."""

    @classmethod
    def list(cls) -> Iterable[str]:
        raise ConnectionError("no route to host")


def test_a_provider_that_cannot_be_listed_does_not_stop_the_others(graveyard: Graveyard) -> None:
    Row.account.add(expired())
    kinds: tuple[Kind, ...] = (kind_of(Unlistable), kind_of(Row))

    listed = find(Sweep(graveyard.root, Choice("shop"), kinds, Settings("shop", "sweep")))

    assert listed.errors == ["Unlistable could not be listed: ConnectionError: no route to host"]
    assert [name.name for name in listed.doomed_names] == [expired()]


class Unreadable(Row):
    """A row that nobody can look for."""

    def read(self) -> bool:
        raise ConnectionError("no route to host")


def test_what_cannot_be_looked_for_is_left(graveyard: Graveyard) -> None:
    Row.account.add(expired())

    [outcome] = swept(graveyard, Unreadable)

    assert (outcome.what, outcome.reason) == ("left", "ConnectionError: no route to host")
    assert Row.account == {expired()}


class Plain(Resource):
    """It cannot be listed."""

    def create(self) -> None: ...

    def destroy(self) -> None: ...


class Method(Plain):
    """Its list is a method of an object."""

    def list(self) -> Iterable[str]:  # type: ignore[override]
        return ()


class Numbers(Plain):
    """It lists what is no name."""

    @classmethod
    def list(cls) -> Iterable[str]:
        return [1, 2]  # type: ignore[list-item]


class Offline(Row):
    """It lives in this process."""

    def world(self) -> str:
        return "memory:1"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Plain, "it has no list"),
        (Method, "its list is no classmethod"),
        (Numbers, "its list() returned something that is no list of names"),
    ],
)
def test_a_kind_that_cannot_be_swept_says_why(
    graveyard: Graveyard, kind: type[Resource], reason: str
) -> None:
    with pytest.raises(CannotBeListedError) as error:
        found(graveyard, kind)

    assert str(error.value) == (
        f"{kind.__name__} cannot be swept by name: {reason}.\n"
        "Such a class defines destroy() and the classmethod list(), which returns the names that exist."
    )


def test_an_account_in_memory_is_refused(graveyard: Graveyard) -> None:
    with pytest.raises(NothingOutlivesError) as error:
        found(graveyard, Offline)

    assert str(error.value) == (
        "Offline: there is nothing to sweep in the offline account, which ends with its process.\n"
        "Name the account: --live for the real one, or --fake-account FILE"
    )


class Table(Row):
    """A row whose server only its author knew."""

    server: str
    host: str = output()
    size: int = 3

    def destroy(self) -> None:
        assert self.size == 3
        Row.account.discard(self.server + self.name)


class Copied(Row):
    """A row whose outputs its destroy cannot do without."""

    host: str = output()

    def destroy(self) -> None:
        Row.account.discard(self.host + self.name)


@pytest.mark.parametrize(("kind", "field"), [(Table, "server"), (Copied, "host")])
def test_what_a_name_does_not_tell_is_named(
    graveyard: Graveyard, kind: type[Row], field: str
) -> None:
    Row.account.add(expired())

    [outcome] = swept(graveyard, kind)

    assert outcome.what == "left"
    assert outcome.reason == f"its hook needs {field!r}, which its name does not tell"


@pytest.mark.parametrize(
    "error", [CannotBeListedError("a", "b"), TooManyToSweepError(1, 2), NothingOutlivesError("a")]
)
def test_errors_survive_the_way_from_a_worker(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again)) == (type(error), str(error))
