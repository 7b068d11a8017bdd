"""Neighbour graphs: the search, a list that atoms may move in, and graphs of one size."""

from matkit.neighbors.search import radius_graph

__all__ = ["radius_graph"]
