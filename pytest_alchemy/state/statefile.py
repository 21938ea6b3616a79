"""
A state file: what one scope owns, for people to read and for programs to go on from.

It is JSON with sorted keys. A reader finds the old one or the new one, never half of one, whenever the writer or
the power goes. Besides what its writer said it holds a ``nonce``, so that no two are alike, and a ``digest`` with the
user's key over everything else in it: a file that was edited, or comes from another machine, is read like any
other, but is not acted on without being asked to.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

import msgspec

from pytest_alchemy import clock
from pytest_alchemy.errors import StateFileError, StateFolderError, StateFormatError
from pytest_alchemy.state.disk import (
    disk,
    open_regular,
    read_all,
    reason_of,
    sync_data,
    sync_folder,
    write_all,
)
from pytest_alchemy.store import Versioned

STATE: Final = "state.json"
"""Name of the file in the folder of each scope."""

VERSION: Final = "1.0"
"""Version of the layout. Files with another second number are read too: what they have more of is kept."""

_PURPOSE = b"alchemy state"
_DIGEST = 16  # bytes
_BLANK = "0" * (2 * _DIGEST)
# Two spaces deep, so it is the document's own: a line break within a text is written as an escape.
_DIGEST_LINE = re.compile(rb'^  "digest": "([0-9a-f]{%d})"' % (2 * _DIGEST), re.MULTILINE)
_OWN = ("digest", "nonce")


def encode_state(document: dict[str, Any], key: bytes) -> bytes:
    """
    Return *document* as a state file says it; never the same twice.

    Raises:
        TypeError, ValueError, RecursionError: It holds something that is no plain data.
    """
    whole = {**document, "digest": _BLANK, "nonce": clock.token(16)}
    text = msgspec.json.encode(whole, order="sorted")
    data = msgspec.json.format(text, indent=2) + b"\n"
    digest = _digest(data, key=key).encode()
    return _DIGEST_LINE.sub(b'  "digest": "%b"' % digest, data, count=1)


def decode_state(data: bytes, source: str, key: bytes) -> Versioned:
    """
    Return what the state file *source* says.

    Raises:
        StateFormatError: A newer version wrote it.
        StateFileError: It is damaged.
    """
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateFileError(source, f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise StateFileError(source, "it is not a JSON object")
    _check_version(document.get("version"), source)
    for name, sort in (("resources", dict), ("scope", list)):
        if not isinstance(document.get(name), sort):
            raise StateFileError(source, f"it has no {name!r}")
    for name in _OWN:
        document.pop(name, None)
    said, computed = _digests(data, key)
    return Versioned(document, said + computed, source, trusted=said == computed)


def version_of(data: bytes, key: bytes) -> str:
    """Return what tells this content from every other."""
    return "".join(_digests(data, key))


def read_file(path: str) -> bytes | None:
    """
    Return the content of the ordinary file *path*, None if it is not there.

    Raises:
        LinkRefusedError: It is a link.
        StateFolderError: It is not an ordinary file, or cannot be read.
    """
    try:
        fd = open_regular(path, os.O_RDONLY)
        try:
            return read_all(fd)
        finally:
            disk.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateFolderError(path, reason_of(error)) from error


def replace_file(path: str, data: bytes) -> None:
    """
    Make *data* the content of *path*, as one step that survives a power cut; only one may do so at a time.

    Raises:
        StateFolderError: It cannot be written; *path* is what it was.
        LinkRefusedError: A link stands where the new content is prepared.
    """
    draft = draft_of(path)
    try:
        fd = open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            write_all(fd, data)
            sync_data(fd)
        finally:
            disk.close(fd)
        disk.replace(draft, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        with suppress(OSError):
            disk.unlink(draft)
        raise StateFolderError(path, reason_of(error)) from error


def draft_of(path: str) -> str:
    """Return where the next content of *path* is prepared; a killed writer leaves it there."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name.lstrip('.')}.new")


def _check_version(version: object, source: str) -> None:
    if not isinstance(version, str) or not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", version):
        raise StateFileError(source, f"its version is {version!r}")
    if int(version.partition(".")[0]) > int(VERSION.partition(".")[0]):
        raise StateFormatError(source, version, VERSION)


def _digests(data: bytes, key: bytes) -> tuple[str, str]:
    """Return the digest that *data* says of itself, empty if it says none, and the one that it has."""
    found = _DIGEST_LINE.search(data)
    start, end = found.span(1) if found else (0, 0)
    blank = _BLANK.encode() if found else b""
    return data[start:end].decode(), _digest(data[:start], blank, memoryview(data)[end:], key=key)


def _digest(*data: bytes | memoryview, key: bytes) -> str:
    mac = blake2b(digest_size=_DIGEST, key=key, person=_PURPOSE)
    for part in data:
        mac.update(part)
    return mac.hexdigest()
