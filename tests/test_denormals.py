"""Training takes numbers that are too small for the processor to be fast with as zero."""

import pytest
import torch

from matkit.denormals import denormals_are_zero, without_denormals

TINY = torch.finfo(torch.float32).tiny


@pytest.fixture(autouse=True)
def mode_of_before():
    before = denormals_are_zero()
    if not torch.set_flush_denormal(True):
        pytest.skip("the processor has no such mode")
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(before)


def test_denormal_numbers_are_zero_within_and_themselves_after():
    matrix = torch.full((4, 4), TINY)
    with without_denormals():
        assert denormals_are_zero()
        assert torch.count_nonzero(matrix * 0.5) == 0
        assert torch.count_nonzero(matrix) == 16
    assert not denormals_are_zero()
    assert torch.count_nonzero(matrix * 0.5) == 16


def test_a_mode_of_the_user_stays():
    torch.set_flush_denormal(True)
    with without_denormals():
        pass
    assert denormals_are_zero()


def test_an_error_within_ends_it():
    with pytest.raises(ValueError, match="within"), without_denormals():
        raise ValueError("within")
    assert not denormals_are_zero()
