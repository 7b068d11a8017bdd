"""The benchmarks' count of floating-point operations, against brute force and torch's counter."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from matkit.models.checkpoint import build
from matkit.nn.equivariant import Linear
from matkit.nn.irreps import parse_irreps, wigner_3j
from matkit.nn.kernels import Convolution
from tests.potentials.test_nequip import TINY

SPEC = importlib.util.spec_from_file_location(
    "arithmetic", Path(__file__).parents[1] / "benchmarks" / "arithmetic.py"
)
arithmetic = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(arithmetic)


def layout_of(text, lmax):
    irreps = parse_irreps(text)
    return Convolution(irreps, lmax, irreps, natural_parity=True).layout


def test_one_scalar_path_by_hand():
    # Forward x y w is two products and the sum; "w" is g y and its product with x; ...
    layout = layout_of("1x0e", 0)
    assert arithmetic.convolution(layout) == 4
    assert [arithmetic.convolution(layout, name) for name in ("x", "y", "w")] == [4, 4, 4]
    assert arithmetic.convolution(layout, "xyw") == 10


@pytest.mark.parametrize(("text", "lmax"), [("3x0e+2x1o", 1), ("8x0e+4x1o+2x2e+9x3o", 3)])
def test_couplings_by_brute_force(text, lmax):
    layout, total = layout_of(text, lmax), 0
    for path in layout.paths:
        symbol = wigner_3j(*layout.degrees(path)).abs() > 1e-12
        total += path.channels * (int(symbol.any(dim=1).sum()) + len(symbol))
    assert arithmetic.convolution(layout) == 2 * total


def test_linear_maps_by_torchs_counter():
    irreps = parse_irreps("8x0e+4x1o+2x2e")
    layer, n_atoms = Linear(irreps, parse_irreps("5x0e+3x2e")), 7
    with FlopCounterMode(display=False) as counter:
        layer(tuple(torch.randn(n_atoms, i.dim, i.channels) for i in irreps))
    assert n_atoms * arithmetic.linear(layer.weights, [0, 2]) == counter.get_total_flops()


def test_a_network_is_linear_in_atoms_and_edges():
    network = build("nequip", TINY)
    alone = arithmetic.network(network, 1, 0)
    assert alone > 0
    assert arithmetic.network(network, 3, 0) == 3 * alone
    per_edge = arithmetic.network(network, 0, 1)
    layouts = [layer.convolution.layout for layer in network.interactions]
    assert per_edge > 3 * sum(arithmetic.convolution(layout) for layout in layouts[1:])
    assert arithmetic.network(network, 3, 5) == 3 * alone + 5 * per_edge


def test_the_machine_multiplies():
    assert arithmetic.matmul_rate(repeat=1) > 0
