"""The errors of talking to Cloudflare, real or fake."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_alchemy.errors import AlchemyError


class CloudflareError(AlchemyError):
    """
    The API refused a call.

    Attributes:
        status: HTTP status; 404 means that the thing does not exist.
        code: Cloudflare's own code, 0 if the answer had none.
        message: Cloudflare's words.
        path: Method and path of the call.
        retry_after: How long the API asks to wait, in seconds; None if it did not say.
    """

    def __init__(
        self, status: int, code: int, message: str, path: str, retry_after: float | None = None
    ) -> None:
        super().__init__(status, code, message, path, retry_after)
        self.status, self.code, self.message = status, code, message
        self.path, self.retry_after = path, retry_after

    def __str__(self) -> str:
        code = f", code {self.code}" if self.code else ""
        return f"Cloudflare refused {self.path}: {self.message} (status {self.status}{code})"


class CloudflareUnreachableError(AlchemyError, ConnectionError):
    """The API did not answer: whether the call took effect is unknown."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"Cloudflare did not answer {self.path}: {self.reason}.\n"
            "Check the network; if CLOUDFLARE_BASE_URL is set, check that something listens there."
        )


class CredentialsError(AlchemyError):
    """There are no usable credentials for the real API."""

    def __init__(self, profile: str, reason: str, looked_in: Sequence[str] = ()) -> None:
        super().__init__(profile, reason, tuple(looked_in))
        self.profile, self.reason, self.looked_in = profile, reason, tuple(looked_in)

    def __str__(self) -> str:
        looked = f"\nLooked in {' and '.join(self.looked_in)}." if self.looked_in else ""
        return (
            f"No Cloudflare credentials for profile {self.profile!r}: {self.reason}.{looked}\n"
            f"Log in with alchemy login --profile {self.profile}, or set CLOUDFLARE_API_TOKEN and "
            "CLOUDFLARE_ACCOUNT_ID.\n"
            "Without an account: tests use a fake one unless --alchemy-live is given, programs do with "
            "ALCHEMY_FAKE_ACCOUNT=account.sqlite."
        )


class TokenRefusedError(AlchemyError):
    """An API token that does not work."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"Cloudflare does not take the token: {self.reason}.\n"
            "Make a new one in the dashboard (My Profile, API Tokens), and give it to alchemy login."
        )


class FakeAccountError(AlchemyError):
    """The file of a fake account cannot be used."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"The fake account {self.path} cannot be used: {self.reason}.\n"
            "Give another file with --alchemy-fake-account, or remove this one."
        )


class QueueConsumedError(AlchemyError):
    """A queue's messages go to a Worker, so nobody else can have them."""

    def __init__(self, queue: str, script: str) -> None:
        super().__init__(queue, script)
        self.queue, self.script = queue, script

    def __str__(self) -> str:
        return (
            f"{self.queue} is consumed by the Worker {self.script!r}: there is nothing to pull.\n"
            "A queue has one consumer: pull from another queue, or remove the Worker's consumer first."
        )
