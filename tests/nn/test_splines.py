import math

import torch

from matkit.nn.splines import CosineSplines


def test_bumps_have_the_published_form():
    """As in Allegro, with x = r / rc, a = (k - 12) / 16 and w = 13 / 16."""
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    got = CosineSplines(5.0, 16, 12)(5.0 * x)
    for k in range(16):
        a, w = (k - 12) / 16, 13 / 16
        bump = ((1 - torch.cos(2 * math.pi * (x - a) / w)) / 2) ** 2
        expected = torch.where((x >= a) & (x <= a + w), bump, 0.0)
        assert torch.allclose(got[:, k], expected, rtol=0, atol=1e-12)


def test_three_derivatives_vanish_at_the_cutoff():
    basis = CosineSplines(4.0, 8)
    r = torch.tensor([4.0, 4.0 - 1e-5, 4.0 + 1e-5, 9.0], dtype=torch.float64, requires_grad=True)
    value = basis(r).sum(dim=1)
    for _ in range(4):
        assert value.detach().abs().max() < 1e-3
        (value,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    assert value[1].abs() > 1
