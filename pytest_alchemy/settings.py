"""What was chosen for a stage: its names, credentials, and how it ends."""

from __future__ import annotations

from typing import Literal

import msgspec

Strategy = Literal["sequential", "parallel"]
Keep = Literal["never", "failed", "always"]
Phase = Literal["up", "read", "destroy"]

PHASES: tuple[Phase, ...] = ("up", "read", "destroy")
STRATEGIES: tuple[Strategy, ...] = ("sequential", "parallel")


class Settings(msgspec.Struct, frozen=True):
    """
    The choices that every scope of one stage shares.

    Attributes:
        app: Name of the application.
        stage: Name of the stage as its author gave it (``test``), without worker and run.
        profile: Name of the credentials in use.
        live: True if providers talk to the real API, False if to the fake.
        destroy: How scopes destroy unless told otherwise.
        keep: Whose resources outlive their test.
        teardown_timeout: Longest time one scope's teardown may take, in seconds; None for no limit of its own.
        fake_account: Path of the file-backed fake account, or None for one in memory.
    """

    app: str
    stage: str
    profile: str = "default"
    live: bool = False
    destroy: Strategy = "sequential"
    keep: Keep = "never"
    teardown_timeout: float | None = None
    fake_account: str | None = None


def is_in_account(module: str, world: str) -> bool:
    """
    Tell whether something lives in a fake account that is kept in a file.

    Args:
        module: Module of its class; a user's own kind may name its world like ours.
        world: Where it lives.
    """
    return world.startswith("file:") and module.startswith("pytest_alchemy.cloudflare.")
