"""What can be asked for, and generators by name."""

import pytest
import torch

from matkit.errors import CheckpointError, ConfigError, UnknownNameError
from matkit.interfaces import Condition, Generator, Potential
from matkit.models import building, checkpoint

TWO = torch.tensor([2, 3])


def test_no_atoms():
    with pytest.raises(ConfigError, match="at least one atom in each"):
        Condition(n_atoms=torch.tensor([3, 0]))


@pytest.mark.parametrize("fields", [{}, {"count": 0}, {"n_atoms": torch.zeros(0).long()}])
def test_no_structures(fields):
    with pytest.raises(ConfigError, match="at least one structure to generate"):
        Condition(**fields)


def test_sizes_may_be_left_open():
    condition = Condition(count=3)
    assert len(condition) == 3
    assert not condition.inputs
    with pytest.raises(ConfigError, match="leaves them open"):
        _ = condition.sizes


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"species": torch.tensor([1, 8, 8])}, "one row per atom of n_atoms, 5; got 3"),
        ({"position": torch.tensor([0, 1])}, "one row per atom of n_atoms, 5; got 2"),
        ({"position": torch.zeros(5).long()}, "need the `species` and the `space_group`"),
        ({"elements": torch.ones(3, 9).bool()}, "n_atoms 2, elements 3"),
        ({"conventional": torch.tensor([True])}, "n_atoms 2, conventional 1"),
        ({"space_group": torch.tensor([225])}, "n_atoms 2, space_group 1"),
        ({"properties": {"gap": torch.ones(3)}}, "n_atoms 2, gap 3"),
        ({"count": 4}, "n_atoms 2, count 4"),
    ],
)
def test_rows_that_do_not_fit(field, message):
    with pytest.raises(ConfigError, match=message):
        Condition(n_atoms=TWO, **field)


def test_length_is_the_number_of_crystals():
    assert len(Condition(n_atoms=TWO)) == 2


def test_generators_are_found_by_name():
    assert {"crystalflow", "diffcsp"} <= set(building.model_names(Generator))
    assert "parts" not in building.model_names(Generator)
    assert issubclass(building.model_class("diffcsp", Generator), Generator)
    assert not set(building.model_names(Generator)) & set(building.model_names(Potential))


def test_unknown_generator():
    with pytest.raises(UnknownNameError, match="Unknown generator 'difcsp'. Did you mean 'diffc"):
        building.model_class("difcsp", Generator)


def test_unknown_hyperparameter():
    with pytest.raises(ConfigError, match="Cannot build 'diffcsp' from depth, species"):
        checkpoint.build("diffcsp", {"species": [1], "depth": 3}, Generator)


def test_a_potential_is_not_read_as_a_generator(tmp_path):
    potential: Potential = checkpoint.build("nequip", {"species": [1], "irreps": ["4x0e", "4x0e"]})
    path = checkpoint.save(potential, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"holds a potential; read it with .*\.load\(path, P"):
        checkpoint.load(path, Generator)
