"""Powers of signals on a sphere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from matkit.errors import ConfigError
from matkit.nn.gaunt import GauntContraction
from matkit.nn.irreps import parse_irreps
from matkit.nn.products import feature_product
from matkit.testing.systems import random_rotation
from tests.nn.test_sphere import turned

INDEX = torch.tensor([0, 1, 0])


def features(lmax: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(3, 2 * degree + 1, 4, generator=generator, dtype=torch.float64)
        for degree in range(lmax + 1)
    )


def layer(correlation: int, out: str = "4x0e+4x1o") -> GauntContraction:
    irreps = parse_irreps("4x0e+4x1o+4x2e")
    torch.manual_seed(0)
    return GauntContraction(irreps, parse_irreps(out), correlation, 2).double()


def test_the_second_power_is_the_gaunt_product_with_itself() -> None:
    x, contraction = features(), layer(2)
    with torch.no_grad():
        contraction.weights[0].zero_()
        contraction.weights[1].fill_(1)
    paths = [(a, b, c) for a in range(3) for b in range(3) for c in range(2)]
    paths = [p for p in paths if abs(p[0] - p[1]) <= p[2] <= p[0] + p[1] and sum(p) % 2 == 0]
    wanted = feature_product("gaunt", paths)(x, x)
    for made, part in zip(contraction(x, INDEX), wanted, strict=True):
        torch.testing.assert_close(made * 3, part)  # values are divided by lmax + 1


@pytest.mark.parametrize("correlation", [1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_powers_turn_with_the_features(correlation: int, sign: int) -> None:
    x, contraction, rotation = features(), layer(correlation), random_rotation(3)
    reflected = tuple(sign**degree * part for degree, part in enumerate(x))
    made = contraction(turned(reflected, rotation), INDEX)
    wanted = turned(contraction(x, INDEX), rotation)
    for degree, (a, b) in enumerate(zip(made, wanted, strict=True)):
        torch.testing.assert_close(a, sign**degree * b, rtol=0, atol=1e-11)


def test_species_have_weights_of_their_own() -> None:
    x, contraction = tuple(part[:1].repeat(3, 1, 1) for part in features()), layer(3)
    scalars = contraction(x, INDEX)[0]
    assert torch.equal(scalars[0], scalars[2])
    assert not torch.allclose(scalars[0], scalars[1])


def test_second_derivatives() -> None:
    contraction = layer(3)
    x = [part[:1, :, :1].requires_grad_() for part in features()]

    def function(*parts: Tensor) -> Tensor:
        wide = tuple(part.expand(-1, -1, 4) for part in parts)
        return torch.cat(contraction(wide, INDEX[:1]), dim=1)

    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize(
    ("irreps", "out"),
    [("4x0e+4x1e", "4x0e"), ("4x1o", "4x1o"), ("4x0e+4x1o", "4x2e"), ("4x0e+2x1o", "4x0e")],
)
def test_other_irreps_are_refused(irreps: str, out: str) -> None:
    with pytest.raises(ConfigError, match="equal channels"):
        GauntContraction(parse_irreps(irreps), parse_irreps(out), 2, 1)


def test_no_power_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        layer(0)


def test_powers_beyond_the_finest_rule_are_refused() -> None:
    with pytest.raises(ConfigError, match="add up to 31"):
        layer(15)
