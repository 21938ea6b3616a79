"""Which scope is current here: what awaiting a resource makes it in."""

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
