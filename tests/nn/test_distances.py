"""Transforms of lengths by the sizes of atoms."""

import pytest
import torch
from ase.data import covalent_radii

from matkit.nn.distances import DistanceTransform, agnesi, soft

SPECIES = [1, 8, 14, 55]
CUTOFF = 5.2  # its double is not the same in single precision


def lengths(low: float = 0.1, n: int = 40) -> torch.Tensor:
    return torch.linspace(low, CUTOFF, n, dtype=torch.float64)


def test_agnesi_falls_from_one_and_agrees_with_its_formula():
    r, total = lengths(), 2.0
    got = agnesi(r, torch.full_like(r, total))
    x = r / (total / 2)
    expected = 1 / (1 + 1.0805 * x**0.9183 / (1 + x ** (0.9183 - 4.5791)))
    assert torch.allclose(got, expected, rtol=1e-14)
    assert (got.diff() < 0).all()


def test_agnesi_has_derivatives_where_atoms_coincide():
    r = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(agnesi(r, torch.ones_like(r)).sum(), r)
    assert slope.isfinite().all()


def test_soft_goes_from_three_quarters_of_the_radii_to_the_length():
    near, far = soft(*torch.tensor([[0.1, 4.9], [1.2, 1.2]], dtype=torch.float64)).tolist()
    assert near == pytest.approx(0.75 * 1.2, rel=0.01)
    assert far == pytest.approx(4.9, rel=1e-9)


@pytest.mark.parametrize("name", ["agnesi", "soft"])
def test_transform_takes_the_radii_of_both_ends(name):
    transform = DistanceTransform(name, SPECIES, CUTOFF)
    one, other = torch.tensor([0, 3, 1]), torch.tensor([3, 0, 2])
    kinds = transform.kind_of(one, other)
    assert kinds[0] == kinds[1] != kinds[2]
    r = torch.tensor([1.0, 1.0, 1.3], dtype=torch.float64)
    radii = torch.tensor(covalent_radii)[SPECIES]
    function = {"agnesi": agnesi, "soft": soft}[name]
    assert torch.allclose(transform(r, kinds), function(r, radii[one] + radii[other]))


def test_radii_stay_in_double_precision():
    transform = DistanceTransform("soft", SPECIES, CUTOFF).float()
    assert transform.sums.dtype == torch.float64
