import pytest
import torch
from e3nn import nn as e3nn_nn
from e3nn import o3
from e3nn.math import normalize2mom

from matkit.errors import ConfigError
from matkit.nn import equivariant, scatter
from matkit.nn.equivariant import Gate, Linear, ScalarMLP
from matkit.nn.irreps import parse_irreps
from matkit.nn.radial import BesselBasis, polynomial_envelope, xplor_envelope


def test_linear_equals_e3nn():
    torch.manual_seed(0)
    ours = Linear(parse_irreps("5x0e+3x1o"), parse_irreps("2x0e+4x1o")).double()
    theirs = o3.Linear("5x0e+3x1o", "2x0e+4x1o").double()
    theirs.weight.data = torch.cat([w.flatten() for w in ours.weights]).detach()
    x = [torch.randn(6, 1, 5).double(), torch.randn(6, 3, 3).double()]
    expected = theirs(torch.cat([block.mT.reshape(6, -1) for block in x], 1))
    got = torch.cat([block.mT.reshape(6, -1) for block in ours(tuple(x))], 1)
    assert torch.allclose(got, expected)


def test_linear_with_one_matrix_per_species_is_e3nns_one_hot_product():
    torch.manual_seed(0)
    ours = Linear(parse_irreps("3x0e"), parse_irreps("2x0e"), species=4).double()
    theirs = o3.FullyConnectedTensorProduct("3x0e", "4x0e", "2x0e").double()
    theirs.weight.data = ours.weights[0].permute(1, 0, 2).flatten().detach()
    x, index = torch.randn(5, 1, 3).double(), torch.tensor([0, 3, 1, 1, 2])
    expected = theirs(x[:, 0], torch.nn.functional.one_hot(index, 4).double())
    assert torch.allclose(ours((x,), index)[0][:, 0], expected)


def test_linear_refuses_to_invent_an_irrep():
    with pytest.raises(ConfigError, match="cannot make 2x1o from 5x0e"):
        Linear(parse_irreps("5x0e"), parse_irreps("2x1o"))


def test_gate_needs_scalars_first():
    with pytest.raises(ConfigError, match="must begin with even scalars"):
        Gate(parse_irreps("2x1o+3x0e"))


def test_activation_constants_are_e3nns():
    for name in ("silu", "tanh"):
        function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
        assert normalize2mom(function).cst == pytest.approx(equivariant.RMS[name], abs=1e-12)


def test_scalar_mlp_equals_e3nn():
    torch.manual_seed(0)
    ours = ScalarMLP((4, 8, 3)).double()
    theirs = e3nn_nn.FullyConnectedNet([4, 8, 3], torch.nn.functional.silu).double()
    for layer, weight in zip(theirs, ours.weights, strict=True):
        layer.weight.data = weight.detach()
    x = torch.randn(7, 4).double()
    assert torch.allclose(ours(x), theirs(x))


def test_bessel_functions():
    basis = BesselBasis(5.0, 3).double()
    r = torch.linspace(0.5, 4.9, 9, dtype=torch.float64)
    expected = torch.stack([2 / 5 * torch.sin(n * torch.pi * r / 5) / r for n in (1, 2, 3)], dim=1)
    assert torch.allclose(basis(r), expected, rtol=1e-6)


def test_bessel_functions_are_finite_at_zero():
    r = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    values = BesselBasis(5.0)(r)
    (gradient,) = torch.autograd.grad(values.sum(), r)
    assert torch.isfinite(values).all()
    assert float(gradient) == 0.0


@pytest.mark.parametrize(
    ("envelope", "order"),
    [
        (lambda r: polynomial_envelope(r, 5.0, 6), 2),
        (lambda r: polynomial_envelope(r, 5.0, 5), 2),
        (lambda r: xplor_envelope(r, 5.0, 4.5), 1),
    ],
)
def test_envelopes_vanish_smoothly(envelope, order):
    r = torch.tensor([5.0 - 1e-7], dtype=torch.float64, requires_grad=True)
    value = envelope(r)
    for _ in range(order + 1):
        assert abs(value.item()) < 1e-5
        (value,) = torch.autograd.grad(value, r, create_graph=True)
    assert envelope(torch.tensor([5.0, 6.0])).tolist() == [0.0, 0.0]
    assert float(envelope(torch.tensor([1e-3]))) == pytest.approx(1.0)


def test_scatter_sum_adds_rows():
    values, index = torch.randn(6, 2, 3), torch.tensor([2, 0, 0, 3, 3, 3])
    expected = torch.zeros(5, 2, 3)
    for row, target in zip(values, index, strict=True):
        expected[target] += row
    assert torch.allclose(scatter.scatter_sum(values, index, 5), expected)
    assert scatter.scatter_sum(values[:0], index[:0], 2).shape == (2, 2, 3)


def test_torch_scatter_agrees_with_torch(monkeypatch):
    pytest.importorskip("torch_scatter")
    index = torch.tensor([0, 0, 2, 3, 3, 3])
    pointers = torch.tensor([0, 2, 2, 3, 6, 6])
    values = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    fast = scatter.scatter_sum(values, index, 5, pointers)
    monkeypatch.setattr(scatter, "segment_csr", None)
    plain = scatter.scatter_sum(values, index, 5, pointers)
    assert torch.allclose(fast, plain)
    weights = torch.randn_like(plain)
    gradients = [torch.autograd.grad((s * weights).sum(), values)[0] for s in (fast, plain)]
    assert torch.allclose(*gradients)
