"""What the engine promises when programs crash, providers refuse, hooks hang and worlds change."""
