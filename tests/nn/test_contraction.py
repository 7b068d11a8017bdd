"""The symmetric contraction in plain torch: couplings, brute force, MACE's numbers."""

import pytest
import torch

from matkit.errors import ConfigError
from matkit.nn.contraction import SymmetricContraction
from matkit.nn.couplings import coupling_paths, coupling_tensors
from matkit.nn.irreps import parse_irreps, spherical_harmonics
from tests.nn.kernels.contractions import contraction, random_input

NATURAL = tuple((degree, (-1) ** degree) for degree in range(4))

# mace-torch 0.3.16: degrees 0 to 3, two channels and species, weights sin(1), sin(2), ... of every
# output irrep in the order of its weights, components cos(2), cos(3), ... of two atoms.
MACE = [
    [
        *(-6.6507381183e-01, -1.9328131451e00, -1.3585303787e00, -5.3460371413e-01),
        *(-4.2864886783e-01, -3.7954706194e-01, -3.1512606512e-04, 3.0162352265e00),
        *(3.5370835439e00, -8.5470651080e-01, 2.7493755317e00, -5.0480024045e00),
        *(1.2173470954e00, -2.7447874267e-01, -6.9637319381e-01, -3.1258875253e00),
        *(-6.4293713207e-01, -1.4882094215e00),
    ],
    [
        *(4.3910912886e00, -1.4162018213e00, 1.4233428963e00, 1.0769499257e00),
        *(-2.4868697934e00, -4.8680523359e00, 3.1953616033e00, 4.5007083071e00),
        *(2.9340546868e00, 1.0709885655e00, -3.9071649672e00, -4.0868267470e00),
        *(-1.6034036219e00, -6.4024113295e00, -6.6174104823e-02, 5.8982264987e-01),
        *(2.5613406988e00, 2.1765459378e-01),
    ],
]


def test_it_is_the_sum_over_paths_of_weights_and_couplings():
    layer = contraction(lmax=2, top=1)
    x, index = random_input(layer)
    flat = torch.cat(x, dim=1)
    for out, target, rows in zip(layer(x, index), layer.layout.targets, layer.weights, strict=True):
        expected = torch.zeros_like(out)
        for order, weight in zip((3, 2, 1), rows, strict=True):
            paths = coupling_tensors(layer.layout.sources, order, target)
            stack = torch.stack([tensor for _, tensor in paths])
            product = torch.einsum("pm...,npc->nmc...", stack, weight[index])
            for _ in range(order):
                product = torch.einsum("nmci...,nic->nmc...", product, flat)
            expected += product
        assert torch.allclose(out, expected, atol=1e-12)


def test_it_gives_the_numbers_of_mace_torch():
    layer = contraction(lmax=3, top=2, channels=2, n_species=2)
    with torch.no_grad():
        for rows in layer.weights:
            first = 1
            for weight in rows:
                numbers = torch.arange(first, first + weight.numel(), dtype=torch.float64)
                weight.copy_(numbers.sin().view(weight.shape))
                first += weight.numel()
    flat = torch.arange(2, 66, dtype=torch.float64).cos().view(2, 2, 16).mT
    out = layer(flat.split([1, 3, 5, 7], dim=1), torch.arange(2))
    found = torch.cat([part.mT.flatten(1) for part in out], dim=1)
    assert torch.allclose(found, torch.tensor(MACE, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("inversion", [1, -1])
def test_it_is_equivariant_under_rotation_and_inversion(inversion):
    layer = contraction(lmax=3, top=2, channels=2)
    x, index = random_input(layer)
    turn = rotation()
    turned = tuple(
        inversion**degree * wigner_d(degree, turn) @ part for degree, part in enumerate(x)
    )
    for degree, (a, b) in enumerate(zip(layer(x, index), layer(turned, index), strict=True)):
        assert torch.allclose(inversion**degree * wigner_d(degree, turn) @ a, b, atol=1e-11)


def rotation():
    """A random proper rotation."""
    matrix = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    )[0]
    return matrix * torch.linalg.det(matrix)


def wigner_d(degree, turn):
    """The matrix by which harmonics change as their argument turns, from many directions."""
    directions = torch.nn.functional.normalize(
        torch.randn(50, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    )
    rows = slice(degree**2, (degree + 1) ** 2)
    before = spherical_harmonics(degree, directions)[:, rows]
    after = spherical_harmonics(degree, directions @ turn.T)[:, rows]
    return torch.linalg.lstsq(before, after).solution.T


@pytest.mark.parametrize(
    ("target", "counts"), [((0, 1), (1, 4, 23)), ((1, -1), (1, 6, 51)), ((2, 1), (1, 7, 65))]
)
def test_numbers_of_paths_are_maces(target, counts):
    found = [coupling_paths(NATURAL, target, order).coefficients.shape[1] for order in (1, 2, 3)]
    assert tuple(found) == counts


def test_a_path_is_given_by_its_polynomial():
    """Exchanging the copies of the feature in the tensor gives the same polynomial."""
    target, x = (1, -1), random_input(contraction(lmax=3, channels=1))[0]
    x = torch.cat(x, dim=1)[..., 0]
    monomials, coefficients = coupling_paths(NATURAL, target, 3)
    values = torch.stack([x[:, i] * x[:, j] * x[:, k] for i, j, k in monomials])
    tensor = torch.stack([path for _, path in coupling_tensors(NATURAL, 3, target)])
    exchanged = torch.einsum("pmijk,nk,ni,nj->mpn", tensor, x, x, x)
    assert torch.allclose(coefficients @ values, exchanged, atol=1e-12)


def test_an_order_without_paths_has_no_weights():
    layer = contraction(lmax=1, top=0, correlation=1)
    assert [len(rows) for rows in layer.weights] == [1]
    even = SymmetricContraction(parse_irreps("2x0e+2x1o"), parse_irreps("2x2e"), 2, 3)
    assert [weight.shape[1] for weight in even.weights[0]] == [1, 0]
    x = (torch.randn(4, 1, 2), torch.randn(4, 3, 2))
    assert even(x, torch.zeros(4, dtype=torch.long))[0].shape == (4, 5, 2)


def test_weights_begin_normal_divided_by_the_number_of_paths():
    layer = contraction(lmax=3, top=0, channels=64, n_species=4)
    for weight, paths in zip(layer.weights[0], (23, 4, 1), strict=True):
        assert weight.shape == (4, paths, 64)
        assert weight.std().item() == pytest.approx(1 / paths, rel=0.15)


@pytest.mark.parametrize(
    ("irreps_in", "irreps_out", "correlation", "message"),
    [
        ("4x0e+4x1o", "4x0e", 4, "correlation of 1 to 3"),
        ("4x0e+2x1o", "4x0e", 2, "as many channels"),
        ("4x0e+4x1o", "4x3o", 2, "contains 4x3o"),
    ],
)
def test_bad_irreps_and_orders_are_refused(irreps_in, irreps_out, correlation, message):
    with pytest.raises(ConfigError, match=message):
        SymmetricContraction(parse_irreps(irreps_in), parse_irreps(irreps_out), correlation, 2)
