"""Heads: what is read off a network's features besides its energy."""
