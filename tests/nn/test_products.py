"""Products of features by 3j symbols and on a sphere."""

from __future__ import annotations

from itertools import product as all_of

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from matkit.errors import ConfigError
from matkit.nn.irreps import spherical_harmonics, wigner_3j
from matkit.nn.products import SphereProduct, factor, feature_product

EVEN = [(l1, l2, l3) for l1, l2, l3 in all_of(range(5), repeat=3) if abs(l1 - l2) <= l3 <= l1 + l2]
ODD = [path for path in EVEN if sum(path) % 2]
EVEN = [path for path in EVEN if not sum(path) % 2]
KINDS = {"gaunt": EVEN, "vector": ODD}


def features(lmax: int, seed: int, atoms: int = 3, channels: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(atoms, 2 * degree + 1, channels, generator=generator, dtype=torch.float64)
        for degree in range(lmax + 1)
    )


def by_symbols(x: tuple[Tensor, ...], y: tuple[Tensor, ...], path: tuple[int, int, int]) -> Tensor:
    l1, l2, l3 = path
    symbol = (2 * l3 + 1) ** 0.5 * wigner_3j(*path)
    return torch.einsum("abc,nak,nbk->nck", symbol, x[l1], y[l2])


def test_the_coupling_product_has_every_path_apart() -> None:
    x, y = features(4, 0), features(4, 1)
    made = feature_product("coupling", EVEN + ODD)(x, y)
    for degree in range(5):
        paths = [path for path in EVEN + ODD if path[2] == degree]
        wanted = torch.cat([by_symbols(x, y, path) for path in paths], dim=2)
        torch.testing.assert_close(made[degree], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["gaunt", "vector"])
def test_a_sphere_gives_the_couplings_times_their_factors(kind: str) -> None:
    x, y = features(4, 0), features(4, 1)
    paths = KINDS[kind]
    degrees = sorted({path[2] for path in paths})
    made = feature_product(kind, paths)(x, y)
    for degree, part in zip(degrees, made, strict=True):
        mine = [path for path in paths if path[2] == degree]
        wanted = sum(factor(kind, path) * by_symbols(x, y, path) for path in mine)
        torch.testing.assert_close(part, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["gaunt", "vector"])
def test_no_path_of_the_right_sum_is_missing(kind: str) -> None:
    assert min(abs(factor(kind, path)) for path in KINDS[kind]) > 0.1


def test_factors_of_the_gaunt_product_are_the_integrals_of_three_harmonics() -> None:
    symbol = (2 * 2 + 1) ** 0.5 * wigner_3j(2, 2, 2)
    fine = torch.randn(50_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = spherical_harmonics(2, fine / fine.norm(dim=1, keepdim=True))[:, 4:]
    mean = torch.einsum("pa,pb,pc->abc", y, y, y) / len(y)
    torch.testing.assert_close(factor("gaunt", (2, 2, 2)) * symbol, mean, rtol=0, atol=0.05)


def test_two_vectors_give_their_cross_product() -> None:
    x, y = features(1, 0), features(1, 1)
    (made,) = feature_product("vector", [(1, 1, 1)])(x, y)
    torch.testing.assert_close(made / 3**0.5, torch.linalg.cross(x[1], y[1], dim=1))


@pytest.mark.parametrize("kind", ["gaunt", "vector"])
def test_reflection_changes_natural_features_as_it_should(kind: str) -> None:
    x, y = features(3, 0), features(3, 1)
    paths = [path for path in KINDS[kind] if max(path) <= 3]
    layer = feature_product(kind, paths)
    turned = layer(*(tuple((-1) ** d * part for d, part in enumerate(f)) for f in (x, y)))
    for degree, a, b in zip(layer.targets, layer(x, y), turned, strict=True):
        sign = (-1) ** degree * (-1 if kind == "vector" else 1)
        assert torch.equal(a * sign, b)


@pytest.mark.parametrize("kind", ["coupling", "gaunt", "vector"])
def test_derivatives_of_both_orders(kind: str) -> None:
    layer = feature_product(kind, [(1, 1, 1)] if kind == "vector" else [(1, 1, 0), (1, 1, 2)])
    parts = [part.requires_grad_() for part in (*features(1, 0, 2), *features(1, 1, 2))]

    def flat(*given: Tensor) -> Tensor:
        return torch.cat(layer(given[:2], given[2:]), dim=1)

    assert gradcheck(flat, parts)
    assert gradgradcheck(flat, parts)


@pytest.mark.parametrize(
    ("kind", "path", "words"),
    [
        ("gaunt", (1, 1, 1), "take vector or coupling"),
        ("vector", (1, 1, 2), "take gaunt or coupling"),
        ("coupling", (1, 1, 3), "triangle"),
        ("gaunts", (1, 1, 0), "gaunt"),
    ],
)
def test_a_path_that_a_product_cannot_make_is_refused(
    kind: str, path: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        feature_product(kind, [path])


def test_no_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one path"):
        feature_product("coupling", [])


def test_a_rule_below_the_exact_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="Expected at least 26 points"):
        feature_product("gaunt", [(2, 2, 2)], points=14)
    assert isinstance(feature_product("gaunt", [(2, 2, 2)], points=50), SphereProduct)


def test_degrees_beyond_the_finest_rule_are_refused() -> None:
    with pytest.raises(ConfigError, match="add up to 30"):
        feature_product("gaunt", [(10, 10, 10)])
