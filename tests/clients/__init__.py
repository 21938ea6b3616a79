"""Clients that nobody here wrote, against the fake account."""

from __future__ import annotations
