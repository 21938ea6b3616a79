"""
The user's own folder: what profiles there are, and the credentials of each.

::

    ~/.alchemy/                                 ALCHEMY_HOME names another one
    ├── config.json                             settings of profiles; no secrets
    └── credentials/<profile>/<provider>.json   mode 0600, in folders of mode 0700
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, Final

from pytest_alchemy.errors import HomeFileError

HOME_VARIABLE: Final = "ALCHEMY_HOME"


def home() -> Path:
    """Return the user's folder, as the environment says it now; it need not exist."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".alchemy"


def config_file() -> Path:
    """Return the path of the settings of all profiles."""
    return home() / "config.json"


def credentials_file(profile: str, provider: str) -> Path:
    """Return the path of the credentials of *profile* for *provider*, whether it exists or not."""
    return home() / "credentials" / profile / f"{provider}.json"


def profiles() -> list[str]:
    """
    Return the names of the profiles that are configured or have credentials, sorted.

    Raises:
        HomeFileError: The settings cannot be read.
    """
    configured = (read_json(config_file()) or {}).get("profiles", {})
    folder = home() / "credentials"
    logged_in = {file.parent.name for file in folder.glob("*/*.json")}
    return sorted({*configured, *logged_in})


def settings_of(profile: str, provider: str) -> dict[str, Any]:
    """
    Return what is configured for *profile* at *provider*; nothing is an empty dict.

    Raises:
        HomeFileError: The settings cannot be read.
    """
    found: Any = read_json(config_file()) or {}
    for key in ("profiles", profile, provider):
        found = found.get(key, {})
        if not isinstance(found, dict):
            raise HomeFileError(str(config_file()), f"it has no JSON object at {key!r}")
    return dict(found)


def configure(profile: str, provider: str, settings: dict[str, Any]) -> None:
    """
    Set what is configured for *profile* at *provider*; everything else stays as it is.

    Raises:
        HomeFileError: The settings cannot be read or written.
    """
    settings_of(profile, provider)  # every level of it is an object
    document = read_json(config_file()) or {}
    document.setdefault("profiles", {}).setdefault(profile, {})[provider] = settings
    write_json(config_file(), document)


def read_json(file: Path, *, private: bool = False) -> dict[str, Any] | None:
    """
    Return the JSON object in *file*, None if there is no file.

    Args:
        file: Where it is.
        private: Refuse a file that others may read.

    Raises:
        HomeFileError: It cannot be read, is no JSON object, or others may read it.
    """
    try:
        with file.open(encoding="utf-8") as stream:
            if private:
                _refuse_readable(file, os.fstat(stream.fileno()))
            found = json.load(stream)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HomeFileError(str(file), f"it cannot be read: {error.strerror}") from None
    except ValueError as error:  # whose text quotes nothing of the file
        raise HomeFileError(str(file), f"it cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise HomeFileError(str(file), "it holds no JSON object")
    return found


def write_json(file: Path, document: dict[str, Any]) -> None:
    """
    Write *document* into *file*, for nobody else to read; the old one is there until the new one is whole.

    Raises:
        HomeFileError: It cannot be written.
    """
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        _make_private(file.parent)
        fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                json.dump(document, stream, indent=2)
                stream.write("\n")
                stream.flush()
                os.fsync(fd)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise HomeFileError(str(file), f"it cannot be written: {error.strerror}") from None


def forget(profile: str) -> list[Path]:
    """
    Remove the credentials of *profile* for all providers, and return the files that are gone.

    Raises:
        HomeFileError: One cannot be removed.
    """
    folder = home() / "credentials" / profile
    gone = []
    for file in sorted(folder.glob("*.json")):
        try:
            file.unlink()
        except OSError as error:
            raise HomeFileError(str(file), f"it cannot be removed: {error.strerror}") from None
        gone.append(file)
    if gone and not any(folder.iterdir()):
        folder.rmdir()
    return gone


def _make_private(folder: Path) -> None:
    """Make *folder* and those around it up to the user's own one, for nobody else to enter."""
    inside = [folder, *folder.parents]
    for each in reversed(inside[: inside.index(home()) + 1]):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
        each.chmod(0o700)


def _refuse_readable(file: Path, status: os.stat_result) -> None:
    if sys.platform != "win32" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise HomeFileError(
            str(file), f"others may read it (mode {mode:03o}): chmod 600 it, and change the token"
        )
