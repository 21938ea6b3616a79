"""Many things that need each other, at a provider that refuses some calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_alchemy.settings import Strategy
from tests.unit.support.scopes import Hand, new_scope

from .graphs import AsyncNode, Node, grow, new_ledger

STRATEGIES: tuple[Strategy, ...] = ("sequential", "parallel")
KINDS: list[list[type[Any]]] = [[Node], [AsyncNode], [Node, AsyncNode]]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kinds", KINDS, ids=["plain", "async", "mixed"])
def test_three_hundred_things_go_in_order_though_some_are_refused(
    hand: Hand, kinds: list[type[Any]], strategy: Strategy, seed: int
) -> None:
    ledger, scope = new_ledger(seed), new_scope()
    asyncio.run(grow(scope, kinds))
    refused = set(ledger.refuse)
    assert len(refused) == 15

    hand.destroy(scope, strategy)

    assert ledger.wrong == []
    assert ledger.alive == set()
    assert {id for id, times in ledger.calls.items() if times > 1} == refused
    assert sum(ledger.calls.values()) == 315
    assert scope.root.counts.destroyed == 300


@pytest.mark.parametrize("kinds", KINDS, ids=["plain", "async", "mixed"])
def test_never_more_than_so_many_at_once(
    hand: Hand, kinds: list[type[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_alchemy.teardown.AT_ONCE", 4)
    ledger, scope = new_ledger(7), new_scope()
    asyncio.run(grow(scope, kinds, size=80, depth=2))

    hand.destroy(scope, "parallel")

    assert ledger.alive == set()
    assert 1 <= ledger.most <= 4


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_cannot_be_destroyed_keeps_what_it_needs_and_nothing_else(
    hand: Hand, strategy: Strategy
) -> None:
    ledger, scope = new_ledger(3), new_scope(destroy_strategy=strategy)
    asyncio.run(grow(scope, [Node, AsyncNode], size=60, depth=6, refused=0.0))
    ledger.deny = {"n59"}
    kept = {"n59"}
    for need in (f"n{number}" for number in reversed(range(60))):
        if kept.intersection(ledger.needed_by.get(need, ())):
            kept.add(need)

    outcome = hand.close(scope)

    assert ledger.wrong == []
    assert ledger.alive == kept
    assert {failure.owned.title.split("'")[1] for failure in outcome.failures} == kept
    assert [failure.error is None for failure in outcome.failures].count(False) == 1
    assert outcome.destroyed == 60 - len(kept)
