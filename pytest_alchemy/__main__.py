"""The command ``alchemy``: what the script of that name calls, and ``python -m pytest_alchemy``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command. Ctrl-C while it is only being loaded ends it without a word: nothing has begun."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:  # else whoever started it has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pytest_alchemy.cli import main as verbs

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    verbs(prog_name="alchemy")


if __name__ == "__main__":
    main()
