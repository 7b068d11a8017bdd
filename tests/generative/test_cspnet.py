"""The backbone against a plain edge-list form, and its invariances."""

from math import pi

import pytest
import torch
from torch.nn.functional import silu

from matkit.generative.parts.cspnet import CSPNet, Layer, pair_waves, wave_vectors
from matkit.generative.parts.layout import atom_mask
from tests.generative.crystals import seeded

WIDTH, LATTICE = 12, 9
SIZES = torch.tensor([3, 1, 5, 3])


@pytest.fixture
def network() -> CSPNet:
    torch.manual_seed(0)
    return CSPNet(WIDTH, 2, LATTICE, harmonics=3, miller=3).double()


def inputs(sizes: torch.Tensor = SIZES) -> tuple[torch.Tensor, ...]:
    rng, mask = seeded(0), atom_mask(sizes)
    shape = mask.shape
    nodes = torch.randn(*shape, WIDTH, dtype=torch.float64, generator=rng)
    fractional = torch.rand(*shape, 3, dtype=torch.float64, generator=rng)
    lattice = torch.randn(len(sizes), LATTICE, dtype=torch.float64, generator=rng)
    return nodes, fractional, lattice, mask


def edge_list(network: CSPNet, *fields: torch.Tensor) -> torch.Tensor:
    """The published form: one row per pair of atoms, everything concatenated; [N, W]."""
    nodes, fractional, lattice, mask = fields
    batch, _ = mask.nonzero(as_tuple=True)
    i, j = (batch.unsqueeze(1) == batch).nonzero(as_tuple=True)
    h, x = nodes[mask], fractional[mask]
    angle = 2 * pi * (x[j] - x[i]) @ network.vectors.T
    waves = torch.cat([angle.sin(), angle.cos()], dim=1)
    for layer in network.layers:
        normed = layer.norm(h)
        pair = torch.cat([normed[i], normed[j], lattice[batch[i]], waves], dim=1)
        message = silu(layer.second(silu(layer.first(pair))))
        count = torch.bincount(i).to(h).unsqueeze(1)
        mean = torch.zeros_like(h).index_add(0, i, message) / count
        h = h + layer.update(torch.cat([normed, mean], dim=1))
    return network.norm(h)


def test_equals_the_edge_list_form(network):
    fields = inputs()
    expected, mask = edge_list(network, *fields), fields[-1]
    assert torch.allclose(network(*fields)[mask], expected, rtol=0, atol=1e-12)
    assert torch.allclose(network.padded(*fields)[mask], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["forward", "padded"])
def test_padding_has_no_influence(network, form):
    nodes, fractional, lattice, mask = inputs()
    run = getattr(network, form)
    before = run(nodes, fractional, lattice, mask)[mask]
    nodes[~mask], fractional[~mask] = 1e3, 0.123
    assert torch.allclose(run(nodes, fractional, lattice, mask)[mask], before, rtol=0, atol=1e-12)


def test_gradients_of_both_forms_agree(network):
    nodes, fractional, lattice, mask = inputs()
    gradients = []
    for run in (network.forward, network.padded):
        fields = [t.clone().requires_grad_() for t in (nodes, fractional, lattice)]
        loss = run(*fields, mask)[mask].pow(3).sum()
        gradients.append(torch.autograd.grad(loss, [*fields, *network.parameters()]))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


def test_permutation_of_atoms(network):
    nodes, fractional, lattice, mask = inputs(torch.tensor([5]))
    order = torch.tensor([3, 0, 4, 1, 2])
    before = network(nodes, fractional, lattice, mask)[:, order]
    after = network(nodes[:, order], fractional[:, order], lattice, mask)
    assert torch.allclose(before, after, rtol=0, atol=1e-12)


def test_translation_and_images(network):
    nodes, fractional, lattice, mask = inputs()
    before = network(nodes, fractional, lattice, mask)[mask]
    images = torch.randint(-3, 4, fractional.shape, generator=seeded(1))
    moved = fractional + torch.tensor([0.2, 0.7, -3.1], dtype=torch.float64) + images
    assert torch.allclose(network(nodes, moved, lattice, mask)[mask], before, rtol=0, atol=1e-10)
    jolted = fractional + torch.rand(fractional.shape, generator=seeded(2)) * 0.1
    assert not torch.allclose(network(nodes, jolted, lattice, mask)[mask], before, atol=1e-3)


def test_wave_vectors():
    axes = torch.eye(3).double()
    assert torch.equal(wave_vectors(2, 0)[0::2], axes)
    assert torch.equal(wave_vectors(2, 0)[1::2], 2 * axes)
    mixed = wave_vectors(7, 8)
    assert len(mixed) == len(mixed.unique(dim=0)) == 8**3 - 1  # without the constant


def test_waves_of_pairs():
    x, vectors = torch.rand(2, 4, 3, dtype=torch.float64, generator=seeded(0)), wave_vectors(5, 3)
    angle = 2 * pi * (x[:, None] - x[:, :, None]) @ vectors.T
    expected = torch.cat([angle.sin(), angle.cos()], dim=-1)
    assert torch.allclose(pair_waves(x, vectors), expected, rtol=0, atol=1e-12)


def test_start_is_that_of_one_linear_map():
    # Splitting the map of concatenated features must not change its first weights.
    layer = Layer(WIDTH, LATTICE, 30)
    bound = (2 * WIDTH + LATTICE + 30) ** -0.5
    assert layer.first.weight.shape == (WIDTH, 2 * WIDTH + LATTICE + 30)
    assert 0.9 * bound < layer.first.weight.abs().max() <= bound
