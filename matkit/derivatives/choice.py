"""From any network to a force field, or the reason why it is none."""

from __future__ import annotations

import copy

import torch

from matkit.derivatives.conservative import Conservative
from matkit.derivatives.direct import Direct
from matkit.derivatives.force_field import ForceField
from matkit.errors import ModelError
from matkit.interfaces import HamiltonianModel, Potential
from matkit.interfaces.properties import check_names, check_properties
from matkit.structures import Structures

ENERGIES = frozenset({"atom_energy", "energy"})


def force_field(network: Potential) -> ForceField:
    """Return a network with energies and forces, checked to return what it declares.

    Energies of atoms without forces are differentiated (`Conservative`); forces of the network's
    own are taken as they are (`Direct`).

    Raises:
        ModelError: the network gives no energy, or not what it declares.
    """
    if isinstance(network, ForceField):
        return network
    name = type(network).__name__ if network.recipe is None else network.recipe[0]
    check_names(network.provides, name)
    if not network.provides & ENERGIES:
        way = "matkit predict" if "targets" in network.provides else "matkit.models.checkpoint.load"
        if isinstance(network, HamiltonianModel):
            way = (
                "matkit.hamiltonians.calculator.HamiltonianCalculator, an ASE calculator of "
                "molecules, and compare it by `matkit evaluate --hamiltonian`"
            )
        raise ModelError(
            f"{name} predicts {', '.join(sorted(network.provides))} and no energy, so that it "
            f"cannot serve a calculator, relaxation or dynamics. Use it through {way}."
        )
    if "forces" not in network.provides and "atom_energy" not in network.provides:
        raise ModelError(
            f"{name} predicts a total energy without forces. Let it return `atom_energy` instead, "
            "whose derivative matkit takes, or `forces` too."
        )
    if "stress" in network.provides and "forces" not in network.provides:
        raise ModelError(
            f"{name} predicts a stress of its own without forces. Let it return `forces` too, or "
            "`atom_energy` alone."
        )
    check_outputs(network, name)
    return Direct(network) if "forces" in network.provides else Conservative(network)


def check_outputs(network: Potential, name: str) -> None:
    """Let a network predict a pair of atoms and a single one, and check what it returns.

    Raises:
        ModelError: it returns something else than it declares, or changes what it is given.
    """
    device = next(network.parameters()).device
    graph = network.featurize(_probe(network)).to(device)
    before = copy.deepcopy(graph)
    training = network.training
    try:
        with torch.no_grad():
            result = network.eval()(graph)
    except Exception as error:
        raise ModelError(f"{name} fails on two atoms of an element it knows: {error!r}.") from error
    finally:
        network.train(training)
    check_properties(result, network.provides, graph, name)
    after = {key: value for key, _, value in graph._tensors()}
    if changed := [key for key, _, value in before._tensors() if not value.equal(after[key])]:
        raise ModelError(f"{name} changes {', '.join(changed)} of the graph it is given.")


def _probe(network: Potential) -> Structures:
    """Return a pair and a single atom of an element that it can be used for."""
    positions = torch.zeros(3, 3, dtype=torch.float64)
    positions[1, 0] = 0.6 * network.cutoff
    return Structures(
        positions=positions,
        species=torch.tensor([network.usable_species[0]] * 3),
        cell=torch.zeros(2, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(2, 3, dtype=torch.bool),
        n_atoms=torch.tensor([2, 1]),
    )
