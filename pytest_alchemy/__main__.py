"""The command ``alchemy``, as ``python -m pytest_alchemy``."""

from __future__ import annotations

from pytest_alchemy.cli import main

if __name__ == "__main__":
    main(prog_name="alchemy")
