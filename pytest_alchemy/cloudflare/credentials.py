"""Where the credentials for the real API come from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from pytest_alchemy.cloudflare.errors import CredentialsError
from pytest_alchemy.errors import HomeFileError
from pytest_alchemy.home import credentials_file, read_json

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
    file = credentials_file(profile, "cloudflare")
    from_environment = _from_environment()
    if from_environment is not None and (profile == "default" or not file.exists()):
        return from_environment
    if file.exists():
        return _from_file(profile, file)
    set_already = [name for name in (TOKEN_VARIABLE, ACCOUNT_VARIABLE) if os.environ.get(name)]
    reason = f"only {set_already[0]} is set" if set_already else "nothing is configured"
    raise CredentialsError(profile, reason, ("the environment", str(file)))


def _from_environment() -> Credentials | None:
    token, account = os.environ.get(TOKEN_VARIABLE), os.environ.get(ACCOUNT_VARIABLE)
    return Credentials(account, token) if token and account else None


def _from_file(profile: str, file: Path) -> Credentials:
    try:
        data = read_json(file, private=True) or {}
    except HomeFileError as error:
        raise CredentialsError(profile, str(error).removesuffix(".")) from None
    missing = [
        name
        for name in ("api_token", "account_id")
        if not isinstance(data.get(name), str) or not data[name]
    ]
    if missing:
        raise CredentialsError(profile, f"{file} has no {' and no '.join(missing)}")
    return Credentials(data["account_id"], data["api_token"])
