import pytest
import torch

from matkit.nn.irreps import parse_irreps
from matkit.nn.residual import add_matching, add_matching_gradient, matching


def features(irreps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, irrep.dim, irrep.channels) for irrep in parse_irreps(irreps)]
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)


@pytest.mark.parametrize(
    ("before", "after"),
    [("4x0e+2x1o", "4x0e+2x1o"), ("2x0e", "4x0e+2x1o"), ("4x1o+6x0e", "3x0e+2x1o+1x2e")],
)
def test_input_is_added_where_kinds_match(before, after):
    x, y = features(before), features(after, 1)
    pairs = matching(parse_irreps(before), parse_irreps(after))
    total = add_matching(y, x, pairs)
    for irrep, one, part in zip(parse_irreps(after), y, total, strict=True):
        expected = one.clone()
        for other, added in zip(parse_irreps(before), x, strict=True):
            if other.kind == irrep.kind:
                n = min(other.channels, irrep.channels)
                expected[..., :n] += added[..., :n]
        assert torch.equal(part, expected)


@pytest.mark.parametrize("after", ["4x0e+2x1o", "2x0e+3x1o", "6x0e+1x1o+2x2e"])
def test_derivative_agrees_with_autograd(after):
    before = "4x0e+2x1o"
    x = tuple(part.requires_grad_() for part in features(before))
    pairs = matching(parse_irreps(before), parse_irreps(after))
    y = tuple(
        torch.ones_like(part) * sum(one.square().sum() for one in x) for part in features(after)
    )
    g = features(after, 2)
    by_x = torch.autograd.grad(y, x, g, retain_graph=True)
    expected = torch.autograd.grad(add_matching(y, x, pairs), x, g)
    got = add_matching_gradient(by_x, g, pairs)
    assert all(torch.allclose(a, b) for a, b in zip(got, expected, strict=True))
