import numpy as np
import pytest
import torch

from matkit.data.ase import from_ase
from matkit.data.dataset import has_label
from matkit.errors import ConfigError
from matkit.options import build
from matkit.testing.systems import crystal, water
from matkit.train.losses import structure_losses, total_loss
from matkit.train.options import LossOptions


def batch():
    """Two structures, labelled with numbers that are easy to follow."""
    structures = from_ase([crystal(), water()])
    n = len(structures.species)
    system = {
        "energy": torch.tensor([1.0, 2.0]).double(),
        "stress": torch.zeros(2, 3, 3).double(),
        "weight": torch.tensor([1.0, 3.0]).double(),
    }
    return structures.replace(system=system, atom={"forces": torch.zeros(n, 3).double()})


def prediction(target, energy=(9.0, 2.3), force=0.2, stress=0.01):
    return {
        "energy": torch.tensor(energy).double(),
        "forces": torch.full_like(target.atom["forces"], force),
        "stress": torch.full_like(target.system["stress"], stress),
    }


@pytest.mark.parametrize(
    ("loss", "energy", "forces", "stress"),
    [
        ("mse", [1.0, 0.01], 0.04, 1e-4),
        ("mae", [1.0, 0.1], 0.2 * np.sqrt(3), 0.01),
        ("huber", [1 - 0.005, 0.1 - 0.005], 0.2 - 0.005, 0.005),
    ],
)
def test_losses_by_hand(loss, energy, forces, stress):
    options = LossOptions(loss=loss, stress_weight=1)
    target = batch()
    found = structure_losses(prediction(target), target, options)
    assert found["energy"].tolist() == pytest.approx(energy)
    assert found["forces"].tolist() == pytest.approx([forces] * 2)
    assert found["stress"].tolist() == pytest.approx([stress] * 2)


def test_the_total_is_weighted_by_label_and_structure():
    options = LossOptions(loss="mse", energy_weight=2, forces_weight=10)
    target = batch()
    total, means = total_loss(
        structure_losses(prediction(target), target, options), target, options
    )
    assert means["energy"].item() == pytest.approx((1.0 + 3 * 0.01) / 2)
    assert means["forces"].item() == pytest.approx((0.04 + 3 * 0.04) / 2)
    assert total.item() == pytest.approx(2 * (1.03 / 2) + 10 * (0.16 / 2))


@pytest.mark.parametrize("loss", ["mae", "mse", "huber"])
def test_missing_labels_neither_count_nor_spoil_the_gradient(loss):
    options = LossOptions(loss=loss, stress_weight=1)
    target = batch()
    target.system["energy"][0] = torch.nan
    target.system["stress"][1] = torch.nan
    target.atom["forces"][:8] = torch.nan
    assert has_label(target, "energy").tolist() == [False, True]
    assert has_label(target, "stress").tolist() == [True, False]
    assert has_label(target, "forces").tolist() == [False, True]
    guess = {key: value.requires_grad_() for key, value in prediction(target).items()}
    losses = structure_losses(guess, target, options)
    total, means = total_loss(losses, target, options)
    assert means["energy"].item() == pytest.approx(3 * losses["energy"][1].item())
    assert means["stress"].item() == pytest.approx(losses["stress"][0].item())
    total.backward()
    assert all(torch.isfinite(value.grad).all() for value in guess.values())
    assert guess["energy"].grad[0] == 0
    assert guess["energy"].grad[1] != 0
    assert (guess["forces"].grad[:8] == 0).all()


def test_perfect_predictions_have_a_finite_gradient():
    target = batch()
    guess = {
        "energy": target.system["energy"].clone().requires_grad_(),
        "forces": target.atom["forces"].clone().requires_grad_(),
    }
    options = LossOptions(loss="mae")
    total, _ = total_loss(structure_losses(guess, target, options), target, options)
    total.backward()
    assert torch.isfinite(guess["forces"].grad).all()


def test_something_must_have_a_weight():
    with pytest.raises(ConfigError, match="all zero"):
        build(LossOptions, {"energy_weight": 0, "forces_weight": 0})
