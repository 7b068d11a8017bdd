"""What bonds say of atoms and of edges."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.graph import Graph
from matkit.nn.scatter import scatter_sum
from matkit.structures import Structures

ORDERS = (1.0, 2.0, 3.0, 1.5)
BOND_FEATURES = len(ORDERS)
# Acceptor, donor, aromatic, sp, sp2, sp3, number of hydrogens, formal charge.
ATOM_FEATURES = 8
# Nitrogen and oxygen accept hydrogen bonds, and give them if they hold a hydrogen (Lipinski).
ACCEPTORS = (7, 8)


def atom_features(structures: Structures) -> Float[Tensor, "N 8"]:
    """Return features of the atoms by their bonds; zero where no bonds are known."""
    count = len(structures.species)
    charge = structures.atom.get("formal_charge", torch.zeros_like(structures.species)).double()
    if structures.bonds is None:
        found = charge.new_zeros(count, ATOM_FEATURES)
        found[:, -1] = charge
        return found
    center, neighbor, order = _both_ways(structures)
    hydrogens = scatter_sum((structures.species[neighbor] == 1).double(), center, count)
    polar = torch.isin(structures.species, torch.tensor(ACCEPTORS, device=structures.device))
    aromatic = scatter_sum((order == 1.5).double(), center, count) > 0
    double = scatter_sum((order == 2).double(), center, count)
    triple = scatter_sum((order == 3).double(), center, count)
    linear = (triple > 0) | (double > 1)
    flat = ~linear & (aromatic | (double > 0))
    saturated = ~linear & ~flat & (structures.species != 1)
    columns = [polar, polar & (hydrogens > 0), aromatic, linear, flat, saturated]
    return torch.stack([*(column.double() for column in columns), hydrogens, charge], dim=1)


def bond_features(graph: Graph) -> Float[Tensor, "E 4"]:
    """Return for every edge which kind of bond it is: single, double, triple, aromatic, or none.

    A bond joins two atoms in their nearest images; edges to others are none.
    """
    kinds = graph.positions.new_zeros(len(graph.center), BOND_FEATURES)
    if graph.bonds is None or not len(graph.bonds):
        return kinds
    count = len(graph.species)
    center, neighbor, order = _both_ways(graph)
    keys, by_key = torch.sort(center * count + neighbor)
    wanted = graph.center * count + graph.neighbor
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    bonded = (keys[place] == wanted) & (graph.shift == 0).all(1)
    found = order[by_key][place]
    for column, kind in enumerate(ORDERS):
        kinds[:, column] = (bonded & (found == kind)).to(kinds)
    return kinds


def bond_graph(structures: Structures, cutoff: float) -> Graph:
    """Return the graph whose edges are the bonds, both ways."""
    center, neighbor, _ = _both_ways(structures)
    order = torch.argsort(center * len(structures.species) + neighbor)
    fields = {name: getattr(structures, name) for name in Structures._scopes()}
    shift = torch.zeros(len(center), 3, dtype=torch.long, device=structures.device)
    return Graph(
        **fields, center=center[order], neighbor=neighbor[order], shift=shift, cutoff=cutoff
    )


def _both_ways(structures: Structures) -> tuple[Tensor, Tensor, Tensor]:
    """Return both ends of every bond, twice, and its order."""
    assert structures.bonds is not None
    first, second = structures.bonds.unbind(1)
    order = structures.bond.get("order", torch.ones(len(first), device=structures.device))
    return torch.cat([first, second]), torch.cat([second, first]), torch.cat([order, order])
