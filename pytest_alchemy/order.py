"""What may be destroyed when: dependents first, otherwise the newest first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

N = TypeVar("N", bound="Node")


class Node(Protocol):
    """One thing to destroy."""

    @property
    def alone(self) -> bool:
        """Whether nothing else may be destroyed meanwhile: what it needs, and what needs it, nobody knows."""

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
        self._ready = list(nodes)  # the newest last
        self._needs: dict[N, set[N]] = {}
        self._waits: dict[N, int] = {}
        self._blockers: dict[N, list[N]] = {}
        self._alone: N | None = None  # what is being destroyed
        self.left = len(nodes)
        for node in nodes:
            if wanted := node.needed():
                self._link(node, wanted)
        if self._waits:
            self._ready = [node for node in nodes if node not in self._waits]

    @cached_property
    def keeps_waiting(self) -> bool:
        """Whether there are nodes that have to be alone, so that others wait for each of them, and they for others."""
        return any(node.alone for node in self._nodes)

    @cached_property
    def _place(self) -> dict[N, int]:
        return {node: number for number, node in enumerate(self._nodes)}

    def _link(self, node: N, wanted: Collection[Any]) -> None:
        self._needs[node] = needed = {need for need in wanted if need in self and need is not node}
        for other in needed:
            self._waits[other] = self._waits.get(other, 0) + 1

    def __contains__(self, node: object) -> bool:
        return node in self._place

    def take(self, *, something_runs: bool = False) -> N | None:
        """
        Return the newest node that may be destroyed now.

        Args:
            something_runs: True if a node that was taken before is not done yet, so that waiting for it helps. Nothing
                is taken together with one that has to be alone.

        Returns:
            The node; None if there is none left, or if others have to be done first.
        """
        if self._ready:
            if not self._ready[-1].alone:
                return None if self._alone else self._ready.pop()
            if something_runs:
                return None
            self._alone = self._ready.pop()
            return self._alone
        if something_runs or not self._waits:
            return None
        newest = max(self._waits, key=self._place.__getitem__)
        del self._waits[newest]
        return newest

    def blockers(self, node: N) -> list[N]:
        """Return the failed nodes that still need *node*."""
        return self._blockers.get(node, [])

    def done(self, node: N, *, gone: bool) -> None:
        """Note that *node* is gone, or that it could not be destroyed."""
        self.left -= 1
        if node is self._alone:
            self._alone = None
        for other in self._needs.get(node, ()):
            if not gone:
                self._blockers.setdefault(other, []).append(node)
            if other in self._waits:
                self._waits[other] -= 1
                if not self._waits[other]:
                    del self._waits[other]
                    insort(self._ready, other, key=self._place.__getitem__)
