"""Space groups, their Wyckoff positions, and how atoms can be put on them."""
