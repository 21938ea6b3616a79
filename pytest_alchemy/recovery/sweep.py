"""Sweeping by hand: everything that dead runs left, in the stages they recorded and in what providers list."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_alchemy.errors import (
    CannotBeListedError,
    NothingOutlivesError,
    TooManyToSweepError,
)
from pytest_alchemy.kinds import Kind
from pytest_alchemy.lifecycle import summary
from pytest_alchemy.recovery.byname import FoundName, Provider, Rule
from pytest_alchemy.recovery.foreign import take_over
from pytest_alchemy.recovery.found import Choice, FoundStage, find_stages, look_at
from pytest_alchemy.recovery.outcome import Outcome, What
from pytest_alchemy.recovery.process import reap_in_process
from pytest_alchemy.settings import Settings
from pytest_alchemy.state.keys import user_key

AT_ONCE: Final = 4
"""How many stages are reaped at the same time, at most."""

MOST: Final = 100
"""How much that was found by name is destroyed at once, unless more is asked for."""

PATIENCE: Final = 5.0
"""How long a stage's lock is waited for, in seconds."""

_WHAT: Final[dict[str, What]] = {
    "reaped": "destroyed",
    "kept": "kept",
    "forgotten": "forgotten",
    "leaked": "left",
    "elsewhere": "left",
    "unrecoverable": "left",
}


@dataclass(frozen=True, slots=True)
class Sweep:
    """
    What is to be swept.

    Attributes:
        root: The folder ``.alchemy``; it need not exist.
        choice: Which stages of it.
        kinds: The kinds of which names are listed as well.
        settings: Application and account of those; needed with *kinds*.
        most: How much of what is found by name may be destroyed at once.
    """

    root: Path
    choice: Choice = field(default_factory=Choice)
    kinds: tuple[Kind, ...] = ()
    settings: Settings | None = None
    most: int = MOST


@dataclass(slots=True)
class Findings:
    """
    What a sweep found.

    Attributes:
        sweep: What was asked for.
        stages: Every stage under the root.
        names: Every name of the application that was listed.
        others: How many names were listed that are not provably of the application.
        errors: Why something could not be listed.
    """

    sweep: Sweep
    stages: list[FoundStage] = field(default_factory=list)
    names: list[FoundName] = field(default_factory=list)
    others: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def doomed_stages(self) -> list[FoundStage]:
        """The stages that are to be destroyed."""
        return [stage for stage in self.stages if not stage.why_not]

    @property
    def doomed_names(self) -> list[FoundName]:
        """What is to be destroyed by name."""
        return [name for name in self.names if not name.why_not]

    @property
    def damaged(self) -> list[FoundStage]:
        """The stages that cannot be read, so that nobody knows what is left in them."""
        return [stage for stage in self.stages if stage.damaged]

    @property
    def too_many(self) -> bool:
        """Whether more was found by name than may be destroyed at once."""
        return len(self.doomed_names) > self.sweep.most


def find(sweep: Sweep, say: Callable[[str], object] = lambda _: None) -> Findings:
    """
    Return what *sweep* would destroy, and what it leaves alone and why; nothing is changed.

    What cannot be listed is told in the errors; the rest is found all the same.

    Args:
        sweep: What is to be swept.
        say: Told what takes long, before it is begun.

    Raises:
        KeyFileError: The user's key cannot be used.
        CannotBeListedError: One of the kinds cannot be swept by name.
        NothingOutlivesError: The account is in this process's own memory.
    """
    findings = Findings(sweep, find_stages(sweep.root, user_key(), sweep.choice))
    if sweep.kinds:
        provider, refused = _provider(findings), dict[str, list[str]]()
        for kind in sweep.kinds:
            say(f"Listing names of {kind.title}")
            try:
                names, others = provider.find(kind)
            except (CannotBeListedError, NothingOutlivesError):
                raise
            except Exception as error:  # a provider's: the others are listed all the same
                refused.setdefault(summary(error), []).append(kind.title)
            else:
                findings.names += names
                findings.others += others
        for reason, titles in refused.items():
            findings.errors.append(f"{', '.join(titles)} could not be listed: {reason}")
    return findings


def destroy(findings: Findings) -> Iterator[Outcome]:
    """
    Destroy what was found, and say what became of each thing as it happens.

    Everything is looked at again right before it is destroyed. Stages go first: their records know the order.

    Raises:
        TooManyToSweepError: More was found by name than may be destroyed at once; nothing was destroyed.
    """
    if findings.too_many:
        raise TooManyToSweepError(len(findings.doomed_names), findings.sweep.most)
    return _destroy(findings)


def _destroy(findings: Findings) -> Iterator[Outcome]:
    for stage in findings.damaged:
        yield _of_stage("left", stage, stage.why_not)
    yield from _reap_all(findings.doomed_stages, findings.sweep.choice)
    if findings.doomed_names:
        yield from _provider(findings).destroy(findings.doomed_names)


def _provider(findings: Findings) -> Provider:
    sweep = findings.sweep
    assert sweep.settings is not None
    recorded = {
        thing.name: stage.stage
        for stage in findings.stages
        if not stage.foreign  # what others say decides nothing here
        for thing in stage.things
    }
    rule = Rule(sweep.settings.app, sweep.choice.older_than, recorded)
    return Provider(sweep.settings, sweep.root, rule)


def _reap_all(stages: Iterable[FoundStage], choice: Choice) -> Iterator[Outcome]:
    """Reap *stages*, several at a time; the processes that do it go on if nobody listens any more."""
    waiting: queue.SimpleQueue[FoundStage] = queue.SimpleQueue()
    told: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
    for stage in stages:
        waiting.put(stage)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                stage = waiting.get_nowait()
                try:
                    for outcome in _reap(stage, choice):
                        told.put(outcome)
                except Exception as error:  # the other stages still get their turn
                    told.put(_of_stage("left", stage, str(error)))
        told.put(None)

    for _ in range(AT_ONCE):
        threading.Thread(target=work, name="alchemy-sweep", daemon=True).start()
    running = AT_ONCE
    while running:
        outcome = told.get()
        if outcome is None:
            running -= 1
        else:
            yield outcome


def _reap(stage: FoundStage, choice: Choice) -> Iterator[Outcome]:
    now = look_at(stage.folder, user_key(), choice)
    if now is None:
        yield _of_stage("gone", stage)
        return
    if now.why_not:
        yield _of_stage("left" if now.damaged else "spared", stage, now.why_not)
        return
    if now.foreign:
        take_over(stage.folder, user_key())
    is_told = False
    for line in reap_in_process(stage.folder, PATIENCE, forget=True):
        if "facts" not in line:  # it speaks of the stage as a whole
            is_told = True
            yield _of_stage("left", stage, line["reason"])
        elif line["what"] in _WHAT:
            is_told = True
            yield outcome_of(line["what"], line["facts"], line["reason"])
    if not is_told:  # somebody else was faster, or there was nothing but the folder
        yield _of_stage("gone" if now.things else "destroyed", stage)


def outcome_of(found: str, facts: dict[str, Any], reason: str) -> Outcome:
    """Return what became of the thing that *facts* are about, *found* being the word of a `Finding`."""
    what = _WHAT[found]
    why = "" if what == "destroyed" else reason or "its time is not over"
    return Outcome(what, facts["kind"], facts["id"], facts["name"], facts["scope"], why)


def _of_stage(what: What, stage: FoundStage, reason: str = "") -> Outcome:
    place = f"{stage.app}/{stage.stage}"
    return Outcome(what, "stage", stage.stage, stage.stage, place, reason)
