"""Where the credentials for the real API come from."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pytest_alchemy.cloudflare.errors import CredentialsError

TOKEN_VARIABLE = "CLOUDFLARE_API_TOKEN"  # noqa: S105 (the variable's name)
ACCOUNT_VARIABLE = "CLOUDFLARE_ACCOUNT_ID"

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    What a call to the real API needs.

    Attributes:
        account_id: The account.
        api_token: The token; never printed.
    """

    account_id: str
    api_token: str = field(repr=False)


def find_credentials(profile: str) -> Credentials:
    """
    Return the credentials of *profile*.

    The profile ``default`` takes the environment's if they are complete, else those of its file; a profile with a
    name of its own takes its file's, and the environment's only if it has no file. One source gives both values.

    Raises:
        CredentialsError: There are none, they are not complete, or others may read their file.
    """
    if not _PROFILE.fullmatch(profile):
        raise CredentialsError(profile, "that is not a name for a profile")
    file = credentials_file(profile)
    from_environment = _from_environment()
    if from_environment is not None and (profile == "default" or not file.exists()):
        return from_environment
    if file.exists():
        return _from_file(profile, file)
    set_already = [name for name in (TOKEN_VARIABLE, ACCOUNT_VARIABLE) if os.environ.get(name)]
    reason = f"only {set_already[0]} is set" if set_already else "nothing is configured"
    raise CredentialsError(profile, reason, ("the environment", str(file)))


def credentials_file(profile: str) -> Path:
    """Return the path of the file that holds the credentials of *profile*, whether it exists or not."""
    home = os.environ.get("ALCHEMY_HOME")
    base = Path(home) if home else Path.home() / ".alchemy"
    return base / "credentials" / profile / "cloudflare.json"


def _from_environment() -> Credentials | None:
    token, account = os.environ.get(TOKEN_VARIABLE), os.environ.get(ACCOUNT_VARIABLE)
    return Credentials(account, token) if token and account else None


def _from_file(profile: str, file: Path) -> Credentials:
    try:
        with file.open(encoding="utf-8") as stream:
            _refuse_readable(profile, file, os.fstat(stream.fileno()))
            data = json.load(stream)
    except (OSError, ValueError) as error:
        raise CredentialsError(profile, f"{file} cannot be read: {error}") from None
    missing = [
        name
        for name in ("api_token", "account_id")
        if not isinstance(data, dict) or not isinstance(data.get(name), str) or not data[name]
    ]
    if missing:
        raise CredentialsError(profile, f"{file} has no {' and no '.join(missing)}")
    return Credentials(data["account_id"], data["api_token"])


def _refuse_readable(profile: str, file: Path, status: os.stat_result) -> None:
    if sys.platform != "win32" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CredentialsError(
            profile,
            f"others may read {file} (mode {stat.S_IMODE(status.st_mode):03o}): chmod 600 it, and change the token",
        )
