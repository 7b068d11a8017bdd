"""Radial tables against the functions they were made from."""

import math

import pytest
import torch

from matkit.errors import ConfigError
from matkit.nn.equivariant import ScalarMLP
from matkit.nn.frozen.radial_table import ACCURACIES, RadialTable, tabulate
from matkit.nn.frozen.table_rows import interpolate
from matkit.nn.harmonics import harmonics
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import Convolution, fused
from matkit.nn.kernels.check import random_graph
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.spline import SPLINES
from matkit.nn.radial import BesselBasis, polynomial_envelope, xplor_envelope
from matkit.nn.radial_functions import Mixture, with_slope

F32, F64 = torch.float32, torch.float64
CUTOFF, ONSET = 5.0, 4.5


def network(width, envelope="xplor"):
    """A radial network as NequIP and SevenNet have it."""
    torch.manual_seed(0)
    mlp, basis = ScalarMLP((8, 16, width)).double(), BesselBasis(CUTOFF, 8).double()

    def function(lengths):
        if envelope == "xplor":
            factor = xplor_envelope(lengths, CUTOFF, ONSET)
        else:
            factor = polynomial_envelope(lengths, CUTOFF)
        return mlp(basis(lengths) * factor.unsqueeze(1))

    return function


def kinked(onset):
    """A function whose second derivative jumps at the onset."""
    return lambda r: (torch.cos(r) * xplor_envelope(r, CUTOFF, onset)).unsqueeze(1)


def mixed_network(width):
    """The same with its last layer apart."""
    torch.manual_seed(0)
    mlp, basis = ScalarMLP((8, 16, width)).double(), BesselBasis(CUTOFF, 8).double()

    def hidden(lengths):
        return mlp.hidden(basis(lengths) * xplor_envelope(lengths, CUTOFF, ONSET).unsqueeze(1))

    return Mixture(hidden, mlp.last.detach())


def lengths_between(low, high, n=500):
    generator = torch.Generator().manual_seed(1)
    return low + (high - low) * torch.rand(n, dtype=F64, generator=generator)


def test_slope_is_the_derivative():
    lengths = lengths_between(0.5, 4.0, 20)
    value, slope = with_slope(lambda r: torch.stack([r**2, torch.sin(r)], dim=1), lengths)
    assert torch.allclose(value, torch.stack([lengths**2, torch.sin(lengths)], dim=1))
    assert torch.allclose(slope, torch.stack([2 * lengths, torch.cos(lengths)], dim=1))


def values_of(table: RadialTable, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and derivatives by the length, in plain torch."""
    spline = SPLINES[SCALARS[table.rows.dtype]]
    return interpolate(spline, *table.weights(lengths))


@pytest.mark.parametrize(
    ("dtype", "bound", "slope_bound"), [(F64, 1e-11, 1e-9), (F32, 2e-6, 2e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("envelope", ["xplor", "polynomial"])
@pytest.mark.parametrize("width", [1, 7, 48])
def test_values_and_slopes_are_within_tolerance(width, envelope, dtype, bound, slope_bound):
    function = network(width, envelope)
    onset = ONSET if envelope == "xplor" else None
    table = tabulate(function, CUTOFF, 0.8, onset, dtype)
    assert table.error <= ACCURACIES[dtype].error
    lengths = lengths_between(0.8, CUTOFF)
    exact, value = with_slope(function, lengths), values_of(table, lengths)
    for right, got, allowed in zip(exact, value, (bound, slope_bound), strict=True):
        assert got.dtype == dtype
        outer = right[lengths > 1.7].abs().amax(dim=0)
        assert ((got - right).abs() / outer).max() <= allowed


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("onset", [4.5, 4.1])
def test_the_last_knot_is_the_cutoff_and_the_onset_is_a_knot(onset, dtype):
    table = tabulate(kinked(onset), CUTOFF, 0.7, onset, dtype)
    first, inverse, last = table.grid.tolist()
    assert first <= math.log(0.7) + 1e-12
    assert first + (last + 1) / inverse == pytest.approx(math.log(CUTOFF), abs=1e-12)
    steps = (math.log(onset) - first) * inverse
    assert steps == pytest.approx(round(steps), abs=1e-6)
    at_cutoff = values_of(table, torch.tensor([CUTOFF], dtype=F64))[0]
    assert at_cutoff.abs().max() <= 1e-12 * table.rows.abs().max()


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_a_linear_last_layer_changes_nothing(dtype):
    mixture = mixed_network(7)
    lengths = lengths_between(0.8, CUTOFF)
    plain = lambda r: mixture(r)  # noqa: E731 hides that the last layer is linear
    for got, right in zip(with_slope(mixture, lengths), with_slope(plain, lengths), strict=True):
        assert torch.allclose(got, right, rtol=1e-12, atol=1e-12)
    quick, slow = (tabulate(f, CUTOFF, 0.8, ONSET, dtype) for f in (mixture, plain))
    assert quick.grid.equal(slow.grid)
    assert quick.error == pytest.approx(slow.error, rel=1e-2)
    assert quick.slope_error == pytest.approx(slow.slope_error, rel=1e-2)
    assert torch.allclose(quick.rows, slow.rows, rtol=1e-6, atol=1e-12)


def test_lengths_outside_are_not_covered():
    table = tabulate(network(5), CUTOFF, 1.0, ONSET)
    lengths = torch.tensor([0.2, 2.0, 0.9, 5.5], dtype=F64)
    assert not any(table.covers(lengths[k : k + 1]) for k in (0, 2, 3))
    assert table.covers(lengths[1:2])
    assert table.covers(lengths[:0])


def test_double_precision_takes_fewer_knots_than_single():
    single, double = (
        tabulate(network(5), CUTOFF, onset=ONSET, dtype=dtype) for dtype in (F32, F64)
    )
    assert len(double.rows) < len(single.rows)


@pytest.mark.parametrize("dtype", [F64, F32])
def test_a_kink_is_found_out(dtype):
    with pytest.raises(ConfigError, match="has a kink"):
        tabulate(lambda r: (r - 2.345).abs().unsqueeze(1), CUTOFF, dtype=dtype)


def test_bounds_out_of_order():
    with pytest.raises(ConfigError, match="Expected 0 < low"):
        tabulate(network(2), CUTOFF, low=6.0)


@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("text", ["20x0e+16x1o+3x2e", "8x0e"])
def test_convolution_with_interpolated_weights(text, dtype, bound):
    irreps = parse_irreps(text)
    conv = Convolution(irreps, 2, irreps, natural_parity=True)
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(6, 40, generator)
    lengths = lengths_between(0.8, CUTOFF, 40)
    _, y = harmonics(torch.randn(40, 3, dtype=F64, generator=generator), 2, dtype)
    x = tuple(torch.randn(6, i.dim, i.channels, dtype=dtype) for i in irreps)
    g = tuple(torch.randn(6, i.dim, i.channels, dtype=dtype) for i in conv.irreps_out)
    table = tabulate(network(conv.weight_numel), CUTOFF, 0.8, ONSET, dtype)
    weights, slope = values_of(table, lengths)
    edges, given = fused.edges_of(graph), table.weights(lengths)
    right = fused.product(conv.layout, x, y, weights, edges)
    got = fused.product(conv.layout, x, y, given, edges)
    for a, b in zip(got, right, strict=True):
        assert (a - b).abs().max() <= bound * b.abs().max()
    full = fused.gradients(conv.layout, (x, y, weights), g, edges)
    for wanted in ("xyw", "yw", "x", "w"):
        found = fused.gradients(conv.layout, (x, y, given), g, edges, wanted)
        pairs = list(zip(found.x, full.x, strict=True)) if "x" in wanted else []
        pairs += [(found.harmonics, full.harmonics)] if "y" in wanted else []
        pairs += [(found.weights, (full.weights * slope).sum(dim=1))] if "w" in wanted else []
        for a, b in pairs:
            assert (a - b).abs().max() <= 10 * bound * b.abs().max()
