"""HotPP: its tensors against loops over indices, and what every potential must fulfil."""

from itertools import product
from typing import ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.models import checkpoint
from matkit.nn.irreps import spherical_harmonics
from matkit.potentials.hotpp import TensorMessages, contractions, traceless
from matkit.testing.potentials import PotentialContract
from matkit.testing.systems import crystal, random_rotation, water

TINY = {
    "species": [1, 8, 11, 17],
    "cutoff": 3.6,
    "channels": 4,
    "layers": 3,
    "radial_hidden": [8],
    "neighbor_norm": 3.0,
}


class TestHotPP(PotentialContract):
    name = "hotpp"
    hyperparameters: ClassVar = TINY
    claims: ClassVar = {"rotation", "reflection"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return checkpoint.build("hotpp", TINY).double()


@pytest.fixture(scope="module")
def graph(network):
    return network.featurize(from_ase(water()))


def test_orders_of_messages_are_those_of_the_paper():
    assert contractions(0, 2) == [(0, 0, 0), (0, 1, 0), (0, 2, 0)]
    assert contractions(2, 0) == [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    orders = [n + r - 2 * c for n, r, c in contractions(2, 2)]
    assert [orders.count(k) for k in (0, 1, 2)] == [3, 4, 4]


@pytest.mark.parametrize("path", contractions(2, 2), ids=str)
def test_a_message_is_a_contracted_product_with_directions(path, graph):
    """One radial function is one, the others are zero."""
    n, r, c = path
    torch.manual_seed(0)
    messages = TensorMessages((2, 2), 1, (1,)).double()
    chosen = torch.tensor([[1.0 if p == path else 0.0 for p in messages.paths]])
    messages.radial.weights[0].data = chosen.double()
    x = [torch.randn(3, *[3] * order, 1).double() for order in range(3)]
    x[2] = traceless(x[2])
    u = graph.vectors / graph.vectors.norm(dim=1, keepdim=True)
    basis = torch.ones(len(u), 1).double()
    sums = messages(x, basis, u, graph)
    order = n + r - 2 * c
    expected = torch.zeros(3, *[3] * order, 1).double()
    left, inner, right = "pq"[: n - c], "xy"[:c], "rs"[: r - c]
    subscripts = ",".join([f"{left}{inner}c", *inner, *right]) + f"->{left}{right}c"
    for i, j, direction in zip(graph.center, graph.neighbor, u, strict=True):
        expected[i] += torch.einsum(subscripts, x[n][j], *[direction] * r)
    for k, total in enumerate(sums):
        wanted = traceless(expected) if k == 2 and order == 2 else expected
        wanted = wanted if k == order else torch.zeros_like(total)
        assert torch.allclose(total, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_features_turn_as_their_irreps_say(sign, network):
    structures, turn = from_ase(crystal()), sign * random_rotation()
    moved = structures.replace(
        positions=structures.positions @ turn.T, cell=structures.cell @ turn.T
    )
    with torch.no_grad():
        before, after = (
            network.equivariant_features(network.featurize(s)) for s in (structures, moved)
        )
    points = torch.randn(20, 3).double()
    points /= points.norm(dim=1, keepdim=True)
    assert [irrep.kind for irrep in network.feature_irreps] == [(0, 1), (1, -1), (2, 1)]
    for irrep, x, y in zip(network.feature_irreps, before, after, strict=True):
        of_degree = slice(irrep.l**2, (irrep.l + 1) ** 2)
        here, there = (spherical_harmonics(2, p)[:, of_degree] for p in (points, points @ turn.T))
        assert torch.allclose(there @ y, here @ x, rtol=0, atol=1e-9)
        assert x.abs().max() > 1e-3, "the test can fail"


def test_matrices_are_symmetric_without_trace_and_keep_their_norm_as_features(network, graph):
    matrices = network._tensors(graph, 2)[2]
    assert torch.allclose(matrices, matrices.transpose(1, 2), rtol=0, atol=1e-12)
    assert torch.einsum("nxxc->nc", matrices).abs().max() < 1e-12
    features = network.equivariant_features(graph)[2]
    norms = matrices.square().sum(dim=(1, 2))
    assert torch.allclose(features.square().sum(dim=1), norms, rtol=0, atol=1e-12)


def test_energies_see_angles_where_lengths_do_not_tell_them():
    torch.manual_seed(0)
    network = checkpoint.build("hotpp", TINY | {"cutoff": 1.5, "neighbor_norm": 1.0}).double()

    def energy(angle):
        atoms = Atoms("OH2", [[0, 0, 0], [1, 0, 0], [np.cos(angle), np.sin(angle), 0]])
        graph = network.featurize(from_ase(atoms))
        assert len(graph.center) == 4, "the hydrogen atoms are no neighbours"
        with torch.no_grad():
            return float(network(graph)["atom_energy"].sum())

    assert abs(energy(1.8) - energy(2.4)) > 1e-4


def test_before_a_single_layer_there_are_only_scalars(graph):
    single = checkpoint.build("hotpp", TINY | {"layers": 1}).double()
    (scalars,) = single.equivariant_features(graph)
    assert scalars.shape == (3, 1, 4)
    assert len(single.feature_irreps) == 1


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"layers": 0}, {"neighbor_norm": 0.0}], ids=str)
def test_sizes_are_positive(wrong):
    with pytest.raises(ConfigError, match="Expected a positive"):
        checkpoint.build("hotpp", TINY | wrong)


def test_every_combination_of_layers_has_no_spare_parameter():
    for layers, species in product((1, 2), ([1], [1, 8])):
        network = checkpoint.build("hotpp", TINY | {"layers": layers, "species": species})
        atoms = water() if len(species) == 2 else water()[1:]
        result = network(network.featurize(from_ase(atoms)))
        result["atom_energy"].square().sum().backward()
        assert all(p.grad is not None for p in network.parameters())
