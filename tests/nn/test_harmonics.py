"""Compiled lengths and spherical harmonics against the torch functions."""

import pytest
import torch

from matkit.errors import ConfigError
from matkit.nn.harmonics import harmonics, harmonics_gradient
from matkit.nn.irreps import spherical_harmonics

F64 = torch.float64


def random_vectors(n):
    return torch.randn(n, 3, dtype=F64, generator=torch.Generator().manual_seed(n))


def by_torch(vectors, lmax):
    lengths = vectors.norm(dim=1)
    return lengths, spherical_harmonics(lmax, vectors / lengths.unsqueeze(1))


@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("lmax", range(5))
@pytest.mark.parametrize("edges", [0, 1, 8, 61])
def test_values_and_gradient(edges, lmax, dtype, bound):
    vectors = random_vectors(edges).requires_grad_()
    lengths, values = by_torch(vectors, lmax)
    got_lengths, got = harmonics(vectors, lmax, dtype)
    assert got.dtype == dtype
    assert got_lengths.dtype == F64
    assert torch.allclose(got_lengths, lengths, rtol=1e-15, atol=0)
    assert torch.allclose(got.double(), values, rtol=bound, atol=bound)

    by_length, by_value = torch.randn_like(lengths), torch.randn_like(values)
    total = (lengths * by_length).sum() + (values * by_value).sum()
    (expected,) = torch.autograd.grad(total, vectors)
    found = harmonics_gradient(vectors, by_length, by_value.to(dtype))
    assert found.dtype == F64
    assert torch.allclose(found, expected, rtol=10 * bound, atol=100 * bound)


def test_threads_do_not_change_a_bit():
    vectors, before, seen = random_vectors(2001), torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            seen.append(harmonics(vectors, 3, torch.float32)[1])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*seen)


def test_single_precision_vectors_are_refused():
    with pytest.raises(ConfigError, match="float64 on the CPU or a GPU, got torch.float32"):
        harmonics(random_vectors(3).float(), 2, torch.float32)
