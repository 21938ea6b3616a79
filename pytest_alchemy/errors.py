"""
Every exception and warning that is raised on purpose.

Each class keeps the arguments it was made from, so that it survives pickling on its way from a worker, and builds
its own sentence: what happened, to which scope or resource, what to do instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class AlchemyError(Exception):
    """The base of every error of ours."""


class AlchemyWarning(UserWarning):
    """The base of every warning of ours."""


class InvalidNameError(AlchemyError, ValueError):
    """An application, stage or scope name that is not a name."""

    def __init__(self, what: str, name: object, reason: str) -> None:
        super().__init__(what, name, reason)
        self.what, self.name, self.reason = what, name, reason

    def __str__(self) -> str:
        return (
            f"{self.name!r} is not a name for {self.what}: {self.reason}.\n"
            "Use 1 to 100 letters, digits, '-', '_' or '.', starting with a letter or a digit."
        )


class ResourceDefinitionError(AlchemyError, TypeError):
    """A resource class that cannot work as it is written."""

    def __init__(self, kind_name: str, reason: str, remedy: str) -> None:
        super().__init__(kind_name, reason, remedy)
        self.kind_name, self.reason, self.remedy = kind_name, reason, remedy

    def __str__(self) -> str:
        return f"Resource class {self.kind_name}: {self.reason}.\n{self.remedy}"


class InvalidPropertyError(AlchemyError, TypeError):
    """A property or an output whose value does not fit what the resource class declares."""

    def __init__(self, resource: str, field: str, reason: str, remedy: str = "") -> None:
        super().__init__(resource, field, reason, remedy)
        self.resource, self.field, self.reason, self.remedy = resource, field, reason, remedy

    def __str__(self) -> str:
        text = f"{self.resource}: property {self.field!r} {self.reason}."
        return f"{text}\n{self.remedy}" if self.remedy else text


class OutputNotReadyError(AlchemyError, AttributeError):
    """An output that was read before its resource exists."""

    def __init__(
        self, resource: str, field: str, exists: bool = False, planned: bool = False
    ) -> None:
        super().__init__(resource, field, exists, planned)
        self.resource, self.field, self.exists, self.planned = resource, field, exists, planned

    def __str__(self) -> str:
        if self.planned:
            return (
                f"{self.resource} has no {self.field!r} in a plan: outputs are known once the resource exists.\n"
                f"Deploy it first, or let the program do without: getattr(resource, {self.field!r}, None)"
            )
        if self.exists:
            return (
                f"{self.resource} has no {self.field!r}: its create() ended without setting it.\n"
                f"Set it there: self.{self.field} = ..."
            )
        return (
            f"{self.resource} has no {self.field!r} yet: outputs are known once the resource exists.\n"
            "Create it first: scope.create(resource), or await it in an async test."
        )


class HookCalledError(AlchemyError):
    """A hook that was called from outside instead of by the engine."""

    def __init__(self, resource: str, hook: str) -> None:
        super().__init__(resource, hook)
        self.resource, self.hook = resource, hook

    def __str__(self) -> str:
        instead = {
            "create": "Call scope.create(resource), or await the resource in a coroutine.",
            "destroy": "Call scope.remove(resource), or let the end of its scope destroy it.",
            "update": "Call scope.create() again with the changed properties.",
        }.get(self.hook, "The engine calls it by itself when it needs to know.")
        return (
            f"{self.resource}: the hook {self.hook}() was called from outside: nothing would be recorded.\n"
            f"{instead}"
        )


class BlockingCallError(AlchemyError, RuntimeError):
    """A blocking method that was called inside a coroutine."""

    def __init__(self, method: str, twin: str) -> None:
        super().__init__(method, twin)
        self.method, self.twin = method, twin

    def __str__(self) -> str:
        if self.twin == "async with":
            return (
                "A `with` block that ends by finalizing was entered inside a coroutine, where it would stop the event "
                "loop.\nUse `async with`."
            )
        return (
            f"{self.method}() blocks and was called inside a coroutine, where it would stop the event loop.\n"
            f"Use its twin: await {self.twin}(...)"
        )


class NoEventLoopError(AlchemyError, RuntimeError):
    """Something was awaited in a coroutine that does not run on asyncio."""

    def __str__(self) -> str:
        return (
            "Resources can be awaited on asyncio only, and this coroutine runs on something else (trio, say).\n"
            "Make it in plain code: in a fixture that is no coroutine, with scope.create(...)"
        )


class ScopeClosedError(AlchemyError, RuntimeError):
    """A scope that is closing or closed was asked to make something."""

    def __init__(self, scope: str, state: str, wanted: str) -> None:
        super().__init__(scope, state, wanted)
        self.scope, self.state, self.wanted = scope, state, wanted

    def __str__(self) -> str:
        return (
            f"Scope {self.scope} is {self.state}: {self.wanted} was not made.\n"
            "Make it before the scope ends, or in a wider scope (alchemy_module, alchemy_stage)."
        )


class BlockEndedError(AlchemyError, RuntimeError):
    """The block of a nested scope was opened again after it had ended."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope

    def __str__(self) -> str:
        return (
            f"Scope {self.scope} was finalized at the end of its block, so it cannot be opened again.\n"
            "Declare all of it in one block: what only a second one declares, the end of the first one destroys."
        )


class StageGivenUpError(AlchemyError, RuntimeError):
    """An application was to be destroyed whose stage this program does not own any more."""

    def __init__(self, app: str, stage: str) -> None:
        super().__init__(app, stage)
        self.app, self.stage = app, stage

    def __str__(self) -> str:
        return (
            f"{self.app}/{self.stage} was finalized or destroyed by this program already, which gave it up with that: "
            "nothing was destroyed now.\n"
            f"Call destroy() in the place of finalize(), or run: alchemy destroy --app {self.app} --stage {self.stage}"
        )


class NoScopeError(AlchemyError, RuntimeError):
    """A resource was awaited, or a nested scope wanted, where no scope is open."""

    def __init__(self, resource: str) -> None:
        super().__init__(resource)
        self.resource = resource

    def __str__(self) -> str:
        return (
            f"{self.resource} needs a scope, and none is open here.\n"
            "In a test, ask for the fixture alchemy_scope or mark the test with @pytest.mark.alchemy; "
            'in a program, open an application: with alchemy("my-app"); in a thread of your own, start it with '
            "scope.bind(function)."
        )


class DuplicateKindError(AlchemyError):
    """Two resource classes call themselves the same kind."""

    def __init__(self, kind: str, first: str, second: str) -> None:
        super().__init__(kind, first, second)
        self.kind, self.first, self.second = kind, first, second

    def __str__(self) -> str:
        return (
            f"Two resource classes are of kind {self.kind!r}: {self.first} and {self.second}.\n"
            f'Give one of them a kind of its own: class ...(Resource, kind="{self.kind}2")'
        )


class ChangedWithinRunError(AlchemyError):
    """One id was declared twice in a scope with different properties, and its kind cannot update."""

    def __init__(self, resource: str, fields: Sequence[str], first: str, second: str) -> None:
        super().__init__(resource, fields, first, second)
        self.resource, self.fields, self.first, self.second = resource, fields, first, second

    def __str__(self) -> str:
        changed = ", ".join(self.fields)
        update = "" if "profile" in self.fields else ", or define update() in its class"
        if self.first == self.second:
            return (
                f"{self.resource} is declared twice in one scope with different {changed}, both times at "
                f"{self.first}:\nin a loop, say, or in a fixture with parameters.\n"
                f'Let its id tell them apart, as in f"orders-{{request.param}}"{update}.'
            )
        return (
            f"{self.resource} is declared twice in one scope with different {changed}:\n"
            f"first at {self.first}, then at {self.second}.\n"
            f"Give the second one an id of its own{update}."
        )


class DeclaredInItselfError(AlchemyError, RuntimeError):
    """A hook of a resource declared that very resource, which is not to be had before the hook has ended."""

    def __init__(self, resource: str, first: str, second: str) -> None:
        super().__init__(resource, first, second)
        self.resource, self.first, self.second = resource, first, second

    def __str__(self) -> str:
        return (
            f"{self.resource}, declared at {self.first}, declares itself in a hook of its own at {self.second}:\n"
            "it would wait for itself for ever.\n"
            "Give what it makes another id, or make it inside itself: self.scope.create(...)"
        )


class LoopStoppedError(AlchemyError, RuntimeError):
    """A coroutine was to run on the event loop that its resource lives in, and that stopped before it had ended."""

    def __str__(self) -> str:
        return (
            "The event loop that it lives in, another task's or thread's, stopped before this was done.\n"
            "Let that loop run for as long as what was made in it is used, or try again: then it runs elsewhere."
        )


class NotOwnedError(AlchemyError, LookupError):
    """A scope was asked to remove what it does not own."""

    def __init__(self, scope: str, resource: str) -> None:
        super().__init__(scope, resource)
        self.scope, self.resource = scope, resource

    def __str__(self) -> str:
        return (
            f"Scope {self.scope} does not own {self.resource}: nothing was destroyed.\n"
            "Remove a resource from the scope that created it, and only once."
        )


class OwnedElsewhereError(AlchemyError):
    """A resource object was created in one scope and handed to another."""

    def __init__(self, resource: str, owner: str, scope: str) -> None:
        super().__init__(resource, owner, scope)
        self.resource, self.owner, self.scope = resource, owner, scope

    def __str__(self) -> str:
        return (
            f"{self.resource} belongs to scope {self.owner} and cannot be created in {self.scope} as well.\n"
            "Make a new object for the second scope."
        )


class SharedRemoveError(AlchemyError):
    """A resource that all workers of a run share was to be removed by one of them."""

    def __init__(self, resource: str, scope: str) -> None:
        super().__init__(resource, scope)
        self.resource, self.scope = resource, scope

    def __str__(self) -> str:
        return (
            f"{self.resource} belongs to {self.scope}, which all workers share: nothing was destroyed.\n"
            "It is destroyed after the last worker; make what a test removes itself in alchemy_scope."
        )


class DestroyError(AlchemyError):
    """A resource that could not be destroyed; its record is kept."""

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(resource, reason)
        self.resource, self.reason = resource, reason

    def __str__(self) -> str:
        return f"{self.resource} could not be destroyed: {self.reason}"


class BlockedError(DestroyError):
    """A resource that was not destroyed because something that depends on it could not be."""

    def __init__(self, resource: str, blockers: Iterable[str]) -> None:
        self.blockers = tuple(blockers)
        super().__init__(resource, f"still needed by {', '.join(self.blockers)}")
        self.args = (resource, self.blockers)


class MayStillAppearError(AlchemyError):
    """A create got no answer: nothing is there, but the provider may still finish it."""

    def __init__(self, resource: str, until: float, why: str = "its create got no answer") -> None:
        super().__init__(resource, until, why)
        self.resource, self.until, self.why = resource, until, why

    def __str__(self) -> str:
        from pytest_alchemy.clock import instant

        return f"{self.why}: it may still appear until {instant(self.until):%H:%M:%S} UTC"


class KindNotLoadedError(AlchemyError):
    """A record names code that cannot be imported: nothing was called."""

    def __init__(self, name: str, place: str, reason: str) -> None:
        super().__init__(name, place, reason)
        self.name, self.place, self.reason = name, place, reason

    def __str__(self) -> str:
        return f"{self.name} cannot be loaded from {self.place}: {self.reason}"


class OtherWorldError(AlchemyError):
    """A record names a resource that lives in another world than the one at hand: nothing was called or forgotten."""

    def __init__(self, resource: str, world: str, here: str) -> None:
        super().__init__(resource, world, here)
        self.resource, self.world, self.here = resource, world, here

    def __str__(self) -> str:
        return (
            f"{self.resource} lives in {self.world or 'no named world'}, and this is {self.here or 'no named world'}: "
            "clean up with the credentials and endpoint it was made with"
        )


class ResourceNeverCreatedWarning(AlchemyWarning):
    """A resource was made as an object, but neither created nor awaited."""


class UnimportableKindWarning(AlchemyWarning):
    """A kind that no other process can import: what it makes cannot be recovered after a crash."""


class PlainSecretWarning(AlchemyWarning):
    """A property that seems to hold a password would be recorded in clear text."""


class StageMappingError(AlchemyError, ValueError):
    """A mapping from stages to profiles that is none."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"stage_profile_mapping cannot be understood: {self.reason}.\n"
            'Write it like {"pr-*": ["ci"], "prod": ["prod"], "$USER": ["default"]}.'
        )


class ProfileDeniedError(AlchemyError):
    """
    A profile may not touch a stage; nothing was called.

    Attributes:
        pattern: Entry of the mapping that the stage belongs to; empty if it fits none.
        allowed: The profiles that may touch it.
        stages: Entries of the mapping that the profile may touch.
        resource: The resource whose own profile it is; empty if it is that of the program or command.
    """

    def __init__(
        self,
        stage: str,
        profile: str,
        pattern: str,
        allowed: Sequence[str] = (),
        stages: Sequence[str] = (),
        resource: str = "",
    ) -> None:
        super().__init__(stage, profile, pattern, tuple(allowed), tuple(stages), resource)
        self.stage, self.profile, self.pattern = stage, profile, pattern
        self.allowed, self.stages, self.resource = tuple(allowed), tuple(stages), resource

    def __str__(self) -> str:
        kept = f"keeps {self.pattern!r} for {' and '.join(self.allowed) or 'nobody'}"
        reason = kept if self.pattern else "has no entry that it fits"
        whose = f" of {self.resource}" if self.resource else ""
        return (
            f"Profile {self.profile!r}{whose} may not touch stage {self.stage!r}: stage_profile_mapping {reason}.\n"
            f"Nothing was called{self._ways()}"
        )

    def _ways(self) -> str:
        if self.resource:
            given = [f"give it profile={each!r}" for each in self.allowed]
            return f" for it: {', or '.join([*given, f'let the mapping allow {self.profile!r}'])}."
        ways = [f"--profile {each}" for each in self.allowed]
        if self.stages:
            ways.append(f"a stage that {self.profile} may touch ({', '.join(self.stages)})")
        return f". Use {', or '.join(ways)}." if ways else "."


class ProfileMovedError(AlchemyError):
    """
    A resource is declared with a profile of another account than the one that it lives in; nothing was called for it.

    Attributes:
        before: The profile that it was made with.
        now: The profile that it is declared with.
        world: Where it lives.
        here: Where the profile that it is declared with leads to.
        where: The line that declares it.
    """

    def __init__(
        self, resource: str, before: str, now: str, world: str, here: str, where: str
    ) -> None:
        super().__init__(resource, before, now, world, here, where)
        self.resource, self.before, self.now = resource, before, now
        self.world, self.here, self.where = world, here, where

    def __str__(self) -> str:
        return (
            f"{self.resource} was made with profile {self.before!r} in {self.world or 'no named world'}, and profile "
            f"{self.now!r}, declared at {self.where}, leads to {self.here or 'no named world'}.\n"
            f"Nothing was called for it. Declare it with profile={self.before!r} again, or move it: under another id "
            "it is made anew, and this one is destroyed as undeclared."
        )


class HomeFileError(AlchemyError):
    """A file in the user's own folder cannot be used."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}."


class NoPasswordError(AlchemyError):
    """A secret would have to be recorded, or was, in a stage that outlives its programs, and there is no password."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage

    def __str__(self) -> str:
        return (
            f"Stage {self.stage} outlives its programs, so a secret in it needs a password, and none was given.\n"
            'Give it in the program: alchemy("my-app", password=os.environ["ALCHEMY_PASSWORD"]). Only commands that '
            "run no program, such as alchemy destroy, look at ALCHEMY_PASSWORD themselves."
        )


class WrongPasswordError(AlchemyError):
    """The secrets of a stage were sealed with another password."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage

    def __str__(self) -> str:
        return (
            f"The password is not the one that the secrets of stage {self.stage} were sealed with.\n"
            "Give that one. Without any, what needs no secret can still be destroyed."
        )


class SecretUnreadableError(AlchemyError):
    """A recorded secret cannot be opened."""

    def __init__(self, stage: str, key: str, field: str) -> None:
        super().__init__(stage, key, field)
        self.stage, self.key, self.field = stage, key, field

    def __str__(self) -> str:
        return (
            f"The secret {self.field!r} of {self.key} in {self.stage} cannot be opened: it was sealed by another user "
            "or on another machine,\nor somebody moved or edited it in the state. Declare it anew, under another id."
        )


class CryptographyMissingError(AlchemyError, ImportError):
    """What encrypts secrets is not installed."""

    def __str__(self) -> str:
        return (
            "A secret is to be recorded, and the library that encrypts it is not installed.\n"
            "Install it: pip install 'pytest-alchemy[secrets]'"
        )


class StateFolderError(AlchemyError):
    """A folder or file of ours that cannot be made or used."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be used: {self.reason}.\n"
            "Make it writable for this user, or choose another place: --root DIR (in tests --alchemy-root DIR)."
        )


class LinkRefusedError(AlchemyError):
    """A link stands where a folder or file of ours belongs."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path} is a link, and links are not followed: nothing was read or written.\n"
            "Remove the link, or name the folder it points to."
        )


class KeyFileError(AlchemyError):
    """The user's key cannot be made or cannot be trusted."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"The key file {self.path} cannot be used: {self.reason}.\n"
            "Delete it if it exists, so that a new one is made, or set ALCHEMY_STATE_HOME to a folder "
            "that this user can write and nobody else can."
        )


class NoRealLocksError(AlchemyError):
    """A file system without locks that end with the process that holds them."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be locked: {self.reason}.\n"
            "Without a lock nobody could tell whether its owner lives. Choose a place for .alchemy on a local disk."
        )


class StageLockedError(AlchemyError):
    """Another process owns this stage."""

    def __init__(self, stage: str, holder: str, since: datetime | None = None) -> None:
        super().__init__(stage, holder, since)
        self.stage, self.holder, self.since = stage, holder, since

    def __str__(self) -> str:
        since = f" since {self.since:%Y-%m-%d %H:%M:%S %Z}" if self.since else ""
        return (
            f"State of stage {self.stage!r} is locked by {self.holder}{since}.\n"
            "Wait until it is done, or give this run its own stage."
        )


class StageMissingError(AlchemyError):
    """In CI nobody said which stage a program is for."""

    def __str__(self) -> str:
        return (
            "No stage was named, and in CI (the variable CI is set) none is guessed: a wrong guess would change "
            "somebody else's environment.\n"
            'Name it: alchemy("my-app", stage="pr-123"), --stage pr-123, or ALCHEMY_STAGE=pr-123.'
        )


class InvalidChoiceError(AlchemyError, ValueError):
    """An option of a program has a value that there is not."""

    def __init__(self, option: str, said: str, valid: Sequence[str]) -> None:
        super().__init__(option, said, tuple(valid))
        self.option, self.said, self.valid = option, said, tuple(valid)

    def __str__(self) -> str:
        return f"{self.option}={self.said} is not valid. Use {' or '.join(map(repr, self.valid))}."


class ContradictionError(AlchemyError):
    """The command line and the program say different things."""

    def __init__(self, what: str, commanded: str, said: str) -> None:
        super().__init__(what, commanded, said)
        self.what, self.commanded, self.said = what, commanded, said

    def __str__(self) -> str:
        if self.what == "phase":  # there is no option of that name
            return (
                f"The command runs the program in phase {self.commanded!r}, and it says phase={self.said!r}.\n"
                "Nothing was called. Leave that out of it, or run it without the command: python PROGRAM"
            )
        return (
            f"The command line says --{self.what} {self.commanded}, and the program {self.what}={self.said!r}.\n"
            "Nothing was called. Leave one of the two out, or let them agree."
        )


class OtherStageError(AlchemyError):
    """A program that a command runs opened a second stage."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first, second)
        self.first, self.second = first, second

    def __str__(self) -> str:
        return (
            f"The program opened {self.first} and then {self.second}: a command works on one stage.\n"
            f"Nothing of {self.second} was called. Let the program take the stage from the command line: --stage."
        )


class OtherRootError(AlchemyError):
    """A stage would begin anew that is recorded in a folder above."""

    def __init__(self, stage: str, here: str, there: str) -> None:
        super().__init__(stage, here, there)
        self.stage, self.here, self.there = stage, here, there

    def __str__(self) -> str:
        return (
            f"Nothing is recorded of {self.stage} under {self.here}, but under {self.there}: it would begin anew, and "
            "make everything twice.\n"
            f"Call the command where you did before, or say which folder is meant: --root {self.there}"
        )


class UnknownStageError(AlchemyError, LookupError):
    """A stage of which nothing is recorded was to be destroyed."""

    def __init__(self, app: str, stage: str, known: Sequence[str] = ()) -> None:
        super().__init__(app, stage, tuple(known))
        self.app, self.stage, self.known = app, stage, tuple(known)

    def __str__(self) -> str:
        known = (
            f"Recorded here: {', '.join(self.known)}."
            if self.known
            else "Nothing is recorded here."
        )
        return (
            f"Nothing is recorded of {self.app}/{self.stage}, so nothing was destroyed.\n"
            f"{known} Check the name, and that this is the folder in which it was deployed."
        )


class UnknownScopeError(AlchemyError, LookupError):
    """A nested scope was to be finalized that neither the program nor the records know."""

    def __init__(self, scope: str, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(scope, name, tuple(known))
        self.scope, self.name, self.known = scope, name, tuple(known)

    def __str__(self) -> str:
        known = f"It has {', '.join(self.known)}." if self.known else "It has none."
        return (
            f"Scope {self.scope} has no nested scope {self.name!r}: nothing was finalized.\n{known}"
        )


class AlreadyExistsError(AlchemyError):
    """A thing exists under the name that a resource was to get, and no record says that it is ours."""

    def __init__(self, resource: str, name: str, scope: str) -> None:
        super().__init__(resource, name, scope)
        self.resource, self.name, self.scope = resource, name, scope

    def __str__(self) -> str:
        return (
            f"{self.resource} was not created: {self.name} exists already, and nothing that is recorded of "
            f"{self.scope} says that it is yours.\n"
            "Take it over with --adopt or alchemy(..., adopt=True), or remove it."
        )


class NotRecordedError(AlchemyError, LookupError):
    """In the read phase a resource was asked for that does not exist."""

    def __init__(self, resource: str, scope: str) -> None:
        super().__init__(resource, scope)
        self.resource, self.scope = resource, scope

    def __str__(self) -> str:
        return (
            f"{self.resource} is not recorded in {self.scope}, and the read phase creates nothing.\n"
            "Deploy the stage first (alchemy deploy), or read another one (--stage)."
        )


class MustReplaceError(AlchemyError):
    """
    A change that cannot be made in place.

    A resource's ``update`` raises it to have the resource replaced: a new one is created, and the old one destroyed
    when the program is finalized. Within one run it is an error.
    """

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(resource, reason)
        self.resource, self.reason = resource, reason

    def __str__(self) -> str:
        return (
            f"{self.resource} cannot be changed in place: {self.reason}.\n"
            "Give what is new another id, or change it in the next run, which replaces it."
        )


class NotInOtherProcessError(AlchemyError):
    """A call was deferred, which no other process could make, in a scope that this process does not end."""

    def __init__(self, call: str, scope: str) -> None:
        super().__init__(call, scope)
        self.call, self.scope = call, scope

    def __str__(self) -> str:
        return (
            f"{self.call} cannot be deferred in {self.scope}, which outlives this process: no other could call it.\n"
            "Defer a module-level function with arguments that JSON can hold."
        )


class NothingDeclaredWarning(AlchemyWarning):
    """A program that declared nothing was finalized; nothing was destroyed."""


class StageDestroyed(SystemExit):
    """
    The stage was destroyed, which is all that the program was run for: it ends, quietly and with success.

    Attributes:
        stage: Title of the stage.
        destroyed: How many things were destroyed.
    """

    def __init__(self, stage: str, destroyed: int = 0) -> None:
        super().__init__(0)
        self.stage, self.destroyed = stage, destroyed


class JournalWriteError(AlchemyError):
    """Something could not be recorded, so it must not be done."""

    def __init__(
        self,
        file: str,
        reason: str,
        remedy: str = "make room or make the folder writable, then try again",
    ) -> None:
        super().__init__(file, reason, remedy)
        self.file, self.reason, self.remedy = file, reason, remedy

    def __str__(self) -> str:
        return (
            f"Journal {self.file} could not be written: {self.reason}.\n"
            f"What was to be recorded is not: {self.remedy}."
        )


class JournalReadError(AlchemyError):
    """A journal that is not acted on; the base of every reason for that."""


class JournalCorruptError(JournalReadError):
    """A line in the middle of a journal is not what was written there."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file, self.line, self.reason = file, line, reason

    def __str__(self) -> str:
        return (
            f"Journal {self.file}, line {self.line}: {self.reason}. Nothing of it is acted on.\n"
            "Destroy what its lines name by hand, then delete the file."
        )


class JournalForeignError(JournalReadError):
    """A journal that this user did not write on this machine, or whose first line was altered."""

    def __init__(
        self, file: str, reason: str = "its first line carries another key's digest"
    ) -> None:
        super().__init__(file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return (
            f"Journal {self.file} was not written by this user on this machine: {self.reason}. "
            "Nothing of it is acted on.\n"
            "Recover it where it was written, or destroy what its lines name by hand and delete the file."
        )


class JournalFormatError(JournalReadError):
    """A journal written by a newer version."""

    def __init__(self, file: str, found: int, known: int) -> None:
        super().__init__(file, found, known)
        self.file, self.found, self.known = file, found, known

    def __str__(self) -> str:
        return (
            f"Journal {self.file} has format {self.found}, this version knows up to {self.known}. "
            "Nothing of it is acted on.\n"
            "Use the version of pytest-alchemy that wrote it, or a newer one."
        )


class ReportFileError(AlchemyError):
    """The report could not be written."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return f"Report {self.file} could not be written: {self.reason}.\nName another folder with --alchemy-report."


class NotAResourceError(AlchemyError, TypeError):
    """A scope was asked to create something that is no resource object."""

    def __init__(self, scope: str, given: str) -> None:
        super().__init__(scope, given)
        self.scope, self.given = scope, given

    def __str__(self) -> str:
        return (
            f"Scope {self.scope} can only create resource objects, not {self.given}: nothing was made.\n"
            'Pass an object of a Resource class: scope.create(Bucket("uploads"))'
        )


class StateChangedError(AlchemyError):
    """The state of a scope is not what it was when it was read: nothing was written."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source

    def __str__(self) -> str:
        return (
            f"{self.source} was changed by somebody else since it was read: nothing was written.\n"
            "Read it again and decide anew."
        )


class LeaseLostError(JournalWriteError):
    """A stage was written to by a process that does not own it (any more)."""

    def __init__(self, stage: str, fence: int) -> None:
        super().__init__(stage, f"lease {fence} is over")
        self.args = (stage, fence)
        self.stage, self.fence = stage, fence

    def __str__(self) -> str:
        return (
            f"Lease {self.fence} of stage {self.stage!r} is over: nothing was recorded.\n"
            "It was released, or its lock file was deleted. Open the stage again; it tells what is owned."
        )


class StateFileError(AlchemyError):
    """A state file that does not say what a state file says."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return (
            f"State file {self.file} is damaged: {self.reason}. Nothing of it is acted on.\n"
            "Restore it from a copy, or destroy what it names by hand and delete it."
        )


class StateFormatError(StateFileError):
    """A state file written by a newer version."""

    def __init__(self, file: str, found: str, known: str) -> None:
        super().__init__(file, f"version {found}")
        self.args = (file, found, known)
        self.found, self.known = found, known

    def __str__(self) -> str:
        return (
            f"State file {self.file} has version {self.found}, this version of pytest-alchemy knows {self.known}. "
            "Nothing of it is acted on.\n"
            "Use the version of pytest-alchemy that wrote it, or a newer one."
        )


class StateForeignError(AlchemyError):
    """A state file that this user did not write on this machine, or that was edited by hand."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return (
            f"State file {self.file} was edited, or was not written by this user on this machine. "
            "Nothing of it is acted on by itself.\n"
            "Recover it where it was written, or destroy what it names by hand and delete it."
        )


class CannotBeListedError(AlchemyError, TypeError):
    """A kind that cannot be swept by name."""

    def __init__(self, kind_name: str, reason: str) -> None:
        super().__init__(kind_name, reason)
        self.kind_name, self.reason = kind_name, reason

    def __str__(self) -> str:
        return (
            f"{self.kind_name} cannot be swept by name: {self.reason}.\n"
            "Such a class defines destroy() and the classmethod list(), which returns the names that exist."
        )


class NothingOutlivesError(AlchemyError):
    """A sweep by name was to look at an account in this process's own memory, where nothing of others can be."""

    def __init__(self, kind_name: str) -> None:
        super().__init__(kind_name)
        self.kind_name = kind_name

    def __str__(self) -> str:
        return (
            f"{self.kind_name}: there is nothing to sweep in the offline account, which ends with its process.\n"
            "Name the account: --live for the real one, or --fake-account FILE"
        )


class TooManyToSweepError(AlchemyError):
    """More was found by name than a sweep may destroy at once: nothing was destroyed."""

    def __init__(self, found: int, most: int) -> None:
        super().__init__(found, most)
        self.found, self.most = found, most

    def __str__(self) -> str:
        return (
            f"{self.found} resources were found by name, and at most {self.most} are destroyed at once: "
            "nothing was destroyed.\n"
            f"List them without --yes; if all of them are to go, say --max {self.found}"
        )
