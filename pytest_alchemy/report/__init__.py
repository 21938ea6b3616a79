"""What became of everything that scopes owned: facts, and how people and programs read them."""
