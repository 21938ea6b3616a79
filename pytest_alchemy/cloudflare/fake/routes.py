"""Which function answers which method and path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pytest_alchemy.cloudflare.fake.wire import BASE_PATH, Refusal, Reply, Request, Response

if TYPE_CHECKING:
    from pytest_alchemy.cloudflare.fake.storage import Storage


@dataclass(slots=True)
class Call:
    """
    What a handler gets.

    Attributes:
        request: The request.
        parts: The variable parts of the path, percent-decoded.
        storage: What the account holds, inside the request's transaction.
    """

    request: Request
    parts: tuple[str, ...]
    storage: Storage


Handler = Callable[[Call], Reply | Response]


@dataclass(frozen=True, slots=True)
class Route:
    """
    One endpoint.

    Attributes:
        method: Upper-case method.
        pattern: Path below ``/client/v4``; ``*`` stands for one variable part, ``**`` at the end for all that
            follows, ``@account`` for the account's id, ``@/`` at the start for ``accounts/@account/``.
        handler: Who answers.
        writes: Whether it may change the account; by default every method but GET does.
    """

    method: str
    pattern: str
    handler: Handler
    writes: bool = True


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    rest: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)


class RouteTable:
    """All endpoints, as a tree over the parts of their paths: the cost of a look-up does not grow with their number."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """
        Return the route for *method* and the raw *path*, with the variable parts decoded.

        The path is split before it is decoded, so that an encoded slash stays inside its part.

        Raises:
            Refusal: Nothing answers at that path (404), or not to that method (405).
        """
        if not path.startswith(BASE_PATH + "/"):
            raise unroutable(method, path)
        raw = path[len(BASE_PATH) + 1 :].split("/")
        found: list[str] = []
        node = _walk(self._root, raw, 0, found)
        if node is None or not node.routes:
            raise unroutable(method, path)
        route = node.routes.get(method)
        if route is None:
            known = ", ".join(sorted(node.routes))
            raise Refusal(
                405, 10405, f"Method not allowed for this endpoint: {method} (it knows {known})"
            )
        return route, tuple(found)

    def _add(self, route: Route) -> None:
        node = self._root
        for part in route.pattern.replace("@/", "accounts/@account/", 1).split("/"):
            if part in ("*", "@account"):
                node.variable = node = node.variable or _Node()
            elif part == "**":
                node.rest = node = node.rest or _Node()
            else:
                node = node.literal.setdefault(part, _Node())
        if route.method in node.routes:
            raise ValueError(f"two routes for {route.method} {route.pattern}")
        node.routes[route.method] = route


def unroutable(method: str, path: str) -> Refusal:
    """Return the refusal for a path that nothing answers at."""
    return Refusal(
        404,
        7003,
        f"Could not route to {path}, perhaps your object identifier is invalid? "
        f"(This fake account has no endpoint for {method} {path}.)",
    )


def _walk(node: _Node, raw: list[str], depth: int, found: list[str]) -> _Node | None:
    if depth == len(raw):
        return node
    part = raw[depth]
    next_node = node.literal.get(part)
    if next_node is not None:
        end = _walk(next_node, raw, depth + 1, found)
        if end is not None and end.routes:
            return end
    if node.variable is not None and part:
        mark = len(found)
        found.append(_decoded(part))
        end = _walk(node.variable, raw, depth + 1, found)
        if end is not None:
            return end
        del found[mark:]
    if node.rest is not None:
        found.append(_decoded("/".join(raw[depth:])))
    return node.rest


def _decoded(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise Refusal(400, 10026, f"Invalid path: {part} is not UTF-8") from None
