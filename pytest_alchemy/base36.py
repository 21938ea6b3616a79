"""Text in base 36, in digits and lower-case letters: what is written so, and digests of other text."""

from __future__ import annotations

from hashlib import blake2b

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

TO_DIGIT = bytes(ord(DIGITS[byte % 36]) for byte in range(256))
"""
Turns bytes into digits, as a table for `bytes.translate`.

256 is no multiple of 36, which costs no more than a three-hundredth of a bit per character.
"""


def is_base36(text: str) -> bool:
    """Tell whether *text* is in base 36; if it is empty, it is not."""
    return text.isascii() and text.isalnum() and text == text.lower()


def digest(*parts: str, length: int = 14) -> str:
    """Return a digest of *parts*, no two lists of which read the same, in *length* characters."""
    return hash_of(measured(*parts), length).digest().translate(TO_DIGIT).decode("ascii")


def measured(*parts: str) -> str:
    """Return *parts* as one text, which no other parts give."""
    return "".join([f"{len(part)}:{part}" for part in parts])


def hash_of(text: str, length: int = 14) -> blake2b:
    """Return what has digested *text*, and may digest more, to *length* bytes."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=length)
