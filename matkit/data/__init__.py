"""Structures from other packages and back."""
