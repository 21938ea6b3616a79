"""The user whose key is used, looked up again as a new process does."""

from __future__ import annotations

from pytest_alchemy.state import keys


def forget_user() -> None:
    """Look the key and its folder up again when they are asked for next, where the environment says then."""
    keys.user_key.cache_clear()
    keys.state_home.cache_clear()
    keys._begin.clear()
