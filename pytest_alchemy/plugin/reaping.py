"""Dead stages that are being reaped while the run goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_alchemy import clock

if TYPE_CHECKING:
    from pytest_alchemy.report.facts import Fact

TELL_EVERY = 3.0
"""How often it is told how far a reaping is that is waited for, in seconds."""

NO_NEWS = 90.0
"""How long nothing may be heard of a reaping that is waited for, in seconds: a hook is cut off after 30 s."""

AT_ONCE = 4
"""How many stages are reaped at the same time, at most."""


class Reapings:
    """Has stages reaped, `AT_ONCE` of them at the same time and the others after them, in the order they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Reaping] = deque()
        self._running = 0

    def begin(self, folder: Path, timeout: float) -> Reaping:
        """
        Have the stage in *folder* reaped when its turn has come.

        Args:
            folder: The stage's folder.
            timeout: How long to wait for the stage's lock, in seconds.
        """
        reaping = Reaping(folder, timeout)
        with self._lock:
            self._waiting.append(reaping)
            if self._running < AT_ONCE:
                self._running += 1
                self._start()
        return reaping

    def _start(self) -> None:
        reaping = self._waiting.popleft()
        name = f"alchemy-reap-{reaping.folder.name}"
        # It keeps nobody from ending, and the process that it listens to goes on without it.
        threading.Thread(target=self._run, args=(reaping,), name=name, daemon=True).start()

    def _run(self, reaping: Reaping) -> None:
        try:
            reaping.run()
        finally:
            with self._lock:
                if self._waiting:
                    self._start()
                else:
                    self._running -= 1


class Reaping:
    """
    Has the stage in *folder* reaped by a process of its own, and notes what that says.

    Args:
        folder: The stage's folder.
        timeout: How long to wait for the stage's lock, in seconds.

    Attributes:
        folder: The stage's folder.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self.folder, self._timeout = folder, timeout
        self._facts: list[Fact] = []
        self._over = threading.Event()

    def run(self) -> None:
        """Have it reaped, and wait for the end of that."""
        from pytest_alchemy.recovery.process import reap_in_process

        started = clock.monotonic()
        try:
            for line in reap_in_process(self.folder, self._timeout):
                self._facts.append(self._fact(line, clock.monotonic() - started))
        finally:
            self._over.set()

    def facts(
        self, patience: float, tell: Callable[[str], None], *, to_the_end: bool = False
    ) -> list[Fact]:
        """
        Return what became of each thing so far.

        Args:
            patience: How long to wait for the end, in seconds.
            tell: What is told from time to time how far that is.
            to_the_end: Wait longer than that while things are being destroyed, unless nothing is heard for `NO_NEWS`.
        """
        give_up, news = clock.monotonic() + patience, -1
        while not self._over.is_set():
            now = clock.monotonic()
            if news != len(self._facts):
                news, silent_from = len(self._facts), now + NO_NEWS
            left = give_up - now
            if left <= 0 and not (to_the_end and not self._waits and now < silent_from):
                break
            if not self._over.wait(min(TELL_EVERY, left) if left > 0 else TELL_EVERY):
                gone = sum(1 for fact in self._facts if fact.what == "reaped")
                tell(f"alchemy: {self._title}: {gone} destroyed so far")
        return list(self._facts)

    def results(
        self, patience: float, tell: Callable[[str], None], *, late: str, to_the_end: bool = False
    ) -> Iterator[Fact]:
        """
        Yield what became of each thing, also of what is still there when nobody waits any longer.

        Args:
            patience: As for `facts`.
            tell: As for `facts`.
            late: Why that is still there.
            to_the_end: As for `facts`.
        """
        facts = self.facts(patience, tell, to_the_end=to_the_end)
        yield from facts
        if self._over.is_set():  # what it told while it was looked at
            yield from self.facts(0.0, tell)[len(facts) :]
            return
        told = {fact.name for fact in facts}
        yield from (fact for fact in unfinished(self.folder, late) if fact.name not in told)

    @property
    def _waits(self) -> bool:
        """Whether it is for what may still appear."""
        return any(fact.what == "unfinished" for fact in self._facts)

    @property
    def _title(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    def _fact(self, line: dict[str, Any], seconds: float) -> Fact:
        from pytest_alchemy.report.facts import Fact

        what, reason = line["what"], line["reason"]
        if "facts" in line:
            return Fact(
                what=what,
                reason=reason,
                seconds=seconds,
                errors=tuple(line.get("errors", ())),
                **{"ended": clock.now(), **line["facts"]},
            )
        app, stage = self.folder.parent.name, self.folder.name
        return Fact(
            what=what,
            reason=reason,
            kind="stage",
            id=stage,
            name=stage,
            scope=self._title,
            stage=stage,
            app=app,
        )


def unfinished(folder: Path, reason: str) -> Iterator[Fact]:
    """Yield what is still there in the stage's folder *folder*, but for what is kept, each with *reason*."""
    from pytest_alchemy.recovery.found import Choice, look_at
    from pytest_alchemy.report.facts import Fact
    from pytest_alchemy.state.keys import user_key

    found = look_at(folder, user_key(), Choice())
    if found is None:
        return
    now = clock.now()
    for thing in found.things:
        if thing.kept_until > now:
            continue
        yield Fact(
            what="unfinished",
            kind=thing.kind,
            id=thing.id,
            name=thing.name,
            scope=thing.scope,
            stage=found.stage,
            app=found.app,
            world=thing.world,
            test=thing.test,
            where=thing.where,
            at=thing.at,
            reason=reason,
        )
