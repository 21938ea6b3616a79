"""Values on the command line, and how times are told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from pytest_alchemy import clock

if TYPE_CHECKING:
    _ToSeconds = click.ParamType[float]
else:  # not every version of click that we take can be asked for the type
    _ToSeconds = click.ParamType

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART: Final = re.compile(r"(\d+)([smhd])")


class Duration(_ToSeconds):
    """A duration such as ``2h``, ``90m`` or ``1d12h``; its value is in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        if not re.fullmatch(rf"({_PART.pattern})+", text):
            self.fail(f"{value!r} is not a duration. Write 45s, 90m, 2h, 1d or 1d12h.", param, ctx)
        return float(sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))


def ago(at: float, now: float) -> str:
    """
    Return how long ago *at* was, both in seconds since the epoch.

    >>> ago(0.0, 59.0), ago(0.0, 7300.0), ago(0.0, 200_000.0)
    ('59 s ago', '2 h ago', '2 d ago')
    """
    seconds = max(0, int(now - at))
    unit = next(unit for unit in "dhms" if seconds >= 2 * _SECONDS[unit] or unit == "s")
    return f"{seconds // _SECONDS[unit]} {'min' if unit == 'm' else unit} ago"


def moment(at: float) -> str:
    """
    Return *at*, in seconds since the epoch.

    >>> moment(0.0)
    '1970-01-01 00:00 UTC'
    """
    return f"{clock.instant(at):%Y-%m-%d %H:%M} UTC"


def count(number: int, what: str) -> str:
    """
    Return *number* of *what*.

    >>> count(1, "stage"), count(2, "resource")
    ('1 stage', '2 resources')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
