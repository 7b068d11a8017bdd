"""The symmetric contraction in plain torch."""

import pytest
import torch

from matkit.errors import ConfigError
from matkit.nn.contraction import SymmetricContraction
from matkit.nn.couplings import coupling_tensors
from matkit.nn.irreps import parse_irreps
from tests.nn.kernels.contractions import contraction, random_input


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
