"""What a product of the account offers to the account."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pytest_alchemy.cloudflare.fake.routes import Route
from pytest_alchemy.cloudflare.fake.storage import Storage


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """
    One thing that is alive in the account.

    Attributes:
        kind: The product, named like the resource kind (``d1``, ``kv``).
        id: What tells it from all others of its kind; what the API addresses it by, unless that is the name.
        name: What its maker called it.
        created: Moment of its making, seconds since the epoch.
    """

    kind: str
    id: str
    name: str
    created: float


@dataclass(frozen=True, slots=True)
class Product:
    """
    One product: its tables, its endpoints, and what of it is alive.

    Attributes:
        kind: Name of the resource kind.
        tables: SQL that makes its tables if they are not there yet.
        routes: Its endpoints.
        inventory: Lists what is alive, oldest first.
        discard: Removes one thing by id with all it holds, whatever would refuse an ordinary delete.
    """

    kind: str
    tables: Sequence[str] = ()
    routes: Sequence[Route] = ()
    inventory: Callable[[Storage], Iterable[InventoryItem]] = lambda storage: ()
    discard: Callable[[Storage, str], None] = lambda storage, id: None
