"""Which profiles may touch a stage, as its program said it when it last ran."""

from __future__ import annotations

from pytest_alchemy.profiles import check_access
from pytest_alchemy.programs.choice import default_profile, user_stage
from pytest_alchemy.state.stagestate import StageState


def check_kept(state: StageState, profile: str | None = None) -> None:
    """
    Make sure that *profile* may touch the stage of *state*; for who does not run its program.

    Args:
        state: What is recorded of the stage.
        profile: The profile in use; by default ``--profile``, else ``ALCHEMY_PROFILE``, else the one that the stage
            was last deployed with.

    Raises:
        ProfileDeniedError: It may not.
    """
    header = state.header
    if header is not None and header.profiles:
        used = profile or default_profile(header.settings.get("profile"))
        check_access(header.profiles, stage=header.stage, profile=used, user=user_stage())
