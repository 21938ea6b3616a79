"""Names that people give: which ones are accepted, and the keys, folders, words and digests made from them."""

from __future__ import annotations

from hashlib import blake2b

from .errors import InvalidNameError, ResourceDefinitionError

LONGEST = 100
"""Longest application, stage or scope name, in characters."""

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

TO_DIGIT = bytes(ord(DIGITS[byte % 36]) for byte in range(256))
"""
Turns bytes into digits, as a table for `bytes.translate`.

256 is no multiple of 36, which costs no more than a three-hundredth of a bit per character.
"""

_READABLE = bytes(ord(chr(b).lower()) if b < 128 and chr(b).isalnum() else 32 for b in range(256))

_FOLDER_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_FOLDER_RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(10)))
)


def check_name(what: str, name: object) -> str:
    """
    Return *name* if it is a name.

    A name is made of letters and digits of any language, ``-``, ``_`` and ``.``, and begins with a
    letter or a digit.

    Args:
        what: What is named, with its article: ``"a stage"``.
        name: The name that was given.

    Raises:
        InvalidNameError: It is not a name; the error says why.
    """
    if not isinstance(name, str):
        reason = (
            "it is missing" if name is None else f"it is of type {type(name).__name__}, not text"
        )
    elif not name:
        reason = "it is empty"
    elif len(name) > LONGEST:
        reason = f"it has {len(name)} characters"
    elif not name[0].isalnum():
        reason = f"it starts with {name[0]!r}"
    else:
        wrong = next((char for char in name if not (char.isalnum() or char in "-_.")), None)
        if wrong is None:
            return name
        reason = f"it contains {wrong!r}"
    raise InvalidNameError(what, name, reason)


def check_kind(kind: object, class_name: str = "") -> str:
    """
    Return *kind* if it is one: lower-case ASCII letters and digits.

    A key splits at its first dash because no kind holds one.

    Args:
        kind: The kind that was given or derived.
        class_name: Name of the class that has it, for the error.

    Raises:
        ResourceDefinitionError: It is not a kind.
    """
    if isinstance(kind, str) and kind.isascii() and kind.isalnum() and kind == kind.lower():
        return kind
    raise ResourceDefinitionError(
        class_name or str(kind),
        f"{kind!r} is not a kind",
        'Use lower-case letters and digits: class ...(Resource, kind="bucket2")',
    )


def resource_key(kind: str, id: str) -> str:
    """
    Return the key of a resource within its scope.

    >>> resource_key("d1", "my-db").partition("-")[::2]
    ('d1', 'my-db')
    """
    return f"{kind}-{id}"


def folder_name(name: str) -> str:
    """
    Return the folder of the scope called *name*, which may be any text.

    Plain lower-case names are their own folder. Any other gets a readable part, ``+`` (which no
    plain name contains) and 82 bits of its digest: of a million names, two share a folder with odds
    of 1 to 10**13, also on disks that fold case. The result is ASCII, at most 100 characters, legal
    everywhere.

    >>> folder_name("my-app"), folder_name("My App")
    ('my-app', 'my-app+615l86hgsfyeczdd')
    """
    plain = 0 < len(name) <= LONGEST and name[0].isalnum() and _FOLDER_PLAIN.issuperset(name)
    if plain and name not in _FOLDER_RESERVED:
        return name
    readable = "-".join(words(name[-LONGEST:]))[-60:].strip("-") or "scope"
    return f"{readable}+{digest(name, length=16)}"


def words(text: str) -> list[str]:
    """Return the runs of ASCII letters and digits in *text*, in lower case."""
    return text.encode("ascii", "replace").translate(_READABLE).decode("ascii").split()


def digest(*parts: str, length: int = 14) -> str:
    """Return a digest of *parts*, no two lists of which read the same, in *length* characters."""
    return hash_of(measured(*parts), length).digest().translate(TO_DIGIT).decode("ascii")


def measured(*parts: str) -> str:
    """Return *parts* as one text, which no other parts give."""
    return "".join([f"{len(part)}:{part}" for part in parts])


def hash_of(text: str, length: int = 14) -> blake2b:
    """Return what has digested *text*, and may digest more, to *length* bytes."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=length)
