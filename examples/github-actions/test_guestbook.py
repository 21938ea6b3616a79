from __future__ import annotations

from guestbook import declare

from pytest_alchemy import Scope
from pytest_alchemy.cloudflare import D1Database


def test_the_site_finds_its_database(alchemy_scope: Scope) -> None:
    site = declare(alchemy_scope)

    assert isinstance(site.bindings["ENTRIES"], D1Database)
    assert site.url.startswith("https://")


def test_an_entry_is_kept(alchemy_scope: Scope) -> None:
    entries = alchemy_scope.create(D1Database("entries"))
    entries.exec("CREATE TABLE entries (name TEXT)")

    entries.query("INSERT INTO entries VALUES (?)", "Ada")

    assert entries.query("SELECT name FROM entries").rows == [{"name": "Ada"}]
