"""Where what we own is written down: the user's key, folders, locks and journals."""
