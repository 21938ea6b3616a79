"""What programs and tests call ``alchemy``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_alchemy.errors import NoScopeError
from pytest_alchemy.loading import stop_loading
from pytest_alchemy.scope import Scope, current
from pytest_alchemy.secret import Secret
from pytest_alchemy.settings import Phase, Strategy
from pytest_alchemy.values import Env

if TYPE_CHECKING:
    from pytest_alchemy.programs.opening import Opening
    from pytest_alchemy.trial import Trial

_UNSAID: Any = object()


class Alchemy:
    """The ways in that need no scope at hand."""

    def __call__(
        self,
        app: str,
        *,
        stage: str = _UNSAID,
        profile: str = _UNSAID,
        phase: Phase | None = None,
        destroy_strategy: Strategy | None = None,
        password: str | None = None,
        adopt: bool = False,
        state_locking: bool = True,
        stage_profile_mapping: Mapping[str, Sequence[str]] | None = None,
    ) -> Opening:
        """
        Return an application to be opened: ``await`` it, or use it with ``async with`` or ``with``.

        What is declared in it is compared with what earlier programs recorded. When a block is left, or by
        `Application.finalize`, what is recorded and no longer declared is destroyed; if the block raises, nothing is.

        Args:
            app: Name of the application.
            stage: The environment; by default ``--stage``, else ``ALCHEMY_STAGE``, else the user's name.
            profile: The credentials; by default ``--profile``, else ``ALCHEMY_PROFILE``, else ``default``. A
                resource may have its own.
            phase: ``up`` (the default) makes what is declared; ``read`` gives back what is recorded and calls
                nothing; ``destroy`` destroys the stage and ends the program.
            destroy_strategy: ``sequential`` (the default) or ``parallel``.
            password: What secrets are encrypted with in its state.
            adopt: Take over what exists already under the name of something that is declared.
            state_locking: False leaves the stage open to other processes that do the same: for file systems that
                have no locks. Two programs at once then undo each other's work.
            stage_profile_mapping: Which profiles may touch which stages, by pattern: ``{"pr-*": ["ci"]}``. Kept
                with the stage.

        Raises:
            InvalidNameError: A name is none; also a stage or profile that is None or empty.
            StageMissingError: In CI nobody says which stage.
            ContradictionError: The command line says something else. Nothing was called.
            ProfileDeniedError: The mapping does not let the profile touch the stage. Nothing was called.
        """
        from pytest_alchemy.programs.choice import UNSET, choose
        from pytest_alchemy.programs.opening import Opening

        stop_loading()
        choice = choose(
            app,
            stage=UNSET if stage is _UNSAID else stage,
            profile=UNSET if profile is _UNSAID else profile,
            phase=phase,
            destroy_strategy=destroy_strategy,
            password=password,
            adopt=adopt,
            state_locking=state_locking,
            stage_profile_mapping=stage_profile_mapping,
        )
        return Opening(choice)

    def run(self, name: str, *, destroy_strategy: Strategy | None = None) -> Scope:
        """
        Return the nested scope *name* of the current scope, for ``async with`` or ``with``.

        At the end of its block it is finalized, unless the block raises. Write one block for each name: it is not
        opened again.

        Raises:
            NoScopeError: No scope is open.
            InvalidNameError: *name* is not a name.
            BlockEndedError: Its block was left before; raised where a second one begins.
        """
        scope = current()
        if scope is None:
            raise NoScopeError(f"alchemy.run({name!r})")
        return scope.run(name, destroy_strategy)

    def test(
        self, name: str, *, stage: str = "test", destroy_strategy: Strategy | None = None
    ) -> Trial:
        """
        Return a scope that ends by destroying everything, whatever ends its block: for ``async with`` or ``with``.

        It is isolated from every other scope, and talks to the fake account in this process's memory.

        Args:
            name: Any text that tells it from others in reports.
            stage: First part of its stage's name.
            destroy_strategy: ``sequential`` (the default) or ``parallel``.
        """
        from pytest_alchemy.trial import Trial

        stop_loading()
        return Trial(name, stage, destroy_strategy or "sequential")

    def env(self, variable: str) -> Env:
        """
        Return a property value that is looked up in the environment when it is needed.

        Its name is recorded, never its value: whoever destroys the resource resolves it again.
        """
        return Env(variable)

    def secret(self, text: str) -> Secret:
        """
        Return a property value, or an output, that is encrypted in state and never printed; ``.value`` is its text.

        The property or output is annotated ``Secret``. In the stage of a test it needs nothing but the extra
        ``secrets``; a stage that outlives its programs needs a password, too.

        Raises:
            TypeError: *text* is no text.
        """
        return Secret(text)

    def current(self) -> Scope | None:
        """Return the scope that is current here; inside a hook the resource's own; None if there is none."""
        return current()


alchemy = Alchemy()
