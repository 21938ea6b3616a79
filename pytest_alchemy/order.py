"""What may be destroyed when: dependents first, otherwise the newest first."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from typing import Generic, Protocol, TypeVar

N = TypeVar("N", bound="Node")


class Node(Protocol):
    """One thing to destroy."""

    def needed(self) -> Collection[Node]:
        """Return what must still exist while this one is destroyed."""


class DestroyOrder(Generic[N]):
    """
    Hands out what may be destroyed now; nothing before all that needs it is gone.

    A node that failed blocks what it needs, directly or through others; everything else goes on. Needs that lie
    outside the given nodes are ignored. Nodes that wait for each other in a circle are handed out newest first.

    Args:
        nodes: Everything that is to be destroyed, in order of creation.

    Attributes:
        left: How many are not done.
    """

    def __init__(self, nodes: Sequence[N]) -> None:
        self._nodes = nodes
        self._place = place = {node: number for number, node in enumerate(nodes)}
        self._needs: dict[int, set[int]] = {}
        self._waits: dict[int, int] = {}
        self._blockers: dict[int, list[int]] = {}
        for number, node in enumerate(nodes):
            if not (wanted := node.needed()):
                continue
            needed = {place[need] for need in wanted if need in place} - {number}
            if needed:
                self._needs[number] = needed
                for other in needed:
                    self._waits[other] = self._waits.get(other, 0) + 1
        self._ready = [-number for number in range(len(nodes)) if number not in self._waits]
        heapq.heapify(self._ready)
        self.left = len(nodes)

    def take(self, *, something_runs: bool = False) -> N | None:
        """
        Return the newest node that may be destroyed now.

        Args:
            something_runs: True if a node that was taken before is not done yet, so that waiting for it helps.

        Returns:
            The node; None if there is none left, or if others have to be done first.
        """
        if self._ready:
            return self._nodes[-heapq.heappop(self._ready)]
        if something_runs or not self._waits:
            return None
        newest = max(self._waits)
        del self._waits[newest]
        return self._nodes[newest]

    def blockers(self, node: N) -> list[N]:
        """Return the failed nodes that still need *node*."""
        if not self._blockers:
            return []
        return [self._nodes[number] for number in self._blockers.get(self._place[node], ())]

    def done(self, node: N, *, gone: bool) -> None:
        """Note that *node* is gone, or that it could not be destroyed."""
        self.left -= 1
        number = self._place[node]
        for other in self._needs.get(number, ()):
            if not gone:
                self._blockers.setdefault(other, []).append(number)
            if other in self._waits:
                self._waits[other] -= 1
                if not self._waits[other]:
                    del self._waits[other]
                    heapq.heappush(self._ready, -other)
