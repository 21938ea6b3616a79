"""A value that is never shown: in clear only in memory, and only where somebody asks for it."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final, Self
from weakref import WeakValueDictionary

_SHORTEST: Final = 4  # a shorter text is found in every other sentence

_met: WeakValueDictionary[int, Secret] = WeakValueDictionary()
"""Every secret that this process knows the text of, as long as anybody else holds it."""


class Secret:
    """
    A text that is encrypted in state, and shows as ``secret(***)`` wherever it is printed.

    Args:
        text: The text itself.

    Raises:
        TypeError: It is no text.
    """

    __slots__ = ("__weakref__", "_open", "_text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"A secret is text, not {type(text).__name__}.")
        self._text: str | None = text
        self._open: Callable[[], str] | None = None
        _met[id(self)] = self

    @classmethod
    def sealed(cls, opened: Callable[[], str]) -> Self:
        """Return a secret that is opened when somebody asks for it."""
        secret = cls.__new__(cls)
        secret._text, secret._open = None, opened
        return secret

    @property
    def value(self) -> str:
        """
        The text itself.

        Raises:
            AlchemyError: It was recorded, and cannot be opened here.
        """
        if self._text is None:
            assert self._open is not None
            self._text = self._open()
            _met[id(self)] = self
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return other is self or hmac.compare_digest(self.value.encode(), other.value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.value))

    def __repr__(self) -> str:
        return "secret(***)"

    def __deepcopy__(self, _: object) -> Self:
        return self


def without_secrets(text: str) -> str:
    """
    Return *text* with every secret in it, as far as this process knows them, written as ``***``.

    What a provider answers or a driver complains about may quote what it was given. Secrets of less than four
    characters stay: they cannot be told from anything else.

    >>> password = Secret("correct horse")
    >>> without_secrets("no access for ada:correct horse@db")
    'no access for ada:***@db'
    """
    known = {secret.value for secret in list(_met.values())}
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, "***")
    return text
