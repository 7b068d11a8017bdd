"""Generators, one file per model; a generator's name is its module's name."""
