from __future__ import annotations

from pytest_alchemy import Scope
from pytest_alchemy.cloudflare import D1Database, KVNamespace, Worker

SCRIPT = """
export default {
  async fetch(request, env) {
    const { results } = await env.ENTRIES.prepare("SELECT name FROM entries").all();
    return Response.json(results);
  },
};
"""


def declare(scope: Scope) -> Worker:
    """Declare what the guestbook consists of, in a preview, in production, or in a test."""
    entries = scope.create(D1Database("entries"))
    cache = scope.create(KVNamespace("cache"))
    return scope.create(
        Worker("site", script=SCRIPT, bindings={"ENTRIES": entries, "CACHE": cache})
    )
