"""Terms of the loss that are named, those of other packages too."""

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest
import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.errors import ConfigError, ModelError, UnknownNameError
from matkit.options import build
from matkit.train import extra_losses
from matkit.train.options import LossOptions, TrainOptions
from matkit.train.run import train
from matkit.train.terms import force_angle
from tests.train.labelled import TINY, frames, labelled_file


@pytest.fixture(autouse=True)
def forget():
    """No module that a test made is remembered."""
    extra_losses.term.cache_clear()
    yield
    extra_losses.term.cache_clear()


def target(forces):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]])
    return from_ase(atoms).replace(atom={"forces": torch.tensor(forces).double()})


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([[3.0, 0, 0], [0, 0.1, 0]], 0.0),  # lengths do not count
        ([[-1.0, 0, 0], [0, 1, 0]], 1.0),
        ([[0.0, 1, 0], [1, 0, 0]], 1.0),
    ],
)
def test_angles_between_forces(predicted, expected):
    label = target([[1.0, 0, 0], [0, 2, 0]])
    found = force_angle.loss({"forces": torch.tensor(predicted).double()}, label)
    assert found.tolist() == pytest.approx([expected])


def test_missing_forces_have_no_angle():
    label = target([[1.0, 0, 0], [float("nan")] * 3])
    found = force_angle.loss({"forces": -torch.ones(2, 3).double()}, label)
    assert 0.5 < float(found) < 1
    assert not force_angle.labelled(target([[float("nan")] * 3] * 2)).any()


def plug_in(monkeypatch, **content):
    """A module of another distribution, registered as the loss `mine`."""
    module = ModuleType("other_package_mine")
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    points = EntryPoints([EntryPoint("mine", module.__name__, "matkit.losses")])
    true = extra_losses.importlib.metadata.entry_points
    monkeypatch.setattr(
        extra_losses.importlib.metadata,
        "entry_points",
        lambda **wanted: points if wanted.get("group") == "matkit.losses" else true(**wanted),
    )


def test_a_loss_of_another_package_is_minimised(monkeypatch, tmp_path):
    """With the weights of everything else at zero, it is all that changes the network."""

    def loss(prediction, target):
        return (prediction["energy"] / target.n_atoms - 7.0).square()

    def labelled(target):
        return torch.ones(len(target), dtype=torch.bool)

    plug_in(monkeypatch, NEEDS=("energy",), loss=loss, labelled=labelled)
    options = {
        "train_file": labelled_file(tmp_path / "train.xyz", frames(12)),
        "model": TINY,
        "work_dir": str(tmp_path),
        "max_num_epochs": 6,
        "lr": 0.02,
        "batch_size": 4,
        "report": False,
        "energy_weight": 0,
        "forces_weight": 0,
        "extra_losses": {"mine": 1.0},
    }
    outcome = train(build(TrainOptions, options))
    assert outcome.history[-1]["train_mine"] < 0.7 * outcome.history[0]["train_mine"]
    assert outcome.history[-1]["train_loss"] == pytest.approx(outcome.history[-1]["train_mine"])


def test_a_module_that_is_no_term(monkeypatch):
    plug_in(monkeypatch, NEEDS=("energy",))
    with pytest.raises(ModelError, match="it has no loss and no labelled"):
        extra_losses.term("mine")


def test_unknown_terms():
    with pytest.raises(UnknownNameError, match="Did you mean 'force_angle'"):
        extra_losses.term("force_angel")
    with pytest.raises(ConfigError, match="unknown loss 'angle'"):
        build(LossOptions, {"extra_losses": {"angle": 1.0}})
    with pytest.raises(ConfigError, match="must not be negative"):
        build(LossOptions, {"extra_losses": {"force_angle": -1.0}})


def test_nothing_to_learn():
    with pytest.raises(ConfigError, match="all zero"):
        build(LossOptions, {"energy_weight": 0, "forces_weight": 0})
