"""Derivatives by features, summed up irrep by irrep."""

import pytest
import torch

from matkit.nn.frozen.contracts import FeatureGradient


def test_what_is_added_is_summed_up():
    a, b, matrix = torch.randn(4, 3, 2), torch.randn(4, 3, 5), torch.randn(5, 2)
    by_x = FeatureGradient.zero(1)
    by_x.add(0, a.clone())
    by_x.add_product(0, b, matrix)
    assert torch.allclose(by_x.whole()[0], a + b @ matrix)


def test_memory_is_used_again_and_the_result_is_the_same():
    b, matrix, space = torch.randn(4, 3, 5), torch.randn(5, 2), {}
    parts = []
    for _ in range(2):
        by_x = FeatureGradient.zero(1, space)
        by_x.add_product(0, b, matrix)
        parts.append(by_x.whole()[0])
    assert parts[0].data_ptr() == parts[1].data_ptr()
    assert torch.equal(parts[1], b @ matrix)


def test_a_derivative_that_nothing_was_added_to_is_missing():
    with pytest.raises(RuntimeError, match="asked for is missing"):
        FeatureGradient.zero(2).whole()
