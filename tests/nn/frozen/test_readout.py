"""The read-out for inference against autograd."""

import pytest
import torch

from matkit.nn.equivariant import ScalarMLP
from matkit.nn.frozen.readout import FrozenReadout


@pytest.mark.parametrize("activate", [True, False])
@pytest.mark.parametrize("widths", [(7, 1), (7, 4, 1), (7, 5, 3, 1)])
def test_values_and_gradient_are_those_of_autograd(widths, activate):
    torch.manual_seed(0)
    mlp = ScalarMLP(widths, activate).double()
    x = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    expected = mlp(x).squeeze(1)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    value, found = FrozenReadout.of(mlp).with_gradient(x.detach())
    assert torch.allclose(value, expected, rtol=0, atol=1e-14)
    assert torch.allclose(found.expand_as(x), gradient, rtol=0, atol=1e-14)
