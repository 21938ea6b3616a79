"""The crash matrix: runs that really die, and a census of what they left in the world."""
