"""One stage while it is open in this process: its names, its journal, its numbers."""

from __future__ import annotations

import getpass
import itertools
import os
import platform
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from pytest_alchemy import clock, forks
from pytest_alchemy.callers import stack_level
from pytest_alchemy.errors import DuplicateKindError, UnimportableKindWarning
from pytest_alchemy.pauses import Pauses
from pytest_alchemy.physicalnames import Namer, Run
from pytest_alchemy.profiles import check_access
from pytest_alchemy.records import KindSeen, Record, StageOpened, Vault
from pytest_alchemy.sealed import PasswordKey, Sealer
from pytest_alchemy.settings import Settings
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    from pytest_alchemy.deferred import Owned
    from pytest_alchemy.entry import Entry
    from pytest_alchemy.kinds import Kind
    from pytest_alchemy.store import Journal

__tracebackhide__ = are_noise


class Diary(Protocol):
    """What wants to know when each thing was made and unmade; called in whichever thread does it."""

    def created(self, entry: Entry) -> None:
        """Note that the create of *entry* is over, and it exists."""

    def destroying(self, owned: Owned) -> None:
        """Note that destroying *owned* begins."""

    def failed(self, owned: Owned, error: str) -> None:
        """Note that an attempt to create or destroy *owned* failed."""

    def destroyed(self, owned: Owned) -> None:
        """Note that *owned* is gone."""


class Program(msgspec.Struct):
    """
    What all stages of one test session or program share.

    Attributes:
        kinds: The class of each kind, by application and kind.
        test: Node id of the test that runs now.
        folder: Working directory in which recovery has to run.
        patron: Process id of the xdist controller that ends what this process leaves, 0 for none.
        diary: What is told of each thing that is made and unmade; None where nobody asks.
        progress: Called now and then during a long teardown, with what is destroyed, how much of it is gone, how much
            there was, for how many seconds it has been going on, and what it waits for; None where nobody looks.
        report: Folder for the report of the run, which whoever ends a killed run writes; empty if none is wanted.
        rootdir: Folder that the report names files relative to.
    """

    kinds: dict[tuple[str, str], Kind] = {}
    test: str = ""
    folder: str = msgspec.field(default_factory=os.getcwd)
    patron: int = 0
    diary: Diary | None = None
    progress: Callable[[str, int, int, float, str], None] | None = None
    report: str = ""
    rootdir: str = ""

    def know(self, app: str, kind: Kind) -> None:
        """
        Remember the class of a kind.

        Raises:
            DuplicateKindError: Another class of this application calls itself the same kind.
        """
        known = self.kinds.get((app, kind.name))
        if known is kind:
            return
        if known is not None and (_place(known), known.file) != (_place(kind), kind.file):
            raise DuplicateKindError(kind.name, *_apart(known, kind))
        self.kinds[app, kind.name] = kind


class Counts(msgspec.Struct):
    """
    How much was done, for the last lines of a report.

    Attributes:
        created: How many resources were created.
        destroyed: How many of them were destroyed.
        retried: How often a destroy was tried again, by what the attempt before had met: an HTTP status, else the
            name of the error.
    """

    created: int = 0
    destroyed: int = 0
    retried: Counter[str] = msgspec.field(default_factory=Counter)


class Stage:
    """
    The environment that a tree of scopes lives in.

    Args:
        settings: What was chosen for it.
        name: Its full name (``test-gw0-k3f9x2ab``).
        run: Run id and expiry; None for a lasting stage.
        program: What it shares with other stages of this process.
        open_journal: Takes the stage's lock and opens its journal; called when the first thing is recorded that
            outlives this process.
        worker: xdist worker id, ``main`` without workers.
        pauses: Who has to wait for a provider; shared by all stages that call the same ones.
        first_number: Number of the first thing that is made in it: of a lasting stage `StageState.next_number`, so
            that no number stands for two things.
        key: Returns the key that its secrets are sealed with; without it `use_password` says with what.

    Attributes:
        records_attempts: Whether the journal says of each thing that destroying it begins, not only that it is gone.
            While a test's stage lives that is not needed: all of it is to be destroyed anyway.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        run: Run | None,
        program: Program,
        open_journal: Callable[[StageOpened], Journal],
        worker: str = "main",
        pauses: Pauses | None = None,
        first_number: int = 1,
        key: Callable[[], bytes] | None = None,
    ) -> None:
        self.settings, self.name, self.run, self.program = settings, name, run, program
        self.worker = worker
        self.records_attempts = run is None
        self.pauses = pauses or Pauses()
        self.counts = Counts()
        self.journal: Journal | None = None
        self.lock = threading.RLock()
        self._open_journal = open_journal
        self._namers: dict[Kind, Namer] = {}
        self._known: set[Kind] = set()
        self._seen: set[str] = set()
        self._recorded: set[Kind] = set()
        self._numbers = itertools.count(first_number)
        self._access: tuple[Mapping[str, Sequence[str]], str] = {}, ""
        self._memory = f"memory:{forks.process_id()}"
        self._process = forks.process
        no_password = PasswordKey(self.title, None, None, self.record)
        self.sealer = Sealer(settings.app, name, key or no_password)

    @property
    def title(self) -> str:
        return f"{self.settings.app}/{self.name}"

    @property
    def is_ours(self) -> bool:
        """Whether this process made it, and is no fork of the one that did: that ends it."""
        return self._process is forks.process

    def use_password(self, password: str | None, vault: Vault | None) -> None:
        """
        Say what the secrets of this lasting stage are sealed with; costs nothing unless it has any.

        Args:
            password: The password, None if there is none: then secrets are refused before anything is made.
            vault: What its state says (`StageState.vault`).

        Raises:
            WrongPasswordError: Its secrets were sealed with another password.
            CryptographyMissingError: It has secrets, and the library for them is not installed.
        """
        key = PasswordKey(self.title, password, vault, self.record)
        self.sealer = Sealer(self.settings.app, self.name, key)
        if password and vault:
            self.sealer.check()

    def guard(self, mapping: Mapping[str, Sequence[str]], user: str) -> None:
        """Say which profiles may touch this lasting stage, and which stage is the *user*'s own."""
        self._access = mapping, user

    def check_profile(self, profile: str, resource: str) -> None:
        """
        Make sure that *resource*, as messages call it, may be touched with *profile*.

        Raises:
            ProfileDeniedError: The mapping of the stage does not let it.
        """
        mapping, user = self._access
        if mapping:
            check_access(mapping, stage=self.name, profile=profile, user=user, resource=resource)

    def next_number(self) -> int:
        """Return the next number in order of creation."""
        return next(self._numbers)

    def name_of(self, path: tuple[str, ...], kind: Kind, id: str) -> str:
        """Return the physical name of resource *id* in the scope at *path*."""
        namer = self._namers.get(kind)
        if namer is None:
            app, rule = self.settings.app, kind.name_rule
            namer = Namer(app=app, stage=self.name, kind=kind.name, run=self.run, rule=rule)
            self._namers[kind] = namer
        return namer.name(path, id)

    def know(self, kind: Kind) -> bool:
        """
        Make sure that others can find the class of *kind* again; before the first of it is made.

        Returns:
            Whether it was not known yet.

        Raises:
            DuplicateKindError: Another class calls itself the same kind.
        """
        if kind in self._known:
            return False
        before = self.program.kinds.get((self.settings.app, kind.name))
        self.program.know(self.settings.app, kind)
        # Each call of a test may define it anew, and not all of them are to stay.
        if before is not None:
            self._known.discard(before)
            self._recorded.discard(before)
            self._namers.pop(before, None)
        if not kind.importable and kind.name not in self._seen:
            warnings.warn(
                f"Resource class {kind.cls.__qualname__} is defined inside a function: no other process can "
                "import it,\nso what it makes cannot be cleaned up after a crash. Define it at module level.",
                UnimportableKindWarning,
                stacklevel=stack_level(),
            )
        self._seen.add(kind.name)
        self._known.add(kind)
        return True

    def outlives_process(self, world: str) -> bool:
        """Tell whether what is made in *world* is still there when this process is gone."""
        # A fork has what its parent had in memory, and what it makes in its own.
        return world not in (self._memory, f"memory:{forks.process_id()}")

    def open(self) -> Journal:
        """Return its journal, opened if need be: it says who owns it, although nothing is to be recorded yet."""
        with self.lock:
            if self.journal is None:
                self.journal = self._open_journal(self._header())
            return self.journal

    def record(self, line: Record) -> None:
        """Append *line* to the journal, opening it first if need be."""
        journal = self.journal
        if journal is None:
            journal = self.open()
        journal.append(line)

    def record_kind(self, kind: Kind) -> None:
        """Append where *kind* can be imported from, once."""
        if kind in self._recorded:
            return
        mark = f"{kind.name}@{kind.cls.__module__}"
        if mark not in self._seen:
            self.record(kind_seen(kind))
            self._seen.add(mark)
        self._recorded.add(kind)

    def _header(self) -> StageOpened:
        return StageOpened(
            app=self.settings.app,
            stage=self.name,
            run=self.run.id if self.run else "",
            ephemeral=self.run is not None,
            expires=self.run.expires if self.run else 0.0,
            owner=forks.process_id(),
            host=platform.node(),
            user=_user(),
            worker=self.worker,
            started=clock.now(),
            folder=self.program.folder,
            import_path=tuple(path for path in sys.path if isinstance(path, str)),
            settings=msgspec.structs.asdict(self.settings),
            journal=clock.token(12),
            patron=self.program.patron,
            report=self.program.report,
            rootdir=self.program.rootdir if self.program.report else "",
        )


def kind_seen(kind: Kind) -> KindSeen:
    """Return where *kind* can be imported from."""
    module = kind.cls.__module__
    # With `python -m` it has a name by which others can import it, and its package.
    if module == "__main__":
        module = getattr(getattr(kind.module, "__spec__", None), "name", module)
    return KindSeen(
        kind=kind.name,
        module=module,
        file=kind.file,
        qualname=kind.cls.__qualname__,
        importable=kind.importable,
        create_timeout=kind.create_timeout,
    )


def _place(kind: Kind) -> str:
    return f"{kind.cls.__module__}.{kind.cls.__qualname__}"


def _apart(one: Kind, other: Kind) -> tuple[str, str]:
    """Return where two kinds are defined, with the files if the names alone do not tell them apart."""
    if _place(one) != _place(other):
        return _place(one), _place(other)
    return f"{_place(one)} in {one.file}", f"{_place(other)} in {other.file}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return str(os.getuid()) if hasattr(os, "getuid") else "?"
