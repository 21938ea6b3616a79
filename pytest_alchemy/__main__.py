"""The command ``alchemy``: what the script of that name calls, and ``python -m pytest_alchemy``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command. Ctrl-C while it is only being loaded ends it without a word: nothing has begun."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else whoever started it has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pytest_alchemy.cli import main as verbs

    signal.signal(signal.SIGINT, handler)
    verbs(prog_name="alchemy")


if __name__ == "__main__":
    main()
