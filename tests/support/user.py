"""The user whose key is used, looked up again as a new process does."""

from __future__ import annotations

from pytest_alchemy.state.keys import remember, state_home, user_key


def forget_user() -> None:
    """Look the key and its folder up again when they are asked for next, where the environment says then."""
    user_key.cache_clear()
    state_home.cache_clear()
    remember({})
