"""Opening and closing an application: its stage is taken, read, given up."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from types import TracebackType
from typing import Any

from msgspec.structs import replace

from pytest_alchemy.driver import ASYNC, BLOCKING, Driver, refuse_in_coroutine, run_blocking
from pytest_alchemy.errors import DestroyError, StageDestroyed, StateForeignError
from pytest_alchemy.garbage import no_search
from pytest_alchemy.names import resource_key
from pytest_alchemy.programs.application import Application
from pytest_alchemy.programs.choice import Choice, user_stage
from pytest_alchemy.programs.commandline import command_line
from pytest_alchemy.programs.recorded import Recorded
from pytest_alchemy.records import Intent
from pytest_alchemy.recovery.access import check_kept
from pytest_alchemy.recovery.laststage import destroy_stage
from pytest_alchemy.stage import Program, Stage
from pytest_alchemy.state.backup import back_up
from pytest_alchemy.state.filestore import FileStore
from pytest_alchemy.state.folders import Root
from pytest_alchemy.state.keys import user_key
from pytest_alchemy.state.lasting import LastingStage
from pytest_alchemy.state.stagestate import StageState, load_stage


class Opening:
    """
    An application that is about to be opened: by ``await``, ``async with`` or ``with``.

    Args:
        choice: What was chosen for it.
    """

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._opened: Application | None = None

    def __await__(self) -> Generator[Any, None, Application]:
        return self._open(ASYNC).__await__()

    async def __aenter__(self) -> Application:
        self._opened = await self._open(ASYNC)
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opened is not None
        try:
            await self._opened.leave(error, ASYNC)
        finally:
            self._opened.give_up()  # an interrupt may have come just where that was to be done

    def __enter__(self) -> Application:
        refuse_in_coroutine("with", "async with")
        self._opened = run_blocking(self._open(BLOCKING))
        return self._opened

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opened is not None
        try:
            run_blocking(self._opened.leave(error, BLOCKING))
        finally:
            self._opened.give_up()  # as above

    async def _open(self, driver: Driver) -> Application:
        choice = self._choice
        if choice.wishes.phase == "destroy":
            await driver.aside(lambda: _destroy(choice))
        opened = await driver.aside(lambda: open_stage(choice), Application.give_up)
        try:
            opened.enter()
        except BaseException:  # an interrupt
            opened.give_up()
            raise
        return opened


def open_stage(choice: Choice) -> Application:
    """
    Take the stage that was chosen, and return the scope of its application.

    Raises:
        StageLockedError: Another process owns it.
        StateForeignError: What is recorded was written by another user or machine, or edited.
        StateFileError, JournalReadError: It is damaged, or of a newer version.
    """
    settings, wishes, listener = choice.settings, choice.wishes, command_line().listener
    folder = Root(choice.root).stage_path(settings.app, settings.stage)
    if listener is not None:
        listener.opening(settings.app, settings.stage, folder)
    store = FileStore(folder, user_key(), stage=settings.stage, locking=choice.locking)
    lasting = LastingStage(store)
    reads = wishes.phase == "read" or wishes.plan_only
    try:
        if not reads:
            lasting.take(choice.lock_timeout)
        with no_search():  # until the documents that were read are gone
            stage, recorded = _read(choice, store, lasting, reads=reads)
        application = Application(
            stage, recorded, lambda clean: lasting.end(clean=clean), partial(back_up, folder)
        )
        if listener is not None:
            recorded.listener = listener
            listener.opened(application)
        return application
    except BaseException:
        lasting.end(clean=False)
        raise


def _read(
    choice: Choice, store: FileStore, lasting: LastingStage, *, reads: bool
) -> tuple[Stage, Recorded]:
    """Return the stage that was taken, or that is only to be read, and what is recorded of it."""
    settings, wishes = choice.settings, choice.wishes
    state = load_stage(store) if reads else lasting.open()
    if state.untrusted:
        raise StateForeignError(state.untrusted[0])
    kept = state.header.profiles if state.header else {}
    mapping = kept if choice.mapping is None else choice.mapping
    if choice.mapping is None:
        check_kept(state, settings.profile)
    stage = Stage(
        settings,
        settings.stage,
        None,
        Program(),
        lambda header: lasting.journal(replace(header, profiles=mapping)),
        first_number=state.next_number,
    )
    if mapping != kept and wishes.phase == "up" and not wishes.plan_only:
        stage.open()
    stage.guard(mapping, user_stage() if mapping else "")
    stage.use_password(choice.password, state.vault)
    return stage, _recorded(state, stage, choice)


def _recorded(state: StageState, stage: Stage, choice: Choice) -> Recorded:
    lives = {number: live for book in state.books.values() for number, live in book.live.items()}
    kinds = {name: seen for book in state.books.values() for name, seen in book.kinds.items()}
    for live in lives.values() if state.vault else ():
        said = live.entry
        if isinstance(said, Intent):  # each secret is opened when somebody asks for its value
            opened = partial(stage.sealer.unseal, said.path, resource_key(said.kind, said.id))
            live.props, live.outputs = opened(live.props), live.outputs and opened(live.outputs)
    return Recorded(lives, kinds, choice.wishes, stage.program, choice.settings.app)


def _destroy(choice: Choice) -> None:
    """Destroy the stage, which ends the program."""
    settings = choice.settings
    gone, errors = 0, []
    for finding in destroy_stage(
        choice.root,
        settings.app,
        settings.stage,
        profile=settings.profile,
        strategy=choice.strategy,
        password=choice.password,
        lock_timeout=choice.lock_timeout,
    ):
        if finding.what == "reaped":
            gone += 1
        elif finding.what != "unfinished":
            facts = finding.facts
            errors.append(DestroyError(f"{facts['kind']} {facts['id']!r}", finding.reason))
    title = f"{settings.app}/{settings.stage}"
    if errors:
        raise ExceptionGroup(
            f"{len(errors)} of {gone + len(errors)} resources of {title} could not be destroyed",
            errors,
        )
    raise StageDestroyed(title, gone)
