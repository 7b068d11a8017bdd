"""Weights of couplings in another basis."""

import pytest
import torch

from matkit.errors import CheckpointError
from matkit.models.foreign.mace_couplings import in_our_paths
from matkit.nn.couplings import coupling_tensors

KINDS = ((0, 1), (1, -1), (2, 1))


def stacked(order, degree):
    """The couplings as MACE stores them."""
    tensors = [t for _, t in coupling_tensors(KINDS, order, (degree, (-1) ** degree))]
    stack = torch.stack(tensors, dim=-1)
    return stack[0] if degree == 0 else stack


def products(couplings, weight, degree, order):
    """Values of the contraction of one feature."""
    x = torch.linspace(-1, 1.3, 9, dtype=torch.float64)
    value = couplings if degree else couplings.unsqueeze(0)
    for _ in range(order):
        value = torch.einsum("mi...,i->m...", value, x)
    return torch.einsum("mp,spc->msc", value, weight)


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_our_couplings_leave_weights_as_they_are(order, degree):
    couplings = stacked(order, degree)
    weight = torch.randn(2, couplings.shape[-1], 3, dtype=torch.float64)
    assert in_our_paths(weight, couplings.float(), KINDS) is weight


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("order", [2, 3])
def test_fewer_and_mixed_couplings_give_the_same_products(order, degree):
    torch.manual_seed(0)
    ours = stacked(order, degree)
    theirs = ours @ torch.randn(ours.shape[-1], ours.shape[-1] - 1, dtype=torch.float64)
    weight = torch.randn(2, theirs.shape[-1], 3, dtype=torch.float64)
    found = in_our_paths(weight, theirs, KINDS)
    assert found.shape[1] == ours.shape[-1]
    expected = products(theirs, weight, degree, order)
    assert torch.allclose(products(ours, found, degree, order), expected, rtol=1e-9, atol=1e-12)


def test_a_coupling_that_is_zero_is_left_out():
    """Of even degrees alone none is odd; MACE keeps a weight for it."""
    even = ((0, 1), (2, 1))
    found = in_our_paths(torch.randn(2, 1, 3), torch.zeros(3, 6, 6, 1), even)
    assert found.shape == (2, 0, 3)


def test_what_is_no_coupling_is_refused():
    couplings = torch.randn(9, 9, 3)
    with pytest.raises(CheckpointError, match="couplings of 2 features to degree 0"):
        in_our_paths(torch.randn(2, 3, 3), couplings, KINDS)
