"""
Which runner runs an async test, and the hidden fixtures that live in its loop.

A scope of an async test is closed by an async companion fixture of the same runner, so that teardown runs in the
test's own loop, where its clients are.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import types
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pytest_alchemy.tracebacks import are_noise

__tracebackhide__ = are_noise

LOOP_SCOPES = ("function", "class", "module", "package", "session")
ANYIO = "_alchemy_anyio"
TEST_SCOPE = pytest.StashKey[Any]()


def companion_of(item: pytest.Item) -> str | None:
    """Return the name of the companion fixture for *item*; None for a sync test or an unknown runner."""
    if loop_scope := _asyncio_loop_scope(item):
        return f"_alchemy_asyncio_{loop_scope}"
    if "anyio_backend" not in getattr(item, "fixturenames", ()):
        return None
    return ANYIO if item.get_closest_marker("anyio") and is_coroutine_test(item) else None


def is_coroutine_test(item: pytest.Item) -> bool:
    """Tell whether the test was written as a coroutine function, also while a runner has wrapped it."""
    owner = getattr(item, "cls", None) or getattr(item, "module", None)
    written = getattr(owner, getattr(item, "originalname", None) or item.name, None)
    return any(_is_coroutine(function) for function in (written, getattr(item, "obj", None)))


def body_of(item: pytest.Item) -> tuple[Any, str]:
    """Return where the body of a test stands, as an object and the name of its attribute."""
    function = getattr(item, "obj", None)
    handle = getattr(function, "hypothesis", None)
    # A test with @given is a plain function, which calls the one that was written for each example.
    return (handle, "inner_test") if handle is not None else (item, "obj")


def companions(config: pytest.Config) -> types.ModuleType:
    """Return a plugin with the companions of the runners that are installed."""
    # pytest finds fixtures on modules, not on instances.
    module = types.ModuleType("pytest_alchemy.plugin.companions")
    setattr(module, ANYIO, pytest.fixture(name=ANYIO)(_companion()))
    if _runs_asyncio(config):
        import pytest_asyncio

        for loop_scope in LOOP_SCOPES:
            name = f"_alchemy_asyncio_{loop_scope}"
            fixture = pytest_asyncio.fixture(_companion(), loop_scope=loop_scope, name=name)  # type: ignore[call-overload]  # a str is one of its literals
            setattr(module, name, fixture)
    return module


def guarded(
    body: Callable[..., Any], cancel_with: Callable[[Callable[[], None] | None], None], anyio: bool
) -> Any:
    """
    Return *body*, an async test, so that it can be cancelled from outside.

    A timeout that strikes in the main thread leaves the body running, and it would go on making things during its
    own teardown.

    Args:
        body: The test's coroutine function.
        cancel_with: Is given a function that cancels the body while it runs, and None when it has ended.
        anyio: True if anyio runs it: its task is the runner's own and must not be cancelled as a whole.
    """

    @functools.wraps(body)
    async def guard(*args: Any, **kwargs: Any) -> Any:
        call = functools.partial(_call_in, asyncio.get_running_loop())
        try:
            if not anyio:
                task = asyncio.current_task()
                assert task is not None
                cancel_with(functools.partial(call, task.cancel))
                return await body(*args, **kwargs)
            from anyio import CancelScope

            with CancelScope() as scope:
                cancel_with(functools.partial(call, scope.cancel))
                return await body(*args, **kwargs)
        finally:
            cancel_with(None)

    return guard


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)


def _companion() -> Callable[[pytest.FixtureRequest], AsyncIterator[None]]:
    async def companion(request: pytest.FixtureRequest) -> AsyncIterator[None]:
        _refuse_other_loops(request.node)
        test = request.node.stash[TEST_SCOPE]
        test.make_current()
        try:
            yield
        finally:
            test.make_outer_current()
            await test.aclose()

    return companion


def _is_coroutine(function: Any) -> bool:
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inspect.iscoroutinefunction(getattr(inner, "_anyio_original_func", inner))


def _refuse_other_loops(item: pytest.Item) -> None:
    """
    Refuse to live in a loop that is not asyncio's.

    Raises:
        pytest.UsageError: It is not.
    """
    if asyncio._get_running_loop() is None:
        raise pytest.UsageError(
            f"{item.nodeid} does not run on asyncio, and alchemy_scope works on asyncio only.\n"
            'Let the test run there: a fixture anyio_backend that returns "asyncio"'
        )


def _runs_asyncio(config: pytest.Config) -> bool:
    # Asked for by `-p pytest_asyncio.plugin` it has another name than found by its entry point.
    plugin = sys.modules.get("pytest_asyncio.plugin")
    return plugin is not None and config.pluginmanager.is_registered(plugin)


def _asyncio_loop_scope(item: pytest.Item) -> str | None:
    plugin = sys.modules.get("pytest_asyncio.plugin")
    # Nobody else makes such items: a look into the list of plugins would take longer.
    if plugin is None or not isinstance(item, plugin.PytestAsyncioFunction):
        return None
    marker = item.get_closest_marker("asyncio")
    given = (marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")) if marker else None
    return given or item.config.getini("asyncio_default_test_loop_scope") or "function"
