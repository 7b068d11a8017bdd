"""Compares a network's derivative that is written out with autograd, before it is trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.scatter import scatter_sum
from matkit.structures import Structures

EdgeGradient = Callable[[Graph], tuple[Properties, Tensor] | None]


def agrees(
    gradient: EdgeGradient, exact: Potential, tolerance: float, device: torch.device
) -> bool:
    """Compare the written-out derivative with autograd on a small random molecule.

    Args:
        gradient: Derivative on trial, like `Potential.edge_gradient`.
        exact: The same network in float64 on the CPU, on the reference backend.
        tolerance: Largest error of a force, relative to the largest force.
        device: Where the derivative is computed.
    """
    graph = _probe(exact)
    positions = graph.positions.clone().requires_grad_()
    with torch.enable_grad():
        energy = exact(graph.replace(positions=positions))["atom_energy"]
        (expected,) = torch.autograd.grad(energy.sum(), positions)
    found = gradient(graph.to(device))
    if found is None:
        return False
    result, by_edge = {"atom_energy": found[0]["atom_energy"].cpu()}, found[1].cpu()
    n_atoms = len(graph.species)
    got = scatter_sum(by_edge, graph.neighbor, n_atoms)
    got = got - scatter_sum(by_edge, graph.center, n_atoms)
    error = (got - expected).abs().max()
    energy_error = (result["atom_energy"] - energy.detach()).abs().max()
    # Not strictly less: an untrained network may have no forces at all.
    agreed = error <= tolerance * expected.abs().max()
    return bool(agreed) and bool(energy_error <= tolerance * energy.abs().max())


def probe_species(known: Sequence[int]) -> list[int]:
    """Return the elements of the atoms that a network is compared on, given those it is for."""
    return [known[7 * i % len(known)] for i in range(8)]


def _probe(network: Potential) -> Graph:
    """Return eight atoms of the network's elements, no two of them closer than 1 Å."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)
    spacing = max(1.6, 0.4 * network.cutoff)
    noise = 0.3 * torch.rand(8, 3, generator=generator, dtype=torch.float64)
    structures = Structures(
        positions=spacing * corners + noise,
        species=torch.tensor(probe_species(network.usable_species)),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([8]),
    )
    return network.featurize(structures)
