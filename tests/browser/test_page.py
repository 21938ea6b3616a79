"""Promises of the page, kept in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_alchemy.report.book import FactBook
from pytest_alchemy.report.document import Origin
from pytest_alchemy.report.fates import WHATS
from pytest_alchemy.report.files import write
from tests.support import browser as browsers
from tests.unit.report.facts import NOON, ROOT, fact

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ORIGIN = Origin(
    app="shop",
    run="k3f9x2ab",
    rootdir=ROOT,
    title="shop/test-k3f9x2ab",
    clean_up="alchemy sweep --yes",
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    try:
        with browsers.browser() as browser:
            yield browser
    except browsers.NoBrowserError as error:
        if browsers.is_required():
            pytest.fail(f"{browsers.REQUIRED} is set, but {error}", pytrace=False)
        pytest.skip(str(error))


class Reader:
    """
    Somebody who reads pages.

    Attributes:
        complaints: What the browser said of the pages: errors of scripts, refused scripts, dialogs.
    """

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser, self._folder = browser, folder
        self.complaints: list[str] = []

    def opens(self, book: FactBook, *, origin: Origin = ORIGIN, **context: Any) -> Page:
        write(book, self._folder, origin)
        page = self._browser.new_context(**{"viewport": DESKTOP, **context}).new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", self._asked)
        page.goto((self._folder / "index.html").as_uri())
        return page

    def _asked(self, request: Any) -> None:
        if not request.url.endswith("/index.html"):
            self.complaints.append(f"asked for {request.url}")


@pytest.fixture
def reader(chromium: Browser, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(chromium, tmp_path / "report")
    yield reader
    for context in chromium.contexts:
        context.close()
    assert reader.complaints == []


@pytest.fixture
def book() -> FactBook:
    """One thing of each sort on worker gw3, and two that were destroyed on gw1 and gw10."""
    book = FactBook("shop/test-k3f9x2ab")
    book.count(created=9, destroyed=2, scopes=4, retries={"429": 2})
    for number, what in enumerate(WHATS):
        book.add(
            fact(what, id=f"orders-{number}", name=f"alt-{what}", at=NOON + number, ready=NOON + number + 0.2,
                 ending=NOON + 20, ended=0 if what == "kept" else NOON + 20 + number, errors=("boom 1", "boom 2"))
        )  # fmt: skip
    for worker in ("gw10", "gw1"):
        book.add(
            fact("destroyed", kind="Queue", id=f"jobs-{worker}", name=f"alt-{worker}", worker=worker, at=NOON + 1,
                 ready=NOON + 2, ending=NOON + 3, ended=NOON + 3.5, reason="")
        )  # fmt: skip
    return book


def states(page: Page) -> list[str]:
    return page.locator("#rows tr.row .state").all_inner_texts()


def lower(texts: list[str]) -> list[str]:
    return [text.lower() for text in texts]


def test_the_page_begins_with_the_verdict_the_numbers_and_the_problems(
    reader: Reader, book: FactBook
) -> None:
    page = reader.opens(book)

    assert page.title() == "3 leaks · shop/test-k3f9x2ab"
    assert page.locator("h1").inner_text() == "3 leaks shop/test-k3f9x2ab"
    tiles = [" ".join(text.split()) for text in page.locator(".tile").all_inner_texts()]
    assert tiles[:2] == ["9 created", "2 destroyed"]
    assert tiles[-2:] == ["1 leaked", "2 retried 2x 429"]
    first = page.locator(".card").first.inner_text()
    for told in (
        "LEAKED D1Database orders-0",
        "destroy failed: RuntimeError: boom",
        "tests/test_orders.py:41 in tests/test_orders.py::test_refund [gw3]",
        "alt-leaked",
        "alchemy sweep --yes",
        "pytest tests/test_orders.py::test_refund",
    ):
        assert told in " ".join(first.split()), first
    order = lower(page.locator(".card .state").all_inner_texts())
    assert order == list(WHATS)


def test_a_clean_run_says_so(reader: Reader) -> None:
    book = FactBook()
    book.count(created=3, destroyed=3, scopes=1)

    page = reader.opens(book)

    assert page.locator("h1 .verdict").inner_text() == "No leaks"
    assert "Everything that was made is gone." in page.locator("#problems").inner_text()
    assert not page.locator("#timeline").is_visible()
    assert not page.locator("#resources").is_visible()


def test_a_command_is_copied_with_one_click(reader: Reader, book: FactBook) -> None:
    page = reader.opens(book, permissions=["clipboard-read", "clipboard-write"])

    page.get_by_role("button", name="Copy: Clean up").first.click()

    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "alchemy sweep --yes"


def test_the_table_is_filtered_by_words_sort_and_worker(reader: Reader, book: FactBook) -> None:
    page = reader.opens(book)
    assert lower(states(page)) == [*WHATS, "destroyed", "destroyed"]

    page.get_by_label("Find").fill("JOBS-gw1")
    page.get_by_text("2 of 9 resources").wait_for()
    assert lower(states(page)) == ["destroyed"] * 2

    page.locator("#worker").select_option("gw1")
    page.get_by_text("1 of 9 resources").wait_for()

    page.locator("#worker").select_option("")
    page.get_by_label("Find").fill("")
    page.get_by_text("9 resources", exact=True).wait_for()
    chip = page.get_by_role("button", name="leaked 1")
    chip.press("Enter")
    assert chip.get_attribute("aria-pressed") == "false"
    assert "leaked" not in lower(states(page))


def test_the_table_is_sorted_by_any_column(reader: Reader, book: FactBook) -> None:
    page = reader.opens(book)
    header = page.locator("th", has_text="worker")

    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    workers = page.locator("td[data-label=worker]").all_inner_texts()
    assert workers == sorted(workers)

    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert page.locator("td[data-label=worker]").all_inner_texts() == sorted(workers, reverse=True)


def test_a_row_opens_to_all_that_is_known(reader: Reader, book: FactBook) -> None:
    page = reader.opens(book)
    button = page.locator("#rows .open").first

    button.press("Enter")

    inner = page.locator("#rows tr.inner").inner_text()
    assert button.get_attribute("aria-expanded") == "true"
    for told in ("boom 1", "boom 2", "alt-leaked", "cloudflare:acc1", "took 200 ms"):
        assert told in inner
    button.press("Enter")
    assert page.locator("#rows tr.inner").count() == 0


def test_the_timeline_has_a_lane_for_each_worker_and_a_bar_for_each_resource(
    reader: Reader, book: FactBook
) -> None:
    page = reader.opens(book)

    assert page.locator("svg .lane-name").all_text_contents() == ["gw1 · 1", "gw3 · 7", "gw10 · 1"]
    assert page.locator("#scroller .bar").count() == 9

    def end(what: str) -> float:
        box = page.locator(f"#scroller .bar.{what} .life").first.bounding_box()
        assert box is not None
        return box["x"] + box["width"]

    assert end("leaked") > end("reaped") > end("destroyed")  # what is still there does not end


def test_sorts_of_bars_differ_by_more_than_their_colour(reader: Reader, book: FactBook) -> None:
    page = reader.opens(book)

    looks = {
        what: page.locator(f"#scroller .bar.{what}").first.evaluate(
            """bar => { const life = bar.querySelector('.life'), style = getComputedStyle(life);
            return [life.tagName, style.fill.split('(')[0], style.fill.includes('#') ? style.fill.split('-')[0] : '',
                    style.strokeDasharray, style.fillOpacity, bar.querySelectorAll('.end').length].join() }"""
        )
        for what in (
            "leaked",
            "reaped",
            "unfinished",
            "kept",
            "untracked",
            "destroyed",
            "elsewhere",
        )
    }

    assert len(set(looks.values())) == len(looks), looks


def test_a_bar_tells_its_details_when_pointed_at(reader: Reader, book: FactBook) -> None:
    page = reader.opens(book)

    page.locator("#scroller .bar.reaped").hover()

    assert "REAPED D1Database orders-4" in page.locator("#details").inner_text()


def test_the_timeline_is_walked_by_keyboard(reader: Reader, book: FactBook) -> None:
    page = reader.opens(book)

    def focused() -> str:
        return str(page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))

    page.get_by_role("button", name="Zoom in").focus()
    page.keyboard.press("Tab")
    if not focused():  # some browsers stop at a box that scrolls
        page.keyboard.press("Tab")
    assert focused().startswith("leaked D1Database orders-0")

    page.keyboard.press("ArrowRight")
    assert focused().startswith("unrecoverable D1Database orders-1")
    assert "UNRECOVERABLE" in page.locator("#details").inner_text()
    page.keyboard.press("End")
    assert focused().startswith("kept D1Database orders-6")
    page.keyboard.press("ArrowDown")
    assert focused().startswith("destroyed Queue jobs-gw10")
    page.keyboard.press("+")
    assert focused().startswith("destroyed Queue jobs-gw10")
    page.keyboard.press("Enter")
    assert page.get_by_label("Find").input_value() == "alt-gw10"
    page.get_by_text("1 of 9 resources").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_readable_in_either_scheme(reader: Reader, book: FactBook, scheme: Any) -> None:
    page = reader.opens(book, color_scheme=scheme)

    worst = page.evaluate(CONTRAST)

    assert worst["ratio"] >= 4.5, worst
    assert (worst["ground"] < 0.1) is (scheme == "dark")


# The contrast of WCAG 2.2, of every element that holds text itself, against the nearest ground behind it.
CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const paper = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = (colour) => {
    paper.clearRect(0, 0, 1, 1); paper.fillStyle = colour; paper.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paper.getImageData(0, 0, 1, 1).data;
    return a < 255 ? null : .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const found = light(getComputedStyle(element).backgroundColor);
      if (found !== null) return found;
    }
  };
  let worst = { ratio: 99, ground: ground(document.body) };
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('svg, script, noscript') || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), ground(element)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst.ratio) worst = { ...worst, ratio, what: element.outerHTML.slice(0, 200) };
  }
  return worst;
}"""


def test_a_phone_shows_all_of_it_without_scrolling_sideways(reader: Reader, book: FactBook) -> None:
    book.add(fact(id="w" * 300, name="n" * 300, reason="r" * 300, test="t" * 300, scope="s" * 300))

    page = reader.opens(book, viewport=PHONE, has_touch=True, is_mobile=True)

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.locator("#scroller .bar.reaped .life").tap()
    assert "REAPED" in page.locator("#details").inner_text()
    page.locator("#rows .open").first.tap()
    assert page.locator("#rows tr.inner").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


# The texts of all elements that a selector finds and that are one word on more than one line.
BROKEN_WORDS = """(selector) => [...document.querySelectorAll(selector)].filter((element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1;
}).map((element) => element.textContent)"""


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_no_word_of_ours_is_broken_in_its_middle(
    reader: Reader, book: FactBook, width: int
) -> None:
    deep = "tests/integration/test_orders.py::TestOrders::test_create[postgres]"
    for number in range(20):
        book.add(fact(kind="PostgresDatabase", id="o", name=f"alt-more-{number}", test=deep))

    page = reader.opens(book, viewport={"width": width, "height": 800})

    words = ".tile span, .state, td[data-label=resource] > bdi:first-child"
    assert page.locator(words).count() > 60
    assert page.evaluate(BROKEN_WORDS, words) == []


def test_5_000_resources_are_shown_soon(reader: Reader, book: FactBook) -> None:
    for number in range(5000):
        at = NOON + number / 100
        book.add(
            fact("destroyed", id=f"db-{number}", name=f"alt-{number}", worker=f"gw{number % 4}", at=at, ready=at + 0.1,
                 ending=at + 0.3, ended=at + 0.4)
        )  # fmt: skip

    page = reader.opens(book)

    assert page.locator("#scroller .bar").count() == 5009
    assert page.locator("#rows tr.row").count() == 200
    took = page.evaluate("performance.timing.domComplete - performance.timing.navigationStart")
    assert took < 15_000  # a fraction of a second; the limit allows for a busy machine
    page.get_by_role("button", name="Show 200 more").click()
    assert page.locator("#rows tr.row").count() == 400
    page.get_by_label("Find").fill("db-4999")
    page.get_by_text("1 of 5009 resources").wait_for()


HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script><!--",
    "<!--<script>",
    '"><img src=x onerror=alert(3)>',
    "'-alert(4)-'",
    "<svg onload=alert(5)>",
    "&lt;b&gt;${alert(6)}$data",
    "line\nbreak\r\ttab\x00\x1b[31m\u2028",
    "\u202eright to left override",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\ud800 half",
    "javascript:alert(7)",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text_in_the_page(reader: Reader, text: str) -> None:
    book = FactBook()
    fields = ("kind", "id", "name", "scope", "world", "worker", "test", "where", "reason", "hint")
    for what in ("leaked", "destroyed"):
        book.add(fact(what, **dict.fromkeys(fields, text), errors=(text, text)))
    origin = replace(ORIGIN, title=text, clean_up=text)

    page = reader.opens(book, origin=origin)
    page.locator("#rows .open").first.click()
    page.locator("#scroller .bar").first.hover()

    assert page.locator("script").count() == 2
    assert page.locator("img, main section svg svg, iframe").count() == 0
    shown = fact(id=text).id
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    for place in (".card h3 strong", "#rows strong", "#details strong"):
        assert page.locator(place).first.text_content() == visible
