"""Molecules: reading with bonds and charges, validity, stability."""
