"""Clients that nobody here wrote, against the fake account."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.clients.queues", "tests.clients.storage", "tests.clients.workers"
)
