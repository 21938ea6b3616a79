"""
Physical names, under which providers know what is ours: what they take, how a name is made, and what it tells.

A physical name is bounded, unique, and can be read by machines: from the name alone `parse` tells
the application, the run, and how long the run may still want the thing. It comes in two layouts,
told apart by the marker:

* long, for rules of 44 characters or more:
  ``alt-<app>-<readable>-<run 8>-<app 4><hours 4><identity 10><check 4>``,
  in a lasting stage ``alc-<app>-<stage>-<readable>-<app 4><identity 10><check 4>``;
* short, exactly 24 characters: ``at<app 2><run 8><hours 4><identity 6><check 2>``,
  in a lasting stage ``ac<app 4><identity 14><check 4>``.

Numbers are in base 36. Hours count from 2025-01-01 (UTC), rounded up; the check
covers everything before it.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from . import clock
from .names import DIGITS, TO_DIGIT, digest, hash_of, measured, words

_PAIRS = tuple(first + second for first in DIGITS for second in DIGITS)

FIRST_MOMENT = 1735689600
"""The earliest moment that a name can tell, 2025-01-01 (UTC), in seconds since the epoch."""

_HOURS = 36**4  # the year 2216
_SHORT = 24
_LONG_FROM = 44


@dataclass(frozen=True)
class NameRule:
    """
    What a provider accepts as the name of a kind.

    Names made by it begin with a letter, end with a letter or a digit, and are in lower case.

    Attributes:
        max: Greatest length, in characters, from 24.
        alphabet: The characters, as in a regex class: ranges and single characters (no escapes).
            Must hold a-z and 0-9.

    Raises:
        ValueError: No unique name fits the rule.
    """

    max: int = 63
    alphabet: str = "a-z0-9-"

    def __post_init__(self) -> None:
        if isinstance(self.max, bool) or not isinstance(self.max, int):
            raise ValueError(f"NameRule: max is {self.max!r}, which is no number of characters.")
        if self.max < _SHORT:
            raise ValueError(
                f"NameRule: max={self.max} leaves no room for a unique name.\n"
                f"Use {_SHORT} or more, and a property for the name of a kind that takes less."
            )
        missing = sorted(set(DIGITS) - self.characters)
        if missing:
            raise ValueError(
                f"NameRule: alphabet {self.alphabet!r} lacks {''.join(missing)!r}.\n"
                "Every name needs a-z and 0-9: alphabet='a-z0-9-'"
            )

    @cached_property
    def characters(self) -> frozenset[str]:
        """Every character of the alphabet."""
        text, found, at = self.alphabet, set[str](), 0
        while at < len(text):
            first, last = text[at], text[at]
            if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
                last = text[at + 2]
                at += 2
            if first > last:
                raise ValueError(
                    f"NameRule: the range {first}-{last} of alphabet {text!r} runs backwards.\n"
                    f"Write it {last}-{first}, or put a literal '-' last."
                )
            found.update(map(chr, range(ord(first), ord(last) + 1)))
            at += 1
        return frozenset(found)

    @property
    def is_short(self) -> bool:
        """Whether names made by it have the short layout."""
        return self.max < _LONG_FROM

    @cached_property
    def separator(self) -> str:
        """What stands between the parts of a name: ``-``, else ``_``, else ``.``, else nothing."""
        return next((char for char in "-_." if char in self.characters), "")


@dataclass(frozen=True)
class Run:
    """
    One run of a program or test session.

    Attributes:
        id: 8 digits and lower-case letters (41 random bits: of 1,000 runs, two are alike with odds
            of 1 to 5 million).
        expires: Latest moment at which anything of the run may still be wanted, in seconds since
            the epoch, before the year 2216.

    Raises:
        ValueError: The id or the moment cannot be written into a name.
    """

    id: str
    expires: float

    def __post_init__(self) -> None:
        if len(self.id) != 8 or not _is_base36(self.id):
            raise ValueError(
                f"Run: {self.id!r} is not 8 digits and lower-case letters. Use new_run()."
            )
        if not 0 <= self.expires <= FIRST_MOMENT + 3600 * (_HOURS - 1):
            raise ValueError(
                f"Run: expires={self.expires!r} is not a moment between the years 1970 and 2216."
            )


def new_run(lifetime: float) -> Run:
    """Return a run with an id of its own that ends *lifetime* seconds from now at the latest."""
    return Run(clock.token(8), clock.now() + lifetime)


class Identity(NamedTuple):
    """
    What a physical name tells.

    Attributes:
        app: Beginning of the application's digest; `is_app` compares it.
        run: Id of the run, None in a lasting stage.
        expires: The run's latest moment, rounded up to the hour, in seconds since the epoch; None
            in a lasting stage.
        digest: Beginning of the digest of application, stage, path, kind and id; how much of it
            depends on the layout.
    """

    app: str
    run: str | None
    expires: float | None
    digest: str


class _Layout(NamedTuple):
    """Widths of the fields in a name's tail, in characters and in their order."""

    lasting: bool
    app: int
    hours: int
    digest: int
    check: int

    @property
    def tail(self) -> int:
        return self.app + self.hours + self.digest + self.check


_LONG_TEST = _Layout(lasting=False, app=4, hours=4, digest=10, check=4)
_LONG_LASTING = _Layout(lasting=True, app=4, hours=0, digest=10, check=4)
_SHORT_TEST = _Layout(lasting=False, app=2, hours=4, digest=6, check=2)
_SHORT_LASTING = _Layout(lasting=True, app=4, hours=0, digest=14, check=4)

_DEFAULT_RULE = NameRule()


def physical_name(
    *,
    app: str,
    stage: str,
    path: Sequence[str],
    kind: str,
    id: str,
    run: Run | None,
    rule: NameRule = _DEFAULT_RULE,
) -> str:
    """
    Return the name under which the provider knows a resource.

    The same arguments always give the same name. Different ones give different names but for the
    odds of their digests:

    * long layout: 51 bits. Of the names of one run, or of all lasting stages in an account, two are
      alike with odds of 1 to 7 billion among 1,000 names and 1 to 7,000 among a million;
    * short layout: in a run 31 bits (1 to 400,000 among 100 names, 1 to 4,000 among 1,000), in
      lasting stages 72 bits (1 to 10**10 among a million).

    Names of different runs differ in the run's id. A foreign name of the right shape is taken for
    ours with odds of 1 to 1.6 million, for a short test name 1 to 1,296; asking `is_app` as well
    squares both.

    Args:
        app: Name of the application.
        stage: Full name of the stage.
        path: Names of the scopes below the stage; any text, such as a test's node id.
        kind: The kind.
        id: The id its author gave; any text.
        run: The run, None for a lasting stage.
        rule: What the provider accepts; from 44 characters the name has a readable part.
    """
    return Namer(app=app, stage=stage, kind=kind, run=run, rule=rule).name(tuple(path), id)


class Namer:
    """
    Makes the physical names of one kind in one stage; what they have in common is worked out once.

    Args:
        app: As in `physical_name`, like all others.
    """

    __slots__ = ("_check", "_end", "_first", "_hash", "_head", "_room", "_sep", "_start", "_width")

    def __init__(
        self, *, app: str, stage: str, kind: str, run: Run | None, rule: NameRule = _DEFAULT_RULE
    ) -> None:
        self._hash = hash_of(measured(app, stage, kind))
        owner, hours = _app_digest(app), _hours(run.expires) if run else ""
        self._sep = sep = rule.separator
        if rule.is_short:
            layout = _SHORT_TEST if run else _SHORT_LASTING
            self._start = f"at{owner[:2]}{run.id}{hours}" if run else f"ac{owner}"
            self._end, self._room = "", -1  # nobody can read it
        else:
            layout = _LONG_TEST if run else _LONG_LASTING
            self._start = ("alt" if run else "alc") + sep
            self._end = f"{sep}{run.id}{sep}{owner}{hours}" if run else f"{sep}{owner}"
            self._room = rule.max - 17 - len(sep) - len(self._end)  # less marker and check
        self._width, self._check = layout.digest, layout.check
        # A run tells its stages apart, so that the room is left for scopes and id.
        self._head = words(app if run else f"{app} {stage}")
        # With too little room for head and id, the id says more.
        share = self._room // 3 if self._room >= 16 else 0
        self._first = sep.join(self._head)[:share].rstrip(sep or None)

    def name(self, path: tuple[str, ...], id: str) -> str:
        """Return the physical name of resource *id* in the scope at *path*."""
        around, spoken, shorter = _spoken(path)
        digester = self._hash.copy()  # of what all its names have in common
        digester.update(f"{len(id)}:{id}{around}".encode("utf-8", "surrogatepass"))
        last = digester.digest().translate(TO_DIGIT).decode("ascii")[: self._width]
        if self._room < 0:
            return _checked(self._start + last, self._check)
        own = words(id)
        readable = self._sep.join([*self._head, *spoken, *own])
        if len(readable) > self._room:
            readable = self._cut([*shorter, *own])
        start = self._start if readable else self._start[:3]
        return _checked(f"{start}{readable}{self._end}{last}", self._check)

    def _cut(self, spoken: list[str]) -> str:
        """Return what people read of a name whose middle is left out: its head, and the end of *spoken*."""
        first, sep = self._first, self._sep
        last = _end_of(sep.join(spoken), sep, self._room - (len(first) + len(sep) if first else 0))
        return first + sep + last if first and last else first or last


def identity(
    *,
    app: str,
    stage: str,
    path: Sequence[str],
    kind: str,
    id: str,
    run: Run | None,
    rule: NameRule = _DEFAULT_RULE,
) -> Identity:
    """Return what `parse` reads from the `physical_name` of the same arguments."""
    short = rule.is_short
    tests, lasting = (_SHORT_TEST, _SHORT_LASTING) if short else (_LONG_TEST, _LONG_LASTING)
    layout = tests if run else lasting
    return Identity(
        app=_app_digest(app)[: layout.app],
        run=run.id if run else None,
        expires=_moment(_hours(run.expires)) if run else None,
        digest=digest(app, stage, kind, id, *path)[: layout.digest],
    )


def parse(name: str) -> Identity | None:
    """
    Return what *name* tells, or None if it is not a name of ours.

    >>> run = Run("k3f9x2ab", expires=1767225600.0)
    >>> parse(physical_name(app="shop", stage="test", path=["a"], kind="d1", id="orders", run=run))
    Identity(app='x60k', run='k3f9x2ab', expires=1767225600.0, digest='pxaepjh3uf')
    >>> parse("alt-shop-orders")
    """
    fields = _split(name)
    if fields is None:
        return None
    layout, run, tail = fields
    if not _is_base36(run + tail) or _checked(name[: -layout.check], layout.check) != name:
        return None
    return Identity(
        app=tail[: layout.app],
        run=None if layout.lasting else run,
        expires=None if layout.lasting else _moment(tail[layout.app : layout.app + layout.hours]),
        digest=tail[layout.app + layout.hours : -layout.check],
    )


def is_app(identity: Identity, app: str) -> bool:
    """
    Tell whether *identity* may belong to the application *app*.

    Another application is taken for it with odds of 1 to 1.6 million, in short test names of 1 to
    1,296.
    """
    return _app_digest(app).startswith(identity.app)


def _split(name: str) -> tuple[_Layout, str, str] | None:
    """Return the layout that *name* has the shape of, its run ("" if lasting) and its tail."""
    if len(name) == _SHORT and name.startswith("at"):
        return _SHORT_TEST, name[4:12], name[2:4] + name[12:]
    if len(name) == _SHORT and name.startswith("ac"):
        return _SHORT_LASTING, "", name[2:]
    if len(name) < 4 or not name.startswith(("alt", "alc")):
        return None
    layout = _LONG_TEST if name[2] == "t" else _LONG_LASTING
    separated = not name[3].isalnum()
    tail = len(name) - layout.tail
    end = tail - separated
    start = end if layout.lasting else end - 8
    if start - (separated and not layout.lasting) < 3:
        return None
    return layout, name[start:end], name[tail:]


def _end_of(text: str, sep: str, room: int) -> str:
    """Return the end of *text*, from the beginning of a word if that costs little."""
    if len(text) <= room:
        return text
    end = text[len(text) - room :]
    if not sep:
        return end
    if text[len(text) - room - 1] != sep and 0 < (word := end.find(sep)) <= room // 3:
        end = end[word:]
    return end.lstrip(sep)


@lru_cache(maxsize=256)
def _spoken(path: tuple[str, ...]) -> tuple[str, list[str], list[str]]:
    """Return of scopes: what of them is digested, their words, and those without the parameters of tests."""
    spoken: list[str] = []
    shorter: list[str] = []
    for scope in path:
        place, _, parameters = scope.partition("[")
        own = words(place.rpartition("::")[2].rpartition("/")[2].removesuffix(".py"))
        shorter += own
        spoken += own + words(parameters) if parameters else own
    return measured(*path), spoken, shorter


@lru_cache(maxsize=64)
def _app_digest(app: str) -> str:
    return digest(app)[:4]


@lru_cache(maxsize=64)
def _hours(expires: float) -> str:
    """Return the hours until *expires*, rounded up, in four characters."""
    hours = max(0, -int((FIRST_MOMENT - expires) // 3600))  # earlier than 2025, a clock is wrong
    return _PAIRS[hours // 1296] + _PAIRS[hours % 1296]


def _moment(hours: str) -> float:
    return float(FIRST_MOMENT + 3600 * int(hours, 36))


def _checked(text: str, check: int) -> str:
    """Return *text* with its check of 2 or 4 characters behind it."""
    rest, last = divmod(crc32(text.encode("utf-8", "surrogatepass")), 1296)
    return text + _PAIRS[last] if check == 2 else f"{text}{_PAIRS[rest % 1296]}{_PAIRS[last]}"


def _is_base36(text: str) -> bool:
    return text.isascii() and text.isalnum() and text == text.lower()
