"""
The report as CI reads test results: ``leaks.xml``, a JUnit file of its own beside that of the tests.

A leak is a failed test case, anything else that was told a passed one with what is to be said as its output; a clean
run is one passed case.
"""

from __future__ import annotations

import re
from typing import Any, Final
from xml.etree import ElementTree as Xml

from pytest_alchemy.report import words
from pytest_alchemy.report.fates import LEAKS, WHATS

SUITE: Final = "alchemy.leaks"
MOST_CASES: Final = 1000
"""How many things get a test case of their own."""

# XML 1.0 knows no way to write these (section 2.2).
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_xml(document: dict[str, Any]) -> str:
    """Return *document* as a JUnit file."""
    problems = words.problems(document)
    cases = [_case(entry, document["clean_up"]) for entry in problems[:MOST_CASES]]
    if hidden := _hidden(document, len(cases)):
        cases.append(_element("testcase", classname=SUITE, name=f"and {hidden} more", time="0"))
        if _leaks(document) > sum(words.is_leak(entry) for entry in problems[:MOST_CASES]):
            _add(cases[-1], "failure", "there are more leaks", f"{_leaks(document)} leaks in all")
    if not cases:
        cases.append(_element("testcase", classname=SUITE, name="no leaks", time="0"))
    failures = sum(case.find("failure") is not None for case in cases)
    suite = _element(
        "testsuite",
        name=SUITE,
        tests=str(len(cases)),
        failures=str(failures),
        errors="0",
        skipped="0",
        time="0",
        timestamp=document["written_at"],
    )
    output = Xml.SubElement(suite, "system-out")
    output.text = _legal(words.counts(document))
    suite[:0] = cases
    root = _element("testsuites", name=SUITE)
    root.append(suite)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _hidden(document: dict[str, Any], shown: int) -> int:
    counts: dict[str, int] = document["counts"]
    return sum(counts[what] for what in WHATS) - shown


def _leaks(document: dict[str, Any]) -> int:
    counts: dict[str, int] = document["counts"]
    return sum(counts[what] for what in LEAKS)


def _case(entry: dict[str, Any], clean_up: str) -> Xml.Element:
    seconds = f"{entry['seconds']:.3f}"
    case = _element(
        "testcase", classname=entry["test"] or SUITE, name=words.thing(entry), time=seconds
    )
    text = "\n".join(_lines(entry, clean_up))
    if words.is_leak(entry):
        _add(case, "failure", entry["reason"] or words.MEANINGS[entry["what"]], text)
    else:
        Xml.SubElement(case, "system-out").text = _legal(text)
    return case


def _lines(entry: dict[str, Any], clean_up: str) -> list[str]:
    lines = [f"{entry['what'].upper()} {words.thing(entry)} in {entry['scope']}"]
    if origin := words.origin(entry):
        lines.append(f"created by {origin}")
    lines += [f"lives in {entry['world']}"] if entry["world"] else []
    lines += [text for text in (entry["reason"], entry["hint"]) if text]
    lines += [f"attempt {number}: {error}" for number, error in enumerate(entry["errors"], 1)]
    lines += [f"clean up: {clean_up}"] if clean_up and entry["what"] == "leaked" else []
    return lines


def _add(case: Xml.Element, tag: str, message: str, text: str) -> None:
    element = Xml.SubElement(case, tag, message=_legal(message))
    element.text = _legal(text)


def _element(tag: str, **attributes: str) -> Xml.Element:
    return Xml.Element(tag, {name: _legal(text) for name, text in attributes.items()})


def _legal(text: str) -> str:
    return _ILLEGAL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
