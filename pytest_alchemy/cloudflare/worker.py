"""Workers as resources."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any, Self

from pytest_alchemy.cloudflare.client import Api, run_hook
from pytest_alchemy.cloudflare.d1 import D1Database
from pytest_alchemy.cloudflare.kv import KVNamespace
from pytest_alchemy.cloudflare.queue import Queue
from pytest_alchemy.cloudflare.r2 import R2Bucket
from pytest_alchemy.cloudflare.resource import AccountResource
from pytest_alchemy.errors import InvalidPropertyError
from pytest_alchemy.physicalnames import NameRule
from pytest_alchemy.resource import output
from pytest_alchemy.secret import Secret
from pytest_alchemy.values import Env

_ALL = "/workers/scripts"
_FILE = "worker.js"
_EXPORTS = re.compile(r"^\s*export\b", re.MULTILINE)


class Worker(AccountResource, kind="worker", name_rule=NameRule(max=63)):
    """
    A Worker, deployed and shown at the account's subdomain of workers.dev.

    In the fake account its script is kept but not run: a request to its `url` is answered with status 501.

    Properties:
        script: JavaScript as a ``str``: modules (``export default {...}``) or a script with event listeners. Or a
            `pathlib.Path`, never a ``str``, of a file that holds it and is read at once, so that a changed file is a
            change of the Worker.
        bindings: What the script finds in its ``env``, by name. Another resource (a database, a namespace, a bucket, a
            queue, a Worker) becomes its binding, ``alchemy.env(...)`` or ``alchemy.secret(...)`` a secret, text a plain
            variable, and any other data JSON.
        compatibility_date: The runtime's behaviour to use, as ``YYYY-MM-DD``; None leaves it to Cloudflare.
        compatibility_flags: Flags of the runtime.

    Outputs:
        url: Where it answers: ``https://<name>.<subdomain>.workers.dev``.
    """

    script: str | Path
    bindings: dict[str, Any] = {}  # noqa: RUF012 (a field's default, copied for each object)
    compatibility_date: str | None = None
    compatibility_flags: tuple[str, ...] = ()

    url: str = output()

    def __post_init__(self) -> None:
        if isinstance(self.script, Path):
            self.script = self._read_script(self.script)
        elif _is_path(self.script):
            raise InvalidPropertyError(
                repr(self),
                "script",
                f"is no JavaScript but the path of a file: {self.script!r}",
                f"Write script=Path({self.script!r}), with pathlib.Path: a str is the script itself.",
            )

    def _read_script(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidPropertyError(
                repr(self),
                "script",
                f"is a file that cannot be read: {error}",
                f"Relative paths begin at {Path.cwd()}; a file beside the program is "
                f"Path(__file__).with_name({path.name!r}).",
            ) from error

    def update(self, previous: Self) -> Awaitable[None] | None:
        return run_hook(self.scope.settings, self._create)

    @property
    def _path(self) -> str:
        return f"{_ALL}/{self.name}"

    async def _create_once(self, api: Api) -> None:
        # An upload that is repeated makes nothing twice; that the script is there says nothing of its subdomain.
        await self._create(api)

    async def _create(self, api: Api) -> None:
        await api.call("PUT", self._path, query={"excludeScript": "true"}, files=self._files())
        await api.call("POST", f"{self._path}/subdomain", {"enabled": True}, again=True)
        self.url = await _url(api, self.name)

    async def _read(self, api: Api) -> bool:
        exists = await api.find(f"/workers/services/{self.name}") is not None
        if exists:
            self.url = await _url(api, self.name)
        return exists

    async def _destroy(self, api: Api) -> None:
        await api.delete(f"{self._path}?force=true")

    @classmethod
    async def _names(cls, api: Api) -> Iterable[str]:
        return [str(found["id"]) for found in await api.call("GET", _ALL)]

    def _files(self) -> dict[str, tuple[str | None, bytes, str]]:
        """Return the parts of the upload's form."""
        text = str(self.script)
        has_modules = _EXPORTS.search(text) is not None
        metadata = {
            "main_module" if has_modules else "body_part": _FILE,
            "compatibility_date": self.compatibility_date,
            "compatibility_flags": list(self.compatibility_flags),
            "bindings": [_binding(name, value) for name, value in self.bindings.items()],
        }
        kind = "application/javascript+module" if has_modules else "application/javascript"
        given = {key: value for key, value in metadata.items() if value is not None}
        return {
            "metadata": (None, json.dumps(given).encode(), "application/json"),
            _FILE: (_FILE, text.encode(), kind),
        }


def _is_path(script: str) -> bool:
    """Tell whether who wrote *script* meant the file with this path."""
    is_one_line = "\n" not in script.strip()
    return is_one_line and (script.endswith((".js", ".mjs", ".ts")) or os.path.isfile(script))


async def _url(api: Api, name: str) -> str:
    subdomain = (await api.call("GET", "/workers/subdomain"))["subdomain"]
    host = f"{name}.{subdomain}.workers.dev"
    if api.account.fake is not None:
        from pytest_alchemy.cloudflare.fake.respx_door import keep_at_home

        keep_at_home(api.account.fake)
    return f"https://{host}"


def _binding(name: str, value: Any) -> dict[str, Any]:
    """Return what the API calls a binding to *value*."""
    match value:
        case D1Database():
            return {"name": name, "type": "d1", "id": value.uuid}
        case KVNamespace():
            return {"name": name, "type": "kv_namespace", "namespace_id": value.namespace_id}
        case R2Bucket():
            return {"name": name, "type": "r2_bucket", "bucket_name": value.name}
        case Queue():
            return {"name": name, "type": "queue", "queue_name": value.name}
        case Worker():
            return {"name": name, "type": "service", "service": value.name}
        case Env() | Secret():
            return {"name": name, "type": "secret_text", "text": value.value}
        case str():
            return {"name": name, "type": "plain_text", "text": value}
        case _:
            return {"name": name, "type": "json", "json": value}
