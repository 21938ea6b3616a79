"""Ctrl-C wherever Python may raise it in a program whose process lives on: it can open its stage again at once."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import pytest

from pytest_alchemy import alchemy
from pytest_alchemy.programs.opening import Opening
from pytest_alchemy.state import journal, statefile
from pytest_alchemy.state.disk import disk
from tests.engine.test_interrupts_anywhere import OURS, Interrupt, Place, everywhere

from .things import AsyncThing, Thing, new_world

Program = Callable[..., None]

# Elsewhere the engine's own test of this kind interrupts, at no such cost.
ROOMS = tuple(f"{OURS}/{room}" for room in ("programs", "state", "ambient"))

# Nothing can be done about an interrupt at the very entry of what a block ends with.
UNAVOIDABLE = {Opening.__exit__.__code__, Opening.__aexit__.__code__}


class InterruptOfOwner(Interrupt):
    """The same in what takes and gives up a stage, but not where nothing can be done about it."""

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename.startswith(ROOMS) and (
            frame.f_code not in UNAVOIDABLE or event != "call"
        ):
            super().__call__(frame, event, argument)


def deploy(*things: str) -> None:
    with alchemy("my-app", stage="prod") as app:
        for id in things:
            app.create(Thing(id))
        with app.run("backend") as backend:
            backend.create(Thing("api"))


def deploy_and_destroy(*things: str) -> None:
    with alchemy("my-app", stage="prod") as app:
        for id in things:
            app.create(Thing(id))
        app.destroy()


def deploy_in_a_loop(*things: str) -> None:
    async def program() -> None:
        async with alchemy("my-app", stage="prod"), alchemy.run("backend") as backend:
            for id in things:
                await backend.acreate(AsyncThing(id))

    with asyncio.Runner() as runner:
        runner.run(program())


def attempt(program: Program, tried: set[Place]) -> str:
    """Interrupt *program* where that was not tried yet, run it again, and return where it was: empty if nowhere."""
    shutil.rmtree(".alchemy", ignore_errors=True)
    world, interrupt = new_world(), InterruptOfOwner(tried)
    program("old", "kept")

    with suppress(KeyboardInterrupt), interrupt.armed():
        program("kept", "new")
    here = alchemy.current()
    program("kept", "new")

    assert here is None, interrupt.place
    left = {*world.sizes} - {"api"}
    assert left == (set() if program is deploy_and_destroy else {"kept", "new"}), interrupt.place
    return interrupt.place


def survive_no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: that takes most of the time."""

    def replace(source: str, target: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(target)  # or ext4 waits all the same
        os.rename(source, target)

    for module in (journal, statefile):
        monkeypatch.setattr(module, "sync_data", lambda fd: None)
    monkeypatch.setattr(disk, "fsync", lambda fd: None)
    monkeypatch.setattr(disk, "replace", replace)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest_alchemy.errors.AlchemyWarning")
@pytest.mark.parametrize("program", [deploy, deploy_and_destroy, deploy_in_a_loop])
def test_whatever_step_is_interrupted_the_same_process_can_open_the_stage_again(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    survive_no_power_cut(monkeypatch)

    assert len(everywhere(attempt, program)) > 100
