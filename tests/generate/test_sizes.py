"""How many atoms structures are drawn with."""

import numpy as np
import pytest
import torch

from matkit.generate.sizes import LEAST, size_weights
from matkit.train.generator_network import property_spread

COUNTS = {"3": 1, "6": 3, "9": 0}


def spread(values):
    return {"n_atoms": COUNTS, "properties": {"gap": {"by_n_atoms": values}}}


def test_sizes_are_those_of_the_training_set():
    weights = size_weights({"n_atoms": COUNTS}, {})
    assert weights == pytest.approx({3: 1 / 3, 6: 1.0}), "none of nine atoms"
    assert size_weights({}, {"gap": 1.0}) == {}


def test_sizes_follow_the_property_that_is_asked_for():
    card = spread({"3": [2.0, 0.5], "6": [5.0, 1.0]})
    weights = size_weights(card, {"gap": 3.0})
    # By Bayes: numbers of the training set times normal densities.
    density = {
        3: 1 * np.exp(-0.5 * (1 / 0.5) ** 2) / 0.5,
        6: 3 * np.exp(-0.5 * 2.0**2) / 1.0,
    }
    assert weights[3] / weights[6] == pytest.approx(density[3] / density[6])


def test_no_size_becomes_impossible():
    card = spread({"3": [2.0, 1e-3], "6": [5.0, 1e-3]})
    assert size_weights(card, {"gap": 2.0}) == pytest.approx({3: 1.0, 6: LEAST})
    assert max(size_weights(card, {"gap": 1e6}).values()) == 1.0, "the nearest, far from all"


@pytest.mark.parametrize("asked", [{"gap": float("-inf")}, {"dipole": 1.0}])
def test_goals_and_properties_without_a_spread_say_nothing(asked):
    card = spread({"3": [2.0, 0.5], "6": [5.0, 1.0]})
    assert size_weights(card, asked) == size_weights({"n_atoms": COUNTS}, {})


def test_the_spread_of_a_property_for_each_size():
    n_atoms = torch.tensor([2, 2, 2, 5, 7])
    values = torch.tensor([1.0, 2.0, 3.0, 9.0, torch.nan])
    found = property_spread(n_atoms, values)
    everything = values[:4].double()
    assert (found["min"], found["max"]) == (1.0, 9.0)
    squares = everything.var(correction=0)
    for size, mean, own, count in (
        ("2", 2.0, 2.0, 3),
        ("5", 9.0, 0.0, 1),
        ("7", everything.mean(), 0.0, 0),
    ):
        expected = [float(mean), float(((own + squares) / (count + 1)).sqrt())]
        assert found["by_n_atoms"][size] == pytest.approx(expected)
