"""The README and the pages under docs lead to each other, and nowhere else that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [README, *PAGES, *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING"))]


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file, and the heading in it if one is named, of each link of *page* that leads to no other host."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            file, _, heading = target.partition("#")
            yield (page.parent / file).resolve() if file else page, heading


def headings(page: Path) -> set[str]:
    """Return what links call the headings of *page*."""
    programs = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+)$", programs.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [
        f"{file}#{heading}"
        for file, heading in links(page)
        if not file.exists() or (heading and heading not in headings(file))
    ]

    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    assert PAGES
    assert set(PAGES) <= {file for file, _ in links(README)}
