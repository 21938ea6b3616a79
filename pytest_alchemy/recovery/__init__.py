"""Dead stages: found, and everything in them destroyed, by a process that never saw their tests."""
