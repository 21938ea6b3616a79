"""Finding the code that a record names: classes of kinds and deferred functions."""

from __future__ import annotations

import contextvars
import hashlib
import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from pytest_alchemy.errors import KindNotLoadedError
from pytest_alchemy.kinds import Kind, kind_of
from pytest_alchemy.records import Deferred, KindSeen
from pytest_alchemy.resource import Resource


class _Enough(BaseException):
    """A program that is loaded for its classes has come to where it begins to work."""


_loading: contextvars.ContextVar[bool] = contextvars.ContextVar("alchemy_loading", default=False)


def stop_loading() -> None:
    """End the loading of a program that is loaded for its classes alone; called where it begins to work."""
    if _loading.get():
        raise _Enough


def load_kind(seen: KindSeen) -> Kind:
    """
    Return the kind that *seen* tells of.

    Raises:
        KindNotLoadedError: Its class cannot be imported, or is none of a resource.
    """
    if not seen.importable:
        raise KindNotLoadedError(
            seen.qualname, seen.file or seen.module, "it is defined inside a function"
        )
    found = _find(seen.module, seen.file, seen.qualname)
    if not (isinstance(found, type) and issubclass(found, Resource)):
        raise KindNotLoadedError(
            seen.qualname, seen.file or seen.module, "it is not a resource class any more"
        )
    return kind_of(found)


def load_function(call: Deferred) -> Any:
    """
    Return the function of a deferred call.

    Raises:
        KindNotLoadedError: It cannot be imported.
    """
    if not call.module:
        raise KindNotLoadedError(
            call.function,
            call.where,
            "only the process that deferred it could call it: it is no module-level function",
        )
    return _find(call.module, call.file, call.function)


def _find(module: str, file: str, qualname: str) -> Any:
    try:
        found: Any = _import(module, file)
        for part in qualname.split("."):
            found = getattr(found, part)
    # The module is a user's: whatever it raises, the others still get their turn.
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        if not isinstance(error, (ImportError, AttributeError, OSError)):  # it is there, and breaks
            reason += " (define it in a module that can be imported by itself)"
        raise KindNotLoadedError(qualname, file or module, reason) from error
    return found


def _import(module: str, file: str) -> ModuleType:
    """Import *module* by its name if that is the recorded *file*, else from the file."""
    running = sys.modules["__main__"]
    if _same(getattr(running, "__file__", None), file):
        return running
    if module != "__main__":
        token = _loading.set(True)
        try:
            found = importlib.import_module(module)
        except ImportError:
            if not file:
                raise
        except _Enough:  # it was taken back; what it defines up to there is in its file
            if not file:
                raise ImportError(f"{module} begins to work when it is imported") from None
        else:
            if not file or _same(getattr(found, "__file__", None), file):
                return found
        finally:
            _loading.reset(token)
    return _import_file(module, file)


def _import_file(module: str, file: str) -> ModuleType:
    # conftest.py and test modules of one name may stand in several folders.
    name = f"{module}_{hashlib.blake2b(file.encode(), digest_size=6).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python source")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    token = _loading.set(True)
    words, sys.argv = sys.argv, [file]  # ours mean nothing to a program
    try:
        spec.loader.exec_module(made)
    except BaseException as stop:
        # What a program defines up to where it begins to work, or ends, has to do.
        if not isinstance(stop, (_Enough, SystemExit) if module == "__main__" else _Enough):
            del sys.modules[name]
            raise
    finally:
        sys.argv = words
        _loading.reset(token)
    return made


def _same(one: str | None, other: str) -> bool:
    return one is not None and os.path.realpath(one) == os.path.realpath(other)
