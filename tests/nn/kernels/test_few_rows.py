"""Compiled products and gates of few atoms against plain torch."""

import pytest
import torch

from matkit.nn.equivariant import Gate
from matkit.nn.frozen.nodes import FrozenGate
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels.gates import gate_entry
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.products import product_entry
from matkit.nn.kernels.quotients import quotient_entry
from matkit.nn.kernels.sequence import LaunchSequence

DTYPES = [(torch.float32, 1e-5), (torch.float64, 1e-13)]
GATES = ["128x0e+64x1e+32x2e", "5x0e+3x0o+7x1o+33x2e", "16x0e"]


def random(*shape, dtype):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 5), (9, 128, 224), (7, 5, 67), (13, 1, 16), (6, 33, 1)])
def test_products_of_any_shape(shape, dtype, tolerance):
    rows, inner, outer = shape
    x, matrix = random(rows, inner, dtype=dtype), random(inner, outer, dtype=dtype)
    out = torch.full((rows + 1, outer), torch.nan, dtype=dtype)
    launches = LaunchSequence()
    for add in (False, True):
        entry = product_entry(SCALARS[dtype], add)
        launches.add(entry, [x, matrix, out, inner, outer], (0, rows))
    for _ in range(2):
        launches.run()
        assert torch.allclose(out[:-1], 2 * x @ matrix, rtol=tolerance, atol=10 * tolerance)
    assert out[-1].isnan().all()


def test_a_product_of_some_rows_leaves_the_others_alone():
    x, matrix = random(9, 4, dtype=torch.float64), random(4, 8, dtype=torch.float64)
    out, launches = torch.zeros(9, 8, dtype=torch.float64), LaunchSequence()
    launches.add(product_entry("double", False), [x, matrix, out, 4, 8], (2, 5))
    launches.run()
    assert torch.allclose(out[2:5], x[2:5] @ matrix, rtol=0, atol=1e-14)
    assert not out[:2].any()
    assert not out[5:].any()


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("text", GATES)
def test_gates_and_their_derivative(text, dtype, tolerance):
    gate = Gate(parse_irreps(text))
    irreps = tuple((irrep.l, irrep.channels) for irrep in parse_irreps(text))
    x = tuple(3 * random(9, i.dim, i.channels, dtype=dtype) for i in gate.irreps_in)
    x[0][0, 0, :2] = torch.tensor([300.0, -300.0])  # beyond what the exponential holds
    frozen = FrozenGate.of(gate)
    values = frozen.forward(x)
    g = tuple(random(*part.shape, dtype=dtype) for part in values)
    found, by_x = tuple(map(torch.empty_like, values)), tuple(map(torch.empty_like, x))
    launches = LaunchSequence()
    launches.add(gate_entry(SCALARS[dtype], irreps, 0), [*x, *found], (0, 9))
    launches.add(gate_entry(SCALARS[dtype], irreps, 1), [*x, *g, *by_x], (0, 9))
    launches.run()
    expected = (*values, *frozen.backward(x, g))
    for got, right in zip((*found, *by_x), expected, strict=True):
        assert torch.allclose(got, right, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("shapes", [[(1, 1)], [(1, 128), (3, 128)], [(1, 5), (3, 5), (5, 7)]])
def test_quotients_and_their_derivatives(shapes, dtype, tolerance):
    x = [random(9, *shape, dtype=dtype).requires_grad_() for shape in shapes]
    density = random(9, 1, 1, dtype=dtype).square().requires_grad_()
    g = [random(9, *shape, dtype=dtype) for shape in shapes]
    values = [part / (1 + density) for part in x]
    expected = [*values, *torch.autograd.grad(values, [*x, density], g)]
    out = [torch.full_like(part, torch.nan) for part in x]
    by_x, by_density = [torch.full_like(part, torch.nan) for part in x], torch.empty(9, dtype=dtype)
    sizes = tuple(rows * channels for rows, channels in shapes)
    launches = LaunchSequence()
    launches.add(quotient_entry(SCALARS[dtype], sizes, False), [density, *x, *out], (0, 9))
    arguments = [density, *out, *g, *by_x, by_density]
    launches.add(quotient_entry(SCALARS[dtype], sizes, True), arguments, (0, 9))
    launches.run()
    found = [*out, *by_x, by_density.view(9, 1, 1)]
    for got, right in zip(found, expected, strict=True):
        assert torch.allclose(got, right, rtol=tolerance, atol=10 * tolerance)
