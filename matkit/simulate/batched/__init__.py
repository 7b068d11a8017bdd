"""Relaxation and molecular dynamics of many structures at once, as pure functions of a state."""
