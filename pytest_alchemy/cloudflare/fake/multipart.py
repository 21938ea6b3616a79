"""Reading ``multipart/form-data`` bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARAMETER = re.compile(r';\s*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')
_ESCAPED = re.compile(r"\\(.)")


class MalformedBody(ValueError):
    """The body is not what its content type says."""


@dataclass(frozen=True, slots=True)
class Part:
    """
    One part of a form.

    Attributes:
        name: Name of the form's field.
        filename: Name of the file, None if the part is not one.
        content_type: Its own content type, empty if it has none.
        body: Its bytes.
    """

    name: str
    filename: str | None
    content_type: str
    body: bytes


def is_form(content_type: str) -> bool:
    """Whether *content_type* announces a form in parts."""
    return content_type.lower().startswith("multipart/form-data")


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """
    Return the parts of *body*, in order.

    Raises:
        MalformedBody: There is no boundary, or the body does not follow it.
    """
    boundary = _parameters(content_type).get("boundary", "")
    if not boundary:
        raise MalformedBody("the content type names no boundary")
    line = b"\r\n--" + boundary.encode("latin-1", "replace")
    # The first boundary has no line end before it.
    pieces = (b"\r\n" + body).split(line)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise MalformedBody("the body does not end with its boundary")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, blank, body = piece.partition(b"\r\n\r\n")
    if not blank:
        raise MalformedBody("a part has no headers")
    headers = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    parameters = _parameters(headers.get("content-disposition", ""))
    if "name" not in parameters:
        raise MalformedBody("a part has no name")
    return Part(
        parameters["name"], parameters.get("filename"), headers.get("content-type", ""), body
    )


def _parameters(header: str) -> dict[str, str]:
    return {
        match[1].lower(): _ESCAPED.sub(r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(header)
    }
