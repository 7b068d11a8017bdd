import itertools

import pytest
import torch
from e3nn import o3

from matkit.errors import ConfigError
from matkit.nn.irreps import (
    format_irreps,
    parse_irreps,
    sort_irreps,
    spherical_harmonics,
    wigner_3j,
)


@pytest.mark.parametrize(("l1", "l2"), list(itertools.product(range(5), repeat=2)))
def test_wigner_symbols_are_e3nns(l1, l2):
    for l3 in range(abs(l1 - l2), l1 + l2 + 1):
        expected = o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
        assert torch.allclose(wigner_3j(l1, l2, l3), expected, atol=1e-12)


def test_harmonics_are_e3nns():
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
    expected = o3.spherical_harmonics(list(range(7)), directions, True, "component")
    assert torch.allclose(spherical_harmonics(6, directions), expected, atol=1e-12)


def test_notation():
    irreps = parse_irreps("3x0e + 2x1o+1x2e")
    assert format_irreps(irreps) == "3x0e+2x1o+1x2e"
    assert [irrep.dim for irrep in irreps] == [1, 3, 5]
    mixed = parse_irreps("1x2o+1x2e+1x1e+1x1o+1x0o+1x0e")
    order = o3.Irreps("1x2o+1x2e+1x1e+1x1o+1x0o+1x0e").sort().irreps
    assert format_irreps(sort_irreps(mixed)) == str(order)


@pytest.mark.parametrize("text", ["", "3x0", "0e", "3x0e+2x0e", "3x1x"])
def test_bad_notation(text):
    with pytest.raises(ConfigError):
        parse_irreps(text)


def test_triangle_rule():
    with pytest.raises(ConfigError, match="triangle rule"):
        wigner_3j(1, 1, 3)
