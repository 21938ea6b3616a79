"""When each thing of a dead stage was made and unmade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_alchemy import clock
from pytest_alchemy.deferred import Owned
from pytest_alchemy.entry import Entry
from pytest_alchemy.records import Created
from pytest_alchemy.store import Segment


class Past:
    """Notes moments for the report of the run; any thread may call it."""

    def __init__(self) -> None:
        self._moments: dict[Owned, dict[str, float]] = {}

    def read(self, segments: Iterable[Segment], things: Mapping[str, Mapping[int, Owned]]) -> None:
        """Note when *things*, by lineage and number, were made, as far as *segments* tell."""
        for segment in segments:
            known = things[segment.header.lineage]
            for record in segment.records:
                if isinstance(record, Created) and record.seq in known:
                    self._of(known[record.seq]).setdefault("ready", record.at)

    def created(self, entry: Entry) -> None:
        """Nothing is made in a dead stage."""

    def destroying(self, owned: Owned) -> None:
        self._of(owned).setdefault("ending", clock.now())

    def failed(self, owned: Owned, error: str) -> None:
        """The outcome of the teardown tells of every failure."""

    def destroyed(self, owned: Owned) -> None:
        self._of(owned)["ended"] = clock.now()

    def of(self, owned: Owned) -> dict[str, float]:
        """Return what a fact says of the past of *owned*: ``ready``, ``ending`` and ``ended``."""
        return dict(self._moments.get(owned, {}))

    def _of(self, owned: Owned) -> dict[str, float]:
        return self._moments.setdefault(owned, {})
