"""What the unit tests of the scope system share."""
