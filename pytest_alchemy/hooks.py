"""Calling a hook of a resource: in the resource's own scope, with its outputs unguarded."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from pytest_alchemy.ambient import current
from pytest_alchemy.driver import call_hook, is_awaitable
from pytest_alchemy.loops import wait_on
from pytest_alchemy.tracebacks import are_noise

if TYPE_CHECKING:
    from pytest_alchemy.binding import Binding
    from pytest_alchemy.entry import Entry
    from pytest_alchemy.resource import Resource

__tracebackhide__ = are_noise

# Taken once: of an imported name each look at a method makes a bound one.
_current, _make_current = current.get, current.set


def hook_of(entry: Entry, resource: Resource, hook: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return the call of *hook* on *resource*, with the own scope of *entry* as the current one while it runs."""
    return functools.partial(_call_inside, entry, resource, hook)


def _call_inside(entry: Entry, resource: Resource, hook: Callable[[Any], Any]) -> Any:
    """Call *hook*, or return what awaits it, with the scope of *entry* as the current one and its outputs unguarded."""
    binding = resource._alchemy
    before = _current()
    binding.hooks_open += 1
    try:
        _make_current(entry)  # here: an interrupt may come as soon as it is set
        result = hook(resource)
    finally:
        binding.hooks_open -= 1
        _make_current(before)
    if result is None or not is_awaitable(result):
        return result
    return _await_inside(entry, binding, result)


async def _await_inside(entry: Entry, binding: Binding, hook: Awaitable[Any]) -> Any:
    """Return what *hook* returns, in the same surroundings as in `_call_inside`."""
    before = _current()
    binding.hooks_open += 1
    try:
        _make_current(entry)
        return await hook
    finally:
        binding.hooks_open -= 1
        _make_current(before)


_INSIDE = frozenset({_call_inside.__code__, _await_inside.__code__})


def runs_in_hook_of(entry: Entry) -> bool:
    """Tell whether a hook of *entry* waits for this, from another thread as well, or began this task or thread."""
    inside: set[object] = {_current(), *_hooks_on(sys._getframe(1))}
    known = 0
    while entry not in inside and known < len(inside):
        known = len(inside)
        for frame in sys._current_frames().values():
            if any(_awaited_in(each) in inside for each in _stack(frame)):
                inside.update(_hooks_on(frame))
    return entry in inside


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _hooks_on(frame: FrameType) -> Iterator[Entry]:
    """Yield whose hooks are running on the stack that *frame* is the top of."""
    for each in _stack(frame):
        if each.f_code in _INSIDE:
            yield each.f_locals["entry"]


def _awaited_in(frame: FrameType) -> object:
    """Return whose coroutine hook *frame*, blocking code, waits for while a loop runs it; else the frame itself."""
    if frame.f_code is not wait_on.__code__:
        return frame
    hook = getattr(frame.f_locals["awaitable"], "cr_frame", None)
    return hook.f_locals["entry"] if hook is not None and hook.f_code in _INSIDE else frame


HOOK_CODE = frozenset({call_hook.__code__, _await_inside.__code__})
"""What is on the stack while a hook computes or blocks, and not while it waits in an event loop."""
