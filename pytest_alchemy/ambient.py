"""Which scope is current here, in which awaiting a resource makes it, and the blocks that made it so."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_alchemy.entry import Entry
    from pytest_alchemy.scope import Scope

# Inside a hook it is the resource's entry: most resources never need a scope of their own, so none is made for them.
current: contextvars.ContextVar[Scope | Entry | None] = contextvars.ContextVar(
    "alchemy_scope", default=None
)

# Each `with` that is open here, and what was current before; not on the scope, which several threads may have entered.
_blocks: contextvars.ContextVar[tuple[tuple[Scope, Scope | Entry | None], ...]] = (
    contextvars.ContextVar("alchemy_blocks", default=())
)


def enter_block(scope: Scope) -> None:
    """Make *scope* the current one here, until its block ends."""
    _blocks.set((*_blocks.get(), (scope, current.get())))
    current.set(scope)


def leave_block(scope: Scope) -> None:
    """End the innermost block of *scope* here; what was current before is so again, unless a later block is open."""
    blocks = list(_blocks.get())
    places = [place for place, (each, _) in enumerate(blocks) if each is scope]
    if not places:  # it was entered in another context, by a task of its own
        return
    place = places[-1]
    _, before = blocks.pop(place)
    if place == len(blocks):
        current.set(before)
    else:  # whoever entered one later stays there, and is to come back to what was there before this one
        blocks[place] = blocks[place][0], before
    _blocks.set(tuple(blocks))
