"""
What a journal line says.

A record is plain data: anything needed to destroy a resource in a process that never saw the test that made it.
Instants are seconds since the epoch (UTC), so that a line costs no calendar arithmetic to write.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

FORMAT = 1
"""Version of the line format; a reader refuses what is newer than itself."""


class _Line(msgspec.Struct, frozen=True, tag_field="op", omit_defaults=True, gc=False):
    """One journal line."""


class StageOpened(_Line, tag="stage", frozen=True):
    """
    The first line of every journal: whose it is and how to act for it.

    Attributes:
        app: Name of the application.
        stage: Full name of the stage (``test-gw0-k3f9x2ab``).
        run: Id of the run, empty for a lasting stage.
        ephemeral: True if whoever finds the stage's owner dead may destroy everything in it.
        expires: Moment after which nothing of it is wanted any more; 0 for a lasting stage.
        owner: Process id of the owner.
        host: Name of the owner's machine.
        user: Name of the owner's user.
        worker: xdist worker id, ``main`` without workers.
        started: Moment when the journal was opened.
        folder: Working directory in which recovery has to run.
        import_path: ``sys.path`` of the owner.
        settings: The stage's `Settings` as a plain dict.
        journal: Random id of this journal; part of every line's digest.
        format: Version of the line format.
        continues: Id of the first journal whose numbers this one goes on with; empty if it is the first itself.
        patron: Process id of the xdist controller that ends the stage, 0 for none.
        profiles: Which profiles may touch which stages, as the program said; empty if it did not.
        fence: Number of the lease it was opened under; of two journals the one with the greater number is younger.
        report: Folder for the report of the run, which whoever ends a killed run writes; empty if none is wanted.
        rootdir: Folder that the report names files relative to.
    """

    app: str
    stage: str
    run: str
    ephemeral: bool
    expires: float
    owner: int
    host: str
    user: str
    worker: str
    started: float
    folder: str
    import_path: tuple[str, ...]
    settings: dict[str, Any]
    journal: str
    format: int = FORMAT
    continues: str = ""
    fence: int = 0
    patron: int = 0
    report: str = ""
    rootdir: str = ""
    profiles: dict[str, list[str]] = {}

    @property
    def lineage(self) -> str:
        """What its numbers belong to: with the number it names a thing for good."""
        return self.continues or self.journal


class KindSeen(_Line, tag="kind", frozen=True):
    """
    Where the class of a kind can be imported from; written once before its first intent.

    Attributes:
        kind: The kind.
        module: Module name of the class.
        file: Source file of that module, empty if it has none.
        qualname: Qualified name of the class.
        importable: False if the class is local to a function: nobody else can ever import it.
        create_timeout: How long after an intent the resource may still appear, in seconds.
    """

    kind: str
    module: str
    file: str
    qualname: str
    importable: bool = True
    create_timeout: float = 60.0


class Intent(_Line, tag="intent", frozen=True):
    """
    A resource is about to be created; written before the provider is called. Or it exists, and is taken over.

    Attributes:
        seq: Number of the resource in this journal, from 1.
        path: Names of the scopes from below the stage to the resource's own parent scope.
        kind: The kind.
        id: The id its author gave.
        name: The physical name.
        world: Where it lives.
        props: Properties as plain data (references to resources as ``{"$ref": ...}``).
        needs: Numbers of the resources it depends on.
        parent: Number of the resource inside whose ``create`` it is made, 0 for none.
        at: Moment of writing.
        where: ``file:line`` of the code that made it.
        test: Node id of the test or fixture owner, empty outside pytest.
        generation: 1, and one more for what replaces an older one.
        adopted: What is known of it, if it exists already and is taken over; None if it is to be created.
        profile: The credentials that it, or what it is made inside of, asks for; empty if it takes those of its stage.
    """

    seq: int
    path: tuple[str, ...]
    kind: str
    id: str
    name: str
    world: str
    props: dict[str, Any]
    needs: tuple[int, ...] = ()
    parent: int = 0
    at: float = 0.0
    where: str = ""
    test: str = ""
    generation: int = 1
    adopted: dict[str, Any] | None = None
    profile: str = ""


class Created(_Line, tag="created", frozen=True):
    """
    Resource *seq* exists.

    Attributes:
        seq: Number of the resource.
        outputs: What is known of it.
        props: Its properties now, if an update changed it.
        at: Moment of writing.
        needs: Numbers of the resources it depends on now, if an update changed it.
        goes_on: Whether that update is only over with another line like this: something goes that was made inside it.
    """

    seq: int
    outputs: dict[str, Any]
    props: dict[str, Any] | None = None
    at: float = 0.0
    needs: tuple[int, ...] | None = None
    goes_on: bool = False


class CreateFailed(_Line, tag="create-failed", frozen=True):
    """
    The create of resource *seq* raised.

    Attributes:
        seq: Number of the resource.
        error: Type and text of the error.
        settled: True if the hook itself raised (it got an answer), False if it was cut off: the provider
            may still finish the create on its own.
    """

    seq: int
    error: str
    settled: bool = True


class Updating(_Line, tag="updating", frozen=True):
    """
    Resource *seq* is about to be changed; a `Created` with the same properties follows when it was.

    Attributes:
        seq: Number of the resource.
        props: Its properties after the change.
        needs: Numbers of the resources it depends on before the change or after it: until that is over, it may be
            either. None if a version wrote it that did not say.
    """

    seq: int
    props: dict[str, Any]
    needs: tuple[int, ...] | None = None


class ProfileChanged(_Line, tag="profile", frozen=True):
    """Resource *seq* is used with other credentials from now on; *profile* as in `Intent`."""

    seq: int
    profile: str


class Destroying(_Line, tag="destroying", frozen=True):
    """Resource or deferred call *seq* is about to be destroyed."""

    seq: int


class Destroyed(_Line, tag="destroyed", frozen=True):
    """Resource or deferred call *seq* is gone; *at* is when, in a run that keeps a diary."""

    seq: int
    at: float = 0.0


class DestroyFailed(_Line, tag="destroy-failed", frozen=True):
    """Resource or deferred call *seq* could not be destroyed and is still owned."""

    seq: int
    error: str
    attempts: int = 1


class Deferred(_Line, tag="deferred", frozen=True):
    """
    A function to call when the scope ends.

    Attributes:
        seq: Number of the entry in this journal.
        path: Names of the scopes from below the stage to the scope it belongs to.
        module: Module of the function; empty if no other process can call it.
        file: Source file of that module.
        function: Qualified name of the function.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    seq: int
    path: tuple[str, ...]
    module: str
    file: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    parent: int = 0
    at: float = 0.0
    where: str = ""
    test: str = ""


class Kept(_Line, tag="kept", frozen=True):
    """The scope at *path* is kept on purpose until *expires*, whatever happens to its owner."""

    path: tuple[str, ...]
    expires: float


class Vault(_Line, tag="vault", frozen=True):
    """
    The key that the stage's secrets are encrypted with; written before the first line that holds one.

    Attributes:
        salt: Salt of the password.
        key: The key, encrypted with what scrypt makes of the password: nonce, ciphertext, tag.
        n: Cost of scrypt.
        r: Its block size.
        p: Its parallelization.
    """

    salt: bytes
    key: bytes
    n: int = 2**15
    r: int = 8
    p: int = 3


Record = (
    KindSeen
    | Intent
    | Created
    | CreateFailed
    | Updating
    | ProfileChanged
    | Destroying
    | Destroyed
    | DestroyFailed
    | Deferred
    | Kept
    | Vault
)
AnyLine = StageOpened | Record

encode = msgspec.json.Encoder().encode


@cache
def decoder(line: Any) -> Callable[[bytes], Any]:
    """
    Return what reads a *line* of that type: `AnyLine`, `Record`, or one of them.

    It is made when it is first asked for: that takes longer than all the rest of this module, and who only writes does
    not need it.
    """
    return msgspec.json.Decoder(line).decode


class Live(msgspec.Struct, gc=False):
    """
    A resource or a deferred call that is still owned.

    Attributes:
        entry: What its journal says of it.
        created: Whether it is known to exist.
        settled: Whether its create is over. False means that the provider may still finish it on its own: it is
            looked for until the create timeout of its kind has passed.
        outputs: What is known of it, None until it is created.
        props: Its properties as last recorded; empty for a deferred call.
        needs: Numbers of what it depends on, as last recorded.
        updating: The properties of an update that did not report back: the provider may have either.
        adopting: Whether it was taken over and has not been made to fit yet: the provider may have any properties.
        destroying: Whether a destroy was begun that did not report back.
        attempts: How often destroying it failed.
        error: Text of the last error, empty if there was none.
    """

    entry: Intent | Deferred
    created: bool = False
    settled: bool = False
    outputs: dict[str, Any] | None = None
    props: dict[str, Any] = {}
    needs: tuple[int, ...] = ()
    updating: dict[str, Any] | None = None
    adopting: bool = False
    destroying: bool = False
    attempts: int = 0
    error: str = ""

    @property
    def in_doubt(self) -> bool:
        """Whether somebody began to destroy it: it may be gone, or there as before."""
        return self.destroying or self.attempts > 0

    def trust(self) -> None:
        """Note that it exists, whatever was tried."""
        self.destroying, self.attempts, self.error = False, 0, ""
