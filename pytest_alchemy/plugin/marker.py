"""
The marker ``alchemy``: what it may say, what it says for one test, and what follows from it at collection.

It is imported when the first marked test is met, and by runs with scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import pytest

from . import MARKER
from .options import OPTIONS

if TYPE_CHECKING:
    from pytest_alchemy.settings import Keep, Settings, Strategy

    from .options import Options

    Node = pytest.Item | pytest.Collector

SCOPE_FIXTURE = "alchemy_scope"

_CHOICES = {option.name.removeprefix("alchemy_"): option.choices for option in OPTIONS}
_SHARED_BY_A_STAGE = ("app", "stage", "profile", "live")
_WIDE_FIXTURES = ("alchemy_app", "alchemy_stage", "alchemy_module", "alchemy_class")


class MarkerOptions:
    """What the markers of one node say together; None where they say nothing."""

    def __init__(
        self,
        *,
        stage: str | None = None,
        destroy: Strategy | None = None,
        app: str | None = None,
        profile: str | None = None,
        live: bool | None = None,
        keep: Keep | None = None,
        teardown_timeout: float | None = None,
    ) -> None:
        self.stage: Final = stage
        self.destroy: Final = destroy
        self.app: Final = app
        self.profile: Final = profile
        self.live: Final = live
        self.keep: Final = keep
        self.teardown_timeout: Final = None if teardown_timeout is None else float(teardown_timeout)


def prepare_items(
    config: pytest.Config, items: list[pytest.Item], marked: list[pytest.Item], options: Options
) -> None:
    """
    Check the markers of *items* and do what follows from them: skip what needs the real API, open scopes.

    To be called once, when the items are collected, if some are *marked* (`marked_items`).

    Raises:
        pytest.UsageError: Markers are wrong, or contradict the fixtures of their test. An xdist worker does not
            raise, because its controller would show an internal error instead of the message: it empties *items*
            and leaves the message for the controller, which raises it once.
    """
    try:
        check_markers(marked)
        check_wide_fixtures(marked, options)
    except pytest.UsageError as error:
        if not hasattr(config, "workeroutput"):
            raise
        config.workeroutput[RefusalRelay.KEY] = str(error)
        items.clear()
        return
    for item in marked:
        if _needs_real_api(item, options):
            item.add_marker(
                pytest.mark.skip(reason="live=True needs the real API: run with --alchemy-live")
            )
        open_scope(item)


def marker_options(node: Node) -> MarkerOptions:
    """Return what the markers of *node* and of all around it say: the nearest wins, keyword by keyword."""
    return MarkerOptions(**_said(node))


def settings_for(node: Node | None, options: Options) -> Settings:
    """
    Return the settings of the scopes of *node*: its markers over the run's options; None stands for the run.

    Equal choices give the same object. ``live`` is true only where the run itself is live.

    Raises:
        pytest.UsageError: A marker that was added after the collection says what it cannot.
    """
    said = {} if node is None else _said(node)
    try:
        return _merge(options, tuple(said.items()))
    except TypeError:  # a list, say: nothing that cannot be hashed is a valid value
        _refuse(list(_wrong_keywords(said)))
        raise


@lru_cache(maxsize=256)
def _merge(options: Options, said: tuple[tuple[str, Any], ...]) -> Settings:
    from pytest_alchemy.settings import Settings

    _refuse(list(_wrong_keywords(dict(said))))
    marker = MarkerOptions(**dict(said))
    return Settings(
        app=marker.app or options.app,
        stage=marker.stage or options.stage,
        profile=marker.profile or options.profile,
        live=options.live and marker.live is not False,
        destroy=marker.destroy or options.destroy,
        keep=marker.keep or options.keep,
        teardown_timeout=marker.teardown_timeout,
        fake_account=str(options.fake_account) if options.fake_account else None,
    )


def check_markers(items: Iterable[pytest.Item]) -> None:
    """
    Check every marker on *items* and around them.

    Raises:
        pytest.UsageError: Some say what they cannot; every problem is listed with the place of its marker.
    """
    # By identity: a marker that many tests share is one problem, not many.
    found = {id(mark): (node, mark) for item in items for node, mark in _marks(item)}
    _refuse(
        [
            f"{_place(node, mark)}: {wrong}"
            for node, mark in found.values()
            for wrong in _wrong(mark)
        ]
    )


def check_wide_fixtures(items: Iterable[pytest.Item], options: Options) -> None:
    """
    Check that no test asks for a wider scope whose stage is not the one of its own marker.

    A test that is skipped because it needs the real API is not checked.

    Raises:
        pytest.UsageError: Some do; every test is listed with the fixture, the keyword and both values.
    """
    problems = []
    for item in items:
        wide = [name for name in _WIDE_FIXTURES if name in getattr(item, "fixturenames", ())]
        if wide and not _needs_real_api(item, options):
            problems += [
                f"{item.nodeid}: {problem}"
                for name in wide
                for problem in _conflicts(item, name, options)
            ]
    _refuse(problems)


def open_scope(item: pytest.Item) -> None:
    """Let *item* use the fixture ``alchemy_scope`` if it does not yet; items without fixtures stay as they are."""
    names: Sequence[str] | None = getattr(item, "fixturenames", None)
    if names is None or SCOPE_FIXTURE in names:
        return
    # After the fixtures of wider scopes (setUpClass is one of them), so that what they make is not made
    # in the first test's scope. A new list, because all parameters of one function share the old one.
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    function_scoped = (
        index
        for index, name in enumerate(names)
        if not definitions.get(name) or definitions[name][-1].scope == "function"
    )
    at = next(function_scoped, len(names))
    item.fixturenames = [*names[:at], SCOPE_FIXTURE, *names[at:]]  # type: ignore[attr-defined] # of every Function


class RefusalRelay:
    """
    Raises on an xdist controller what a worker refused at collection.

    A worker that raises ends in an internal error of its controller, which does not show the message.
    """

    KEY = "alchemy_refusal"

    def __init__(self) -> None:
        self._message: str | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Remember what the worker of *node* left."""
        # All workers refuse the same collection: one message is enough.
        self._message = self._message or getattr(node, "workeroutput", {}).get(self.KEY)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Raise it, when every worker has ended."""
        result = yield
        if self._message is not None:
            raise pytest.UsageError(self._message)
        return result


def _said(node: Node) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for _, mark in _marks(node):
        said |= {keyword: value for keyword, value in mark.kwargs.items() if keyword not in said}
    if not said:
        return said
    # In one order, so that equal choices are equal, wherever each of them was made.
    return {keyword: said[keyword] for keyword in _CHECKS if keyword in said} | said


def _marks(node: Node) -> Iterator[tuple[Node, pytest.Mark]]:
    """Yield the markers of *node* and of all around it with the node that each stands on, nearest first."""
    holder: Any = node
    while holder is not None:
        if holder.own_markers:
            own = [mark for mark in holder.own_markers if mark.name == MARKER]
            if len(own) > 1:
                own.sort(key=partial(_distance, holder))
            for mark in own:
                yield holder, mark
        holder = holder.parent


def _distance(node: Any, mark: pytest.Mark) -> int:
    # pytest lists the markers of a parameter after those of its function, and those of a class after those
    # of its base classes; the narrower one is meant to win.
    if hasattr(node, "callspec"):
        return 0 if _is_among(mark, node.callspec.marks) else 1
    for distance, holder in enumerate(getattr(getattr(node, "obj", None), "__mro__", ())):
        if _is_among(mark, holder.__dict__.get("pytestmark", [])):
            return distance
    return 0


def _is_among(mark: pytest.Mark, written: Any) -> bool:
    marks = written if isinstance(written, (list, tuple)) else [written]
    return any(getattr(each, "mark", each) is mark for each in marks)


def _place(node: Node, mark: pytest.Mark) -> str:
    if (callspec := getattr(node, "callspec", None)) and not _is_among(mark, callspec.marks):
        return node.nodeid.removesuffix(f"[{callspec.id}]")
    return node.nodeid or "rootdir"


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        heading = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise pytest.UsageError(f"{heading} with @pytest.mark.{MARKER}:{lines}")


def _wrong(mark: pytest.Mark) -> Iterator[str]:
    if mark.args:
        yield f"positional argument {mark.args[0]!r}. The marker takes keywords only: {_KEYWORDS}"
    yield from _wrong_keywords(mark.kwargs)


def _wrong_keywords(said: Mapping[str, Any]) -> Iterator[str]:
    for keyword, value in said.items():
        if keyword not in _CHECKS:
            yield f"unknown keyword {keyword!r}.{_meant(keyword, _CHECKS)} The keywords are: {_KEYWORDS}"
        elif reason := _CHECKS[keyword](value):
            yield f"{keyword}={value!r} {reason}"


def _meant(word: str, words: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(words), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_name(what: str, value: object) -> str | None:
    from pytest_alchemy.errors import InvalidNameError
    from pytest_alchemy.names import check_name

    try:
        check_name(what, value)
    except InvalidNameError as error:
        return " ".join(str(error).removeprefix(f"{value!r} ").splitlines())
    return None


def _check_choice(choices: Sequence[str], value: object) -> str | None:
    if isinstance(value, str):
        return (
            None
            if value in choices
            else f"is not one of: {', '.join(choices)}.{_meant(value, choices)}"
        )
    return f"is not one of: {', '.join(choices)}."


def _check_profile(value: object) -> str | None:
    return (
        None
        if isinstance(value, str) and value
        else "is not the name of a profile, which is a text."
    )


def _check_live(value: object) -> str | None:
    return None if isinstance(value, bool) else "is not one of: True, False."


def _check_seconds(value: object) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < inf:
        return None
    return "is not a number of seconds above 0."


_CHECKS: dict[str, Callable[[object], str | None]] = {
    "stage": partial(_check_name, "a stage"),
    "destroy": partial(_check_choice, _CHOICES["destroy"]),
    "app": partial(_check_name, "an application"),
    "profile": _check_profile,
    "live": _check_live,
    "keep": partial(_check_choice, _CHOICES["keep"]),
    "teardown_timeout": _check_seconds,
}
_KEYWORDS = ", ".join(_CHECKS)


def _needs_real_api(item: pytest.Item, options: Options) -> bool:
    return not options.live and marker_options(item).live is True


def _conflicts(item: pytest.Item, fixture: str, options: Options) -> Iterator[str]:
    wider = _wider_node(item, fixture)
    ours, theirs = settings_for(item, options), settings_for(wider, options)
    owner = "the run" if wider is None else wider.nodeid
    for keyword in _SHARED_BY_A_STAGE:
        mine, other = getattr(ours, keyword), getattr(theirs, keyword)
        if mine != other:
            yield (
                f"{fixture} belongs to {owner}, where {keyword}={other!r}, but the test is marked {keyword}={mine!r}. "
                f"Ask for {SCOPE_FIXTURE} instead, or use one {keyword} for both"
            )


def _wider_node(item: pytest.Item, fixture: str) -> pytest.Collector | None:
    """Return the class or module whose scope *fixture* is; None if it is the run's."""
    module = item.getparent(pytest.Module)
    if fixture == "alchemy_module":
        return module
    return (item.getparent(pytest.Class) or module) if fixture == "alchemy_class" else None
