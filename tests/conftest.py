"""What every test may ask for."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from tests.support import postgres
from tests.support.user import forget_user

pytest_plugins = ["pytester"]

# Whoever starts us in the background may ignore Ctrl-C, and then every process we start would do so, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def user_as_the_environment_says() -> None:
    """Forget who the user was in an earlier test: a run inside it had a home of its own."""
    forget_user()


@pytest.fixture(autouse=True)
def inner_runs_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pytest-randomly, which one test asks for by name, out of all other inner runs."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Return the libpq URL of a PostgreSQL server on which databases may be created."""
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(postgres.server())
        except postgres.NoServerError as error:
            if postgres.is_required():
                pytest.fail(f"{postgres.REQUIRED} is set, but {error}", pytrace=False)
            pytest.skip(str(error))
        yield url
