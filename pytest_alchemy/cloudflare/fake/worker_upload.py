"""What a worker is uploaded as: a form of metadata and modules, or one script."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pytest_alchemy.cloudflare.fake.multipart import MalformedBody, is_form, parts_of
from pytest_alchemy.cloudflare.fake.wire import LIMIT_HEADERS, Refusal, Request, Response

_SCRIPT = "script"
_SCRIPT_TYPES = ("application/javascript", "text/javascript")
_BOUNDARY = "fake-cloudflare-worker"
# A look at the text is all it takes without a JavaScript engine: what could be a handler is taken for one.
_HANDLER = re.compile(
    r"""\b(fetch|queue|scheduled|email|tail|trace|alarm)\s*[(:=,}]|addEventListener\(\s*["'](\w+)["']"""
)


@dataclass(frozen=True, slots=True)
class Module:
    """One file of a worker."""

    name: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Code:
    """
    The files of a worker.

    Attributes:
        main: Name of the module that it starts with; empty if it has assets only.
        has_modules: True for modules (``export default``), False for a script with event listeners.
        modules: All files, in the order of their upload.
    """

    main: str
    has_modules: bool
    modules: Sequence[Module]

    @property
    def etag(self) -> str:
        digest = hashlib.sha256(self.main.encode())
        for module in self.modules:
            digest.update(b"\0" + module.name.encode() + b"\0" + module.body)
        return digest.hexdigest()

    @property
    def handlers(self) -> list[str]:
        """The events that it seems to handle."""
        text = "\n".join(module.body.decode("utf-8", "replace") for module in self.modules)
        return sorted({match[1] or match[2] for match in _HANDLER.finditer(text)})

    def response(self) -> Response:
        """Return the answer that carries the source: a form of modules, or the script as it is."""
        if not self.has_modules:
            (script,) = (module for module in self.modules if module.name == self.main)
            return Response(
                200, {"content-type": script.content_type, **LIMIT_HEADERS}, script.body
            )
        line = f"--{_BOUNDARY}".encode()
        parts = [
            b'%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: %s\r\n\r\n%s\r\n'
            % (line, _quoted(m.name), _quoted(m.name), m.content_type.encode(), m.body)
            for m in self.modules
        ]
        headers = {
            "content-type": f"multipart/form-data; boundary={_BOUNDARY}",
            "cf-entrypoint": json.dumps(self.main)[1:-1],
            **LIMIT_HEADERS,
        }
        return Response(200, headers, b"".join(parts) + line + b"--\r\n")


def read_upload(request: Request) -> tuple[dict[str, Any], Code]:
    """
    Return the metadata and the code that *request* uploads.

    Raises:
        Refusal: It is no upload, or its metadata names a module that it does not hold.
    """
    content_type = request.headers.get("content-type", "")
    if not is_form(content_type):
        if not content_type.lower().startswith(_SCRIPT_TYPES):
            invalid("expected multipart/form-data, or a script as application/javascript")
        script = Module(_SCRIPT, "application/javascript", request.body)
        return {"body_part": _SCRIPT}, Code(_SCRIPT, False, [script])
    parts = _parts(content_type, request.body)
    metadata = _object(parts.pop("metadata", None), "metadata")
    modules = {m.name: m for m in parts.values()}
    main, has_modules = _main(metadata)
    if main and main not in modules:
        invalid(f"No such module {main!r}: the upload holds {', '.join(modules) or 'no modules'}")
    return metadata, Code(main, has_modules, list(modules.values()))


def read_settings(request: Request) -> dict[str, Any]:
    """
    Return the settings in *request*: a form with the part ``settings``, or a JSON object.

    Raises:
        Refusal: It holds no settings.
    """
    content_type = request.headers.get("content-type", "")
    if is_form(content_type):
        return _object(_parts(content_type, request.body).get("settings"), "settings")
    body = request.json()
    if not isinstance(body, dict):
        invalid("settings have to be a JSON object")
    return body


def invalid(reason: str) -> NoReturn:
    """
    Refuse what does not make a worker.

    Raises:
        Refusal: Always.
    """
    raise Refusal(400, 10021, reason)


def _parts(content_type: str, body: bytes) -> dict[str, Module]:
    """Return metadata and settings by the name of their part, modules by their own."""
    try:
        parts = parts_of(content_type, body)
    except MalformedBody as error:
        invalid(f"Could not parse the form: {error}")
    found = {}
    for part in parts:
        # One SDK gives every module's part the same name; the file's name is the module's.
        is_module = part.name not in ("metadata", "settings")
        name = (part.filename or part.name) if is_module else part.name
        found[name] = Module(name, part.content_type or "application/javascript+module", part.body)
    return found


def _object(part: Module | None, name: str) -> dict[str, Any]:
    if part is None:
        invalid(f"The form has no part named {name}")
    try:
        found = json.loads(part.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        invalid(f"{name} has to be a JSON object")
    return found


def _main(metadata: dict[str, Any]) -> tuple[str, bool]:
    for key, has_modules in (("main_module", True), ("body_part", False)):
        main = metadata.get(key)
        if isinstance(main, str) and main:
            return main, has_modules
    if metadata.get("assets") or metadata.get("keep_assets"):
        return "", True
    invalid("metadata has to name a main_module or a body_part")


def _quoted(text: str) -> bytes:
    return text.replace("\\", "\\\\").replace('"', '\\"').encode()
