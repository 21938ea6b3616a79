"""What programs and tests call ``alchemy``."""

from __future__ import annotations

from pytest_alchemy.scope import Scope, current
from pytest_alchemy.secret import Secret
from pytest_alchemy.validation import Env


class Alchemy:
    """The ways in that need no scope at hand."""

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
