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


def test_a_refused_thing_keeps_what_it_needs(hand: Hand) -> None:
    ledger, scope = new_ledger(3), new_scope()
    asyncio.run(grow(scope, [Node, AsyncNode], size=60, depth=6, refused=0.0))
    ledger.refuse = {"n59"}
    ledger.retry_after = 3600.0

    outcome = hand.close(scope, timeout=5.0)

    left = {failure.owned.name for failure in outcome.failures}
    assert ledger.wrong == []
    assert len(left) == len(ledger.alive) == 60 - outcome.destroyed
