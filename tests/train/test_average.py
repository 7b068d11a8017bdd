"""The average that training follows, and what a run that goes on makes of it."""

import copy

import pytest
import torch
from torch import nn

from matkit.train.objective import Average

STEPS = 4000


class Number(nn.Module):
    """A model of one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value]))


def follow(average: Average[Number], values: list[torch.Tensor], first: int = 0) -> None:
    """Make the average follow the values, from that step on."""
    for step, value in enumerate(values[first:], first):
        average.update({"value": value}, step)


@pytest.fixture
def values() -> list[torch.Tensor]:
    """Return numbers that move from 100 to 99.997, and turn about that."""
    torch.manual_seed(0)
    return list(99.997 + 1e-4 * torch.randn(STEPS, 1))


def test_large_numbers_are_followed(values):
    # 1 - decay of the distance, 3e-6, is less than half of what single precision tells apart.
    average, expected = Average(Number(100.0), 0.999), 100.0
    for step, value in enumerate(values, 10_000):
        average.update({"value": value}, step)
        expected += 0.001 * (float(value) - expected)
    assert expected == pytest.approx(99.997, abs=1e-4)
    assert float(average.model.value) == pytest.approx(expected, abs=1e-5)


def test_an_average_goes_on(values):
    whole, first = Average(Number(100.0), 0.999), Average(Number(100.0), 0.999)
    follow(whole, values)
    follow(first, values[: STEPS // 2])
    kept = copy.deepcopy((first.model.state_dict(), first.exact))
    second = Average(Number(5.0), 0.999)
    second.restore(*kept)
    follow(second, values, STEPS // 2)
    assert torch.equal(second.model.value, whole.model.value)


def test_a_state_without_double_precision_goes_on():
    average = Average(Number(5.0), 0.5)
    average.restore(Number(3.0).state_dict(), {})
    average.update({"value": torch.tensor([5.0])}, 1000)
    assert float(average.model.value) == 4.0
