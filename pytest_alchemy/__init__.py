"""
Ephemeral test scopes: whatever a test makes outside its own process is destroyed, whatever ends the test.

The names below are loaded when they are first used: the plugin's entry, which every pytest run imports, lies in this
package.
"""

from __future__ import annotations

TYPE_CHECKING = False  # that of `typing` takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from pytest_alchemy.app import alchemy as alchemy
    from pytest_alchemy.errors import StageDestroyed as StageDestroyed
    from pytest_alchemy.physicalnames import NameRule as NameRule
    from pytest_alchemy.resource import Resource as Resource
    from pytest_alchemy.resource import output as output
    from pytest_alchemy.scope import Scope as Scope
    from pytest_alchemy.secret import Secret as Secret
    from pytest_alchemy.values import Env as Env

__all__ = ["Env", "NameRule", "Resource", "Scope", "Secret", "StageDestroyed", "alchemy", "output"]

_ROOMS = {
    "Env": "values",
    "NameRule": "physicalnames",
    "Resource": "resource",
    "Scope": "scope",
    "Secret": "secret",
    "StageDestroyed": "errors",
    "alchemy": "app",
    "output": "resource",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
