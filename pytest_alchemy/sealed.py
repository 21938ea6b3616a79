"""
How secrets look in a record: encrypted with the key of their stage, bound to the place in which they stand.

A secret is ``{"$secret": text}`` there: AES-256-GCM under a random nonce, with application, stage, scope path, key of
the resource and name of the field as associated data. One that was moved to another place, or edited, does not open.

A lasting stage has a random key of its own, which is recorded with it, encrypted with what scrypt makes of the
password. The stage of a test has none recorded anywhere: its key comes from the user's own key on this machine and
the stage's name, which has the run's random id in it. So the watchdog, the reaper and the next run of the same user
on this machine can open what a dead run sealed, and nobody else can, wherever a copy of the folder gets to.

Nothing here costs anything before the first secret is recorded or opened.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pytest_alchemy.errors import (
    CryptographyMissingError,
    NoPasswordError,
    SecretUnreadableError,
    WrongPasswordError,
)
from pytest_alchemy.records import Vault
from pytest_alchemy.secret import Secret
from pytest_alchemy.values import holds_secrets, map_secrets

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PASSWORD_VARIABLE: Final = "ALCHEMY_PASSWORD"  # noqa: S105 (the variable's name)
"""Environment variable from which commands that run no program take the password of a lasting stage."""

_NONCE: Final = 12
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_MEMORY: Final = 256 * 1024 * 1024  # the most that scrypt may take, whatever a vault says


class Sealer:
    """
    Seals the secrets of one stage where they are recorded, and opens them again.

    Args:
        app: Name of the application.
        stage: Full name of the stage.
        key: Returns the stage's key, 32 bytes; called once, when it is first needed.
    """

    def __init__(self, app: str, stage: str, key: Callable[[], bytes]) -> None:
        self._app, self._stage, self._key = app, stage, key
        self._cipher: AESGCM | None = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """
        Make sure that secrets can be sealed and opened here.

        Raises:
            CryptographyMissingError: The library for it is not installed.
            NoPasswordError: The stage outlives its programs, and no password was given.
            WrongPasswordError: Another password was given than the one it was sealed with.
        """
        self._ready()

    def seal(self, path: tuple[str, ...], key: str, data: dict[str, Any]) -> dict[str, Any]:
        """
        Return *data* as it is recorded: every secret in it sealed.

        Args:
            path: Path of the resource's scope.
            key: The resource's key in it (``<kind>-<id>``).
            data: Properties or outputs of the resource.

        Raises:
            CryptographyMissingError, NoPasswordError, WrongPasswordError: As `check`.
        """
        return self._mapped(path, key, data, self._sealed)

    def unseal(self, path: tuple[str, ...], key: str, data: dict[str, Any]) -> dict[str, Any]:
        """Return *data* as it was before `seal`; each secret is opened when somebody asks for its value."""
        return self._mapped(path, key, data, self._lazily_opened)

    def _mapped(
        self,
        path: tuple[str, ...],
        key: str,
        data: dict[str, Any],
        change: Callable[[list[Any], Any], Any],
    ) -> dict[str, Any]:
        found = {}
        for name, value in data.items():
            if value.__class__ not in _SCALARS and holds_secrets(value):
                place = [self._app, self._stage, path, key, name]
                found[name] = map_secrets(value, partial(change, place))
        return {**data, **found} if found else data

    def _sealed(self, place: list[Any], secret: Any) -> Any:
        if not isinstance(secret, Secret):
            return secret  # it is already
        nonce = os.urandom(_NONCE)
        text = self._ready().encrypt(nonce, secret.value.encode(), _encode(place))
        return {"$secret": b64encode(nonce + text).decode()}

    def _lazily_opened(self, place: list[Any], form: Any) -> Any:
        if isinstance(form, Secret):
            return form  # it is in memory as it was made
        return Secret.sealed(lambda: self._opened(form["$secret"], place))

    def _opened(self, text: str, place: list[Any]) -> str:
        cipher = self._ready()
        from cryptography.exceptions import InvalidTag

        try:
            data = b64decode(text, validate=True)
            return cipher.decrypt(data[:_NONCE], data[_NONCE:], _encode(place)).decode()
        except (InvalidTag, ValueError):
            raise SecretUnreadableError(
                f"{self._app}/{self._stage}", place[-2], place[-1]
            ) from None

    def _ready(self) -> AESGCM:
        with self._lock:
            if self._cipher is None:
                self._cipher = _cipher(self._key())
            return self._cipher


def key_of_run(user_key: bytes, app: str, stage: str) -> bytes:
    """
    Return the key of a test's stage: another one for each run, the same for every process of this user here.

    Args:
        user_key: The user's own random key on this machine.
        app: Name of the application.
        stage: Full name of the stage, with the run's random id.
    """
    return hmac.digest(user_key, _encode(["secrets of a run", app, stage]), "sha256")


class PasswordKey:
    """
    The key of a lasting stage, which a password opens.

    Args:
        stage: Title of the stage, for messages.
        password: The password; None if none was given.
        vault: The key as it is recorded; None if nothing was ever sealed in the stage.
        keep: Records a new vault, before anything that was sealed with its key.
    """

    def __init__(
        self, stage: str, password: str | None, vault: Vault | None, keep: Callable[[Vault], object]
    ) -> None:
        self._stage, self._password, self._vault, self._keep = stage, password, vault, keep

    def __call__(self) -> bytes:
        """
        Return the key.

        Raises:
            CryptographyMissingError, NoPasswordError, WrongPasswordError: As `Sealer.check`.
        """
        if not self._password:
            raise NoPasswordError(self._stage)
        if self._vault is None:
            vault, key = _new_vault(self._password)
            self._keep(vault)
            self._vault = vault
            return key
        return self._open(self._vault, self._password)

    def _open(self, vault: Vault, password: str) -> bytes:
        cipher = _cipher(_stretched(password, vault))
        from cryptography.exceptions import InvalidTag

        try:
            return cipher.decrypt(
                vault.key[:_NONCE], vault.key[_NONCE:], _encode(_parameters(vault))
            )
        except InvalidTag:
            raise WrongPasswordError(self._stage) from None


def _new_vault(password: str) -> tuple[Vault, bytes]:
    vault, key, nonce = Vault(os.urandom(16), b""), os.urandom(32), os.urandom(_NONCE)
    sealed = _cipher(_stretched(password, vault)).encrypt(nonce, key, _encode(_parameters(vault)))
    return msgspec.structs.replace(vault, key=nonce + sealed), key


def _stretched(password: str, vault: Vault) -> bytes:
    return hashlib.scrypt(
        password.encode(),
        salt=vault.salt,
        n=vault.n,
        r=vault.r,
        p=vault.p,
        maxmem=_MEMORY,
        dklen=32,
    )


def _parameters(vault: Vault) -> list[Any]:
    return ["vault", vault.salt, vault.n, vault.r, vault.p]


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise CryptographyMissingError from error
    return AESGCM(key)


_encode = msgspec.json.encode
