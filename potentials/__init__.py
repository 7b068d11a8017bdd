"""Potentials, one file per model; a model's name is its module's name."""
